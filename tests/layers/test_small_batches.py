"""Batches of one image, of one channel, with one filter: where backends take other paths."""

from typing import Any

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
from images import assert_close, to_format

LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "nib": (kc.NIB, {"fixed": True, "seed": 1}),
    "nearest": (kc.ResizeConv2D, {}),
    "nearest plain": (kc.ResizeConv2D, {"implementation": "plain"}),
    "nearest fraction": (kc.ResizeConv2D, {"size": 1.5}),
    "bilinear": (kc.ResizeConv2D, {"interpolation": "bilinear"}),
    "sub-pixel": (kc.SubPixelConv, {}),
    "even": (kc.EvenConv2DTranspose, {"kernel_size": 4, "strides": 2, "padding": "same"}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("name", LAYERS)
def test_one_image_of_one_channel_or_one_filter_trains(
    name, channels, filters, dtype, data_format, rng
):
    """As a remainder batch may be. The same step as on the same image twice."""
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is told to.")
    cls, settings = LAYERS[name]
    image = to_format(rng.normal(size=(1, 8, 9, channels)), data_format)
    weights = []
    for images in (image, np.concatenate([image, image])):
        keras.utils.set_random_seed(0)
        layer = cls(filters, **settings, data_format=data_format, dtype=dtype)
        model = keras.Sequential([keras.Input(image.shape[1:], dtype=dtype), layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        target = np.zeros((len(images), *model.output_shape[1:]), dtype)
        model.train_on_batch(images, target)
        weights.append(keras.ops.convert_to_numpy(layer.kernel))
    once, twice = weights
    assert_close(twice, once, 1e-5)
