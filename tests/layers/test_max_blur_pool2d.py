import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import apply, assert_close, to_format
from keras_cnnfix.checks import PADDING_MODES


@pytest.mark.parametrize("padding", PADDING_MODES)
@pytest.mark.parametrize(
    ("pool_size", "kernel_size", "strides"),
    [(2, 3, 2), (3, 4, 3), ((1, 4), (2, 5), (1, 2)), (1, 1, 2)],
    ids=str,
)
def test_max_blur_pool2d_matches_the_oracle(
    padding, pool_size, kernel_size, strides, data_format, rng
):
    images = rng.normal(size=(2, 7, 8, 3)).astype("float32") - 5  # a zero border would win
    layer = kc.MaxBlurPool2D(pool_size, kernel_size, strides, padding, data_format)
    expected = oracle.max_blur_pool2d(
        images, layer.pool_size, layer.kernel_size, layer.strides, padding
    )
    assert_close(apply(layer, images, data_format), expected, 1e-6)


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
