import itertools

import keras
import numpy as np
import pytest
from keras import ops

import oracle
from images import DATA_FORMATS, KERAS_3_10, apply, assert_close, gradients, pairwise
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops import backend as backends
from keras_cnnfix.ops.conv_transpose import border_of, conv_transpose2d, crops_of

SIZES = [(3, 2), (4, 2), (5, 2), (2, 2), (3, 3), (4, 3), (6, 4), (5, 1), (2, 1), (7, 3)]
SETTINGS = [
    (side, padding, added)
    for side in SIZES
    for padding in ("valid", "same")
    for added in (None, 0, side[1] - 1)
]


def _ours(kernel, bias, strides, crops, border, data_format):
    """The function of images."""
    return lambda x: conv_transpose2d(
        x, ops.convert_to_tensor(kernel), bias, strides, crops, border, data_format
    )


def _wider(crops, strides, pads):
    """The crops of what an image with a border gives."""
    (top, bottom), (left, right) = np.array(crops) + np.array(strides)[:, None] * np.array(pads)
    return (top, bottom), (left, right)


@pytest.mark.parametrize(("side", "padding", "added"), SETTINGS)
def test_sizes_and_numbers_are_those_of_keras(side, padding, added, backend, rng):
    (kh, sy), (kw, sx) = side, (3, 2)
    x = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    if added is not None and KERAS_3_10:
        pytest.skip("Keras 3.10 does not take every output_padding")
    output_padding = None if added is None else (added, 1)
    theirs = keras.layers.Conv2DTranspose(
        4, (kh, kw), (sy, sx), padding, output_padding=output_padding
    )
    theirs.build(x.shape)
    kernel = theirs.get_weights()[0]
    bias = rng.normal(size=4).astype("float32")
    theirs.set_weights([kernel, bias])
    crops = crops_of((kh, kw), (sy, sx), padding, output_padding)
    ours = _ours(kernel, ops.convert_to_tensor(bias), (sy, sx), crops, "zeros", "channels_last")
    y = apply(ours, x, "channels_last")
    assert y.shape == tuple(theirs.compute_output_shape(x.shape))
    assert_close(y, oracle.conv_transpose2d(x, kernel, bias, (sy, sx), crops), 2e-6)
    if backend == "torch" and KERAS_3_10:
        return
    # oneDNN has no such convolution, and Keras's layer fails (TensorFlow 2.21).
    if backend != "tensorflow" or (padding, added, kh % 2) != ("same", 0, 0):
        assert_close(y, apply(theirs, x, "channels_last"), 2e-6)


@pytest.mark.parametrize(
    ("border", "side", "data_format"),
    pairwise(PADDING_MODES, SIZES, DATA_FORMATS),
)
def test_a_border_is_that_of_a_larger_image(border, side, data_format, rng):
    k, s = side
    x = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    kernel = rng.normal(size=(k, 4, 2, 3)).astype("float32")
    strides = (s, 2)
    crops = crops_of(kernel.shape[:2], strides, "same", None)
    pads = border_of(kernel.shape[:2], strides, crops)
    wider = _wider(crops, strides, pads)
    expected = oracle.conv_transpose2d(oracle.pad(x, pads, border), kernel, None, strides, wider)
    assert expected.shape == (2, 5 * s, 12, 2)
    found = apply(_ours(kernel, None, strides, crops, border, data_format), x, data_format)
    assert_close(found, expected, 3e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_images_of_few_pixels(n, rng):
    for (k, s), border in itertools.product([(3, 2), (4, 2), (7, 3)], ["zeros", "edge"]):
        x = rng.normal(size=(1, n, 1, 2)).astype("float32")
        kernel = rng.normal(size=(k, k, 2, 2)).astype("float32")
        crops = crops_of((k, k), (s, s), "same", None)
        pads = border_of((k, k), (s, s), crops)
        wider = _wider(crops, (s, s), pads)
        expected = oracle.conv_transpose2d(oracle.pad(x, pads, border), kernel, None, (s, s), wider)
        ours = _ours(kernel, None, (s, s), crops, border, "channels_last")
        assert_close(apply(ours, x, "channels_last"), expected, 3e-6)


def test_both_forms_have_the_same_gradients(monkeypatch, rng):
    """The backend's transposed convolution, and the products that JAX takes on a CPU."""
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(4, 5, 2, 3)).astype("float32")
    for padding, border in (("same", "zeros"), ("same", "reflect"), ("valid", "zeros")):
        crops = crops_of((4, 5), (2, 3), padding, None)

        def function(x, kernel, crops=crops, border=border):
            return conv_transpose2d(x, kernel, None, (2, 3), crops, border, "channels_last")

        found = []
        for slowly in (False, True):
            monkeypatch.setattr(backends, "convolves_slowly", lambda slowly=slowly: slowly)
            found.append(
                [np.array(function(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)))]
            )
            found[-1] += gradients(function, x, kernel)
        for native, products in zip(*found, strict=True):
            assert_close(ops.convert_to_numpy(products), ops.convert_to_numpy(native), 3e-6)
