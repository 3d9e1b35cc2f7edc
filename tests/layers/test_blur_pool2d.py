import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import DATA_FORMATS, apply, assert_close, pairwise
from keras_cnnfix.checks import PADDING_MODES


@pytest.mark.parametrize(
    ("padding", "geometry", "data_format"),
    pairwise(PADDING_MODES, [(4, 2), (3, 2), ((5, 2), (1, 3)), (1, 3)], DATA_FORMATS),
    ids=str,
)
def test_blur_pool2d_matches_the_oracle(padding, geometry, data_format, rng):
    kernel_size, strides = geometry
    images = rng.normal(size=(2, 7, 8, 3)).astype("float32")
    layer = kc.BlurPool2D(kernel_size, strides, padding, data_format)
    expected = oracle.blur_pool2d(images, layer.kernel_size, layer.strides, padding)
    assert_close(apply(layer, images, data_format), expected, 1e-6)


def test_the_default_is_centred_on_its_block():
    """Four taps at stride 2 answer a ramp with the mean of each block of two."""
    ramp = np.tile(np.arange(12, dtype="float32"), (1, 12, 1))[..., None]
    y = apply(kc.BlurPool2D(), ramp, "channels_last")
    np.testing.assert_allclose(y[0, 3, 1:-1, 0], np.arange(12).reshape(6, 2).mean(axis=1)[1:-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 0}, r"BlurPool2D: `kernel_size` must be an integer of at least 1"),
        ({"strides": (1, 0)}, r"BlurPool2D: `strides` must be .* Received: strides=\(1, 0\)"),
        ({"padding": "valid"}, r"BlurPool2D: `padding` must be one of"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.BlurPool2D(**settings)
