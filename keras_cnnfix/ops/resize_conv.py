"""Resize, then convolve, in three forms that give the same numbers.

    plain:      as the formula is written, conv(pad(resize(x)), kernel)
    products:   the taps times the small image, then shifted sums of these products
    transposed: one transposed convolution of the small image with a composite kernel

`docs/performance.md` derives the last two, and shows what each costs.
"""

from math import prod

import numpy as np
from keras import ops

from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.phases import can_sum_taps, fewest_pixels, tap_sums, transposed_tap_sums
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.ops.resize import resize2d

IMPLEMENTATIONS = ("auto", "plain", "polyphase")


def resize_conv2d(
    x, kernel, bias, size, output_size, interpolation, padding, groups, implementation, data_format
):
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
        sizes = layout.spatial_size(x.shape, data_format)
        form = fastest_form(
            implementation, sizes, kernel.shape, factors, interpolation, padding, groups
        )
    if form == "products":
        return products(x, kernel, bias, factors, interpolation, padding, groups, data_format)
    if form == "transposed":
        return transposed(x, kernel, bias, factors, padding, data_format)
    return plain(x, kernel, bias, size, output_size, interpolation, padding, groups, data_format)


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
    move more numbers through memory: one for each tap, which is written, shifted and summed, and
    one for each pixel of the result. What it costs to move one, in multiplications, is
    `backend.cost_of_moving`.

    Args:
        implementation: `"auto"` or `"polyphase"`.
        sizes: Height and width of the small image, None where unknown.
        kernel_shape: (kh, kw, C // groups, filters).
        factors: Pair of ints: how many pixels each pixel becomes.
        interpolation, padding, groups: As `resize_conv2d` takes them.
    """
    *kernel_size, channels, _ = kernel_shape
    axes = list(zip(sizes, kernel_size, factors, strict=True))
    if backend.is_compiled_by_torch():
        return "plain"
    if factors == (1, 1) or not all(
        can_sum_taps(n, k, s, interpolation, padding) for n, k, s in axes
    ):
        return "plain"
    has_transposed = interpolation == "nearest" and groups == 1
    taps = prod(kernel_size)
    if has_transposed:
        multiplications = prod(k + s - 1 for _, k, s in axes)
        if padding != "zeros":
            multiplications += sum(
                _multiplications_of_border(k, s, n) * taps / k for n, k, s in axes if n is not None
            )
    else:
        multiplications = taps * prod(factors)
    moved = 3 * prod(k for _, k, s in axes if s > 1) + prod(factors)
    if channels * (multiplications - taps) >= moved * backend.cost_of_moving():
        return "products"
    if has_transposed:
        return "transposed"
    return "plain" if implementation == "auto" else "products"


def _multiplications_of_border(taps, factor, n):
    """Of `transposed`, for the two ends of a side of `n` pixels, for each tap along the other."""
    sources = 2 * (taps // 2 // factor + 1)
    return (taps - 1) * sources / n


def plain(x, kernel, bias, size, output_size, interpolation, padding, groups, data_format):
    """As the formula is written. The arguments are those of `resize_conv2d`."""
    x = resize2d(x, size, output_size, interpolation, data_format)
    x = pad2d(x, kernels.border_of(kernel.shape[:2]), padding, data_format)
    y = backend.conv2d(x, kernel, (1, 1), groups, data_format)
    return y if bias is None else y + layout.along(bias, layout.channel_axis(data_format))


def products(x, kernel, bias, factors, interpolation, padding, groups, data_format):
    """The taps times the small image, then the shifted sums of these products, resized.

    Resize and border act on each channel alone, a tap on each pixel alone: their order does not
    matter, and before the resize there are fewer pixels. Exact with every border.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, bias, interpolation, padding, groups, data_format: As `resize_conv2d` takes them.
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
    y = backend.with_transpose(
        _shifted_sums,
        _transposed_shifted_sums,
        *of_rows,
        *([] if bias is None else [bias]),
        rows=len(of_rows),
        has_bias=bias is not None,
        columns=kw if up_x else 1,
        groups=groups,
        factors=factors,
        interpolation=interpolation,
        padding=padding,
    )
    return layout.from_channels_last(y, data_format)


def _shifted_sums(*tensors, rows, has_bias, columns, groups, factors, interpolation, padding):
    """The image that the first `rows` tensors add up to: of each tap along the height, where that
    is resized, the products (N, H, W, groups * columns * filters) with each of the taps along the
    width. With `has_bias`, another tensor is the bias.
    """
    y_axis, x_axis = layout.spatial_axes("channels_last")
    phases = [at_least_float32(z) for z in tensors[:rows]]
    if factors[0] > 1:
        phases = tap_sums(phases, factors[0], interpolation, padding, y_axis)
    lines = []
    for phase in phases:
        of_columns = _taps_apart(phase, columns, groups)
        if factors[1] > 1:
            of_columns = tap_sums(of_columns, factors[1], interpolation, padding, x_axis)
        lines.append(layout.interleave(of_columns, x_axis))
    y = layout.interleave(lines, y_axis)
    if has_bias:
        y = y + at_least_float32(tensors[-1])
    return ops.cast(y, tensors[0].dtype)


def _taps_apart(z, taps, groups):
    """Of the products (N, H, W, groups * taps * filters), those with each tap."""
    # Without an axis for each, which LiteRT could not slice.
    parts = ops.split(z, groups * taps, axis=3) if groups * taps > 1 else [z]
    of_taps = [parts[tap::taps] for tap in range(taps)]
    return [p[0] if groups == 1 else ops.concatenate(p, axis=3) for p in of_taps]


def _transposed_shifted_sums(
    gradient, rows, has_bias, columns, groups, factors, interpolation, padding
):
    """The gradients with respect to the tensors that `_shifted_sums` takes."""
    y_axis, x_axis = layout.spatial_axes("channels_last")
    _, height, width, channels = ops.shape(gradient)
    height, width = height // factors[0], width // factors[1]
    of_y = at_least_float32(gradient)
    phases_apart = (-1, height, factors[0], width, factors[1], groups, channels // groups)
    phases = ops.reshape(of_y, phases_apart)
    lines = []
    for row in range(factors[0]):
        of_columns = [phases[:, :, row, :, column] for column in range(factors[1])]
        if factors[1] > 1:
            of_columns = transposed_tap_sums(of_columns, columns, interpolation, padding, x_axis)
        lines.append(of_columns)
    taps = list(zip(*lines, strict=True))
    if factors[0] > 1:
        taps = [transposed_tap_sums(t, rows, interpolation, padding, y_axis) for t in taps]
    products = (-1, height, width, columns * channels)
    gradients = [
        ops.reshape(ops.stack(of_columns, axis=4), products)
        for of_columns in zip(*taps, strict=True)
    ]
    if has_bias:
        gradients.append(ops.sum(of_y, axis=(0, 1, 2)))
    return [ops.cast(g, gradient.dtype) for g in gradients]


def transposed(x, kernel, bias, factors, padding, data_format):
    """One transposed convolution with the kernel convolved with a box of `factors`; for nearest.

    That is the form with zeros around the image. What another border adds, reaches a few pixels
    at the ends only.

    Args:
        factors: Pair of ints: how many pixels each pixel becomes.
        x, kernel, bias, padding, data_format: As `resize_conv2d` takes them.
    """
    kernel_size = kernel.shape[:2]
    boxes = [_box_matrix(k, s) for k, s in zip(kernel_size, factors, strict=True)]
    boxes = [ops.convert_to_tensor(box, dtype=kernel.dtype) for box in boxes]
    composite = ops.einsum("at,bu,tucf->abcf", *boxes, kernel)
    # How many pixels of the result read each part of the border, and how many pixels the border
    # is made of.
    counts = kernels.border_of(kernel_size) if padding != "zeros" else ((0, 0), (0, 0))
    sources = [
        tuple(_source(n, s, padding) + 1 if n else 0 for n in pair)
        for pair, s in zip(counts, factors, strict=True)
    ]
    if padding == "wrap":
        sources = [pair[::-1] for pair in sources]
    x, *parts = backend.take_at_ends(x, tuple(sources), data_format)
    y = backend.conv_transpose2d(x, composite, factors, data_format)
    sides = [side for side, pair in enumerate(counts) if any(pair)]
    additions = [
        _of_border(
            part,
            kernel,
            _border_matrix(kernel_size[side], sources[side], factors[side], padding),
            side,
            factors,
            padding,
            data_format,
        )
        for part, side in zip(parts, sides, strict=True)
    ]
    least = tuple(
        s * fewest_pixels(k, s, padding) for k, s in zip(kernel_size, factors, strict=True)
    )
    return backend.add_at_ends(y, bias, additions, counts, least, data_format)


def _box_matrix(taps, factor):
    """Convolves `taps` taps, in reverse, with a box of `factor`. An even number of taps gets a zero
    at its end, so that a transposed convolution can be cropped evenly.
    """
    boxes = [np.eye(taps + factor - taps % 2, taps, -shift) for shift in range(factor)]
    return np.sum(boxes, axis=0)[:, ::-1]


def _source(beyond, factor, padding):
    """Which pixel of the small image, counted from the end that its border is taken from, lies
    `beyond` pixels beyond the resized image.
    """
    if padding == "edge":
        return 0
    return (beyond if padding == "reflect" else beyond - 1) // factor


def _border_matrix(taps, sources, factor, padding):
    """Which of the `sources` (at the start, at the end) along a side the taps meet in the border.

    Returns:
        An array of ones and zeros: (outermost pixels of the result, taps, outermost pixels of the
        small image). Pixels are in the order of the image, those at its end after those at its
        start.
    """
    before, after = kernels.sides(taps)
    matrix = np.zeros((before + after, taps, sum(sources)))
    for at_end, reach in ((False, before), (True, after)):
        from_end = at_end != (padding == "wrap")
        for outer in range(reach):
            for tap in range(taps):
                beyond = (tap - before if at_end else before - tap) - outer
                if beyond > 0:
                    source = _source(beyond, factor, padding)
                    row, column = (
                        -1 - outer if at_end else outer,
                        -1 - source if from_end else source,
                    )
                    matrix[row, tap, column] = 1
    return matrix


def _of_border(pixels, kernel, matrix, side, factors, padding, data_format):
    """What the border along a side adds to the outermost pixels of the result: as products.

    Args:
        pixels: Those of the small image that the border repeats, `matrix.shape[2]` of them.
        matrix: As `_border_matrix` gives it.
    """
    axis, channels = layout.spatial_axes(data_format)[side], layout.channel_axis(data_format)
    # Of each position and source along this side, the taps along the other.
    equation = ("pts,tucf->uscpf", "pts,utcf->uscpf")[side]
    matrix = ops.convert_to_tensor(matrix, dtype=kernel.dtype)
    taps = ops.einsum(equation, matrix, kernel)
    _, sources, in_channels, positions, filters = taps.shape
    taps = ops.reshape(taps, (-1, sources * in_channels, positions * filters))
    y = products(
        ops.concatenate(ops.split(pixels, sources, axis=axis), axis=channels),
        ops.expand_dims(taps, side),
        None,
        tuple(1 if i == side else s for i, s in enumerate(factors)),
        "nearest",
        # The corners count once: with the ends of the height.
        padding if side == 0 else "zeros",
        1,
        data_format,
    )
    return ops.concatenate(ops.split(y, positions, axis=channels), axis=axis)
