"""The detector fires on planted grids and is silent on what has none."""

import keras
import numpy as np
import pytest
from keras import layers

import oracle
from benchmarks.detection import PERIODS, photographs, planted
from keras_cnnfix import BlurPool2D, ResizeConv2D
from keras_cnnfix.diagnostics import checkerboard_score, gradient_checkerboard
from keras_cnnfix.ops import layout

PHOTOGRAPHS = photographs()


def _score(image, period, **settings):
    return checkerboard_score(image, period, data_format="channels_last", **settings)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_checkerboard_score_fires_on_a_planted_grid_and_not_on_the_photograph(name, period):
    photograph = PHOTOGRAPHS[name]
    assert not _score(photograph, period).found
    assert _score(planted(photograph, period), period).found


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("shape", [(64, 64), (97, 131)], ids=str)
def test_checkerboard_score_is_silent_on_ramps(shape, period):
    y, x = (axis / 100 for axis in np.mgrid[: shape[0], : shape[1]])
    for ramp in (x, y, x + y, np.hypot(x, y), x * y):
        score = _score(ramp, period)
        assert not score.found
        assert score.share < 1e-3


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("shape", [(128, 96), (97, 131)], ids=str)
def test_checkerboard_score_is_silent_on_noise_and_fires_on_a_grid_in_it(shape, period, rng):
    found = np.array(
        [
            [_score(image, period).found for image in (noise, planted(noise[..., None], period))]
            for noise in rng.normal(0.5, 0.02, (100, *shape))
        ]
    )
    # Noise is white: whatever the period, a few points of the lattice are high by chance.
    assert found[:, 0].mean() <= 0.01
    assert found[:, 1].mean() >= 0.95


@pytest.mark.parametrize("period", [2, 4])
def test_share_matches_the_sums_of_a_fourier_transform(period, rng):
    image = rng.random((16, 24))
    image[::period] += 0.3
    np.testing.assert_allclose(
        _score(image, period).share, oracle.grid_share(image, period), rtol=1e-9
    )


@pytest.mark.parametrize("period", [2, 3, (1, 4), (3, 2)])
def test_a_periodic_image_is_all_grid(period, rng):
    cell = rng.random((period, period) if isinstance(period, int) else period)
    score = _score(np.tile(cell, (20, 20)), period)
    assert score.share == pytest.approx(1, abs=1e-6)
    assert score.found


def test_share_of_white_noise_is_the_share_of_bins(rng):
    shares = [_score(noise, 4).share for noise in rng.normal(size=(200, 64, 64))]
    assert np.mean(shares) == pytest.approx(9 / 4 * 15 / 64**2, rel=0.05)


def test_units_and_offsets_do_not_count(rng):
    image = planted(rng.random((64, 64, 1)), 2)
    score, scaled = _score(image, 2), _score(1000 * image - 300, 2)
    assert scaled.share == pytest.approx(score.share, rel=1e-6)
    assert scaled.excess == pytest.approx(score.excess, abs=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "bfloat16"])
def test_a_constant_has_neither_share_nor_excess(dtype):
    constant = keras.ops.cast(keras.ops.full((2, 64, 64, 3), 7 / 3), dtype)
    score = _score(constant, 2)
    assert (score.share, score.excess, score.found) == (0, 0, False)


def test_rounding_of_float32_is_not_a_grid():
    layer = ResizeConv2D(3, kernel_initializer="he_normal")
    flat = layer(np.full((1, 40, 40, 8), 0.7, "float32"))
    assert not checkerboard_score(flat, 2).found


def test_height_and_width_are_treated_alike(rng):
    """Also where the grid has lines along one of them alone."""
    image = rng.normal(0.5, 0.02, (64, 80))
    for stripes in (image + 0.02 * (np.arange(64) % 8 == 0)[:, None], image):
        score, turned = _score(stripes, (8, 5)), _score(stripes.T, (5, 8))
        assert turned.share == pytest.approx(score.share, rel=1e-6)
        assert turned.excess == pytest.approx(score.excess, abs=1e-5)


def test_the_border_is_cut(rng):
    image = rng.random((80, 80))
    image[:8] += 50 * (np.arange(80) % 2)
    assert _score(image, 2).share > 10 * _score(image, 2, border=8).share
    assert _score(image, 2, border=8) == _score(image[8:-8, 8:-8], 2)


def test_the_colour_grid_of_a_jpeg_picture_is_left_out(rng):
    image = 0.5 + 0.1 * rng.random((64, 64, 1)).repeat(3, axis=2)
    # Red up and green down by the same luminance.
    image[::2, ::2] += np.array([0.1 / 0.299, -0.1 / 0.587, 0])
    assert not _score(image, 2).found
    by_channel = np.moveaxis(image, 2, 0)[..., None]
    assert _score(by_channel, 2).found


def test_both_data_formats_score_the_same(rng):
    images = planted(rng.random((40, 48, 3)), 2)[None]
    first = checkerboard_score(np.moveaxis(images, 3, 1), 2, data_format="channels_first")
    assert first == _score(images, 2)


def test_a_transposed_convolution_is_found_and_a_resize_convolution_is_not(rng):
    keras.utils.set_random_seed(1)
    images = rng.random((8, 64, 64, 8)).astype("float32")
    transposed = layers.Conv2DTranspose(8, 3, strides=2)(images)
    resized = ResizeConv2D(8)(images)
    settings = {"border": 4, "data_format": "channels_last"}
    assert checkerboard_score(transposed, 2, **settings).found
    assert not checkerboard_score(resized, 2, **settings).found


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gradient_checkerboard_fires_on_a_stride_and_not_on_a_blur(data_format, rng):
    keras.utils.set_random_seed(1)
    shape = layout.image_shape(8, (96, 98), 3, data_format)
    images = rng.normal(size=shape).astype("float32")

    def score(*reduction):
        model = keras.Sequential(reduction)
        return gradient_checkerboard(model, images, 2, border=8, data_format=data_format)

    strided = score(layers.Conv2D(8, 3, strides=2, data_format=data_format))
    blurred = score(
        layers.Conv2D(8, 3, padding="same", data_format=data_format),
        BlurPool2D(4, data_format=data_format),
    )
    assert strided.found
    assert not blurred.found
    assert strided.share > 10 * blurred.share


def test_gradient_checkerboard_is_the_score_of_the_gradient(rng):
    """Of x -> sum w x^2 / 2 the gradient is w x."""
    images = rng.normal(size=(2, 64, 64, 1)).astype("float32")
    weights = keras.ops.convert_to_tensor((1 + np.arange(64) % 2).astype("float32")[:, None])

    def loss(y):
        return keras.ops.sum(keras.ops.square(y) * weights) / 2

    score = gradient_checkerboard(lambda x: x, images, 2, loss)
    expected = checkerboard_score(np.abs(images * keras.ops.convert_to_numpy(weights)), 2)
    assert score.share == pytest.approx(expected.share, rel=1e-5)
    assert score.found


def test_gradient_checkerboard_takes_integer_images(rng):
    images = rng.integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    model = keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=2)])
    assert gradient_checkerboard(model, images, 2).found


def test_the_gradient_of_a_small_convolution_with_strides_does_not_end_the_process():
    """As in residual branches; TensorFlow's crashes outside of a graph on some processors."""
    shortcut = layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False)
    model = keras.Sequential([keras.Input((60, 60, 8)), shortcut])
    images = np.random.default_rng(0).normal(size=(2, 60, 60, 8)).astype("float32")
    assert gradient_checkerboard(model, images, 2).share > 0.3


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((64, 7), {}, "at least 4 periods a side"),
        ((64, 64), {"period": 17}, "at least 4 periods a side"),
        ((64, 64), {"period": 1}, "`period` must be 2 or more"),
        ((64, 64), {"period": 0}, "`period` must be an integer of at least 1"),
        ((64, 64), {"border": 32}, "`border` must leave pixels"),
        ((1, 2, 64, 64, 3), {}, "must have 4 dimensions"),
        ((64, 64, 3), {"data_format": "last"}, "`data_format` must be one of"),
    ],
)
def test_messages(shape, settings, message):
    with pytest.raises(ValueError, match=message):
        checkerboard_score(np.zeros(shape), **settings)


def test_what_is_not_finite_is_refused():
    image = np.zeros((64, 64))
    image[3, 4] = np.nan
    with pytest.raises(ValueError, match="1 values that are NaN"):
        checkerboard_score(image)
