"""What a kernel makes of a resized image along one axis, computed at the low resolution.

An axis that is up-sampled by `factor` consists of `factor` phases: phase `r` holds the pixels
`r, factor + r, 2 * factor + r, ...`, as many as the axis had before. Each phase is a sum of shifted
images, one for each tap of the kernel; only at the ends the border decides which pixels are summed.
"""

import functools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from keras import ops

from keras_cnnfix.ops import backend, kernels
from keras_cnnfix.typing import Array, Interpolation, Padding, Tensor


class Term(NamedTuple):
    """A pixel of one of the images that are summed, times a weight."""

    image: int
    # Inside: how far the pixel lies after that of the result. At the ends: its index, as Python
    # counts.
    position: int
    weight: float


class Sums(NamedTuple):
    """A line of pixels as sums of the pixels of other lines, whatever its length."""

    inside: tuple[Term, ...]
    head: tuple[tuple[Term, ...], ...]  # each of the first pixels
    tail: tuple[tuple[Term, ...], ...]  # each of the last pixels


def tap_sums(
    taps: Sequence[Tensor],
    factor: int,
    interpolation: Interpolation | Literal["zeros"],
    padding: Padding,
    axis: int,
) -> list[Tensor]:
    """The phases of `y[i] = sum_t pad(resize(taps[t]))[i + t]` along `axis`.

    Args:
        taps: One tensor for each tap of the kernel, of the same shape.
        factor: By how much the axis is up-sampled. At least 1.
        interpolation: `"nearest"`, `"bilinear"` or `"zeros"`: each pixel once, at `factor // 2` of
            its block, zeros around it.
        padding: A mode of `pad2d`, of the resized axis.
        axis: The axis.

    Returns:
        A list of `factor` tensors of the shape of each tap.
    """
    sums = _sums_of(len(taps), factor, interpolation, padding)
    return [_sum_of(phase, taps, axis) for phase in sums]


def can_sum_taps(
    n: int | None,
    kernel_size: int,
    factor: int,
    interpolation: Interpolation | Literal["zeros"],
    padding: Padding,
) -> bool:
    """Whether `tap_sums` serves an axis of `n` pixels (None: unknown): not where one pixel reads
    beyond both ends.
    """
    n = fewest_pixels(kernel_size, factor, padding) if n is None else n
    return n >= max(map(_least, _sums_of(kernel_size, factor, interpolation, padding)))


def fewest_pixels(kernel_size: int, factor: int, padding: Padding) -> int:
    """The fewest pixels, of the small axis, that the border of a kernel can be taken from."""
    _, after = kernels.sides(kernel_size)
    deepest = {"reflect": after + 1, "symmetric": after, "wrap": after}.get(padding, 1)
    return max(1, (deepest + factor - 1) // factor)


def _least(sums: Sums) -> int:
    positions = [term.position for terms in sums.head + sums.tail for term in terms]
    deepest = [position + 1 if position >= 0 else -position for position in positions]
    return max(len(sums.head) + len(sums.tail), *deepest, 1)


@functools.cache
def _sums_of(
    kernel_size: int, factor: int, interpolation: Interpolation | Literal["zeros"], padding: Padding
) -> tuple[Sums, ...]:
    """The `Sums` of each phase, read off the matrix of an axis that is long enough."""
    n = 4 * kernel_size + 8
    matrix = _matrix(n, kernel_size, factor, interpolation, padding)
    found = []
    for rows in matrix:
        middle = n // 2
        inside = [Term(i, j - middle, weight) for i, j, weight in _terms(rows[middle])]
        odd = [m for m in range(n) if not _follows(rows[m], m, inside)]
        head = range(max((m + 1 for m in odd if m < middle), default=0))
        tail = range(min((m for m in odd if m > middle), default=n), n)
        ends = [tuple(tuple(_from_nearest_end(rows[m])) for m in end) for end in (head, tail)]
        found.append(Sums(tuple(inside), *ends))
    return tuple(found)


def _matrix(
    n: int,
    kernel_size: int,
    factor: int,
    interpolation: Interpolation | Literal["zeros"],
    padding: Padding,
) -> Array:
    """`tap_sums` of an axis of `n` pixels: (factor, n, kernel_size, n)."""
    size = factor * n
    resize = np.zeros((size, n))
    for i in range(size):
        # Where its centre lies, in pixels of the small axis.
        position = (i + 0.5) / factor - 0.5
        left = int(np.floor(position))
        if interpolation == "nearest":
            resize[i, i // factor] = 1
        elif interpolation == "zeros":
            resize[i, i // factor] = i % factor == factor // 2
        else:
            left, right = left % n if padding == "wrap" else max(left, 0), left + 1
            right = right % n if padding == "wrap" else min(right, n - 1)
            resize[i, left] += 1 - position % 1
            resize[i, right] += position % 1
    before, after = kernels.sides(kernel_size)
    mode: Any = {"zeros": "constant"}.get(padding, padding)
    # 0 stands for no pixel.
    padded = np.pad(np.arange(1, size + 1), (before, after), mode=mode)
    matrix = np.zeros((factor, n, kernel_size, n))
    for i in range(size):
        for tap in range(kernel_size):
            if padded[i + tap]:
                matrix[i % factor, i // factor, tap] = resize[padded[i + tap] - 1]
    return matrix


def _terms(row: Array) -> list[Term]:
    return [Term(int(i), int(j), float(row[i, j])) for i, j in np.argwhere(row)]


def _follows(row: Array, m: int, inside: Iterable[Term]) -> bool:
    """Whether pixel `m` is the sum that pixels inside are."""
    expected = np.zeros_like(row)
    for image, offset, weight in inside:
        if not 0 <= m + offset < len(row[image]):
            return False
        expected[image, m + offset] = weight
    return np.allclose(row, expected, rtol=0, atol=1e-9)


def _from_nearest_end(row: Array) -> Iterator[Term]:
    _, n = row.shape
    for image, position, weight in _terms(row):
        yield Term(image, position if position < n // 2 else position - n, weight)


def _sum_of(sums: Sums, images: Sequence[Tensor], axis: int) -> Tensor:
    size = ops.shape(images[0])[axis]
    count = size - len(sums.head) - len(sums.tail)
    # Images at the same offset are summed before they are shifted.
    by_offset: dict[int, list[Tensor]] = {}
    for image, offset, weight in sums.inside:
        by_offset.setdefault(offset, []).append(_times(images[image], weight))
    inside = [
        backend.every(_add(terms), len(sums.head) + offset, count, 1, axis)
        for offset, terms in by_offset.items()
    ]

    def pixel(terms: Sequence[Term]) -> Tensor:
        if not terms:
            return ops.zeros_like(backend.first(images[0], 1, axis))
        pixels = [
            _times(backend.every(images[i], j if j >= 0 else size + j, 1, 1, axis), weight)
            for i, j, weight in terms
        ]
        return _add(pixels)

    parts = [*map(pixel, sums.head), _add(inside), *map(pixel, sums.tail)]
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]


def _times(x: Tensor, weight: float) -> Tensor:
    return x if weight == 1 else x * weight


def _add(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)
