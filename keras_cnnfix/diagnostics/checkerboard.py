"""How much of an image is a grid with the period of an up-sampling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import images_as_array, without_border
from keras_cnnfix.ops import backend
from keras_cnnfix.typing import AnyModel, Array, DataFormat, Images, IntOrPair, Ints, Shape

# From how many dB on it is a grid, for lattices of at least so many points: the more there are to
# average over, the less is chance. `python -m benchmarks.detection` makes the table, in
# docs/diagnostics.md, that these are chosen from.
FOUND_FROM = {48: 9.0, 15: 12.0, 1: 15.0}
WINDOW_SPREAD = 9 / 4  # all of a tone's power by that in its own bin, of a Hann window
NEIGHBOURS = 8  # bins on each side that say what energy is to be expected
LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601


@dataclass(frozen=True)
class CheckerboardScore:
    """What `checkerboard_score` found.

    Attributes:
        share: Share of the non-constant spectral energy at the up-sampling frequencies, 0 to 1.
        excess: By how much these frequencies stand out of their neighbours, in dB; about 0 to 6
            for images without a grid.
        period: The pair of periods (height, width), in pixels.
    """

    share: float
    excess: float
    period: tuple[int, int]

    @property
    def found(self) -> bool:
        """Whether it is a grid: an excess of 15 dB for a period of 2 or 3, 12 from 4, 9 from 7."""
        points = self.period[0] * self.period[1] - 1
        return self.excess >= next(level for least, level in FOUND_FROM.items() if points >= least)


def checkerboard_score(
    images: Images, period: IntOrPair = 2, border: int = 0, data_format: DataFormat | None = None
) -> CheckerboardScore:
    """Measures the grid that up-sampling by `period` leaves in images.

    Whatever repeats every `U` pixels lies in the bins `(k * H / U, l * W / U)` of the Fourier
    transform, `(k, l) != (0, 0)`: the lattice. The power |F|^2 is taken of the images without
    their mean, under a Hann window (a step from one edge of the image to the other would spread
    over the lattice), and summed over images and channels.

    - The **share** is the power on the lattice by the power everywhere. The window spreads a grid
      over 3 x 3 bins around each point and leaves 4/9 of its power in the middle one, which alone
      is read (times 9/4): what has no grid has power in all nine. It compares generators; a
      photograph's is small, but depends on its content.
    - The **excess** compares each point of the lattice with its neighbours: the larger of the
      medians of the 2 to 8 bins away along the height and along the width. Averaged over the
      points on the one axis, on the other, and off both, the largest of these three counts. It
      tells a grid from a fine texture, whose neighbours are as strong.

    Three channels are taken for RGB, and their luminance is scored: the colour of a JPEG picture
    is stored at half the size, and most photographs carry that grid. Any other number of channels
    is scored one by one.

    Args:
        images: Array or tensor `(H, W)`, `(H, W, C)` or `(N, H, W, C)`, in any unit, at least
            4 periods a side. Cut to whole periods.
        period: Distance of the grid's lines in pixels: the factor of the up-sampling, or the
            product of several. An int or a pair; 1 for an axis that was not up-sampled.
        border: Pixels to cut from each side first, for models that draw one.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `CheckerboardScore`. Images without any contrast beyond their rounding have share 0 and
        excess 0.

    Raises:
        ValueError: The images are too small, not finite or of another rank; both periods are 1.

    Source:
        Odena, Dumoulin, Olah, Distill, 2016, https://distill.pub/2016/deconv-checkerboard, for
        the artifact; the measure is this package's own.

    Example:
        >>> grid = np.zeros((64, 64)); grid[::4, ::4] = 1
        >>> score = checkerboard_score(grid, period=4)
        >>> round(score.share, 3), score.found
        (1.0, True)
    """
    owner = "checkerboard_score"
    period = checks.pair_of_ints(owner, "period", period)
    images = without_border(owner, images_as_array(owner, images, data_format), border)
    return _score(owner, luminance(images), period)


def luminance(images: Array) -> Array:
    """Returns the luminance `(N, H, W, 1)` of RGB images; other numbers of channels stay."""
    if images.shape[-1] != LUMA.size:
        return images
    return images @ LUMA.astype(images.dtype)[:, None]


def input_gradient(
    model: AnyModel,
    images: Images,
    loss: Callable[[Any], Any] | None = None,
    data_format: DataFormat | None = None,
) -> Array:
    """Returns the gradient of a loss with respect to the input.

    Args:
        model: A Keras model or a torch module, run in inference mode, or a function of a batch of
            images, made of the backend's own operations.
        images: Array or tensor of shape `(N, H, W, C)`, as the model takes it.
        loss: Function from the model's output to a scalar. None for half the sum of squares of
            all outputs, whose gradient is J^T f(x).
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A float array `(N, H, W, C)`, channels last.

    Raises:
        ValueError: The gradient is not finite.

    Example:
        >>> images = np.ones((1, 4, 4, 3), "float32")
        >>> float(input_gradient(lambda x: 2 * x, images).mean())
        4.0
    """
    owner = "input_gradient"
    data_format = checks.data_format(owner, data_format)
    gradient = backend.gradient(model, images, loss)
    return images_as_array(owner, gradient, data_format, "gradient")


def gradient_checkerboard(
    model: AnyModel,
    images: Images,
    period: IntOrPair = 2,
    loss: Callable[[Any], Any] | None = None,
    border: int = 0,
    data_format: DataFormat | None = None,
) -> CheckerboardScore:
    """Measures the grid in the size of a loss's gradient with respect to the input.

    A strided convolution weighs the pixels of its input unevenly, and so does a pooling: seen
    backwards it is a transposed convolution. Whoever optimises an image, or a generator, through
    such a network gets the grid. Scored is the gradient's absolute value, each channel on its own:
    the signs of a trained network's gradient cancel on average, its size does not. See
    `checkerboard_score`.

    Args:
        model, images, loss: As for `input_gradient`.
        period: Distance of the grid's lines in pixels: a stride, or the product of several.
        border: Pixels to cut from each side of the gradient.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `CheckerboardScore`.

    Raises:
        ValueError: As for `checkerboard_score`.

    Source:
        Odena, Dumoulin, Olah, Distill, 2016, "Checkerboard Patterns in Gradients".
        https://distill.pub/2016/deconv-checkerboard

    Example:
        >>> strided = keras.Sequential([keras.layers.Conv2D(8, 3, strides=2)])
        >>> images = np.random.default_rng(0).normal(size=(4, 33, 33, 3)).astype("float32")
        >>> gradient_checkerboard(strided, images).found
        True
    """
    owner = "gradient_checkerboard"
    period = checks.pair_of_ints(owner, "period", period)
    size = np.abs(input_gradient(model, images, loss, data_format))
    return _score(owner, without_border(owner, size, border), period)


def _score(owner: str, images: Array, period: tuple[int, int]) -> CheckerboardScore:
    if period == (1, 1):
        raise ValueError(f"{owner}: `period` must be 2 or more on one axis. Received: (1, 1).")
    height, width = (n // p * p for n, p in zip(images.shape[1:3], period, strict=True))
    if height < 4 * period[0] or width < 4 * period[1]:
        raise ValueError(
            f"{owner}: `images` must have at least 4 periods a side. Received: "
            f"{images.shape[1]} x {images.shape[2]} pixels, period={period}. "
            f"Use larger images, or a smaller period or border."
        )
    power, rounding = power_spectrum(images[:, :height, :width])
    total = power.sum()
    if is_flat(total / power.size, rounding):
        return CheckerboardScore(0.0, 0.0, period)
    lattice = _lattice(power.shape, period)
    share = min(1.0, sum(power[point] for point in lattice) * WINDOW_SPREAD / total)
    groups: dict[tuple[bool, bool], list[float]] = {}
    for y, x in lattice:
        usual = max(
            _median_beside(power[:, x], y, period[0]), _median_beside(power[y], x, period[1])
        )
        ratio = (power[y, x] + rounding) / (usual + rounding)
        groups.setdefault((y == 0, x == 0), []).append(ratio)
    excess = 10 * np.log10(max(np.mean(ratios) for ratios in groups.values()))
    return CheckerboardScore(float(share), float(excess), period)


def power_spectrum(images: Array) -> tuple[Array, float]:
    """Returns the power `(H, W)` of images `(N, H, W, C)`, and what of it may be rounding, a bin.

    Without the mean, under a Hann window, summed over images and channels; frequency 0 first.
    """
    images, rounding = windowed(images)
    return np.square(np.abs(np.fft.fft2(images, axes=(1, 2)))).sum((0, 3)), rounding


def windowed(images: Array) -> tuple[Array, float]:
    """Returns images `(N, H, W, C)` without their mean, under a Hann window, and what of the power
    in a bin of their spectrum may be rounding.
    """
    window = np.outer(*(_hann(n) for n in images.shape[1:3]))[..., None]
    # Images seldom know their values better than to float32, whatever their dtype says.
    rounding = np.square(np.finfo("float32").eps * np.abs(images).max((1, 2))).sum()
    images = images.astype("float64")
    images = images - (images * window).sum((1, 2), keepdims=True) / window.sum()
    return images * window, rounding * np.square(window).sum()


def is_flat(power: float, rounding: float) -> bool:
    """Whether the mean power of a bin is no more than rounding."""
    # A convolution rounds each phase in its own way, by several units in the last place.
    return power <= 64 * rounding


def _hann(n: int) -> Array:
    """A periodic Hann window: its transform has three bins, so a tone stays within three."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def _lattice(shape: Shape, period: Ints) -> list[tuple[int, int]]:
    steps = [n // p for n, p in zip(shape, period, strict=True)]
    points = [(k * steps[0], j * steps[1]) for k in range(period[0]) for j in range(period[1])]
    return points[1:]


def _median_beside(line: Array, centre: int, period: int) -> float:
    """The median of the bins beside `centre` that belong to no point of the lattice."""
    offsets = np.arange(2, reach(len(line), period) + 1)
    return np.median(line[(centre + np.concatenate([-offsets, offsets])) % len(line)])


def reach(side: int, period: int) -> int:
    """How many bins away a neighbour may be, short of the next point of the lattice."""
    return min(NEIGHBOURS, max(2, side // period - 2))
