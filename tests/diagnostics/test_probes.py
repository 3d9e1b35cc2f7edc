"""What is left of a grid on flats, on ramps and at edges."""

import keras
import numpy as np
import pytest
from keras import layers

import oracle
from images import DATA_FORMATS
from keras_cnnfix import EvenConv2DTranspose, ResizeConv2D
from keras_cnnfix.diagnostics import grid_response
from keras_cnnfix.ops import layout


def _response(layer, data_format="channels_last"):
    shape = layout.image_shape(None, (16, 18), 3, data_format)[1:]
    model = keras.Sequential([keras.Input(shape), layer])
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return grid_response(model, border=8, data_format=data_format)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_what_each_up_sampling_leaves(data_format):
    settings = {"strides": 2, "padding": "same", "data_format": data_format}
    plain = _response(layers.Conv2DTranspose(8, 4, **settings), data_format)
    even = _response(EvenConv2DTranspose(8, 4, **settings), data_format)
    ramp = _response(EvenConv2DTranspose(8, 4, order=1, **settings), data_format)
    resize = _response(ResizeConv2D(8, data_format=data_format), data_format)
    assert min(plain.constant, plain.ramp, plain.edge) > 0.05
    assert even.constant < 1e-9
    assert min(even.ramp, even.edge) > 1e-3
    # Two taps a phase have no freedom left along a straight edge; three have.
    assert max(ramp.constant, ramp.ramp, ramp.edge) < 1e-8
    wider = _response(EvenConv2DTranspose(8, 6, order=1, **settings), data_format)
    assert max(wider.constant, wider.ramp) < 1e-8
    assert wider.edge > 1e-3
    # Repeated pixels are steps along a ramp, but the same all along an edge.
    assert max(resize.constant, resize.edge) < 1e-9
    assert resize.ramp > 1e-4


def test_a_planted_grid_is_what_it_is(rng):
    """Half a grid along one side, on top of the images: its share by hand."""
    grid = 0.1 * (-1.0) ** np.arange(20)
    response = grid_response(lambda x: x + grid[:, None, None], (20, 20, 1))
    assert response.constant == pytest.approx(0.01 / 1.01, rel=1e-4)
    edge = np.repeat([0.0, 1.0], 10)
    with_grid = np.var(edge) + 0.01
    # It varies along the upright edge alone, and adds to the variance of both.
    other = np.var(edge + grid)
    assert response.edge == pytest.approx((0.01 / with_grid + 0 / other) / 2, rel=1e-3)
    assert 0.01 < response.ramp < 0.2


def test_bilinear_resize_leaves_nothing(rng):
    kernel = rng.normal(size=(3, 3, 2, 4))

    def upsampling(x):
        return oracle.resize_conv2d(x, kernel, None, (24, 24), "bilinear", "edge")

    response = grid_response(upsampling, (12, 12, 2), border=4)
    assert max(response.constant, response.ramp, response.edge) < 1e-9


def test_messages():
    with pytest.raises(ValueError, match="grid_response: `shape` must be given"):
        grid_response(lambda x: x)
    with pytest.raises(ValueError, match="grid_response: `border` must leave"):
        grid_response(lambda x: x, (8, 8, 1), border=4)
