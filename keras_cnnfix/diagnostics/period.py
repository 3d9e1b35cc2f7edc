"""Which period the grid in images has, where it is not known beforehand."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import images_as_array, without_border
from keras_cnnfix.diagnostics.checkerboard import is_flat, luminance, reach, windowed
from keras_cnnfix.typing import Array, DataFormat, Images

# How many times stronger than their neighbours points are on average to be a grid, for at least so
# many independent ones: 10, 12 and 15 dB. `python -m benchmarks.detection` shows what they cost.
FOUND_FROM = {4: 10**1.0, 2: 10**1.2, 1: 10**1.5}
# What belongs to a grid that was found: 3 dB less are enough, and 6 where the same frequencies with
# height and width exchanged have as much. Most grids are alike along both axes.
BELONGS_FROM, MIRRORED_FROM = 1 / 2, 1 / 4


def find_period(
    images: Images, max_period: int = 8, border: int = 0, data_format: DataFormat | None = None
) -> tuple[int, int] | None:
    """Finds the one period that explains the grid in images.

    A grid of period 4 is one of period 8, too, and where it stands out at half the sampling
    frequency alone it is one of period 2: `checkerboard_score` fires for all of them. Here every
    frequency `k / p` of every period `p` counts once, for the denominator of the reduced fraction
    (2/4 is 1/2), so that a pair of denominators (height, width) has points of its own. A pair
    stands out if its points do, on average, as the excess of `checkerboard_score` has it; a point
    that is weaker than a bin next to it is the flank of something else, and counts as nothing.

    Nothing stands out, and there is no grid: by 15 dB for a single point, 12 for two or three
    independent ones, 10 for more. Otherwise the period is the one whose lattice holds most of the
    energy of what stands out; of several that hold the same, the shortest.

    Args:
        images: Array or tensor `(H, W)`, `(H, W, C)` or `(N, H, W, C)`, in any unit, at least 8
            pixels on one axis. All are taken to have the same grid. Of three channels the
            luminance is read.
        max_period: Longest period that is looked for, in pixels, at least 2; along an axis at most
            a quarter of its size. Periods `p` and `p - 1` are told apart on sides of some
            `2 * p**2` pixels.
        border: Pixels to cut from each side first, for models that draw one.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        The pair of periods (height, width) in pixels, to be given to `checkerboard_score`, with 1
        for an axis without a grid; None if there is no grid.

    Raises:
        ValueError: The images are too small, not finite or of another rank.

    Source:
        The frequencies of an up-sampling: Odena, Dumoulin, Olah, Distill, 2016,
        https://distill.pub/2016/deconv-checkerboard; the measure is this package's own.

    Example:
        >>> grid = np.random.default_rng(0).random((64, 64)); grid[::4] += 1
        >>> find_period(grid)
        (4, 1)
    """
    owner = "find_period"
    max_period = checks.positive_int(owner, "max_period", max_period, minimum=2)
    images = luminance(without_border(owner, images_as_array(owner, images, data_format), border))
    longest = [max(1, min(max_period, side // 4)) for side in images.shape[1:3]]
    if max(longest) == 1:
        raise ValueError(
            f"{owner}: `images` must have at least 8 pixels on one axis: 4 periods of 2. Received: "
            f"{images.shape[1]} x {images.shape[2]} pixels. Use larger images, or a smaller border."
        )
    windowed_images, rounding = windowed(images)
    if is_flat(np.square(windowed_images).sum(), rounding):
        return None
    frequencies = [
        sorted({Fraction(k, p) for p in range(1, n + 1) for k in range(p)}) for n in longest
    ]
    ratio, energy = _points(windowed_images, rounding, frequencies)
    rows, columns = (np.array([f.denominator for f in axis]) for axis in frequencies)
    strength, energies = {}, {}
    for pair in product(sorted({*rows}), sorted({*columns})):
        if pair != (1, 1):
            own = np.ix_(rows == pair[0], columns == pair[1])
            independent = (ratio[own].size + 1) // 2  # images are real: f and -f are one
            least = next(level for count, level in FOUND_FROM.items() if independent >= count)
            strength[pair], energies[pair] = ratio[own].mean() / least, energy[own].sum()
    if max(strength.values()) < 1:
        return None

    def belongs(pair: tuple[int, int]) -> bool:
        mirrored = strength.get(pair[::-1], 0) >= BELONGS_FROM
        return strength[pair] >= (MIRRORED_FROM if mirrored else BELONGS_FROM)

    grid = [pair for pair in strength if belongs(pair)]

    def explained(period: tuple[int, int]) -> float:
        return sum(energies[y, x] for y, x in grid if period[0] % y == 0 == period[1] % x)

    periods: Any = product(*(range(1, n + 1) for n in longest))
    return max(periods, key=lambda period: (explained(period), -period[0] * period[1]))


def _points(
    images: Array, rounding: float, frequencies: Sequence[Sequence[Fraction]]
) -> tuple[Array, Array]:
    """By what factor each pair of frequencies is stronger than its neighbours, and by how much.

    Args:
        images: `(N, H, W, C)`, windowed.
        rounding: What of the power may be rounding.
        frequencies: Those along the height and those along the width, in cycles a pixel.
    """
    images = np.moveaxis(images, 3, 1)
    sides = images.shape[2:]
    offsets = [_offsets(n, axis) for n, axis in zip(sides, frequencies, strict=True)]
    rows, columns = (_waves(n, axis) for n, axis in zip(sides, frequencies, strict=True))
    more_rows, more_columns = (
        _waves(n, np.add.outer(np.array(axis, "float64"), bins / n).ravel())
        for n, axis, bins in zip(sides, frequencies, offsets, strict=True)
    )
    count = (len(rows), len(columns))
    along_height = _power(more_rows, images @ columns.T).reshape(count[0], -1, count[1])
    along_width = _power(rows @ images, more_columns.T).reshape(*count, -1)
    power = along_width[..., offsets[1] == 0][..., 0]
    usual, near = np.zeros(count), np.zeros(count)
    for line, bins in zip((along_height.swapaxes(1, 2), along_width), offsets, strict=True):
        usual = np.maximum(usual, np.median(line[..., np.abs(bins) >= 2], -1))
        near = np.maximum(near, line[..., (bins != 0) & (np.abs(bins) <= 2)].max(-1))
    ratio = np.where(power >= near, (power + rounding) / (usual + rounding), 0)
    return ratio, np.maximum(power - usual, 0)


def _offsets(side: int, frequencies: Sequence[Fraction]) -> Array:
    """The bins beside a point that say what energy is to be expected, and the point's own, 0."""
    farthest = reach(side, max(f.denominator for f in frequencies))
    return np.arange(-farthest, farthest + 1)


def _waves(side: int, frequencies: Any) -> Array:
    return np.exp(-2j * np.pi * np.outer(np.array(frequencies, "float64"), np.arange(side)))


def _power(left: Array, right: Array) -> Array:
    return np.square(np.abs(left @ right)).sum((0, 1))
