"""Up-sampling by interpolation."""

from fractions import Fraction
from typing import Any, get_args

import numpy as np
from keras import ops

from keras_cnnfix.checks import MOST_PIXELS
from keras_cnnfix.ops import backend, layout
from keras_cnnfix.ops.precision import at_least_float32, dtype_of_sums
from keras_cnnfix.typing import DataFormat, Interpolation, Ints, Padding, Sizes, Tensor

INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)


def resize2d(
    x: Tensor,
    size: tuple[Fraction, ...],
    output_size: Ints | None,
    interpolation: Interpolation,
    padding: Padding,
    data_format: DataFormat,
) -> Tensor:
    """Resizes images with half-pixel centres: output `i` samples at `(i + 1/2) * in/out - 1/2`.

    Nearest takes pixel `floor((i + 1/2) * in/out)`. Bicubic is Keys' kernel with a = -1/2,
    antialiased where it shrinks, of the pixels that there are.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        size: Pair of `Fraction`, the factors of height and width. Ignored where `output_size` is
            given.
        output_size: The exact (height, width) in pixels, or None for `H * size`, rounded down.
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`.
        padding: Of what follows, a mode of `pad2d`: with `"wrap"` the image goes on at its other
            end here, too. Otherwise it is resized by itself.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, out height, out width, C), in the dtype of `x`.

    Source:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981.
    """
    # Not `ops.image.resize`: under XLA on TensorFlow its nearest has no gradient, its bilinear is
    # wrong for factors 3 and 5 and its bicubic fails, as do second derivatives; its nearest does
    # not export from PyTorch to ONNX, nor its sizes where a graph does not know them; and none can
    # wrap (TensorFlow 2.21, PyTorch 2.13, Keras 3.15).
    sizes = resized(layout.spatial_size(ops.shape(x), data_format), size, output_size)
    by_integer, to_any_size = _RESIZERS[interpolation]
    for axis, factor, out in zip(layout.spatial_axes(data_format), size, sizes, strict=True):
        if output_size is None and factor == 1:
            continue
        if output_size is None and factor.denominator == 1:
            x = by_integer(x, factor.numerator, axis, padding == "wrap")
        else:
            x = to_any_size(x, out, axis, padding == "wrap")
    return x


def resized(sizes: Sizes, size: tuple[Fraction, ...], output_size: Ints | None) -> Sizes:
    """Height and width after `resize2d`; an unknown one (None) stays unknown.

    Args:
        sizes: Height and width before, in pixels: ints, None or scalar tensors.
        size, output_size: As `resize2d` takes them.
    """
    if output_size is not None:
        return output_size
    return tuple(
        None if n is None else _times(n, factor) for n, factor in zip(sizes, size, strict=True)
    )


def _times(n: Any, factor: Fraction) -> Any:
    """`n * factor`, rounded down: an int, or a tensor of up to `MOST_PIXELS`."""
    if not isinstance(n, int):
        factor = _as_counted(factor)
    whole, part = divmod(factor.numerator, factor.denominator)
    return n * whole + n * part // factor.denominator


def _as_counted(factor: Fraction) -> Fraction:
    """The fraction of a denominator up to `MOST_PIXELS` that gives the same whole part of
    `n * factor` for every `n` up to there: 32 bits hold what `factor` itself would overflow.

    It is the largest that is not above `factor`, its neighbour in a Farey sequence.
    """
    nearest = factor.limit_denominator(MOST_PIXELS)
    if nearest <= factor:
        return nearest
    p, q = nearest.numerator, nearest.denominator
    denominator = MOST_PIXELS - (MOST_PIXELS - pow(p, -1, q)) % q if q > 1 else MOST_PIXELS
    return Fraction((p * denominator - 1) // q, denominator)


def _nearest_by(x: Tensor, factor: int, axis: int, wrap: bool) -> Tensor:
    # Not `ops.repeat`: on TensorFlow it is a tile, which LiteRT has not in 16 bits.
    return layout.interleave([x] * factor, axis)


def _nearest_to(x: Tensor, out: Any, axis: int, wrap: bool) -> Tensor:
    n = ops.shape(x)[axis]
    count = _where_known(n, out)
    n, size, i = _counted(count, n, out)
    # In integers: a float falls just below the whole number at sizes such as 40 -> 46.
    return backend.take(x, (2 * i + 1) * n // (2 * size), axis)


def _bilinear_by(x: Tensor, factor: int, axis: int, wrap: bool) -> Tensor:
    # Phase `r` holds the pixels `r, factor + r, ...`: means of two neighbours, with the same
    # weights at every pixel.
    n = ops.shape(x)[axis]
    ends = [backend.first(x, 1, axis), backend.last(x, 1, axis)]
    before, after = reversed(ends) if wrap else ends
    x = ops.concatenate([before, x, after], axis=axis)
    neighbours = [backend.every(x, start, n, 1, axis) for start in range(3)]
    phases = []
    for phase in range(factor):
        position = (2 * phase + 1 + factor) / (2 * factor)  # 1 is the centre of the pixel itself
        left = int(position)
        right_weight = position - left
        phases.append(
            neighbours[left] * (1 - right_weight) + neighbours[min(left + 1, 2)] * right_weight
        )
    return layout.interleave(phases, axis)


def _bilinear_to(x: Tensor, out: Any, axis: int, wrap: bool) -> Tensor:
    n = ops.shape(x)[axis]
    count = _where_known(n, out)
    n, size, i = _counted(count, n, out)
    # Twice `out` times the position of each centre, plus one pixel so that none is negative (an
    # ONNX division rounds those towards zero): whole numbers, so that none is rounded.
    position = (2 * i + 1) * n + size
    right = position // (2 * size)
    exact = dtype_of_sums(x.dtype)
    right_weight = ops.cast(position - right * (2 * size), exact) / ops.cast(2 * size, exact)
    right_weight = layout.along(ops.cast(right_weight, x.dtype), axis)
    # Beyond the outermost centres both neighbours are the outermost pixel.
    left, right = ((j + n) % n if wrap else count.clip(j, 0, n - 1) for j in (right - 1, right))
    return backend.take(x, left, axis) * (1 - right_weight) + (
        backend.take(x, right, axis) * right_weight
    )


def _bicubic_by(x: Tensor, factor: int, axis: int, wrap: bool) -> Tensor:
    return _bicubic_to(x, ops.shape(x)[axis] * factor, axis, wrap)


def _bicubic_to(x: Tensor, out: Any, axis: int, wrap: bool) -> Tensor:
    n = ops.shape(x)[axis]
    count = _where_known(n, out)
    # As many as the kernel, stretched where it shrinks, reaches. A factor is at least 1.
    taps = (4 * count.maximum(n, out) + out - 1) // out if isinstance(out, int) else 4
    n, size, i = _counted(count, n, out)
    reach, _, tap = _counted(count, taps, taps)
    # All in units of half an output step.
    width = count.maximum(n, size)
    centre = (2 * i[:, None] + 1) * n
    before = centre - 4 * width - size + 2 * size * reach  # Not negative, as in `_bilinear_to`.
    pixel = before // (2 * size) + 1 - reach + tap
    exact = dtype_of_sums(x.dtype)
    distance = ops.cast(count.abs((2 * pixel + 1) * size - centre), exact)
    weight = _keys(distance / ops.cast(2 * width, exact))
    if not wrap:
        weight = weight * ops.cast((pixel >= 0) & (pixel < n), exact)
    weight = weight / ops.sum(weight, axis=1, keepdims=True)
    source = (pixel + reach * n) % n if wrap else count.clip(pixel, 0, n - 1)
    # An axis of taps behind that of the outputs.
    shape = [*ops.shape(x)]
    shape[0], shape[axis : axis + 1] = -1, (out, taps)
    copies = ops.reshape(backend.take(x, count.reshape(source, (-1,)), axis), shape)
    weight = ops.reshape(weight, (1,) * axis + (out, taps) + (1,) * (3 - axis))
    return ops.cast(ops.sum(at_least_float32(copies) * weight, axis=axis + 1), x.dtype)


def _keys(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2, of distances in pixels, at least 0."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return ops.where(distance < 1, near, ops.where(distance < 2, far, 0))


def _where_known(n: Any, out: Any) -> Any:
    """What counts pixels: NumPy, once, when traced, if the sizes `n` and `out` are known.
    (Inductor of PyTorch 2.13 fails to compile it.)
    """
    return np if isinstance(n, int) and isinstance(out, int) else ops


def _counted(count: Any, n: Any, out: Any) -> tuple[Any, Any, Any]:
    """`n`, `out` and the positions of the outputs, such that their products fit."""
    if count is np:
        return n, out, np.arange(out)
    dtype = backend.widest_int()
    return backend.scalar(n, dtype), backend.scalar(out, dtype), ops.arange(out, dtype=dtype)


_RESIZERS = {
    "nearest": (_nearest_by, _nearest_to),
    "bilinear": (_bilinear_by, _bilinear_to),
    "bicubic": (_bicubic_by, _bicubic_to),
}
