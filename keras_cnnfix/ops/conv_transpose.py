"""Transposed convolution, of the sizes and numbers of `keras.layers.Conv2DTranspose`."""

from collections.abc import Sequence
from typing import get_args

from keras import ops

from keras_cnnfix.ops import backend, layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.phases import can_sum_taps
from keras_cnnfix.ops.resize_conv import products
from keras_cnnfix.typing import DataFormat, Ints, KerasPadding, Padding, Pads, Tensor

PADDINGS: tuple[KerasPadding, ...] = get_args(KerasPadding)


def conv_transpose2d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: Ints,
    crops: Sequence[tuple[int, ...]],
    border: Padding,
    data_format: DataFormat,
) -> Tensor:
    """Pixel `m` adds its value times tap `t` to pixel `s * m + t`, of `(n - 1) * s + k` a side.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        kernel: Taps of shape (kh, kw, filters, C), in the dtype of `x`. At least as many as
            `strides` a side.
        bias: Shape (filters,), in the dtype of `x`, or None.
        strides: Pair (height, width).
        crops: For height and width, how many pixels of the result are left out at the start and at
            the end, as `crops_of` says.
        border: How the images go on where the result needs it: a mode of `pad2d`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor in the dtype of `x`.
    """
    kernel_size = kernel.shape[:2]
    if border != "zeros":
        pads = border_of(kernel_size, strides, crops)
        x, crops = _continued(x, pads, border, strides, crops, data_format)
    sizes = [n if isinstance(n, int) else None for n in layout.spatial_size(x.shape, data_format)]
    if not backend.convolves_slowly() or not all(
        can_sum_taps(n, k, s, "zeros", "zeros")
        for n, k, s in zip(sizes, kernel_size, strides, strict=True)
    ):
        return backend.conv_transpose2d(x, kernel, bias, strides, crops, data_format)
    # The taps times the small image, and the shifted sums of these products: of zeros between the
    # pixels what `resize_conv` makes of their neighbours.
    left_out = [
        (k // 2 - s // 2, (k + 1) // 2 - (s + 1) // 2)
        for k, s in zip(kernel_size, strides, strict=True)
    ]
    missing = [
        tuple(max(0, -((crop - out) // s)) for crop, out in zip(*pair, strict=True))
        for *pair, s in zip(crops, left_out, strides, strict=True)
    ]
    x, crops = _continued(x, missing, "zeros", strides, crops, data_format)
    taps = ops.transpose(ops.flip(kernel, (0, 1)), (0, 1, 3, 2))
    y = products(x, taps, bias, strides, "zeros", "zeros", 1, data_format)
    for axis, crop, out in zip(layout.spatial_axes(data_format), crops, left_out, strict=True):
        y = backend.without_ends(y, (crop[0] - out[0], crop[1] - out[1]), axis)
    return y


def crops_of(
    kernel_size: Ints, strides: Ints, padding: KerasPadding, output_padding: Ints | None
) -> tuple[tuple[int, int], ...]:
    """How many pixels `keras.layers.Conv2DTranspose` leaves out of the whole result.

    Args:
        kernel_size, strides: Pairs (height, width). No fewer taps than strides.
        padding: `"valid"` or `"same"`.
        output_padding: Pair (height, width), or None for as many pixels as `padding` implies.

    Returns:
        For height and width, a pair (at the start, at the end). Less than 0 where zeros follow.
    """
    added = output_padding or (None, None)
    return tuple(map(_crop, kernel_size, strides, (padding,) * 2, added))


def _crop(taps: int, stride: int, padding: KerasPadding, added: int | None) -> tuple[int, int]:
    if padding == "valid":
        return 0, -(added or 0)
    # The result has `n * stride` pixels, or `(n - 1) * stride + taps % 2 + added`.
    both = taps - (stride if added is None else taps % 2 + added)
    return both // 2, both - both // 2


def border_of(kernel_size: Ints, strides: Ints, crops: Sequence[tuple[int, ...]]) -> Pads:
    """The border ((top, bottom), (left, right)), in pixels of the small image, that reaches into
    a result without its `crops`.
    """
    return tuple(
        tuple((k - 1 - crop) // s for crop in pair)
        for k, s, pair in zip(kernel_size, strides, crops, strict=True)
    )


def _continued(
    x: Tensor,
    pads: Sequence[tuple[int, ...]],
    mode: Padding,
    strides: Ints,
    crops: Sequence[tuple[int, ...]],
    data_format: DataFormat,
) -> tuple[Tensor, Sequence[tuple[int, ...]]]:
    """`x` with a border, and the crops that leave out what the border adds."""
    crops = [
        tuple(crop + s * pad for crop, pad in zip(*pair, strict=True))
        for *pair, s in zip(crops, pads, strides, strict=True)
    ]
    return pad2d(x, tuple(pads), mode, data_format), crops
