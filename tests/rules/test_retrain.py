"""Down-sampling behind a low-pass: sizes and positions stay."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import networks
from images import DATA_FORMATS
from keras_cnnfix import AdaptiveAntiAlias, fix
from keras_cnnfix.rules import low_pass

POOLS = {
    "max": (layers.MaxPooling2D, "pool_size"),
    "average": (layers.AveragePooling2D, "pool_size"),
}


def down(kind, window, stride, padding):
    if kind in POOLS:
        layer, _ = POOLS[kind]
        return layer(window, strides=stride, padding=padding, name="down")
    if kind == "depthwise":
        return layers.DepthwiseConv2D(window, strides=stride, padding=padding, name="down")
    if kind == "separable":
        return layers.SeparableConv2D(3, window, strides=stride, padding=padding, name="down")
    return layers.Conv2D(4, window, strides=stride, padding=padding, name="down")


KINDS = ("max", "average", "conv", "depthwise", "separable")
SHAPES = [*itertools.product([1, 2, 3, 4], [2, 3])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_sizes_stay_for_every_image(kind, padding):
    for window, stride in SHAPES:
        for sides in ((11, 12), (None, None), (8, 7)):
            model = keras.Sequential(
                [keras.Input((*sides, 3)), down(kind, window, stride, padding)]
            )
            fixed, report = fix(model, rules="downsampling")
            assert len(report.changed) == 1, report
            for size in [(11, 12), (8, 9), (13, 10)] if sides[0] is None else [sides]:
                shapes = [m.compute_output_shape((1, *size, 3)) for m in (model, fixed)]
                assert shapes[0] == shapes[1], (window, stride, size)
        if (window, stride) == (3, 2):
            x = np.zeros((1, 8, 7, 3), "float32")
            assert fixed(x).shape == model(x).shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_positions_stay(kind, padding):
    """The centre of mass of a wide bump moves by less than a sixth of a pixel of the answer."""
    rows = np.arange(48)
    for window, stride, centre in itertools.product([1, 2, 3], [2, 3], [20, 23.5]):
        bump = np.exp(-np.square(rows - centre) / 72)
        x = np.outer(bump, bump)[None, ..., None].astype("float32")
        model = keras.Sequential([keras.Input((48, 48, 1)), down(kind, window, stride, padding)])
        for weight in model.weights:
            weight.assign(np.ones(weight.shape))
        fixed, _ = fix(model, rules="downsampling")

        def place(network, x=x):
            y = keras.ops.convert_to_numpy(network(x))[0, :, :, 0]
            return (y.sum(1) * np.arange(len(y))).sum() / y.sum()

        assert place(fixed) == pytest.approx(place(model), abs=0.17), (window, stride, centre)


def test_a_max_pool_becomes_one_layer_where_that_is_the_same():
    names = {
        (2, 2, "valid", 8): ["MaxBlurPool2D"],
        (2, 2, "valid", 9): ["MaxPooling2D", "BlurPool2D"],
        (2, 2, "valid", None): ["MaxPooling2D", "BlurPool2D"],
        (2, 2, "same", None): ["MaxBlurPool2D"],
        (3, 2, "same", 9): ["MaxBlurPool2D"],
        (3, 2, "same", 8): ["MaxPooling2D", "Cropping2D", "BlurPool2D"],
        (3, 2, "same", None): ["MaxPooling2D", "Padding2D", "Cropping2D", "BlurPool2D"],
    }
    for (window, stride, padding, side), expected in names.items():
        model = keras.Sequential(
            [keras.Input((side, side, 3)), down("max", window, stride, padding)]
        )
        fixed, _ = fix(model, rules="downsampling")
        assert [type(layer).__name__ for layer in fixed.layers] == expected, (window, side)
        assert fixed.layers[0].name == "down"


def test_the_blur_stands_behind_normalization_and_activation():
    fixed, report = fix(networks.filled(networks.classifier()), rules="downsampling")
    names = [type(layer).__name__ for layer in fixed.layers]
    assert names[2:6] == ["Conv2D", "BatchNormalization", "ReLU", "Cropping2D"]
    assert names[6] == "BlurPool2D"
    assert {change.rule for change in report.changed} == {
        "max_pooling",
        "strided_conv",
        "average_pooling",
    }
    conv = next(change for change in report.changed if change.rule == "strided_conv")
    assert conv.multiplications[1] > 3.5 * conv.multiplications[0]
    assert conv.weights[0] == conv.weights[1]


def test_the_blur_stands_before_a_convolution_of_one_tap():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1, strides=2)])
    fixed, _ = fix(model, rules="downsampling")
    assert [type(layer).__name__ for layer in fixed.layers] == ["BlurPool2D", "Conv2D"]


def test_weights_are_taken_over():
    model = networks.filled(networks.classifier())
    fixed, _ = fix(model, rules="downsampling")
    for layer in model.layers:
        for one, other in zip(layer.weights, fixed.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["max", "average", "conv"])
def test_a_window_that_covers_the_map_is_left(kind):
    model = keras.Sequential([keras.Input((4, 4, 3)), down(kind, 4, 4, "valid")])
    _, report = fix(model, rules="downsampling")
    assert not report.changed
    assert "covers the map" in report.left[0].reason


def test_a_map_that_is_too_small_to_mirror_gets_an_edge():
    model = keras.Sequential([keras.Input((2, 2, 3)), down("conv", 1, 2, "same")])
    fixed, _ = fix(model, rules="downsampling")
    assert fixed.layers[0].padding == "edge"
    assert fixed.output_shape == (None, 1, 1, 4)


def test_zeros_around_a_convolution_become_a_mirror_on_request():
    model = networks.filled(
        keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, (3, 2), padding="same")])
    )
    fixed, _ = fix(model, rules="reflect")
    assert [type(layer).__name__ for layer in fixed.layers] == ["Padding2D", "Conv2D"]
    x = networks.inputs_of(model)
    old, new = networks.outputs_of(model, x)[0], networks.outputs_of(fixed, x)[0]
    np.testing.assert_allclose(new[:, 1:-1, :-1], old[:, 1:-1, :-1], atol=1e-5)
    flat = networks.outputs_of(fixed, np.ones((1, 8, 8, 3), "float32"))[0]
    assert np.ptp(flat, axis=(1, 2)).max() < 1e-5


def test_a_shift_changes_the_answer_less():
    """Of stripes as fine as can be, every second pixel is kept: all of them, or none."""
    stripes = np.tile([0.0, 1.0], (1, 16, 8))[..., None].astype("float32")
    for kind in ("max", "average", "conv"):
        model = keras.Sequential([keras.Input((16, 16, 1)), down(kind, 1, 2, "same")])
        for weight in model.weights:
            weight.assign(np.ones(weight.shape))
        fixed, _ = fix(model, rules="downsampling")
        changes = [
            np.abs(np.subtract(*(networks.outputs_of(m, x)[0] for x in (stripes, 1 - stripes))))
            for m in (model, fixed)
        ]
        assert changes[0].min() == 1
        assert changes[1][:, 2:-2, 2:-2].max() < 1e-6


def test_the_aliased_share_is_that_of_the_spectrum():
    ones = np.ones((1, 1, 1))
    assert low_pass.aliased(ones, (2, 2)).value == pytest.approx(0.75, abs=0.01)
    assert low_pass.aliased(ones, (1, 2)).value == pytest.approx(0.5, abs=0.01)
    assert low_pass.aliased(ones, (1, 1)).value == 0
    assert low_pass.aliased(np.zeros((1, 1, 1)), (2, 2)).value == 0
    # The kernel of a large network, without a spectrum of each of its pairs of channels.
    assert 0 < low_pass.aliased(np.ones((3, 3, 2**18)), (2, 2)).value < 0.2
    low = np.outer(*[np.convolve([1, 1], np.convolve([1, 1], [1, 1]))] * 2)[..., None]
    assert low_pass.aliased(low, (2, 2)).value < low_pass.ALIASED


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize(("window", "filters"), [(3, 12), (1, 8), (2, 3)])
def test_an_adaptive_filter_starts_as_the_blur(data_format, window, filters):
    shape = (None, None, 6) if data_format == "channels_last" else (6, None, None)
    conv = layers.Conv2D(
        filters, window, strides=2, padding="same", data_format=data_format, activation="relu"
    )
    model = networks.filled(keras.Sequential([keras.Input(shape), conv]))
    blurred, _ = fix(model, rules="strided_conv")
    fixed, report = fix(model, rules="adaptive")
    (filtered,) = [layer for layer in fixed.layers if isinstance(layer, AdaptiveAntiAlias)]
    assert filtered.groups == np.gcd(8, 6 if window == 1 else filters)
    assert [change.rule for change in report.changed] == ["adaptive"]
    x = networks.inputs_of(model)
    pair = [networks.outputs_of(network, x)[0] for network in (fixed, blurred)]
    assert pair[0].shape == tuple(model(x).shape)
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-4 * np.abs(pair[1]).max())
