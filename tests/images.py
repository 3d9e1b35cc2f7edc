"""Small helpers of the tests: arrays in and out of the layers, in either data format."""

from contextlib import contextmanager
from itertools import combinations, product
from unittest import mock

import keras
import numpy as np

from keras_cnnfix.ops import backend

# Its transposed convolutions are a pixel off on PyTorch; it refuses `output_padding=0`, and no
# config of it holds any.
KERAS_3_10 = keras.__version__.startswith("3.10.")
DATA_FORMATS = ("channels_last", "channels_first")


def pairwise(*axes):
    """A short list of combinations of settings in which each two settings meet.

    Greedy: each combination has as many pairs that have not met as any has. What needs three
    settings at once is tested by a combination of its own.
    """
    places = list(product(*(range(len(axis)) for axis in axes)))
    pairs = {place: set(combinations(enumerate(place), 2)) for place in places}
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        place = max(places, key=lambda place: len(pairs[place] & missing))
        missing -= pairs[place]
        chosen.append(tuple(axis[n] for axis, n in zip(axes, place, strict=True)))
    return chosen


def to_format(images, data_format):
    """`images` (N, H, W, C) in `data_format`."""
    images = np.asarray(images, "float32")
    return np.moveaxis(images, -1, 1) if data_format == "channels_first" else images


def from_format(images, data_format):
    """A result in `data_format` as a NumPy array (N, H, W, C)."""
    images = keras.ops.convert_to_numpy(images)
    return np.moveaxis(images, 1, -1) if data_format == "channels_first" else images


def apply(function, images, data_format):
    """`function` of `images`, given and returned as NumPy (N, H, W, C)."""
    x = keras.ops.convert_to_tensor(to_format(images, data_format))
    return from_format(at_once(function)(x), data_format)


def at_once(function):
    """`function` of a tensor, compiled as one program where the alternative is a program an op.

    Op by op, JAX would compile every operation of every shape on its own: minutes.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def answer_with_random_weights(layer, images):
    """What a fresh `layer` makes of `images`, and the random weights that it was given."""
    layer.build(to_format(images, layer.data_format).shape)
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.weights]
    layer.set_weights(weights)
    return apply(layer, images, layer.data_format), weights


def assert_close(actual, expected, tolerance=1e-5):
    """Equal shapes, and a difference of at most `tolerance` of the largest expected value."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape
    scale = max(np.abs(expected).max(), 1e-30)
    worst = np.abs(actual - expected).max() / scale
    assert worst <= tolerance, f"relative difference {worst:.3g}, allowed {tolerance:.3g}"


def gradients(function, *arrays):
    """The gradients of `sum(function(*arrays) ** 2)` with respect to each array, traced."""
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]

    def loss(*tensors):
        return keras.ops.sum(keras.ops.square(function(*tensors)))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False)
        def gradient(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                y = loss(*tensors)
            return tape.gradient(y, tensors)

        found = gradient(*tensors)
    elif keras.backend.backend() == "jax":
        import jax

        found = jax.jit(jax.grad(loss, argnums=tuple(range(len(tensors)))))(*tensors)
    else:
        import torch

        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(loss(*tensors), tensors)
    return [keras.ops.convert_to_numpy(gradient) for gradient in found]


@contextmanager
def price_of_products(channels):
    """`ResizeConv2D` takes its forms as where products are worth their price above as many
    channels; None leaves that to the machine.
    """
    if channels is None:
        yield
        return
    with (
        mock.patch.object(backend, "channels_for_products", return_value=(channels,) * 3),
        mock.patch.object(backend, "multiplications_for_ends", return_value=0),
    ):
        yield
