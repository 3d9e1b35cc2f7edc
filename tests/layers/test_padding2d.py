import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import DATA_FORMATS, apply, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES


@pytest.mark.parametrize(
    ("mode", "padding", "data_format"),
    pairwise(PADDING_MODES, [1, (2, 0), ((1, 2), (0, 3)), 0], DATA_FORMATS),
    ids=str,
)
def test_padding2d_matches_the_oracle(mode, padding, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    layer = kc.Padding2D(padding, mode, data_format)
    expected = oracle.pad(images, layer.padding, mode).astype("float32")
    np.testing.assert_array_equal(apply(layer, images, data_format), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_images_stay_integer_images(dtype, data_format):
    images = to_format(np.arange(24).reshape(1, 3, 4, 2), data_format).astype(dtype)
    layer = kc.Padding2D(2, data_format=data_format)
    y = layer(images)
    symbolic = layer(keras.KerasTensor(images.shape, dtype=dtype))
    assert keras.backend.standardize_dtype(y.dtype) == symbolic.dtype == dtype


def test_a_symbolic_float_follows_the_policy():
    layer = kc.Padding2D(1, dtype="mixed_bfloat16")
    assert layer(keras.KerasTensor((1, 4, 4, 2), dtype="float32")).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": -1}, r"Padding2D: `padding` must be an integer of at least 0, a pair"),
        ({"mode": "same"}, r'Padding2D: `mode` must be one of .* mode="zeros" is what Keras calls'),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.Padding2D(**settings)


def test_a_border_deeper_than_the_image_names_the_mode():
    message = r"Padding2D: `mode` must fit the image: a 'wrap' border of 5 pixels needs a width of"
    with pytest.raises(ValueError, match=message):
        kc.Padding2D(((0, 0), (0, 5)), "wrap")(np.ones((1, 9, 4, 1), "float32"))
