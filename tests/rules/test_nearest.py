"""The nearest layers without a checkerboard."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import networks
from keras_cnnfix import EvenConv2DTranspose, ResizeConv2D, fix
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
