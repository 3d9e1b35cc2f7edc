"""The one period that explains a grid: planted in noise and photographs, and drawn by layers."""

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks.detection import SOUGHT, photographs, planted
from keras_cnnfix import ResizeConv2D
from keras_cnnfix.diagnostics import checkerboard_score, find_period

PHOTOGRAPHS = photographs()


def _period(image, **settings):
    return find_period(image, data_format="channels_last", **settings)


def _grid(kind, shape, period, rng):
    """A grid of contrast 1 with `period` (height, width)."""
    y, x = (axis % p for axis, p in zip(np.mgrid[: shape[0], : shape[1]], period, strict=True))
    return {
        "lines": ((y == 0) & (period[0] > 1)) | ((x == 0) & (period[1] > 1)),
        "dots": 2.0 * ((y == 0) & (x == 0)),
        "checkerboard": (y < period[0] / 2) != (x < period[1] / 2),
        "phases": rng.permutation(period[0] * period[1]).reshape(period)[y, x]
        / (period[0] * period[1] - 1),
    }[kind]


@pytest.mark.parametrize("kind", ["lines", "dots", "checkerboard", "phases"])
@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (200, 75)], ids=str)
def test_every_period_is_told_from_its_multiples_and_divisors(kind, shape, rng):
    periods = [(p, p) for p in range(2, 9)]
    if kind != "checkerboard":
        periods += [(4, 1), (1, 6), (2, 3), (8, 2)]
    for noise in (0.0, 0.2):
        found = [
            _period(rng.normal(0.5, noise, shape) + _grid(kind, shape, period, rng))
            for period in periods
        ]
        assert found == periods


def test_scanning_with_the_detector_finds_what_the_period_explains(rng):
    """The fault that it is for: a grid of period 4 is found at four periods."""
    image = planted(rng.normal(0.5, 0.02, (128, 128, 1)), 4)
    scanned = [p for p in range(2, 9) if checkerboard_score(image, p).found]
    assert scanned == [2, 4, 6, 8]
    assert _period(image) == (4, 4)
    assert checkerboard_score(image, _period(image)).found


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_has_no_period_and_a_planted_grid_its_own(name):
    photograph = PHOTOGRAPHS[name]
    assert _period(photograph) is None
    for period in set(SOUGHT) - {8}:  # Of 8, one photograph shows too little.
        assert _period(planted(photograph, period)) == (period, period)


def test_noise_and_ramps_have_no_period(rng):
    noise = [_period(image) for image in rng.normal(0.5, 0.02, (200, 97, 64))]
    assert 200 - noise.count(None) <= 2
    y, x = (axis / 100 for axis in np.mgrid[:97, :131])
    for ramp in (x, y, x + y, np.hypot(x, y), x * y, np.sin(5 * x) * np.cos(3 * y)):
        assert _period(ramp) is None
    assert _period(np.full((64, 64), 7 / 3)) is None


@pytest.mark.parametrize(
    ("up", "period"),
    [([(3, 2)], (2, 2)), ([(3, 2), (3, 2)], (4, 4)), ([(4, 3)], (3, 3)), ([(3, (1, 2))], (1, 2))],
    ids=["stride 2", "stride 2 twice", "stride 3", "stride 1 x 2"],
)
def test_transposed_convolutions_have_the_product_of_their_strides(up, period, rng, data_format):
    keras.utils.set_random_seed(3)
    images = rng.random((4, 34, 40, 6)).astype("float32")
    if data_format == "channels_first":
        images = np.moveaxis(images, 3, 1)
    x = keras.ops.convert_to_tensor(images)
    for taps, strides in up:
        x = layers.Conv2DTranspose(6, taps, strides=strides, data_format=data_format)(x)
    assert find_period(x, border=6, data_format=data_format) == period


def test_a_resize_convolution_has_no_period(rng):
    keras.utils.set_random_seed(3)
    images = rng.random((4, 34, 40, 6)).astype("float32")
    assert find_period(ResizeConv2D(6, data_format="channels_last")(images), border=4) is None


def test_units_dtypes_and_channels_do_not_count(rng):
    image = planted(rng.random((64, 80, 1)) / 20, 4)
    assert _period(1000 * image - 300) == (4, 4)
    assert _period(np.round(255 * image).astype("uint8")) == (4, 4)
    assert _period(image.repeat(3, axis=2)) == (4, 4)
    # A grid in the colours alone has no luminance; channel by channel it has.
    colours = rng.random((64, 64, 1)).repeat(3, axis=2) / 10
    colours[::2] += np.array([0.1 / 0.299, -0.1 / 0.587, 0])
    assert _period(colours) is None
    assert _period(np.moveaxis(colours, 2, 0)[..., None]) == (2, 1)


def test_the_border_is_cut(rng):
    image = 1000 * rng.random((80, 80, 1))
    image[8:-8, 8:-8] = planted(rng.random((64, 64, 1)) / 20, 4)
    assert _period(image) is None
    assert _period(image, border=8) == (4, 4)


def test_no_longer_period_is_looked_for_than_asked_for_and_than_fits_four_times(rng):
    image = planted(rng.random((90, 90, 1)) / 20, 12)
    assert _period(image, max_period=12) == (12, 12)
    assert max(_period(image)) <= 8
    image = _grid("lines", (90, 14), (6, 3), rng)
    assert _period(image[:24]) == (6, 3)
    assert max(_period(image[:23])) <= 5


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((7, 7), {}, "at least 8 pixels on one axis"),
        ((64, 64), {"max_period": 1}, "`max_period` must be an integer of at least 2"),
        ((64, 64), {"border": 32}, "`border` must leave pixels"),
        ((0, 64, 64, 1), {}, "one image or more"),
        ((64, 64, 3), {"data_format": "last"}, "`data_format` must be one of"),
    ],
)
def test_messages(shape, settings, message):
    with pytest.raises(ValueError, match=message):
        find_period(np.zeros(shape), **settings)
