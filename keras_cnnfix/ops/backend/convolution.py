"""Convolutions, around what the backends do slowly, or not at all."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnnfix.ops import layout
from keras_cnnfix.ops.backend.devices import is_compiled_by_torch, on_tensorflow_cpu
from keras_cnnfix.ops.backend.slices import every, without_ends
from keras_cnnfix.typing import Array, DataFormat, Ints, Sizes, Tensor


def conv2d(
    x: Tensor, kernel: Tensor, strides: Ints, groups: int, data_format: DataFormat
) -> Tensor:
    """Convolution (cross-correlation) of `x` with `kernel`, without padding.

    Args:
        x: Images in `data_format`, shape (N, H, W, C) or (N, C, H, W).
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
        strides: Pair (height, width).
        groups: Number of groups that the input and the output channels are split into.
    """
    if _one_channel_misread(x, strides, data_format):
        y = conv2d(x, kernel, (strides[0], 1), groups, data_format)
        axis = layout.spatial_axes(data_format)[1]
        _, width = layout.kept(layout.spatial_size(ops.shape(y), data_format), strides)
        return every(y, 0, width, strides[1], axis)
    if _without_keras():
        # Keras copies a channels_last image into channels_first and back into PyTorch's
        # channels_last memory format, which is what it was: twice the time of a 3x3 convolution
        # (Keras 3.15).
        return _torch_conv2d(x, kernel, strides, groups, data_format)
    # TensorFlow's own CPU kernels convolve in channels_last alone: channels_first works only while
    # oneDNN is on, which it is not on every machine (TensorFlow 2.21).
    transposed = data_format == "channels_first" and on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    # Keras sends a grouped convolution on TensorFlow through a new XLA function a call, which is
    # compiled again for each size; the split is exact and several times faster (Keras 3.15).
    if groups > 1 and on_tensorflow_cpu():
        y = _split_conv2d(x, kernel, strides, groups, data_format)
    elif (*kernel.shape[:2], *strides, groups) == (1, 1, 1, 1, 1) and (
        data_format == "channels_last"
    ):
        # XLA on a CPU takes up to twice the time for what is a product of matrices (JAX 0.10).
        # (A reshape: for the gradient of a slice see `every`.)
        kernel = ops.reshape(kernel, kernel.shape[2:])
        pixels = ops.reshape(x, (-1, kernel.shape[0])) @ kernel
        size = layout.spatial_size(ops.shape(x), data_format)
        y = ops.reshape(pixels, layout.image_shape(-1, size, kernel.shape[1], data_format))
    else:
        y = ops.conv(x, kernel, strides=strides, padding="valid", data_format=data_format)
    return layout.to_channels_first(y) if transposed else y


def depthwise_conv2d(
    x: Tensor, taps: Sequence[Array], strides: Ints, data_format: DataFormat
) -> Tensor:
    """Every channel of `x` convolved with the outer product of `taps`, without padding.

    Args:
        x: Images in `data_format`.
        taps: Pair of NumPy vectors, along the height and along the width.
        strides: Pair (height, width).
        data_format: `"channels_last"` or `"channels_first"`.
    """
    channels = x.shape[layout.channel_axis(data_format)]
    # XLA convolves each channel on its own slowly on a CPU, its gradient above all: sums of shifted
    # images take a tenth of the time (JAX 0.10). TensorFlow without oneDNN, and in float64, has no
    # depthwise convolution with unequal strides (TensorFlow 2.21); with it, and on PyTorch, see
    # `_one_channel_misread`. Inductor makes one pass of the sums, where it fails on the gradient of
    # the convolution once sizes have changed (PyTorch 2.13). They serve unknown channels, too.
    in_one_pass = keras.backend.backend() == "jax" or is_compiled_by_torch()
    if in_one_pass or channels is None or strides[0] != strides[1]:
        for weights, stride, axis in zip(
            taps, strides, layout.spatial_axes(data_format), strict=True
        ):
            count = (ops.shape(x)[axis] - len(weights)) // stride + 1
            x = sum(
                every(x, t, count, stride, axis) * float(weight) for t, weight in enumerate(weights)
            )
        return x
    kernel = np.repeat(np.outer(*taps)[:, :, None], channels, axis=2)[..., None]
    kernel = ops.convert_to_tensor(kernel, dtype=x.dtype)
    if _without_keras():
        # As in `conv2d`.
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        return _torch_conv2d(x, kernel, strides, channels, data_format)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.depthwise_conv(x, kernel, **settings)


def conv_transpose2d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: Ints,
    crops: Sequence[tuple[int, ...]],
    data_format: DataFormat,
) -> Tensor:
    """Transposed convolution of `x` with `kernel`, plus `bias`, without the outermost pixels.

    Pixel `m` adds tap `t` to pixel `s * m + t`: `(n - 1) * s + k` pixels a side, of which the
    `crops` are left out.

    Args:
        x: Images in `data_format`.
        kernel: Taps of shape (kh, kw, filters, C), in the dtype of `x`.
        bias: Shape (filters,), in the dtype of `x`, or None.
        strides: Pair (height, width), no more than the taps.
        crops: Pairs (start, end) for height and width, in pixels of the result. An end of -1 to
            -(s - 1) adds zeros.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if _without_keras():
        # It can leave pixels out, which Keras does not offer; for the format see `conv2d`.
        return _torch_conv_transpose2d(x, kernel, bias, strides, crops, data_format)
    transposed = data_format == "channels_first" and on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    if on_tensorflow_cpu() and _one_image_of_odd_sides(x.shape[0], x.shape[1:3]):
        x = ops.pad(x, layout.pads_per_axis(((0, 1), (0, 0)), data_format))
        (start, end), columns = crops
        crops = [(start, end + strides[0]), columns]
    sides = list(zip(kernel.shape[:2], strides, strict=True))
    left_out = [((k - s) // 2, (k - s + 1) // 2) for k, s in sides]  # by "same"
    padding = "same"
    # The "same" of an odd kernel is a pixel off on PyTorch (Keras 3.10).
    shifted = keras.backend.backend() == "torch"
    pairs = zip(crops, left_out, strict=True)
    if shifted or any(c < o for pair in pairs for c, o in zip(*pair, strict=True)):
        padding, left_out = "valid", [(0, 0), (0, 0)]
    y = ops.conv_transpose(x, kernel, strides, padding, data_format=data_format)
    if any(end < 0 for _, end in crops):
        # Not `output_padding`, of which tf2onnx makes negative pads (tf2onnx 1.17).
        added = tuple((0, max(0, -end)) for _, end in crops)
        y = ops.pad(y, layout.pads_per_axis(added, data_format))
        crops = [(start, max(0, end)) for start, end in crops]
    for axis, crop, out in zip(layout.spatial_axes(data_format), crops, left_out, strict=True):
        y = without_ends(y, (crop[0] - out[0], crop[1] - out[1]), axis)
    if bias is not None:
        y = y + layout.along(bias, layout.channel_axis(data_format))
    return layout.to_channels_first(y) if transposed else y


def _without_keras() -> bool:
    """Whether to call PyTorch itself, which takes a channels_last image as a view."""
    # Inductor fails on a convolution of such a view that needs a gradient, once a size has changed:
    # "cannot determine truth value of Relational" (PyTorch 2.13,
    # https://github.com/pytorch/pytorch/issues/172204).
    return keras.backend.backend() == "torch" and not is_compiled_by_torch()


def _one_channel_misread(x: Tensor, strides: Ints, data_format: DataFormat) -> bool:
    """Whether oneDNN would answer with memory that nobody wrote: for several images of one channel,
    at a step that is wider than high, where the result is one pixel wide (TensorFlow 2.21, PyTorch
    2.13).
    """
    one_channel = x.shape[layout.channel_axis(data_format)] == 1
    return one_channel and strides[1] > strides[0] and keras.backend.backend() != "jax"


def _one_image_of_odd_sides(images: Any, size: Sizes) -> bool:
    """Whether oneDNN may take up to eight times as long for a transposed convolution as with a row
    more (67x67x48, 101x101x32; TensorFlow 2.21, PyTorch 2.13).
    """
    known = all(isinstance(n, int) for n in (images, *size))  # `torch.jit.trace` has tensors.
    return known and images == 1 and all(n % 2 for n in size)


def _torch_conv2d(
    x: Tensor, kernel: Tensor, strides: Ints, groups: int, data_format: DataFormat
) -> Tensor:
    import torch

    kernel = _torch_kernel(kernel)
    permuted = data_format == "channels_last"
    x = x.permute(0, 3, 1, 2) if permuted else x
    y = torch.nn.functional.conv2d(x, kernel, stride=strides, groups=groups)
    return y.permute(0, 2, 3, 1) if permuted else y


def _torch_kernel(kernel: Tensor) -> Tensor:
    kernel = kernel.permute(3, 2, 0, 1)
    # Of a view of one filter, or of one channel where the convolution is transposed, there is no
    # gradient for one image, in float64 for none: "grad_weight must be contiguous", as for
    # `keras.layers.Conv2D(1, 3)` and `Conv2DTranspose(2, 2)` of one channel (PyTorch 2.13).
    return kernel.contiguous() if kernel.shape[0] == 1 else kernel


def _torch_conv_transpose2d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: Ints,
    crops: Sequence[tuple[int, ...]],
    data_format: DataFormat,
) -> Tensor:
    import torch

    # PyTorch leaves out as many pixels at the start as at the end, or less than a stride fewer
    # there; what else is left out is sliced off.
    padding = [
        max(0, min(start, end + s - 1)) for s, (start, end) in zip(strides, crops, strict=True)
    ]
    added = [max(0, p - end) for p, (_, end) in zip(padding, crops, strict=True)]
    permuted = data_format == "channels_last"
    x = x.permute(0, 3, 1, 2) if permuted else x
    if added[0] + 1 < strides[0] and _one_image_of_odd_sides(x.shape[0], x.shape[2:]):
        added[0] += 1  # Cropped again, which moves nothing.
    y = torch.nn.functional.conv_transpose2d(
        x,
        _torch_kernel(kernel),
        bias,
        stride=strides,
        padding=padding,
        output_padding=added,
    )
    rows, columns = (
        slice(start - p, (p - end - a) or None)
        for p, a, (start, end) in zip(padding, added, crops, strict=True)
    )
    y = y[:, :, rows, columns]
    return y.permute(0, 2, 3, 1) if permuted else y


def _split_conv2d(
    x: Tensor, kernel: Tensor, strides: Ints, groups: int, data_format: DataFormat
) -> Tensor:
    axis = layout.channel_axis(data_format)
    parts = zip(ops.split(x, groups, axis=axis), ops.split(kernel, groups, axis=-1), strict=True)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.concatenate([ops.conv(p, k, **settings) for p, k in parts], axis=axis)
