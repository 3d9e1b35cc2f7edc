"""The nearest layers without a checkerboard."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import networks
from images import DATA_FORMATS
from keras_cnnfix import EvenConv2DTranspose, ResizeConv2D, SubPixelConv, fix
from keras_cnnfix.diagnostics import phase_gains, phase_imbalance


def sequential(*parts, shape=(9, 8, 3)):
    return networks.filled(keras.Sequential([keras.Input(shape), *parts]))


def answer(model, seed=0):
    return networks.outputs_of(model, networks.inputs_of(model, seed))[0]


@pytest.mark.parametrize(("taps", "stride"), [(2, 2), (3, 2), (4, 2), (5, 3), ((4, 3), (2, 1))])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_transposed_convolution_gets_even_phases(taps, stride, padding):
    model = sequential(layers.Conv2DTranspose(4, taps, strides=stride, padding=padding, name="up"))
    fixed, report = fix(model, rules="upsampling")
    layer = fixed.get_layer("up")
    assert type(layer) is EvenConv2DTranspose
    assert phase_imbalance(phase_gains(layer)) < 1e-10
    (change,) = report.changed
    assert change.safety == "nearest"
    # The reported residual is the one that other images have, too.
    old, new = answer(model, 1), answer(fixed, 1)
    residual = np.sqrt(np.square(new - old).sum() / np.square(old).sum())
    assert change.residual == pytest.approx(residual, rel=0.3)
    assert change.multiplications[0] == change.multiplications[1]
    # What is stored is what was: turning the projection off gives the old answers.
    np.testing.assert_array_equal(layer.kernel, model.get_layer("up").kernel)


def test_output_padding_stays():
    model = sequential(
        layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1, name="up")
    )
    fixed, _ = fix(model, rules="upsampling")
    assert fixed.output_shape == model.output_shape
    assert fixed.get_layer("up").output_padding == (1, 1)


def test_what_is_even_or_leaves_pixels_out_is_left():
    even = layers.Conv2DTranspose(4, 4, strides=2, padding="same")
    model = sequential(even)
    even.set_weights([np.ones((4, 4, 4, 3)), np.zeros(4)])
    _, report = fix(model, rules="upsampling")
    assert "even already" in report.left[0].reason
    _, report = fix(sequential(layers.Conv2DTranspose(4, 2, strides=3)), rules="upsampling")
    assert "leaves pixels out" in report.left[0].reason


@pytest.mark.parametrize("order", ["dcr", "crd"])
def test_a_sub_pixel_convolution_gets_even_phases_and_an_even_bias(order):
    model = networks.filled(networks.super_resolution(order))
    fixed, report = fix(model, rules="upsampling")
    assert [change.rule for change in report.changed] == ["even_subpixel_conv"]
    flat = np.ones((1, 12, 12, 3), "float32")
    inside = networks.outputs_of(fixed, flat)[0][:, 6:-6, 6:-6]
    before = networks.outputs_of(model, flat)[0][:, 6:-6, 6:-6]
    assert inside.std((1, 2)).max() < 1e-5 < before.std((1, 2)).max()


@pytest.mark.parametrize(
    ("old", "stride", "new"), [(2, 2, 1), (3, 2, 3), (4, 2, 3), (5, 2, 5), (6, 2, 5), (5, 3, 3)]
)
def test_a_resize_convolution_is_fitted_by_least_squares(old, stride, new):
    model = sequential(
        layers.Conv2DTranspose(2, old, strides=stride, padding="same", name="up"), shape=(9, 8, 3)
    )
    fixed, report = fix(model, rules="resize")
    layer = fixed.get_layer("up")
    assert type(layer) is ResizeConv2D
    assert layer.kernel_size == (new, new)
    # A small step in any direction is no nearer: on white noise, up to the border.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 9, 8, 3)).astype("float32")

    def distance():
        change = networks.outputs_of(fixed, x)[0] - networks.outputs_of(model, x)[0]
        return np.square(change[:, 6:-6, 6:-6]).mean()

    least = distance()
    kernel = ops.convert_to_numpy(layer.kernel)
    for seed in range(4):
        step = np.random.default_rng(seed).normal(size=kernel.shape) * 0.1
        layer.set_weights([kernel + step, *layer.get_weights()[1:]])
        assert distance() > least
    assert 0 < report.changed[0].residual < 1.5


def test_a_resize_convolution_is_found_again():
    """Of a transposed convolution that is one, the fit is the kernel that it came from."""
    rng = np.random.default_rng(0)
    for taps, stride in ((3, 2), (5, 2), (3, 3)):
        kernel = rng.normal(size=(taps, taps, 3, 2)).astype("float32")
        composite = np.zeros((taps + stride - 1, taps + stride - 1, 2, 3), "float32")
        for y, x in np.ndindex(stride, stride):
            composite[y : y + taps, x : x + taps] += kernel[::-1, ::-1].swapaxes(2, 3)
        up = layers.Conv2DTranspose(
            2, taps + stride - 1, strides=stride, padding="same", name="up", use_bias=False
        )
        model = sequential(up)
        up.kernel.assign(composite)
        fixed, _ = fix(model, rules="resize")
        if (taps - 1) % 2 == 0 and taps % 2:
            found = ops.convert_to_numpy(fixed.get_layer("up").kernel)
            np.testing.assert_allclose(found, kernel, atol=1e-5)


def subpixel(order, taps=3, size=2, **settings):
    settings = {"channel_order": order, "padding": "wrap", "name": "up", **settings}
    return sequential(SubPixelConv(4, taps, size, **settings), shape=(12, 13, 3))


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize(("taps", "size"), [(3, 2), (2, 3), ((3, 4), (1, 2)), (1, 2)])
def test_a_smooth_sub_pixel_convolution_is_fitted_by_least_squares(order, taps, size):
    model = subpixel(order, taps, size)
    fixed, report = fix(model, rules="smooth")
    layer = fixed.get_layer("up")
    assert layer.smooth
    x = np.random.default_rng(0).normal(size=(64, 12, 13, 3)).astype("float32")
    old = networks.outputs_of(model, x)[0]

    def distance():
        return np.square(networks.outputs_of(fixed, x)[0] - old).mean()

    least = distance()
    assert report.changed[0].residual == pytest.approx(
        np.sqrt(least / np.square(old).mean()), rel=0.2
    )
    kernel = ops.convert_to_numpy(layer.kernel)
    for seed in range(3):
        step = np.random.default_rng(seed).normal(size=kernel.shape)
        layer.kernel.assign(kernel + 0.05 * step)
        assert distance() > least


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize("even", [False, True])
def test_the_same_taps_in_every_phase_on_request(order, even):
    model = subpixel(order, even=even)
    fixed, _ = fix(model, rules="icnr")
    y = networks.outputs_of(fixed, networks.inputs_of(model))[0]
    blocks = y.reshape(2, 12, 2, 13, 2, 4)
    assert np.abs(blocks - blocks.mean((2, 4), keepdims=True)).max() < 1e-5
    # The mean over a block stays what it was.
    old = networks.outputs_of(model, networks.inputs_of(model))[0].reshape(blocks.shape)
    np.testing.assert_allclose(blocks.mean((2, 4)), old.mean((2, 4)), atol=1e-5)


@pytest.mark.parametrize("rule", ["smooth", "icnr"])
def test_a_convolution_and_a_shuffle_are_mended_as_one_layer_is(rule):
    model = networks.filled(networks.super_resolution("crd"))
    once, report = fix(model, rules=rule)
    assert [change.rule for change in report.changed] == [rule]
    twice, _ = fix(fix(model)[0], rules=rule)
    x = networks.inputs_of(model)
    pair = [networks.outputs_of(network, x)[0] for network in (once, twice)]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-5)


def test_a_transposed_convolution_becomes_smooth_in_two_steps():
    model = sequential(layers.Conv2DTranspose(4, 4, strides=2, padding="same", name="up"))
    fixed, _ = fix(fix(model, rules="subpixel")[0], rules="smooth")
    assert fixed.get_layer("up").smooth
    inside = networks.outputs_of(fixed, np.ones((1, 9, 8, 3), "float32"))[0][:, 4:-4, 4:-4]
    assert np.ptp(inside, (1, 2)).max() < 1e-5


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_resize_convolution_is_fitted_to_images(data_format, use_bias):
    """Of smooth images, in a model within a model, it answers more alike than the fit to noise."""
    settings = {"padding": "same", "data_format": data_format}
    shape = (12, 10, 3) if data_format == "channels_last" else (3, 12, 10)
    before = layers.Conv2D(6, 3, activation="relu", **settings)
    up = layers.Conv2DTranspose(4, (4, 3), 2, use_bias=use_bias, name="up", **settings)
    inner = keras.Sequential([keras.Input(before.compute_output_shape((1, *shape))[1:]), up])
    model = sequential(before, inner, shape=shape)
    waves = np.random.default_rng(0).normal(size=(2, 48, *shape)).cumsum(-3).cumsum(-2)
    shown, others = (waves / waves.std()).astype("float32")

    def distance(network, x=shown[:32]):
        pair = [networks.outputs_of(m, x)[0] for m in (network, model)]
        return np.square(np.subtract(*pair)).mean()

    blind, _ = fix(model, rules="resize")
    fitted, report = fix(model, rules="resize", images=shown)
    assert [change.rule for change in report.changed] == ["resize"]
    assert distance(fitted, others) < distance(blind, others)
    # A small step in any direction is no nearer.
    least, (layer,) = distance(fitted), fitted.layers[1].layers
    weights = [ops.convert_to_numpy(weight) for weight in layer.weights]
    before = [ops.convert_to_numpy(weight) for weight in blind.layers[1].layers[0].weights]
    layer.set_weights([w + 0.2 * (w - b) for w, b in zip(weights, before, strict=True)])
    assert distance(fitted) > least
    for seed in range(4):
        rng = np.random.default_rng(seed)
        layer.set_weights([w + 0.1 * rng.normal(size=w.shape) for w in weights])
        assert distance(fitted) > least


def test_images_that_tell_nothing_leave_the_fit_to_noise():
    model = sequential(layers.Conv2DTranspose(4, 4, strides=2, padding="same", name="up"))
    blind, _ = fix(model, rules="resize")
    fitted, _ = fix(model, rules="resize", images=np.zeros((2, 9, 8, 3), "float32"))
    for one, other in zip(blind.weights, fitted.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
