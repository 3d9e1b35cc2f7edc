import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import DATA_FORMATS, apply, assert_close, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES

GEOMETRIES = [(2, 3, 2), (3, 4, 3), ((1, 4), (2, 5), (1, 2)), (1, 1, 2)]  # pool, kernel, strides


@pytest.mark.parametrize(
    ("padding", "geometry", "data_format"),
    pairwise(PADDING_MODES, GEOMETRIES, DATA_FORMATS),
    ids=str,
)
def test_max_blur_pool2d_matches_the_oracle(padding, geometry, data_format, rng):
    pool_size, kernel_size, strides = geometry
    images = rng.normal(size=(2, 7, 8, 3)).astype("float32") - 5  # a zero border would win
    layer = kc.MaxBlurPool2D(pool_size, kernel_size, strides, padding, data_format)
    expected = oracle.max_blur_pool2d(
        images, layer.pool_size, layer.kernel_size, layer.strides, padding
    )
    assert_close(apply(layer, images, data_format), expected, 1e-6)


def test_the_default_answers_a_ramp_with_the_second_pixel_of_each_block():
    """The even window adds half a pixel to the odd blur's half: no more, and no less."""
    ramp = np.tile(np.arange(12, dtype="float32"), (1, 12, 1))[..., None]
    y = apply(kc.MaxBlurPool2D(), ramp, "channels_last")
    np.testing.assert_allclose(y[0, 3, 1:-1, 0], np.arange(1, 12, 2)[1:-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool_size": 0}, r"MaxBlurPool2D: `pool_size` must be an integer of at least 1"),
        ({"strides": 0}, r"MaxBlurPool2D: `strides` must be an integer of at least 1"),
        ({"padding": "same"}, r"MaxBlurPool2D: `padding` must be one of"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.MaxBlurPool2D(**settings)


def test_a_window_that_wraps_around_more_than_the_image_is_refused(data_format):
    images = to_format(np.ones((1, 4, 8, 3)), data_format)
    message = (
        r"MaxBlurPool2D: `padding` must fit the image: a 'wrap' border of 5 pixels needs a height "
        r"of at least 5\. Received: padding='wrap', height=4\."
    )
    with pytest.raises(ValueError, match=message):
        kc.MaxBlurPool2D((10, 2), padding="wrap", data_format=data_format)(images)
    assert kc.MaxBlurPool2D((10, 2), data_format=data_format)(images).shape
