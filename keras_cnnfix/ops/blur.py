"""Filters with fixed windows, and subsampling."""

from collections.abc import Sequence

from keras import ops

from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.typing import Array, DataFormat, Ints, Padding, Sizes, Tensor


def blur_pool2d(
    x: Tensor, kernel_size: Ints, strides: Ints, padding: Padding, data_format: DataFormat
) -> Tensor:
    """Binomial blur, evaluated at every `strides`-th pixel only.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        kernel_size: Taps per side (height, width).
        strides: Step (height, width), in pixels.
        padding: A mode of `pad2d`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, ceil(H / sy), ceil(W / sx), C), in the dtype of `x`. Half precision
        is summed in float32.

    Source:
        Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
        https://arxiv.org/abs/1904.11486.
    """
    taps = tuple(kernels.binomial(k) for k in kernel_size)
    x = pad2d(x, kernels.border_of(kernel_size), padding, data_format)
    return _filter2d(x, taps, strides, data_format)


def max_filter2d(x: Tensor, size: Sizes, padding: str, data_format: DataFormat) -> Tensor:
    """The largest of `size` pixels around every pixel, at stride 1.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        size: Window (height, width), in pixels.
        padding: With `"wrap"` the window goes on at the other end; otherwise it ends at the border.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of the shape and dtype of `x`.
    """
    ends = "same"
    if padding == "wrap":
        x, ends = pad2d(x, kernels.border_of(size), "wrap", data_format), "valid"
    # JAX refuses a pooling without explicit strides (Keras 3.15).
    return ops.max_pool(x, size, strides=1, padding=ends, data_format=data_format)


def block_box_filter2d(x: Tensor, size: Sizes, padding: Padding, data_format: DataFormat) -> Tensor:
    """Mean over `sy x sx` pixels at every pixel, with whole blocks as the border.

    The border is the outermost block once more, or with `"wrap"` that of the other end. After a
    depth-to-space with the same `size`, each mean holds every phase once, up to the border: a
    constant stays constant whatever the weights before. An edge border would let one phase through.

    Args:
        x: Images of shape (N, H * sy, W * sx, C), or channels first.
        size: Pair (sy, sx).
        padding: How the image was continued before: a mode of `pad2d`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of the shape and dtype of `x`. Half precision is summed in float32.

    Source:
        Sugawara, Shiota, Kiya, Super-Resolution using Convolutional Neural Networks without Any
        Checkerboard Artifacts, ICIP 2018. https://arxiv.org/abs/1806.02658.
    """
    if padding == "wrap":
        x = pad2d(x, kernels.border_of(size), "wrap", data_format)
    else:
        x = _with_repeated_blocks(x, size, data_format)
    taps = tuple(kernels.box(n) for n in size)
    return _filter2d(x, taps, (1, 1), data_format)


def _with_repeated_blocks(x: Tensor, size: Sizes, data_format: DataFormat) -> Tensor:
    for n, axis in zip(size, layout.spatial_axes(data_format), strict=True):
        before, after = kernels.sides(n)
        parts = [x]
        if before:
            parts.insert(0, backend.last(backend.first(x, n, axis), before, axis))
        if after:
            parts.append(backend.first(backend.last(x, n, axis), after, axis))
        x = ops.concatenate(parts, axis=axis)
    return x


def _filter2d(x: Tensor, taps: Sequence[Array], strides: Ints, data_format: DataFormat) -> Tensor:
    """Every channel of `x` filtered with `taps` (along the height, along the width)."""
    y = backend.depthwise_conv2d(at_least_float32(x), taps, strides, data_format)
    return ops.cast(y, x.dtype)
