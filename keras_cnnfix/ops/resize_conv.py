"""Resize, then convolve, in three forms that give the same numbers.

    plain:      as the formula is written, conv(pad(resize(x)), kernel)
    products:   the taps times the small image, then shifted sums of these products
    transposed: one transposed convolution of the small image with a composite kernel

`docs/performance.md` derives the last two, and shows what each costs.
"""

from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.phases import can_sum_taps, tap_sums
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.ops.resize import resize2d

IMPLEMENTATIONS = ("auto", "plain", "polyphase")


def resize_conv2d(
    x, kernel, size, output_size, interpolation, padding, groups, implementation, data_format
):
    """`conv(pad(resize(x)), kernel)` at stride 1, of the size of the resized image.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
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
        sizes = layout.spatial_size(x.shape, data_format)
        form = fastest_form(
            implementation, sizes, kernel.shape, factors, interpolation, padding, groups
        )
    if form == "products":
        return products(x, kernel, factors, interpolation, padding, groups, data_format)
    if form == "transposed":
        return transposed(x, kernel, factors, padding, data_format)
    return plain(x, kernel, size, output_size, interpolation, padding, groups, data_format)


def has_polyphase(size, output_size, interpolation):
    """Whether the resize does the same to every pixel, so that there is a form without its result.

    Args:
        size, output_size, interpolation: As `resize2d` takes them.
    """
    integer = output_size is None and all(factor.denominator == 1 for factor in size)
    return integer and interpolation != "bicubic"


def fastest_form(implementation, sizes, kernel_shape, factors, interpolation, padding, groups):
    """Which form is taken: `"plain"`, `"products"` or `"transposed"`. The one place that decides.

    Per pixel of the small image and filter, the transposed form multiplies more, and the products
    move more numbers through memory: one for each tap, and one for each pixel of the result. What
    it costs to move one, in multiplications, is `backend.cost_of_moving`.

    Args:
        implementation: `"auto"` or `"polyphase"`.
        sizes: Height and width of the small image, None where unknown.
        kernel_shape: (kh, kw, C // groups, filters).
        factors: Pair of ints: how many pixels each pixel becomes.
        interpolation, padding, groups: As `resize_conv2d` takes them.
    """
    *kernel_size, channels, _ = kernel_shape
    axes = list(zip(sizes, kernel_size, factors, strict=True))
    if factors == (1, 1) or not all(can_sum_taps(n, k, s, padding) for n, k, s in axes):
        return "plain"
    has_transposed = interpolation == "nearest" and groups == 1
    taps = prod(kernel_size)
    if has_transposed:
        multiplications = prod(k + s - 1 for _, k, s in axes)
    else:
        multiplications = taps * prod(factors)
    moved = prod(k for _, k, s in axes if s > 1) + prod(factors)
    if channels * (multiplications - taps) >= moved * backend.cost_of_moving():
        return "products"
    if has_transposed:
        return "transposed"
    return "plain" if implementation == "auto" else "products"


def plain(x, kernel, size, output_size, interpolation, padding, groups, data_format):
    """As the formula is written. The arguments are those of `resize_conv2d`."""
    x = resize2d(x, size, output_size, interpolation, data_format)
    x = pad2d(x, kernels.border_of(kernel.shape[:2]), padding, data_format)
    return backend.conv2d(x, kernel, (1, 1), groups, data_format)


def products(x, kernel, factors, interpolation, padding, groups, data_format):
    """The taps times the small image, then the shifted sums of these products, resized.

    Resize and border act on each channel alone, a tap on each pixel alone: their order does not
    matter, and before the resize there are fewer pixels. Exact with every border.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, interpolation, padding, groups, data_format: As `resize_conv2d` takes them.
    """
    x = layout.as_channels_last(x, data_format)
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
    of_rows = [
        backend.conv2d(x, taps, (1, 1), groups, "channels_last")
        for taps in (ops.split(kernel, kh, axis=0) if up_y else [kernel])
    ]
    y = backend.fused(
        _shifted_sums,
        *of_rows,
        linear=True,
        taps=kw if up_x else 1,
        groups=groups,
        factors=factors,
        interpolation=interpolation,
        padding=padding,
    )
    return layout.from_channels_last(y, data_format)


def _shifted_sums(*of_rows, taps, groups, factors, interpolation, padding):
    """The image that `of_rows` add up to: of each tap along the height, where that is resized, the
    products (N, H, W, groups * taps * filters) with each of `taps` along the width.
    """
    rows, columns = layout.spatial_axes("channels_last")
    _, height, width, channels = ops.shape(of_rows[0])
    taps_apart = (-1, height, width, groups, taps, channels // (groups * taps))
    phases = [at_least_float32(ops.reshape(z, taps_apart)) for z in of_rows]
    if factors[0] > 1:
        phases = tap_sums(phases, factors[0], interpolation, padding, rows)
    lines = []
    for phase in phases:
        of_columns = [phase[..., tap, :] for tap in range(taps)]
        if factors[1] > 1:
            of_columns = tap_sums(of_columns, factors[1], interpolation, padding, columns)
        lines.append(ops.stack(of_columns, axis=columns + 1))
    y = ops.stack(lines, axis=rows + 1)
    y = ops.reshape(y, (-1, height * factors[0], width * factors[1], channels // taps))
    return ops.cast(y, of_rows[0].dtype)


def transposed(x, kernel, factors, padding, data_format):
    """One transposed convolution with the kernel convolved with a box of `factors`; for nearest.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, padding, data_format: As `resize_conv2d` takes them.
    """
    kernel_size = kernel.shape[:2]
    boxes = [_box_matrix(k, s) for k, s in zip(kernel_size, factors, strict=True)]
    boxes = [ops.convert_to_tensor(box, dtype=kernel.dtype) for box in boxes]
    composite = ops.einsum("at,bu,tucf->abcf", *boxes, kernel)
    border, crops = [], []
    for k, s in zip(kernel_size, factors, strict=True):
        before, after = kernels.sides(k)
        border.append(((before + s - 1) // s, (after + s - 1) // s))
        crops.append((s * border[-1][0] + after, s * border[-1][1] + before))
    # Of a pixel that became several, a reflection repeats all but one, a symmetric border all:
    # what the ones lack is added at the end.
    modes = tuple("symmetric" if s > 1 and padding == "reflect" else padding for s in factors)
    ends = _inexact_ends(kernel_size, factors, padding)
    padded, *lacking = backend.fused(
        _with_border,
        x,
        linear=True,
        border=tuple(border),
        modes=modes,
        ends=ends,
        factors=factors,
        data_format=data_format,
    )
    y = backend.conv_transpose2d(padded, composite, factors, crops, data_format)
    if not ends:
        return y
    additions = [
        # Both ends of the height with reflected columns, those of the width without: the corners
        # count once.
        _response(pixels, end, kernel, factors, (padding, modes[0])[end.side], data_format)
        for pixels, end in zip(lacking, ends, strict=True)
    ]
    return backend.fused(
        _add_at_ends, y, *additions, linear=True, ends=ends, data_format=data_format
    )


def _with_border(x, border, modes, ends, factors, data_format):
    padded = pad2d(x, (border[0], (0, 0)), modes[0], data_format)
    padded = pad2d(padded, ((0, 0), border[1]), modes[1], data_format)
    return [padded, *(_lacking(x, end, factors, data_format) for end in ends)]


def _box_matrix(taps, factor):
    """Convolves `taps` taps, in reverse, with a box of `factor`."""
    boxes = [np.eye(taps + factor - 1, taps, -shift) for shift in range(factor)]
    return np.sum(boxes, axis=0)[:, ::-1]


class _End(NamedTuple):
    """An end of the result whose outermost pixels no border of the small image makes exact."""

    side: int  # 0: of the height, 1: of the width
    is_last: bool
    pixels: int


def _inexact_ends(kernel_size, factors, padding):
    """The ends where a reflection is deeper than one pixel became."""
    if padding != "reflect":
        return ()
    counts = [
        _End(side, is_last, reach - s + 1)
        for side, (k, s) in enumerate(zip(kernel_size, factors, strict=True))
        if s > 1
        for is_last, reach in zip((False, True), kernels.sides(k), strict=True)
    ]
    return tuple(end for end in counts if end.pixels > 0)


def _lacking(x, end, factors, data_format):
    """What a reflection of the resized image has, at `factor` pixels beyond an end, at twice as
    many, ..., and a symmetric border has not: the steps between the outermost pixels.

    Returns:
        A tensor of one pixel along the axis, and of the steps one after the other as channels.
    """
    axis, factor = layout.spatial_axes(data_format)[end.side], factors[end.side]
    steps = (end.pixels - 1) // factor + 1
    pixels = [backend.pixel(x, index, end.is_last, axis) for index in range(steps + 1)]
    differences = [inner - outer for outer, inner in pairwise(pixels)]
    return ops.concatenate(differences, axis=layout.channel_axis(data_format))


def _response(steps, end, kernel, factors, padding, data_format):
    """What the kernel makes of the `steps` beyond an end: its outermost `end.pixels` pixels."""
    side, is_last, count = end
    factor, taps = factors[side], kernel.shape[side]
    before, _ = kernels.sides(taps)

    def tap(position, step):
        t = before + (1 if is_last else -1) * (position + factor * step)
        inside = 0 <= t < taps
        plane = layout.every(kernel, t if inside else 0, 1, 1, side)
        return plane if inside else ops.zeros_like(plane)

    count_of_steps = (count - 1) // factor + 1
    positions = range(count)[::-1] if is_last else range(count)
    planes = [
        ops.concatenate([tap(position, step + 1) for step in range(count_of_steps)], axis=2)
        for position in positions
    ]
    along_other = tuple(1 if i == side else s for i, s in enumerate(factors))
    y = plain(
        steps,
        ops.concatenate(planes, axis=3),
        along_other,
        None,
        "nearest",
        padding,
        1,
        data_format,
    )
    pixels = ops.split(y, count, axis=layout.channel_axis(data_format))
    return ops.concatenate(pixels, axis=layout.spatial_axes(data_format)[side])


def _add_at_ends(y, *additions, ends, data_format):
    for (side, is_last, count), addition in zip(ends, additions, strict=True):
        axis = layout.spatial_axes(data_format)[side]
        others = ops.shape(y)[axis] - count
        if is_last:
            parts = [layout.first(y, others, axis), layout.last(y, count, axis) + addition]
        else:
            parts = [
                layout.first(y, count, axis) + addition,
                layout.every(y, count, others, 1, axis),
            ]
        y = ops.concatenate(parts, axis=axis)
    return y
