"""Mirrored borders, around what the backends cannot do."""

import keras
from keras import ops

from keras_cnnfix.ops import layout
from keras_cnnfix.ops.backend.slices import is_symbolic
from keras_cnnfix.typing import DataFormat, Pads, Tensor


def reflect2d(x: Tensor, pads: Pads, data_format: DataFormat) -> Tensor:
    """`ops.pad` in the mode reflect, by `pads` ((top, bottom), (left, right)), not all 0."""
    if is_symbolic(x):
        # JAX asks whether the border is narrower than an image of unknown size (JAX 0.10).
        for (before, after), axis in zip(pads, layout.spatial_axes(data_format), strict=True):
            end = ops.shape(x)[axis] - 1
            source = end - ops.abs(end - ops.abs(ops.arange(-before, end + after + 1)))
            x = ops.take(x, source, axis=axis)
        return x
    only_width = data_format == "channels_first" and not any(pads[0])
    if only_width and keras.backend.backend() == "torch":
        # Keras passes the last axis alone then, which PyTorch refuses for 4 axes (Keras 3.15).
        padded = reflect2d(layout.to_channels_last(x), pads, "channels_last")
        return layout.to_channels_first(padded)
    return ops.pad(x, layout.pads_per_axis(pads, data_format), mode="reflect")
