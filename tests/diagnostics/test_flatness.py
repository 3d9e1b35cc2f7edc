"""What models make of constants: up-samplers a constant, noise blocks a texture."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cnnfix import NIB, ResizeConv2D, SubPixelConv
from keras_cnnfix.diagnostics import constant_response, overlap_map, phase_gains, phase_imbalance
from keras_cnnfix.ops import layout


def _model(*stack, shape=(None, None, 3)):
    return keras.Sequential([keras.Input(shape), *stack])


def test_energy_of_an_even_transposed_convolution_is_that_of_its_coverage():
    layer = layers.Conv2DTranspose(1, 3, strides=2, use_bias=False, padding="same")
    model = _model(layer, shape=(None, None, 1))
    layer.set_weights([np.ones((3, 3, 1, 1))])
    response = constant_response(model, (16, 16, 1), levels=[0.5, 1.0], border=2)
    counts = overlap_map(3, 2)
    expected = counts.var() / np.square(counts).mean()
    np.testing.assert_allclose(response.energy, expected, rtol=1e-5)
    np.testing.assert_allclose(response.spatial_std, counts.std() * np.array([0.5, 1]), rtol=1e-5)


def test_energy_outside_dc_is_the_spectral_one(rng):
    texture = rng.random((8, 9, 3))
    response = constant_response(lambda x: x + texture, (8, 9, 3), levels=[0.3])
    power = np.square(np.abs(np.fft.fft2(response.outputs[0], axes=(0, 1))))
    np.testing.assert_allclose(response.energy[0], 1 - power[0, 0].sum() / power.sum(), rtol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_resize_convolution_and_icnr_answer_a_constant_with_a_constant(data_format):
    shape = layout.image_shape(None, (12, 14), 3, data_format)[1:]
    for layer, flat in (
        (ResizeConv2D(4, data_format=data_format), True),
        (SubPixelConv(4, data_format=data_format), True),
        (SubPixelConv(4, kernel_initializer="he_normal", data_format=data_format), False),
        (layers.Conv2DTranspose(4, 3, strides=2, padding="same", data_format=data_format), False),
    ):
        model = _model(layer, shape=shape)
        response = constant_response(model, border=4, data_format=data_format)
        assert response.outputs.shape == (5, 16, 20, 4)
        assert (response.energy[1:] < 1e-10).all() == flat
        assert response.energy[0] == 0  # Black stays black: there is no bias.
        if not flat:
            # Of many pairs of channels, the imbalance says what the constant response shows.
            assert response.energy[-1] == pytest.approx(
                phase_imbalance(phase_gains(layer)), abs=0.3
            )


def test_only_a_noise_block_gives_a_flat_input_a_texture():
    def response(*first):
        rest = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.Conv2D(1, 1)]
        return constant_response(_model(*first, *rest, shape=(32, 32, 1)), border=2)

    assert (response(NIB()).spatial_std > 0.01).all()
    assert (response().spatial_std < 1e-6).all()


def test_the_shape_comes_from_the_model_where_it_is_known():
    assert constant_response(_model(ResizeConv2D(2))).outputs.shape == (5, 128, 128, 2)
    fixed = _model(ResizeConv2D(2), shape=(10, 12, 3))
    assert constant_response(fixed, levels=[1]).outputs.shape == (1, 20, 24, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constant_response(lambda x: x, (8, 8, 1), []), "`levels` must hold"),
        (lambda: constant_response(lambda x: x), "`shape` must be given"),
        (lambda: constant_response(lambda x: x, (3, 3)), "must have 4 dimensions"),
        (lambda: constant_response(lambda x: x[:, 0], (8, 8, 1)), "`outputs` must have 4"),
        (lambda: constant_response(lambda x: x, (8, 8, 1), border=4), "`border` must leave"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
