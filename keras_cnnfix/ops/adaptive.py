"""Low-pass filters that differ from position to position and from group to group of channels."""

from collections.abc import Iterator
from itertools import product
from typing import get_args

from keras import ops

from keras_cnnfix.ops import backend, layout
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.typing import DataFormat, Ints, Normalization, Sizes, Tensor

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)


def adaptive_filter2d(
    x: Tensor,
    logits: Tensor,
    kernel_size: Ints,
    strides: Ints,
    groups: int,
    normalization: Normalization,
    data_format: DataFormat,
) -> Tensor:
    """Filters each position with its own taps, at the kept positions only.

        f = softmax(logits)
        y[i, j, c] = sum_uv f[i, j, g(c), u * kw + v] * x[sy * i + u, sx * j + v, c]

    where `g(c) = c // (C / groups)`.

    Args:
        x: Padded images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        logits: Shape (N, oh, ow, groups * kh * kw), or channels first; channel `g * kh * kw + t`
            is tap `t` of group `g`.
        kernel_size, strides: Pairs (height, width), in pixels.
        groups: Number of groups. Divides C.
        normalization: `"group"`: the taps of each group sum to 1. `"joint"`: the taps of all
            groups together do.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, oh, ow, C), or channels first, in the dtype of `x`. Softmax and sum
        of half precision are in float32.

    Source:
        Zou, Xiao, Yu, Lee, Delving Deeper into Anti-aliasing in ConvNets, BMVC 2020.
        https://arxiv.org/abs/2008.09604.
    """
    return backend.fused(
        _filtered,
        x,
        logits,
        kernel_size=kernel_size,
        strides=strides,
        groups=groups,
        normalization=normalization,
        data_format=data_format,
    )


def _filtered(
    x: Tensor,
    logits: Tensor,
    kernel_size: Ints,
    strides: Ints,
    groups: int,
    normalization: Normalization,
    data_format: DataFormat,
) -> Tensor:
    channel_axis = layout.channel_axis(data_format)
    taps_axis = channel_axis + 1  # once the channels are split into (groups, taps)
    channels = x.shape[channel_axis]
    size = layout.spatial_size(ops.shape(logits), data_format)
    filters = at_least_float32(logits)
    if normalization == "joint":
        filters = _softmax(filters, channel_axis)
    taps = kernel_size[0] * kernel_size[1]
    if normalization == "group":
        # With height and width as one axis: LiteRT has no softmax of 16 bits in 5 axes.
        positions = (size[0] * size[1],)
        filters = ops.reshape(filters, layout.arrange(-1, positions, (groups, taps), data_format))
        axes = layout.arrange("batch", ("positions",), ("groups", "taps"), data_format)
        filters = _softmax(filters, axes.index("taps"))
    filters = ops.reshape(filters, layout.arrange(-1, size, (groups, taps), data_format))

    pixels = layout.arrange(-1, size, (groups, channels // groups), data_format)
    sums = 0.0
    for tap, shifted in enumerate(_taps(x, kernel_size, strides, size, data_format)):
        # One tap of every group, its axis of length 1 standing for the channels of the group.
        weights = backend.every(filters, tap, 1, 1, taps_axis)
        sums += weights * ops.cast(ops.reshape(shifted, pixels), filters.dtype)
    return ops.cast(ops.reshape(sums, layout.image_shape(-1, size, channels, data_format)), x.dtype)


def _taps(
    x: Tensor, kernel_size: Ints, strides: Ints, size: Sizes, data_format: DataFormat
) -> Iterator[Tensor]:
    """What each tap of a kernel reads at the kept positions, in `size` (height, width), row by row.

    Subsampled first, then shifted: so a gradient is spread over the pixels of `x` once for each
    way to subsample it, not once for each tap.
    """
    axes = layout.spatial_axes(data_format)
    subsampled = {}
    for tap in product(*(range(k) for k in kernel_size)):
        start = tuple(t % stride for t, stride in zip(tap, strides, strict=True))
        if start not in subsampled:
            image = x
            for first, stride, axis in zip(start, strides, axes, strict=True):
                count = (ops.shape(x)[axis] - first + stride - 1) // stride
                image = backend.every(image, first, count, stride, axis)
            subsampled[start] = image
        shifted = subsampled[start]
        for t, stride, n, axis in zip(tap, strides, size, axes, strict=True):
            shifted = backend.every(shifted, t // stride, n, 1, axis)
        yield shifted


def _softmax(x: Tensor, axis: int) -> Tensor:
    if x.shape[axis] == 1:
        # Keras warns of a softmax over a single entry; a filter of one tap is no mistake here. Its
        # gradient is zero, but there must be one: TensorFlow does not train without.
        return 0 * x + 1
    return ops.softmax(x, axis=axis)
