from fractions import Fraction

import keras
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import apply, assert_close

from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.resize_conv import resize_conv2d


def _resize_conv(images, kernel, size, interpolation, padding, groups=1):
    size = tuple(Fraction(s) for s in size)
    kernel = keras.ops.convert_to_tensor(kernel)
    settings = (kernel, size, None, interpolation, padding, groups, "channels_last")
    return apply(lambda x: resize_conv2d(x, *settings), images, "channels_last")


@pytest.mark.parametrize("padding", PADDING_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5)], ids=str)
@pytest.mark.parametrize("size", [("2", "2"), ("3", "1"), ("1.5", "4")], ids=str)
def test_resize_conv2d_matches_the_oracle(padding, interpolation, kernel_size, size):
    rng = np.random.default_rng(1)
    images = rng.normal(size=(1, 4, 5, 4)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 2, 4)).astype("float32")
    out = (4 * Fraction(size[0]) // 1, 5 * Fraction(size[1]) // 1)
    assert_close(
        _resize_conv(images, kernel, size, interpolation, padding, groups=2),
        oracle.resize_conv2d(images, kernel, None, out, interpolation, padding, groups=2),
        2e-6,
    )


@given(
    level=st.floats(-3, 3, width=32),
    factor=st.integers(1, 4),
    kernel=st.integers(1, 5),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    padding=st.sampled_from([mode for mode in PADDING_MODES if mode != "zeros"]),
)
def test_a_flat_image_stays_flat(level, factor, kernel, interpolation, padding):
    images = np.full((1, 4, 4, 2), level, "float32")
    weights = np.random.default_rng(kernel).normal(size=(kernel, kernel, 2, 3)).astype("float32")
    y = _resize_conv(images, weights, (str(factor),) * 2, interpolation, padding)
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), atol=2e-5)


@given(shift=st.integers(1, 4), factor=st.integers(1, 3), kernel=st.integers(1, 4))
def test_roll_in_roll_out(shift, factor, kernel):
    rng = np.random.default_rng(kernel)
    images = rng.normal(size=(1, 5, 4, 2)).astype("float32")
    weights = rng.normal(size=(kernel, kernel, 2, 3)).astype("float32")
    rolled = np.roll(images, shift, axis=1)
    expected = np.roll(
        _resize_conv(images, weights, (str(factor),) * 2, "nearest", "wrap"),
        shift * factor,
        axis=1,
    )
    y = _resize_conv(rolled, weights, (str(factor),) * 2, "nearest", "wrap")
    assert_close(y, expected, 1e-6)
