"""The figures: what they mark, that they draw, and that nothing is shown."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_cnnfix.diagnostics import (
    checkerboard_score,
    overlap_map,
    plot_overlap,
    plot_shift_consistency,
    plot_spectrum,
    shift_consistency,
)


def _pixels(figure, path):
    figure.savefig(path)
    assert path.stat().st_size > 5000
    # pyplot would keep the figure, and may open a window.
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_the_spectrum_is_brightest_where_the_lattice_is_marked(tmp_path, rng):
    image = 0.01 * rng.random((64, 64))
    image[::4] += 1
    figure = plot_spectrum(image, 4)
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    x, y = map(np.asarray, axes.lines[0].get_data())
    assert sorted({*x}) == sorted({*y}) == [-0.5, -0.25, 0, 0.25, 0.5]
    assert (0, 0) not in {*zip(x, y, strict=True)}
    drawn = np.asarray(axes.images[0].get_array())
    peak = np.unravel_index(drawn.argmax(), drawn.shape)
    assert ((peak[0] / 64 - 0.5) % 0.25, peak[1] / 64 - 0.5) == (0, 0)
    assert f"{checkerboard_score(image, 4).share:.2%}" in axes.get_title()
    _pixels(figure, tmp_path / "spectrum.png")


def test_the_overlap_is_drawn_as_counted(tmp_path):
    figure = plot_overlap((3, 4), 2, input_size=5)
    np.testing.assert_array_equal(
        figure.axes[0].images[0].get_array(), overlap_map((3, 4), 2, input_size=5)
    )
    _pixels(figure, tmp_path / "overlap.png")


def test_consistency_is_drawn_over_the_shift(tmp_path, rng):
    def corner(x):
        return np.stack([x[:, 0, 0, 0], np.full(len(x), 0.5)], axis=1)

    result = shift_consistency(corner, rng.random((40, 16, 16, 1)), 6)
    figure = plot_shift_consistency({"corner": result})
    x, y = figure.axes[0].lines[0].get_data()
    np.testing.assert_array_equal(x, range(7))
    assert y[0] == 1
    far = result.agree[np.abs(result.shifts).max(1) == 6]
    assert y[-1] == far.mean()
    assert figure.legends[0].get_texts()[0].get_text() == "corner"
    _pixels(figure, tmp_path / "consistency.png")


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"plot_overlap: matplotlib is missing.*\[plot\]"):
        plot_overlap(3, 2)


def test_no_result_is_refused():
    with pytest.raises(ValueError, match="one result or more"):
        plot_shift_consistency({})
