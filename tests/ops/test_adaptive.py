import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import assert_close, from_format, to_format
from keras_cnnfix.ops.adaptive import adaptive_filter2d


def _filter(
    images, logits, kernel_size, strides, groups, normalization, data_format="channels_last"
):
    """On images that are padded already."""
    x, logits = (keras.ops.convert_to_tensor(to_format(a, data_format)) for a in (images, logits))
    y = adaptive_filter2d(x, logits, kernel_size, strides, groups, normalization, data_format)
    return from_format(y, data_format)


@given(
    groups=st.sampled_from([1, 2, 4]),
    kh=st.integers(1, 3),
    kw=st.integers(1, 3),
    stride=st.integers(1, 3),
    normalization=st.sampled_from(["group", "joint"]),
)
def test_filters_sum_to_the_gain_of_their_normalization(groups, kh, kw, stride, normalization):
    """Each group to 1; or all groups together to 1, a mean gain of 1 / groups."""
    rng = np.random.default_rng(kh)
    out = (3, 2)
    size = ((out[0] - 1) * stride + kh, (out[1] - 1) * stride + kw)
    logits = rng.normal(size=(2, *out, groups * kh * kw)).astype("float32")
    ones = np.ones((2, *size, 4), "float32")
    gains = _filter(ones, logits, (kh, kw), (stride, stride), groups, normalization)
    if normalization == "group":
        np.testing.assert_allclose(gains, 1.0, rtol=1e-5)
    else:
        np.testing.assert_allclose(gains.mean(axis=-1), 1 / groups, rtol=1e-5)


@pytest.mark.parametrize("tap", range(6))
def test_a_filter_of_one_tap_picks_its_pixel(tap, data_format, rng):
    """Channel `g * taps + t` of the logits is tap `t`, row by row, of group `g`."""
    images = rng.normal(size=(1, 6, 9, 4)).astype("float32")
    logits = np.zeros((1, 3, 3, 2 * 6), "float32")
    logits[..., tap] = 80.0  # group 0: this tap
    logits[..., 6 + 5 - tap] = 80.0  # group 1: the opposite one
    y = _filter(images, logits, (2, 3), (2, 3), 2, "group", data_format)
    u, v = divmod(tap, 3)
    np.testing.assert_allclose(y[..., :2], images[:, u::2, v::3, :2][:, :3, :3], rtol=1e-6)
    u, v = divmod(5 - tap, 3)
    np.testing.assert_allclose(y[..., 2:], images[:, u::2, v::3, 2:][:, :3, :3], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_and_sum_of_half_precision_are_in_float32(dtype, data_format, rng):
    """49 equal taps over a flat image: half precision would not sum them back to the level."""
    images = keras.ops.cast(to_format(np.full((1, 7, 7, 2), 1000.0), data_format), dtype)
    logits = keras.ops.cast(to_format(np.zeros((1, 1, 1, 49)), data_format), dtype)
    y = adaptive_filter2d(images, logits, (7, 7), (1, 1), 1, "group", data_format)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y, level = (keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")) for a in (y, images))
    assert_close(y, np.full(y.shape, level.flat[0]), 0.0)
