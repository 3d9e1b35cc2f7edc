"""What becomes of resize- and sub-pixel convolutions that are written as several layers."""

import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import networks
from images import DATA_FORMATS
from keras_cnnfix import fix, rules

WRITTEN = {  # By name: what stands between UpSampling2D and the convolution, and its padding.
    "same": (None, "same"),
    "valid": (None, "valid"),
    "zeros": (lambda pads: layers.ZeroPadding2D(pads), "valid"),
    "reflect": (lambda pads: Mirror(pads), "valid"),
}


class Mirror(layers.Layer):
    """A reflect border, as people write it; `pads` in Keras's order, for channels_last."""

    def __init__(self, pads, mode="reflect", **kwargs):
        super().__init__(**kwargs)
        self.pads, self.mode = pads, mode

    def call(self, x):
        return ops.pad(x, [(0, 0), *self.pads, (0, 0)], mode=self.mode)

    def compute_output_shape(self, shape):
        sides = [n and n + sum(pair) for n, pair in zip(shape[1:3], self.pads, strict=True)]
        return (shape[0], *sides, shape[3])

    def get_config(self):
        return {**super().get_config(), "pads": self.pads, "mode": self.mode}


def assert_same(model, fixed, sides=(16, 18), tolerance=1e-5):
    x = networks.inputs_of(model, sides=sides)
    for old, new in zip(networks.outputs_of(model, x), networks.outputs_of(fixed, x), strict=True):
        assert old.shape == new.shape
        np.testing.assert_allclose(new, old, rtol=0, atol=tolerance * np.abs(old).max())


def sequential(*parts, shape=(None, None, 3)):
    return networks.filled(keras.Sequential([keras.Input(shape), *parts]))


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(("taps", "size"), [(3, 2), ((5, 4), (2, 3)), (1, 2), (2, (1, 2))])
def test_upsampling_and_convolution_become_one(written, interpolation, taps, size):
    between, padding = WRITTEN[written]
    sides = [((k - 1) // 2, k // 2) for k in (taps if isinstance(taps, tuple) else (taps, taps))]
    border = [] if between is None or max(map(max, sides)) == 0 else [between(sides)]
    model = sequential(
        layers.UpSampling2D(size, interpolation=interpolation),
        *border,
        layers.Conv2D(4, taps, padding=padding, activation="relu", name="conv"),
    )
    fixed, report = fix(model)
    assert type(fixed.layers[0]).__name__ == "ResizeConv2D"
    assert fixed.layers[0].name == "conv"
    assert len(fixed.layers) == (2 if written == "valid" and taps != 1 else 1)
    assert [change.rule for change in report.changed] == ["resize_conv"]
    assert report.changed[0].residual < 1e-5
    assert_same(model, fixed)


def test_a_transposed_convolution_at_stride_one_is_turned_round():
    model = sequential(
        layers.UpSampling2D(2), layers.Conv2DTranspose(4, (3, 5), padding="same", name="conv")
    )
    fixed, _ = fix(model)
    assert type(fixed.layers[0]).__name__ == "ResizeConv2D"
    assert_same(model, fixed)


@pytest.mark.parametrize("groups", [1, 3])
def test_groups_regularizers_and_flags_are_taken_over(groups):
    conv = layers.Conv2D(
        6, 3, padding="same", groups=groups, kernel_regularizer="l2", use_bias=False, name="conv"
    )
    model = sequential(layers.UpSampling2D(2), conv)
    conv.trainable = False
    fixed, _ = fix(model)
    layer = fixed.get_layer("conv")
    assert not layer.trainable
    assert layer.kernel_regularizer.get_config() == conv.kernel_regularizer.get_config()
    assert layer.bias is None
    assert_same(model, fixed)


REFUSED = {
    "activation": ([layers.UpSampling2D, layers.ReLU, "conv"], "ReLU"),
    "bicubic": ([lambda: layers.UpSampling2D(2, interpolation="bicubic"), "conv"], "bicubic"),
    "strides": ([layers.UpSampling2D, lambda: layers.Conv2D(2, 3, strides=2)], "strides"),
    "dilated": ([layers.UpSampling2D, lambda: layers.Conv2D(2, 3, dilation_rate=2)], "dilation"),
    "larger": ([layers.UpSampling2D, lambda: layers.Conv2DTranspose(2, 3)], "larger map"),
    "even": (
        [layers.UpSampling2D, lambda: layers.Conv2DTranspose(2, 4, padding="same")],
        "border on the other side",
    ),
    "other border": (
        [layers.UpSampling2D, lambda: layers.ZeroPadding2D(2), lambda: layers.Conv2D(2, 3)],
        "no border of",
    ),
    "twice": (
        [layers.UpSampling2D, layers.ZeroPadding2D, lambda: layers.Conv2D(2, 3, padding="same")],
        "border of its own",
    ),
    "depthwise": (
        [layers.UpSampling2D, lambda: layers.DepthwiseConv2D(3, padding="same")],
        "DepthwiseConv2D",
    ),
    "last": ([layers.UpSampling2D], "one of the model's"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_left_alone_has_its_reason(name):
    parts, reason = REFUSED[name]
    made = [layers.Conv2D(2, 3, padding="same") if p == "conv" else p() for p in parts]
    model = sequential(*made)
    fixed, report = fix(model)
    assert not report.changed
    assert reason in report.left[0].reason
    assert [type(layer) for layer in fixed.layers] == [type(layer) for layer in model.layers]


def test_an_answer_that_several_take_is_left():
    x = keras.Input((8, 8, 3))
    y = layers.UpSampling2D(2)(x)
    model = keras.Model(x, [layers.Conv2D(2, 3)(y), layers.Conv2D(2, 3)(y)])
    _, report = fix(model)
    assert "2 places" in report.left[0].reason


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize("border", [None, "zeros", "reflect"])
def test_convolution_and_pixel_shuffle_become_one(order, border):
    before = {
        None: [],
        "zeros": [layers.ZeroPadding2D(1)],
        "reflect": [Mirror([(1, 1), (1, 1)])],
    }[border]
    padding = "same" if border is None else "valid"
    conv = layers.Conv2D(12, 3, padding=padding, activation="relu", name="conv")
    shuffle = (
        networks.PixelShuffle(2)
        if order == "crd"
        else layers.Lambda(lambda x: ops.depth_to_space(x, 2, data_format="channels_last"))
    )
    model = sequential(*before, conv, shuffle)
    fixed, report = fix(model)
    layer = fixed.get_layer("conv")
    assert type(layer).__name__ == "SubPixelConv"
    assert (layer.channel_order, layer.even) == (order, False)
    assert len(fixed.layers) == 1
    assert report.changed[0].safety == "exact"
    assert_same(model, fixed)


def test_a_pixel_shuffle_of_unequal_sides_is_told_by_running_it():
    class Rows(layers.Layer):
        def call(self, x):
            _, h, w, c = ops.shape(x)
            return ops.reshape(
                ops.transpose(ops.reshape(x, (-1, h, w, 3, c // 3)), (0, 1, 3, 2, 4)),
                (-1, 3 * h, w, c // 3),
            )

    model = sequential(layers.Conv2D(6, 3, padding="same", name="conv"), Rows(), shape=(5, 4, 3))
    fixed, _ = fix(model)
    assert fixed.get_layer("conv").size == (3, 1)
    assert_same(model, fixed)


def test_what_only_looks_like_a_pixel_shuffle_is_none():
    class Turned(networks.PixelShuffle):
        def call(self, x):
            return ops.flip(super().call(x), axis=1)

    model = sequential(layers.Conv2D(12, 3, padding="same"), Turned(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, report = fix(model)
    assert not report.changed


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_exact_rules_serve_both_data_formats(data_format):
    if data_format == "channels_first" and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's UpSampling2D and convolutions on a CPU want channels_last")
    shape = (6, 5, 3) if data_format == "channels_last" else (3, 6, 5)
    settings = {"data_format": data_format}
    model = sequential(
        layers.UpSampling2D(2, **settings),
        layers.Conv2D(4, 3, padding="same", **settings),
        layers.UpSampling2D((1, 3), **settings),
        layers.ZeroPadding2D(1, **settings),
        layers.Conv2D(2, 3, **settings),
        shape=shape,
    )
    fixed, report = fix(model)
    assert len(report.changed) == 2
    assert len(fixed.layers) == 2
    assert_same(model, fixed)


@pytest.mark.parametrize(
    ("taps", "stride"), [*itertools.product([2, 3, 4, 5, 7], [2, 3]), ((3, 4), (1, 2))]
)
def test_a_transposed_convolution_is_a_sub_pixel_convolution(taps, stride):
    if isinstance(taps, int) and taps < stride:
        return
    model = sequential(
        layers.Conv2DTranspose(2, taps, strides=stride, padding="same", name="up"), shape=(5, 6, 3)
    )
    fixed, report = fix(model, rules="subpixel")
    assert type(fixed.get_layer("up")).__name__ == "SubPixelConv"
    assert report.changed[0].residual < 1e-5
    assert_same(model, fixed)


PLANTED = {
    "tap order": lambda layer: layer.kernel.assign(ops.flip(layer.kernel, axis=(0, 1))),
    "transposed channels": lambda layer: layer.kernel.assign(ops.roll(layer.kernel, 1, axis=3)),
    "bias dropped": lambda layer: layer.bias.assign(layer.bias * 0),
    "activation moved": lambda layer: setattr(layer, "activation", keras.activations.linear),
    "border": lambda layer: setattr(layer, "padding", "reflect"),
}


@pytest.mark.parametrize("fault", PLANTED)
@pytest.mark.parametrize("rule", ["resize_conv", "subpixel_conv", "subpixel"])
def test_a_planted_fault_is_found_and_taken_back(fault, rule):
    model = {
        "resize_conv": lambda: sequential(
            layers.UpSampling2D(2), layers.Conv2D(4, 3, padding="same", activation="tanh")
        ),
        "subpixel_conv": lambda: sequential(
            layers.Conv2D(8, 3, padding="same", activation="tanh"),
            layers.Lambda(lambda x: ops.depth_to_space(x, 2, data_format="channels_last")),
        ),
        "subpixel": lambda: sequential(
            layers.Conv2DTranspose(2, 4, strides=2, padding="same", activation="tanh")
        ),
    }[rule]()
    right = next(known for known in rules.RULES if known.name == rule)

    class Faulty(type(right)):  # type: ignore[misc]
        name = "faulty"

        def rewrite(self, match, inputs=None):
            pairs = super().rewrite(match)
            PLANTED[fault](pairs[0][1][0])
            return pairs

    fixed, report = fix(model, rules=[Faulty()])
    assert not report.changed
    assert "taken back" in report.failed[0].reason
    assert_same(model, fixed, tolerance=0)


def test_a_convolution_whose_answer_is_needed_elsewhere_is_left():
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(12, 3, padding="same")(inputs)
    large = ops.depth_to_space(features, 2, data_format="channels_last")
    model = networks.filled(keras.Model(inputs, [large, layers.ReLU()(features)]))
    fixed, report = fix(model)
    assert not report.changed
    assert "not from one Conv2D alone" in report.left[0].reason
    assert_same(model, fixed)
