"""Resize, then convolve, in three forms that give the same numbers.

    plain:      as the formula is written, conv(pad(resize(x)), kernel)
    products:   the taps times the small image, then shifted sums of these products
    transposed: one transposed convolution of the small image with a composite kernel

`docs/performance.md` derives the last two, and shows what each costs.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
from keras import ops

from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.phases import can_sum_taps, fewest_pixels, tap_sums
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.ops.resize import resize2d
from keras_cnnfix.typing import (
    Array,
    DataFormat,
    Implementation,
    Interpolation,
    Ints,
    Padding,
    Shape,
    Tensor,
)

IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)


def resize_conv2d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: tuple[Fraction, ...],
    output_size: Ints | None,
    interpolation: Interpolation,
    padding: Padding,
    groups: int,
    implementation: Implementation,
    data_format: DataFormat,
) -> Tensor:
    """`conv(pad(resize(x)), kernel) + bias` at stride 1, of the size of the resized image.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
        bias: Shape (filters,), in the dtype of `x`, or None.
        size, output_size, interpolation: As `resize2d` takes them.
        padding: A mode of `pad2d`.
        groups: Number of groups that the channels are split into. Divides C and filters.
        implementation: `"plain"`; `"polyphase"`, which never makes the resized image and asks for
            `has_polyphase`; or `"auto"`, the faster one.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, out height, out width, filters), in the dtype of `x`.
    """
    form = "plain"
    if implementation != "plain" and has_polyphase(size, output_size, interpolation):
        factors = tuple(factor.numerator for factor in size)
        images = (x.shape[0], *layout.spatial_size(x.shape, data_format))
        form = fastest_form(
            implementation, images, kernel.shape, factors, interpolation, padding, groups
        )
    if form == "products":
        return products(x, kernel, bias, factors, interpolation, padding, groups, data_format)
    if form == "transposed":
        return transposed(x, kernel, bias, factors, padding, data_format)
    return plain(x, kernel, bias, size, output_size, interpolation, padding, groups, data_format)


def has_polyphase(
    size: tuple[Fraction, ...], output_size: Ints | None, interpolation: Interpolation
) -> bool:
    """Whether the resize does the same to every pixel, so that there is a form without its result.

    Args:
        size, output_size, interpolation: As `resize2d` takes them.
    """
    integer = output_size is None and all(factor.denominator == 1 for factor in size)
    return integer and interpolation != "bicubic"


def fastest_form(
    implementation: Implementation,
    images: Sequence[Any],
    kernel_shape: Shape,
    factors: Ints,
    interpolation: Interpolation,
    padding: Padding,
    groups: int,
) -> Literal["plain", "products", "transposed"]:
    """Which form is taken: `"plain"`, `"products"` or `"transposed"`. The one place that decides.

    The products multiply least, the transposed form moves fewer numbers through memory: so the
    number of channels decides (`backend.channels_for_products`).

    Args:
        implementation: `"auto"` or `"polyphase"`.
        images: Number, height and width of the small images, None (or a tensor) where unknown.
        kernel_shape: (kh, kw, C // groups, filters).
        factors: Pair of ints: how many pixels each pixel becomes.
        interpolation, padding, groups: As `resize_conv2d` takes them.
    """
    *kernel_size, channels, filters = kernel_shape
    images = [n if isinstance(n, int) else None for n in images]
    axes = list(zip(images[1:], kernel_size, factors, strict=True))
    if factors == (1, 1):
        return "plain"
    by_products = all(can_sum_taps(n, k, s, interpolation, padding) for n, k, s in axes)
    by_transposed = interpolation == "nearest" and groups == 1
    if padding == "reflect":
        by_transposed = by_transposed and all(_reflects(n, k, s) for n, k, s in axes)
    with_border, with_few_taps, with_zeros = backend.channels_for_products()
    few_taps = all(k + s - 1 <= 4 for _, k, s in axes)
    enough = with_zeros if padding == "zeros" else with_few_taps if few_taps else with_border
    if by_products and (channels >= enough or not by_transposed):
        # What they must win from otherwise is plain, which multiplies more.
        return "products" if 2 * channels >= enough or implementation == "polyphase" else "plain"
    if padding == "reflect" and implementation == "auto" and None not in images:
        # A deep reflection is mended line by line: a few images are sooner convolved as they are.
        multiplications = channels * filters * math.prod([*images, *kernel_size, *factors])
        few = multiplications < backend.multiplications_for_ends()
        by_transposed = by_transposed and not (few and any(_deeper(k, s)[1] for _, k, s in axes))
    return "transposed" if by_transposed else "plain"


def plain(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: tuple[Fraction, ...],
    output_size: Ints | None,
    interpolation: Interpolation,
    padding: Padding,
    groups: int,
    data_format: DataFormat,
) -> Tensor:
    """As the formula is written. The arguments are those of `resize_conv2d`."""
    x = resize2d(x, size, output_size, interpolation, padding, data_format)
    x = pad2d(x, kernels.border_of(kernel.shape[:2]), padding, data_format)
    y = backend.conv2d(x, kernel, (1, 1), groups, data_format)
    return y if bias is None else y + layout.along(bias, layout.channel_axis(data_format))


def products(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    factors: Ints,
    interpolation: Interpolation | Literal["zeros"],
    padding: Padding,
    groups: int,
    data_format: DataFormat,
) -> Tensor:
    """The taps times the small image, then the shifted sums of these products, resized.

    Resize and border act on each channel alone, a tap on each pixel alone: their order does not
    matter, and before the resize there are fewer pixels. Exact with every border.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, bias, interpolation, padding, groups, data_format: As `resize_conv2d` takes them.
    """
    x = layout.as_channels_last(x, data_format)
    y_axis, x_axis = layout.spatial_axes("channels_last")
    kh, kw, channels, filters = kernel.shape
    # An axis that keeps its size gains nothing: its taps stay in the convolution.
    up_y, up_x = (factor > 1 for factor in factors)
    border = ((0, 0) if up_y else kernels.sides(kh), (0, 0) if up_x else kernels.sides(kw))
    x = pad2d(x, border, padding, "channels_last")
    if up_x:
        # Each tap along the width becomes filters of its own, within its group.
        kernel = ops.reshape(kernel, (kh, kw, channels, groups, filters // groups))
        kernel = ops.transpose(kernel, (0, 2, 3, 1, 4))
        kernel = ops.reshape(kernel, (kh, 1, channels, kw * filters))
    phases = [
        at_least_float32(backend.conv2d(x, taps, (1, 1), groups, "channels_last"))
        for taps in (ops.split(kernel, kh, axis=0) if up_y else [kernel])
    ]
    if up_y:
        phases = tap_sums(phases, factors[0], interpolation, padding, y_axis)
    lines = []
    for phase in phases:
        of_columns = _taps_apart(phase, kw if up_x else 1, groups)
        if up_x:
            of_columns = tap_sums(of_columns, factors[1], interpolation, padding, x_axis)
        lines.append(layout.interleave(of_columns, x_axis))
    y = layout.interleave(lines, y_axis)
    if bias is not None:
        y = y + at_least_float32(bias)
    return layout.from_channels_last(ops.cast(y, x.dtype), data_format)


def _taps_apart(z: Tensor, taps: int, groups: int) -> list[Tensor]:
    """Of the products (N, H, W, groups * taps * filters), those with each tap."""
    # Without an axis for each, which LiteRT could not slice.
    parts = ops.split(z, groups * taps, axis=3) if groups * taps > 1 else [z]
    of_taps = [parts[tap::taps] for tap in range(taps)]
    return [p[0] if groups == 1 else ops.concatenate(p, axis=3) for p in of_taps]


def transposed(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    factors: Ints,
    padding: Padding,
    data_format: DataFormat,
) -> Tensor:
    """One transposed convolution with the kernel convolved with a box of `factors`; for nearest.

    The small image gets the border that is the large one's after the resize. Only a reflection
    that is deeper than a pixel differs, in the outermost pixels.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, bias, padding, data_format: As `resize_conv2d` takes them.
    """
    small: Any = {"reflect": "symmetric"}.get(padding, padding)
    sides = list(zip(kernel.shape[:2], factors, strict=True))
    pads = [0 if padding == "zeros" else (k // 2 + s - 1) // s for k, s in sides]
    if small == "symmetric" and max(pads) <= 1:
        small = "edge"  # The same, and cheaper.
    y = backend.conv_transpose2d(
        pad2d(x, tuple((pad, pad) for pad in pads), small, data_format),
        ops.swapaxes(_composite(kernel, factors), 2, 3),
        bias,
        factors,
        # Half of what the composite kernel has more taps than a pixel becomes pixels.
        [(k // 2 + s * pad,) * 2 for (k, s), pad in zip(sides, pads, strict=True)],
        data_format,
    )
    if padding == "reflect":
        for side in (0, 1):
            y = _with_reflected_ends(y, x, kernel, factors, side, data_format)
    return y


def _composite(kernel: Tensor, factors: Ints) -> Tensor:
    """The kernel of the transposed convolution, summed in float32 and rounded once."""
    kh, kw, channels, filters = kernel.shape
    boxes = [_box_matrix(k, s) for k, s in zip((kh, kw), factors, strict=True)]
    taps = at_least_float32(ops.reshape(kernel, (kh * kw, channels * filters)))
    # Not `ops.matmul`, which is in float32 for float64 on PyTorch (Keras 3.15).
    taps = ops.convert_to_tensor(np.kron(*boxes), dtype=taps.dtype) @ taps
    sides = [len(box) for box in boxes]
    return ops.cast(ops.reshape(taps, (*sides, channels, filters)), kernel.dtype)


def _box_matrix(taps: int, factor: int) -> Array:
    """Convolves `taps` taps, in reverse, with a box of `factor`. An even number of taps gets a zero
    at its end, so that a transposed convolution can be cropped evenly.
    """
    boxes = [np.eye(taps + factor - taps % 2, taps, -shift) for shift in range(factor)]
    return np.sum(boxes, axis=0)[:, ::-1]


def _deeper(taps: int, factor: int) -> Ints:
    """How many pixels at the start and at the end of a side meet, in a reflection, what a border of
    the small image does not hold.

    `b` pixels beyond the image, the reflection shows small pixel `b // factor`, and the symmetric
    border `(b - 1) // factor`: another one where `factor` divides `b`.
    """
    return tuple(max(0, reach - factor + 1) for reach in kernels.sides(taps))


def _reflects(n: int | None, taps: int, factor: int) -> bool:
    """Whether `_with_reflected_ends` serves a side of `n` pixels (None: unknown)."""
    n = fewest_pixels(taps, factor, "reflect") if n is None else n
    # Of twice the factor and more, pixels beyond the second would be met, too.
    return taps // 2 < 2 * factor and sum(_deeper(taps, factor)) <= n * factor


def _with_reflected_ends(
    y: Tensor, x: Tensor, kernel: Tensor, factors: Ints, side: int, data_format: DataFormat
) -> Tensor:
    """`y` of a symmetric border of the small image, as of a reflection of the large one.

    One tap of each of the outermost pixels reads the second small pixel in place of the first: what
    is added is their difference, resized along the other side, times that tap.
    """
    axis = layout.spatial_axes(data_format)[side]
    start, end = _deeper(kernel.shape[side], factors[side])
    if not end:
        return y
    n = ops.shape(x)[axis]
    lines = [backend.every(x, m, 1, 1, axis) for m in (0, 1, n - 2, n - 1)]
    differences = ops.concatenate([lines[1] - lines[0], lines[2] - lines[3]], axis=axis)
    # Both ends times the taps of either: few large operations cost less than many small ones.
    taps = ops.split(kernel, kernel.shape[side], axis=side)
    taps = taps[:start][::-1] + taps[-end:][::-1]
    size = tuple(Fraction(1 if i == side else s) for i, s in enumerate(factors))
    # The corners count once: with the ends of the height.
    padding: Padding = "reflect" if side == 0 else "symmetric"
    sums = plain(
        differences, _joined(taps, 3), None, size, None, "nearest", padding, 1, data_format
    )
    of_taps = ops.split(sums, len(taps), axis=layout.channel_axis(data_format))
    parts = [backend.every(y, start, ops.shape(y)[axis] - start - end, 1, axis)]
    tail = _joined([backend.last(z, 1, axis) for z in of_taps[start:]], axis)
    parts.append(backend.last(y, end, axis) + tail)
    if start:
        head = _joined([backend.first(z, 1, axis) for z in of_taps[:start]], axis)
        parts.insert(0, backend.first(y, start, axis) + head)
    return ops.concatenate(parts, axis=axis)


def _joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]
