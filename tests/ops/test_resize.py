from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from images import DATA_FORMATS, apply, assert_close, at_once, gradients, pairwise
from keras_cnnfix import ResizeConv2D
from keras_cnnfix.checks import MOST_PIXELS
from keras_cnnfix.ops import resize
from keras_cnnfix.ops.resize import INTERPOLATIONS, resize2d, resized

TOLERANCE = {"nearest": 0.0, "bilinear": 1e-6, "bicubic": 3e-6}


def _resize(
    images, size, output_size, interpolation, data_format="channels_last", padding="reflect"
):
    settings = (tuple(map(Fraction, size)), output_size, interpolation, padding, data_format)
    return apply(lambda x: resize2d(x, *settings), images, data_format)


SIZES = [
    (("1", "1"), (5, 6), "wrap"),
    (("2", "2"), (10, 12), "reflect"),
    (("3", "1"), (15, 6), "wrap"),
    (("1", "4"), (5, 24), "zeros"),
    (("5", "2"), (25, 12), "wrap"),
    (("1.5", "2.5"), (7, 15), "edge"),
    (("1.15", "2"), (5, 12), "wrap"),
]
TARGETS = [
    ((7, 11), "wrap"),
    ((10, 12), "symmetric"),
    ((3, 4), "wrap"),
    ((1, 1), "zeros"),
    ((13, 2), "wrap"),
]


@pytest.mark.parametrize(
    ("interpolation", "sizes", "data_format"),
    pairwise(INTERPOLATIONS, SIZES, DATA_FORMATS),
    ids=str,
)
def test_resize2d_matches_the_oracle(interpolation, sizes, data_format, rng):
    size, expected, padding = sizes
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    assert_close(
        _resize(images, size, None, interpolation, data_format, padding),
        oracle.resize(images, expected, interpolation, padding),
        TOLERANCE[interpolation],
    )


@pytest.mark.parametrize(
    ("interpolation", "target", "data_format"),
    pairwise(INTERPOLATIONS, TARGETS, DATA_FORMATS),
    ids=str,
)
def test_resize2d_meets_an_exact_size(interpolation, target, data_format, rng):
    target, padding = target
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    assert_close(
        _resize(images, ("2", "2"), target, interpolation, data_format, padding),
        oracle.resize(images, target, interpolation, padding),
        TOLERANCE[interpolation],
    )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_single_pixel_becomes_a_flat_image(interpolation, data_format):
    images = np.full((1, 1, 1, 2), 0.7, "float32")
    for padding in ("reflect", "wrap"):
        y = _resize(images, ("3", "2"), None, interpolation, data_format, padding)
        np.testing.assert_allclose(y, np.full((1, 3, 2, 2), 0.7), rtol=1e-6)


@given(
    n=st.integers(1, 40),
    out=st.integers(1, 90),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    padding=st.sampled_from(["reflect", "wrap"]),
)
def test_any_size_is_reached_from_any_size(n, out, interpolation, padding):
    row = np.random.default_rng(n).normal(size=(1, n, 1, 1)).astype("float32")
    y = _resize(row, ("2", "2"), (out, 1), interpolation, padding=padding)
    expected = oracle.resize(row, (out, 1), interpolation, padding)
    assert_close(y, expected, TOLERANCE[interpolation])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("padding", ["reflect", "wrap"])
def test_images_smaller_than_the_kernel_are_resized(interpolation, padding, rng):
    """Where the kernel of a wrapped image goes around it more than once."""
    for n, factor, out in [(1, 2, 5), (2, 3, 3), (3, 2, 1), (2, 1, 1)]:
        images = rng.normal(size=(2, n, 2, 2)).astype("float32")
        for output_size in (None, (out, 3)):
            size = (n * factor, 4) if output_size is None else output_size
            assert_close(
                _resize(images, (factor, 2), output_size, interpolation, padding=padding),
                oracle.resize(images, size, interpolation, padding),
                TOLERANCE[interpolation],
            )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("factor", "shift"), [("2", 1), ("1.5", 2), ("3", 1)])
def test_roll_in_roll_out_where_the_image_wraps(interpolation, factor, shift, rng):
    images = rng.normal(size=(1, 4, 2, 2)).astype("float32")
    step = int(shift * Fraction(factor))
    y, rolled = (
        _resize(x, (factor, "2"), None, interpolation, padding="wrap")
        for x in (images, np.roll(images, (shift, 1), (1, 2)))
    )
    assert_close(rolled, np.roll(y, (step, 2), (1, 2)), 1e-6)


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


FRACTIONS = [
    *map(Fraction, ("1", "2", "1.15", "4/3", "5/3", "1.41421356", str(2**0.5), "1.999999999")),
    *map(Fraction, ("1.000000001", "2.99998", "32768", "32767.99999", "32768/32767")),
]


@given(
    factor=st.one_of(
        st.sampled_from(FRACTIONS),
        st.fractions(1, MOST_PIXELS, max_denominator=MOST_PIXELS),
        st.fractions(1, 4, max_denominator=2**60),
        st.floats(1, 8).map(lambda x: Fraction(str(x))),
    )
)
def test_sizes_are_counted_exactly_in_32_bits(factor):
    """As a graph of unknown sizes counts: every size from 1 to 2**15 pixels."""
    counted = resize._times(np.arange(1, MOST_PIXELS + 1, dtype="int32"), factor)
    assert counted.dtype == "int32"
    p, q = factor.numerator, factor.denominator
    exact = [n * p // q for n in range(1, MOST_PIXELS + 1)]
    np.testing.assert_array_equal(counted, exact)


@pytest.mark.parametrize("size", [1.41421356, "4/3", Fraction(5, 3), 2**0.5], ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_long_fraction_serves_one_size_after_the_other(size, interpolation, rng):
    layer = ResizeConv2D(1, 1, size, interpolation=interpolation, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((None, None, 1)), layer])
    for shape in [(16, 3), (125, 4), (7, 2)]:
        images = rng.normal(size=(1, *shape, 1)).astype("float32")
        y = model.predict(images, verbose=0)
        out = (int(shape[0] * Fraction(str(size))), int(shape[1] * Fraction(str(size))))
        assert_close(y, oracle.resize(images, out, interpolation), 3e-6)
    assert int(125 * Fraction("1.41421356")) == 176


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("out", "factor"), [(10, 2), (15, 3), (7, None), (3, None)], ids=str)
def test_a_pixel_is_seen_only_where_the_kernel_reaches(interpolation, out, factor, rng):
    """Not a number in one pixel: there where it has a weight, and nowhere beyond the kernel."""
    n = 5
    reach = {"nearest": 0.5, "bilinear": 1, "bicubic": 2 * max(1, n / out)}[interpolation]
    output_size = None if factor else (out, 1)
    for padding in ("edge", "wrap"):
        for pixel in (0, 2):
            images = rng.normal(size=(1, n, 1, 1)).astype("float32")
            images[:, pixel] = np.nan
            y = _resize(images, (factor or 2, 1), output_size, interpolation, padding=padding)
            found = np.isnan(y).ravel()
            seen = oracle._resize_matrix(n, out, interpolation, padding)[:, pixel]
            distances = abs((np.arange(out) + 0.5) * n / out - pixel - 0.5)
            if padding == "wrap":
                distances = np.minimum(distances, n - distances)
            assert found[abs(seen) > 1e-12].all()
            assert not found[distances > reach + 1e-9].any()


def test_a_bicubic_resize_that_shrinks_a_single_column_is_not_constant(data_format, rng):
    """As PyTorch's own is, for one channel (PyTorch 2.13)."""
    images = rng.normal(size=(2, 8, 1, 1)).astype("float32")
    y = _resize(images, (2, 2), (3, 1), "bicubic", data_format)
    assert np.std(y) > 0.1
    assert_close(y, oracle.resize(images, (3, 1), "bicubic"), 3e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resize2d_serves_unknown_sizes(interpolation, backend, rng):
    images = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    for padding, size in [("edge", (Fraction(2), Fraction(3, 2))), ("wrap", (Fraction(4, 3),) * 2)]:

        def function(x, size=size, padding=padding):
            return resize2d(x, size, None, interpolation, padding, "channels_last")

        if backend == "tensorflow":
            import tensorflow as tf

            signature = [tf.TensorSpec((None, None, None, 3))]
            function = tf.function(function, input_signature=signature, autograph=False)
        out = (int(4 * size[0]), int(5 * size[1]))
        expected = oracle.resize(images, out, interpolation, padding)
        assert_close(apply(function, images, "channels_last"), expected, 3e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_resize_keeps_half_precision(interpolation, rng):
    """Sums in float32: what differs from the oracle is the rounding of a step or two."""
    images = rng.normal(size=(1, 5, 6, 2)).astype("float16")
    size = (Fraction(3, 2), Fraction(2))

    def function(x):
        return resize2d(
            keras.ops.cast(x, "float16"), size, None, interpolation, "edge", "channels_last"
        )

    y = keras.ops.convert_to_numpy(at_once(function)(keras.ops.convert_to_tensor(images)))
    assert y.dtype == "float16"
    expected = oracle.resize(images, (7, 12), interpolation)
    assert_close(y, expected, 0 if interpolation == "nearest" else 2e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("out", [(7, 13), (3, 4)], ids=str)
def test_a_flat_image_of_half_precision_stays_flat_to_the_last_bit(out, dtype):
    """Bicubic weights in half precision would sum to almost 1."""
    settings = ((Fraction(1), Fraction(1)), out, "bicubic", "edge", "channels_last")
    y = at_once(lambda x: resize2d(x, *settings))(keras.ops.ones((1, 5, 6, 2), dtype))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")), 1)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_gradient_is_the_transpose(interpolation, rng):
    images = rng.normal(size=(1, 3, 4, 1)).astype("float32")
    settings = ((Fraction(2), Fraction(3, 2)), None, interpolation, "wrap", "channels_last")
    (found,) = gradients(lambda x: resize2d(x, *settings), images)
    rows = oracle._resize_matrix(3, 6, interpolation, "wrap")
    columns = oracle._resize_matrix(4, 6, interpolation, "wrap")
    y = oracle.resize(images, (6, 6), interpolation, "wrap")
    assert_close(found, 2 * np.einsum("ia,jb,nijc->nabc", rows, columns, y), 3e-6)
