from fractions import Fraction

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import (
    DATA_FORMATS,
    answer_with_random_weights,
    assert_close,
    from_format,
    pairwise,
    to_format,
)
from keras_cnnfix.checks import PADDING_MODES

SETTINGS = [
    ({}, (10, 12)),
    ({"size": (3, 1), "kernel_size": (2, 5)}, (15, 6)),
    ({"size": 1.5, "interpolation": "bilinear"}, (7, 9)),
    ({"output_size": (7, 11), "interpolation": "bicubic"}, (7, 11)),
]


@pytest.mark.parametrize(
    ("padding", "settings", "data_format"), pairwise(PADDING_MODES, SETTINGS, DATA_FORMATS), ids=str
)
def test_resize_conv2d_matches_the_oracle(padding, settings, data_format, rng):
    settings, out = settings
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    layer = kc.ResizeConv2D(
        4, padding=padding, activation="tanh", data_format=data_format, **settings
    )
    y, (kernel, bias) = answer_with_random_weights(layer, images)
    interpolation = settings.get("interpolation", "nearest")
    expected = oracle.resize_conv2d(images, kernel, bias, out, interpolation, padding)
    assert_close(y, np.tanh(expected), 5e-6)


def test_groups_see_only_their_own_channels(data_format, rng):
    images = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    layer = kc.ResizeConv2D(6, groups=2, data_format=data_format)
    y, (kernel, bias) = answer_with_random_weights(layer, images)
    assert kernel.shape == (3, 3, 2, 6)
    expected = oracle.resize_conv2d(images, kernel, bias, (10, 12), "nearest", "reflect", groups=2)
    assert_close(y, expected, 5e-6)


def test_weights_are_called_as_keras_calls_them():
    layer = kc.ResizeConv2D(4)
    layer.build((None, None, None, 3))
    assert [w.name for w in layer.weights] == ["kernel", "bias"]
    layer = kc.ResizeConv2D(4, use_bias=False)
    layer.build((None, None, None, 3))
    assert [w.name for w in layer.weights] == ["kernel"]


def test_plain_and_auto_give_the_same_numbers(rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    y, _ = answer_with_random_weights(kc.ResizeConv2D(4), images)
    plain, _ = answer_with_random_weights(kc.ResizeConv2D(4, implementation="plain"), images)
    assert_close(y, plain, 1e-6)


def test_the_size_comes_back_from_the_config_as_it_was_given():
    config = kc.ResizeConv2D(4, size=(1.15, 2)).get_config()
    assert config["size"] == (1.15, 2)
    layer = kc.ResizeConv2D.from_config(config)
    assert layer.compute_output_shape((1, 20, 20, 3)) == (1, 23, 40, 4)


def test_one_pixel_is_enough_where_the_padding_allows_it(data_format):
    images = np.ones((1, 1, 1, 3))
    for padding in ("edge", "zeros", "symmetric", "wrap", "reflect"):
        layer = kc.ResizeConv2D(4, padding=padding, data_format=data_format)
        y, (kernel, bias) = answer_with_random_weights(layer, images)
        expected = oracle.resize_conv2d(images, kernel, bias, (2, 2), "nearest", padding)
        assert_close(y, expected, 1e-6)


def test_the_data_format_of_keras_is_the_default():
    keras.config.set_image_data_format("channels_first")
    try:
        layer = kc.ResizeConv2D(4)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert layer.data_format == "channels_first"
    assert layer.compute_output_shape((1, 3, 5, 6)) == (1, 4, 10, 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": 0}, r"ResizeConv2D: `filters` must be an integer of at least 1\. .*filters=0"),
        ({"kernel_size": (3, 0)}, r"ResizeConv2D: `kernel_size` must be .* kernel_size=\(3, 0\)"),
        ({"size": 0.5}, r"ResizeConv2D: `size` must be a number of at least 1, .* size=0\.5\. Use"),
        ({"size": -2}, r"ResizeConv2D: `size` must be a number of at least 1"),
        ({"output_size": 0}, r"ResizeConv2D: `output_size` must be .* output_size=0"),
        (
            {"size": 3, "output_size": 9},
            r"ResizeConv2D: `size` must be left at its default where `output_size` is given\. "
            r"Received: size=3, output_size=\(9, 9\)\. Use one of them\.",
        ),
        ({"interpolation": "area"}, r"`interpolation` must be one of 'nearest', 'bilinear', 'bicu"),
        ({"padding": "same"}, r'ResizeConv2D: `padding` .* padding="zeros" is what Keras calls "s'),
        ({"groups": 0}, r"ResizeConv2D: `groups` must be an integer of at least 1"),
        (
            {"filters": 9, "groups": 6},
            r"ResizeConv2D: `filters` must be a multiple of `groups`\. Received: filters=9, "
            r"groups=6\. Use a divisor such as groups=3\.",
        ),
        (
            {"implementation": "polyphase", "size": 1.5},
            r"ResizeConv2D: `implementation` 'polyphase' must be used with an integer `size` and "
            r"the interpolation 'nearest' or 'bilinear'\. Received: size=1\.5, output_size=None, "
            r"interpolation='nearest'\. Use implementation='auto'\.",
        ),
        ({"implementation": "polyphase", "output_size": 9}, r"Received: .* output_size=\(9, 9\)"),
        ({"implementation": "polyphase", "interpolation": "bicubic"}, r"interpolation='bicubic'"),
        (
            {"implementation": "fast"},
            r"ResizeConv2D: `implementation` must be one of 'auto', 'plain', 'polyphase'\.",
        ),
        ({"data_format": "NHWC"}, r"ResizeConv2D: `data_format` must be one of"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.ResizeConv2D(**{"filters": 4, **settings})


def test_channels_that_groups_do_not_divide_are_refused(data_format):
    layer = kc.ResizeConv2D(8, groups=8, data_format=data_format)
    images = to_format(np.ones((1, 4, 4, 12)), data_format)
    message = (
        r"ResizeConv2D: the number of input channels must be a multiple of `groups`\. Received: "
        r"12 channels, groups=8\. Use a divisor such as groups=4\."
    )
    with pytest.raises(ValueError, match=message):
        layer(images)


def test_the_border_is_measured_on_the_resized_image():
    """A 5-tap kernel mirrors 2 pixels: 3 are needed, and 2 * 1 are too few, 3 * 1 enough."""
    images = np.ones((1, 1, 4, 3), "float32")
    with pytest.raises(
        ValueError,
        match=r"ResizeConv2D: `padding` must fit the image: a 'reflect' border of 2 pixels needs "
        r"a height of at least 3\. Received: padding='reflect', height=2\. Use a smaller kernel",
    ):
        kc.ResizeConv2D(4, 5)(images)
    assert kc.ResizeConv2D(4, 5, size=3)(images).shape == (1, 3, 12, 4)


@pytest.mark.parametrize(
    ("size", "kept"),
    [(Fraction(4, 3), "4/3"), (Fraction(3, 2), 1.5), (Fraction(2), 2), ("7/3", "7/3")],
    ids=str,
)
def test_a_fraction_comes_back_from_a_file_exactly(size, kept, tmp_path, rng):
    images = rng.normal(size=(1, 6, 9, 2)).astype("float32")
    model = keras.Sequential([keras.Input((6, 9, 2)), kc.ResizeConv2D(3, size=size)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config()["size"] == (kept, kept)
    out = int(6 * Fraction(size)), int(9 * Fraction(size))
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.weights)
    expected = oracle.resize_conv2d(images, kernel, bias, out, "nearest", "reflect")
    assert_close(from_format(loaded(images), "channels_last"), expected, 5e-6)
