"""Pictures of the measures. Each function returns a matplotlib figure, and shows nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import images_as_array
from keras_cnnfix.diagnostics.checkerboard import checkerboard_score, luminance, power_spectrum
from keras_cnnfix.diagnostics.overlap import overlap_map
from keras_cnnfix.diagnostics.shift import ShiftConsistency
from keras_cnnfix.typing import Array, DataFormat, Images, IntOrPair

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_spectrum(
    images: Images, period: IntOrPair = 2, data_format: DataFormat | None = None
) -> "Figure":
    """Draws the power spectrum of images, with the lattice of an up-sampling marked.

    Args:
        images: As for `checkerboard_score`.
        period: As for `checkerboard_score`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `matplotlib.figure.Figure`: the power in dB under the strongest, frequencies in cycles a
        pixel, a circle around each point of the lattice.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: As for `checkerboard_score`.

    Example:
        >>> figure = plot_spectrum(np.random.default_rng(0).random((64, 64)))
        >>> figure.axes[0].get_ylabel()
        'along the height'
    """
    score = checkerboard_score(images, period, data_format=data_format)
    array = luminance(images_as_array("plot_spectrum", images, data_format))
    height, width = (n // p * p for n, p in zip(array.shape[1:3], score.period, strict=True))
    power, rounding = power_spectrum(array[:, :height, :width])
    decibels = 10 * np.log10(np.fft.fftshift(power + rounding + np.finfo("float64").tiny))
    figure, axes = _figure("plot_spectrum")
    drawn = axes.imshow(
        decibels - decibels.max(),
        # A bin's middle, not its edge, is its frequency.
        extent=(-0.5 - 0.5 / width, 0.5 - 0.5 / width, 0.5 - 0.5 / height, -0.5 - 0.5 / height),
        cmap="magma",
        vmin=-100,
        interpolation="nearest",
    )
    lattice = [_frequencies(p) for p in score.period]
    points = np.array([(x, y) for y in lattice[0] for x in lattice[1] if (x, y) != (0, 0)])
    axes.plot(*points.T, "o", fillstyle="none", markersize=9, color="cyan", clip_on=False)
    axes.set(
        title=f"share {score.share:.2%}, excess {score.excess:.1f} dB",
        xlabel="frequency along the width (cycles a pixel)",
        ylabel="along the height",
    )
    figure.colorbar(drawn, label="power (dB)")
    return figure


def plot_overlap(kernel_size: IntOrPair, strides: IntOrPair, input_size: IntOrPair = 6) -> "Figure":
    """Draws how many taps of a transposed convolution reach each output pixel.

    Args:
        kernel_size: As for `overlap_map`, numbers only.
        strides: As for `overlap_map`.
        input_size: Size of the input in pixels, an int or a pair.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: As for `overlap_map`.

    Example:
        >>> plot_overlap(3, 2).axes[0].get_title()
        'kernel 3 x 3, stride 2 x 2'
    """
    counts = overlap_map(kernel_size, strides, input_size)
    taps = checks.pair_of_ints("plot_overlap", "kernel_size", kernel_size)
    steps = checks.pair_of_ints("plot_overlap", "strides", strides)
    figure, axes = _figure("plot_overlap")
    drawn = axes.imshow(counts, cmap="viridis", interpolation="nearest")
    axes.set(title=f"kernel {taps[0]} x {taps[1]}, stride {steps[0]} x {steps[1]}")
    figure.colorbar(drawn, label="taps")
    return figure


def plot_shift_consistency(results: Mapping[str, ShiftConsistency]) -> "Figure":
    """Draws how the consistency of classifiers falls with the shift.

    Args:
        results: A dict from names to what `shift_consistency` returned.

    Returns:
        A `matplotlib.figure.Figure`: for each name the share of agreeing pairs over the larger of
        the two shifts, with one standard error.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: There is no result.

    Example:
        >>> from keras_cnnfix.diagnostics import shift_consistency
        >>> scores = lambda x: np.stack([x.mean((1, 2, 3)), x.var((1, 2, 3))], axis=1)
        >>> result = shift_consistency(scores, np.random.default_rng(0).random((8, 16, 16, 1)), 3)
        >>> plot_shift_consistency({"moments": result}).axes[0].get_xlabel()
        'shift (pixels)'
    """
    if not results:
        raise ValueError("plot_shift_consistency: `results` must hold one result or more.")
    figure, axes = _figure("plot_shift_consistency")
    for name, result in results.items():
        distance = np.abs(result.shifts).max(1)
        reached = np.unique(distance)
        agree = [result.agree[distance == d] for d in reached]
        mean = np.array([a.mean() for a in agree])
        error = np.sqrt(mean * (1 - mean) / np.array([len(a) for a in agree]))
        axes.errorbar(reached, mean, error, marker="o", capsize=2, label=name)
    axes.set(xlabel="shift (pixels)", ylabel="share of pairs with the same class")
    figure.legend(loc="outside lower center", ncols=3)
    axes.grid(alpha=0.3)
    return figure


def _figure(owner: str) -> "tuple[Figure, Any]":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"{owner}: matplotlib is missing. Run: pip install 'keras_cnnfix[plot]'.",
            name="matplotlib",
        ) from error
    # A figure of its own, not pyplot's: no window, no global state.
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    return figure, figure.subplots()


def _frequencies(period: int) -> Array:
    """The lattice's frequencies along an axis, both signs of the highest."""
    steps = np.arange(-(period // 2), period // 2 + 1)
    return steps / period
