import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import oracle
from images import DATA_FORMATS, apply, assert_close, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.blur import block_box_filter2d, blur_pool2d, max_filter2d
from keras_cnnfix.ops.kernels import binomial

SCIPY_MODES = {
    "reflect": "mirror",
    "symmetric": "reflect",
    "edge": "nearest",
    "wrap": "grid-wrap",
    "zeros": "constant",
}


def _blur(images, kernel_size, strides, padding, data_format="channels_last"):
    return apply(
        lambda x: blur_pool2d(x, kernel_size, strides, padding, data_format), images, data_format
    )


@pytest.mark.parametrize("kernel", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_blur_pool2d_matches_the_oracle(kernel, stride, rng):
    images = rng.normal(size=(2, 8, 9, 3)).astype("float32")
    assert_close(
        _blur(images, (kernel, kernel), (stride, stride), "reflect"),
        oracle.blur_pool2d(images, (kernel, kernel), (stride, stride), "reflect"),
        1e-6,
    )


@pytest.mark.parametrize(
    ("padding", "kernel", "data_format"), pairwise(PADDING_MODES, [4, 5], DATA_FORMATS)
)
def test_every_padding_matches_the_oracle(padding, kernel, data_format, rng):
    images = rng.normal(size=(2, 7, 12, 3)).astype("float32")
    assert_close(
        _blur(images, (kernel, kernel), (2, 2), padding, data_format),
        oracle.blur_pool2d(images, (kernel, kernel), (2, 2), padding),
        1e-6,
    )


def test_kernels_and_strides_may_differ_by_axis(data_format, rng):
    images = rng.normal(size=(2, 8, 9, 3)).astype("float32")
    assert_close(
        _blur(images, (3, 6), (1, 4), "edge", data_format),
        oracle.blur_pool2d(images, (3, 6), (1, 4), "edge"),
        1e-6,
    )


@pytest.mark.parametrize("padding", PADDING_MODES)
@pytest.mark.parametrize("kernel", [3, 5])
def test_blur_pool2d_matches_scipy(padding, kernel, rng):
    images = rng.normal(size=(1, 9, 10, 1)).astype("float32")
    expected = images[0, :, :, 0].astype("float64")
    for axis in (0, 1):
        expected = ndimage.correlate1d(
            expected, binomial(kernel), axis=axis, mode=SCIPY_MODES[padding]
        )
    y = _blur(images, (kernel, kernel), (2, 2), padding)
    assert_close(y[0, :, :, 0], expected[::2, ::2], 1e-6)


@pytest.mark.parametrize("kernel", [3, 5])
def test_blur_pool2d_matches_kornia(kernel, rng):
    torch = pytest.importorskip("torch")
    kornia = pytest.importorskip("kornia")
    images = rng.normal(size=(2, 9, 8, 3)).astype("float32")
    channels_first = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    expected = kornia.filters.blur_pool2d(channels_first, kernel, 2).numpy()
    y = _blur(images, (kernel, kernel), (2, 2), "zeros")
    assert_close(y, np.moveaxis(expected, 1, -1), 1e-6)


@given(
    level=st.floats(-3, 3, width=32),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.sampled_from([mode for mode in PADDING_MODES if mode != "zeros"]),
)
def test_a_constant_stays_constant(level, kernel, stride, padding):
    images = np.full((1, 5, 4, 2), level, "float32")
    y = _blur(images, (kernel, kernel), (stride, stride), padding)
    np.testing.assert_allclose(y, level, rtol=1e-6, atol=1e-7)


@given(shift=st.integers(1, 3), kernel=st.integers(1, 5), stride=st.integers(1, 3))
def test_roll_in_roll_out(shift, kernel, stride):
    images = np.random.default_rng(kernel).normal(size=(1, 6, 6, 1)).astype("float32")
    rolled = _blur(np.roll(images, shift * stride, axis=2), (kernel,) * 2, (stride,) * 2, "wrap")
    y = _blur(images, (kernel,) * 2, (stride,) * 2, "wrap")
    assert_close(rolled, np.roll(y, shift, axis=2), 1e-6)


@pytest.mark.parametrize("padding", ["reflect", "wrap"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (1, 5)], ids=str)
def test_block_box_filter2d_matches_the_oracle(size, padding, data_format, rng):
    images = rng.normal(size=(2, 4 * size[0], 3 * size[1], 3)).astype("float32")
    assert_close(
        apply(lambda x: block_box_filter2d(x, size, padding, data_format), images, data_format),
        oracle.block_box_filter(images, size, padding),
        1e-6,
    )


@given(sy=st.integers(1, 5), sx=st.integers(1, 5), padding=st.sampled_from(["reflect", "wrap"]))
def test_block_box_filter2d_removes_any_pattern_that_repeats_with_the_block(sy, sx, padding):
    block = np.random.default_rng(sy).normal(size=(1, sy, sx, 2)).astype("float32")
    y = apply(
        lambda x: block_box_filter2d(x, (sy, sx), padding, "channels_last"),
        np.tile(block, (1, 3, 2, 1)),
        "channels_last",
    )
    expected = np.broadcast_to(block.mean(axis=(1, 2), keepdims=True), y.shape)
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32_and_rounded_once(dtype, data_format, rng):
    images = keras.ops.cast(to_format(rng.normal(size=(2, 12, 12, 3)), data_format), dtype)
    # So many taps that their products are no numbers of half precision.
    y = blur_pool2d(images, (13, 11), (2, 2), "edge", data_format)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    full = blur_pool2d(keras.ops.cast(images, "float32"), (13, 11), (2, 2), "edge", data_format)
    y, expected = (keras.ops.cast(a, "float32") for a in (y, keras.ops.cast(full, dtype)))
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (y, expected)))


@pytest.mark.parametrize("size", [(1, 2), (3, 5), (4, 1)], ids=str)
def test_max_filter2d_is_that_of_scipy(size, data_format, rng):
    """Beyond the border there is nothing, or with "wrap" the other end."""
    images = rng.normal(size=(2, 4, 5, 3)).astype("float32") - 5
    # SciPy centres an even window one pixel further to the left.
    origin = (0, *(-((n + 1) % 2) for n in size), 0)
    for padding, mode in (
        ("reflect", {"mode": "constant", "cval": -np.inf}),
        ("wrap", {"mode": "wrap"}),
    ):
        y = apply(lambda x, p=padding: max_filter2d(x, size, p, data_format), images, data_format)
        expected = ndimage.maximum_filter(images, (1, *size, 1), origin=origin, **mode)
        np.testing.assert_array_equal(y, expected)
