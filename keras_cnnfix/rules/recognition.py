"""What an operation does, found out by running it: its name or its class need not tell."""

from typing import Any

import keras
import numpy as np

from keras_cnnfix.graph import inner_layers
from keras_cnnfix.ops import layout
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS, depth_to_space

SIDES = (8, 6)  # For unknown sizes: two that are told apart, and even.
MODES: dict[str, Any] = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "wrap": "wrap",
}


def border_of(site, pads, data_format):
    """With which of the `padding` modes a site adds a border of `pads` to images, or None.

    Args:
        site: A `graph.Site`.
        pads: ((top, bottom), (left, right)), in pixels.
        data_format: Of the images.
    """
    x, y = _tried(site, data_format)
    if x is None or y.ndim != 4:
        return None
    widths = layout.pads_per_axis(pads, data_format)
    for mode, name in MODES.items():
        if _equal(np.pad(x, widths, mode=name), y):
            return mode
    return None


def shuffle_of(site, data_format):
    """The factor and the channel order with which a site moves channels to pixels, or None."""
    if not _moves_channels(site, data_format):
        return None
    x, y = _tried(site, data_format)
    if x is None or y.ndim != 4:
        return None
    sizes = (layout.spatial_size(image.shape, data_format) for image in (x, y))
    size = tuple(large // small for small, large in zip(*sizes, strict=True))
    axis = layout.channel_axis(data_format)
    if min(size) < 1 or max(size) < 2 or x.shape[axis] != y.shape[axis] * size[0] * size[1]:
        return None
    for order in CHANNEL_ORDERS:
        shuffled = depth_to_space(keras.ops.convert_to_tensor(x), size, order, data_format)
        if _equal(keras.ops.convert_to_numpy(shuffled), y):
            return size, order
    return None


def _moves_channels(site, data_format):
    """Whether the shapes allow that a site moves channels to pixels; most need not be run."""
    tensors = site.input, site.output
    if None in tensors or any(len(tensor.shape) != 4 for tensor in tensors):
        return False
    before, after = (tensor.shape[layout.channel_axis(data_format)] for tensor in tensors)
    return None not in (before, after) and after > 0 and before > after and before % after == 0


def is_elementwise(activation):
    """Whether a function of (N, C) acts on each number alone, unlike a softmax."""
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    whole, part = (
        keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(values)))
        for values in (x, x[:, :2])
    )
    return np.allclose(whole[:, :2], part, atol=1e-6)


def known_shape(shape, sides=SIDES, batch=1):
    """A symbolic shape with `batch` and `sides` where it is unknown."""
    sides = iter(sides)
    return (shape[0] or batch, *(next(sides) if n is None else n for n in shape[1:]))


def _tried(site, data_format):
    """Random images and what the site answers to them, or two None where it has weights, takes
    several tensors, or none that are images of known channels.
    """
    operation, tensor = site.operation, site.input
    weights = isinstance(operation, keras.Layer) and operation.variables
    if tensor is None or weights or inner_layers(operation) or site.output is None:
        return None, None
    axis = layout.channel_axis(data_format)
    if len(tensor.shape) != 4 or tensor.shape[axis] is None:
        return None, None
    # Whole numbers of 8 bits: any dtype holds them, so that what comes out is what went in.
    shape = known_shape(tensor.shape)
    x = np.random.default_rng(0).integers(-128, 128, shape).astype("float32")
    try:
        y = site(keras.ops.cast(keras.ops.convert_to_tensor(x), tensor.dtype))
    except Exception:  # It takes other sizes than these: it is not told what it does.
        return None, None
    return x, keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))


def _equal(expected, y):
    return expected.shape == y.shape and np.array_equal(expected, y)
