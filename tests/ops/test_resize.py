from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from images import DATA_FORMATS, apply, assert_close, pairwise
from keras_cnnfix.ops.resize import INTERPOLATIONS, resize2d, resized

TOLERANCE = {"nearest": 0.0, "bilinear": 1e-6, "bicubic": 3e-6}


def _resize(images, size, output_size, interpolation, data_format="channels_last"):
    size = tuple(Fraction(s) for s in size)
    return apply(
        lambda x: resize2d(x, size, output_size, interpolation, data_format), images, data_format
    )


SIZES = [
    (("1", "1"), (5, 6)),
    (("2", "2"), (10, 12)),
    (("3", "1"), (15, 6)),
    (("1", "4"), (5, 24)),
    (("5", "2"), (25, 12)),
    (("1.5", "2.5"), (7, 15)),
    (("1.15", "2"), (5, 12)),
]


@pytest.mark.parametrize(
    ("interpolation", "sizes", "data_format"),
    pairwise(INTERPOLATIONS, SIZES, DATA_FORMATS),
    ids=str,
)
def test_resize2d_matches_the_oracle(interpolation, sizes, data_format, rng):
    size, expected = sizes
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    assert_close(
        _resize(images, size, None, interpolation, data_format),
        oracle.resize(images, expected, interpolation),
        TOLERANCE[interpolation],
    )


@pytest.mark.parametrize(
    ("interpolation", "target", "data_format"),
    pairwise(INTERPOLATIONS, [(7, 11), (10, 12), (3, 4), (1, 1), (13, 2)], DATA_FORMATS),
    ids=str,
)
def test_resize2d_meets_an_exact_size(interpolation, target, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    assert_close(
        _resize(images, ("2", "2"), target, interpolation, data_format),
        oracle.resize(images, target, interpolation),
        TOLERANCE[interpolation],
    )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_single_pixel_becomes_a_flat_image(interpolation, data_format):
    images = np.full((1, 1, 1, 2), 0.7, "float32")
    y = _resize(images, ("3", "2"), None, interpolation, data_format)
    np.testing.assert_allclose(y, np.full((1, 3, 2, 2), 0.7), rtol=1e-6)


@given(
    n=st.integers(1, 40),
    out=st.integers(1, 90),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
)
def test_any_size_is_reached_from_any_size(n, out, interpolation):
    row = np.random.default_rng(n).normal(size=(1, n, 1, 1)).astype("float32")
    y = _resize(row, ("2", "2"), (out, 1), interpolation)
    assert_close(y, oracle.resize(row, (out, 1), interpolation), TOLERANCE[interpolation])


@given(n=st.integers(1, 9), factor=st.integers(1, 6))
def test_an_integer_factor_and_the_same_exact_size_agree(n, factor):
    row = np.random.default_rng(n).normal(size=(1, n, 1, 2)).astype("float32")
    for interpolation in ("nearest", "bilinear"):
        by_factor = _resize(row, (str(factor), "1"), None, interpolation)
        to_size = _resize(row, ("2", "2"), (n * factor, 1), interpolation)
        assert_close(by_factor, to_size, 1e-6)


def test_a_decimal_factor_is_exact():
    # In binary 1.15 is a little less than 23/20, and 20 * 1.15 would be 22.
    assert resized((20, None), (Fraction("1.15"), Fraction("1.15")), None) == (23, None)
