"""A model that serves for days: its memory does not grow, and threads may share it."""

import concurrent.futures
import gc
import os
import tracemalloc

import keras
import numpy as np

import keras_cnnfix as kc

# `LONG_RUN=10000` makes the long one, over 20 sizes. Half a kilobyte a call shows in either.
CALLS = int(os.environ.get("LONG_RUN", "100"))
SIZES = [(8 + i, 9 + i % 5) for i in range(20 if "LONG_RUN" in os.environ else 4)]


def _model():
    x = inputs = keras.Input((None, None, 3))
    x = kc.NIB(4, fixed=True, tile_size=8)(x)
    x = kc.AdaptiveAntiAlias(groups=2)(x)
    x = kc.MaxBlurPool2D(strides=1)(x)
    x = kc.ResizeConv2D(4)(x)
    x = kc.SubPixelConv(2)(x)
    x = kc.EvenConv2DTranspose(2, 3, strides=2, padding="same")(x)
    return keras.Model(inputs, kc.BlurPool2D()(kc.Padding2D(2)(x)))


def _answer(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_memory_does_not_grow_with_the_calls(rng):
    model = _model()
    images = [rng.normal(size=(1, *size, 3)).astype("float32") for size in SIZES]
    tracemalloc.start()
    try:
        for call in range(5 * len(images)):  # Until all is made that is kept.
            _answer(model, images[call % len(images)])
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for call in range(CALLS):
            _answer(model, images[call % len(images)])
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000


def test_two_threads_get_the_numbers_of_one(rng):
    model = _model()
    images = [rng.normal(size=(2, *size, 3)).astype("float32") for size in SIZES[:4]] * 4
    expected = [_answer(model, batch) for batch in images]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda batch: _answer(model, batch), images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
