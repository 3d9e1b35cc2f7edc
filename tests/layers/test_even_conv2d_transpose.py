import keras
import numpy as np
import pytest
from keras import ops

import keras_cnnfix as kc
import oracle
from images import (
    DATA_FORMATS,
    KERAS_3_10,
    answer_with_random_weights,
    apply,
    assert_close,
    pairwise,
)
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.conv_transpose import border_of, crops_of
from keras_cnnfix.ops.even import even

SIDES = [(3, 2), (4, 2), (5, 3), (6, 2), (4, 4), (2, 1)]


@pytest.mark.parametrize(
    ("side", "padding", "data_format"), pairwise(SIDES, ["valid", "same"], DATA_FORMATS)
)
def test_it_is_a_drop_in_for_conv2d_transpose(side, padding, data_format, backend, rng):
    """From its config and with its weights: the same sizes, the numbers of the even kernel."""
    (k, s), last = side, data_format == "channels_last"
    added = None if s == 1 or KERAS_3_10 else s - 1
    settings = {"data_format": data_format, "output_padding": added, "name": "up"}
    theirs = keras.layers.Conv2DTranspose(4, k, s, padding, activation="tanh", **settings)
    theirs.build((None, None, None, 3) if last else (None, 3, None, None))
    ours = kc.EvenConv2DTranspose.from_config(theirs.get_config())
    ours.build((None, None, None, 3) if last else (None, 3, None, None))
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    kernel, bias = (rng.normal(size=w.shape).astype("float32") for w in theirs.weights)
    ours.set_weights([kernel, bias])
    theirs.set_weights([ops.convert_to_numpy(even(kernel, (s, s))), bias])
    shape = (2, 5, 6, 3) if last else (2, 3, 5, 6)
    assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
    x = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    if last and not (
        KERAS_3_10 and backend == "torch"
    ):  # Without oneDNN, TensorFlow has no other on a CPU.
        assert_close(apply(ours, x, data_format), apply(theirs, x, data_format), 2e-6)
    crops = crops_of((k, k), (s, s), padding, ours.output_padding)
    expected = oracle.conv_transpose2d(x, theirs.get_weights()[0], bias, (s, s), crops)
    assert_close(apply(ours, x, data_format), np.tanh(expected), 3e-6)


@pytest.mark.parametrize(
    ("border", "side", "order"),
    pairwise([mode for mode in PADDING_MODES if mode != "zeros"], [(4, 2), (3, 2), (7, 3)], [0, 1]),
)
def test_a_constant_is_constant_up_to_the_border(border, side, order):
    k, s = side
    layer = kc.EvenConv2DTranspose(3, k, s, "same", border=border, order=order)
    images = np.full((1, 5, 6, 2), 0.7, "float32")
    y, _ = answer_with_random_weights(layer, images)
    assert y.shape == (1, 5 * s, 6 * s, 3)
    assert np.abs(y).min() > 1e-3
    assert_close(y, np.broadcast_to(y[:, :1, :1], y.shape), 5e-6)


def test_a_ramp_stays_a_ramp_of_order_1():
    layer = kc.EvenConv2DTranspose(3, 4, 2, "same", order=1)
    images = np.broadcast_to(np.arange(9.0)[:, None, None], (1, 9, 9, 2)).astype("float32")
    y, _ = answer_with_random_weights(layer, images)
    steps = np.diff(y[:, 2:-2, 2:-2], axis=1)
    assert_close(steps, np.broadcast_to(steps[:, :1, :1], steps.shape), 2e-5)


def test_it_stays_even_while_it_trains(rng):
    """With an optimizer that scales each tap's step on its own, so that the stored kernel does not
    stay even by itself.
    """
    keras.utils.set_random_seed(1)
    layer = kc.EvenConv2DTranspose(2, 3, 2, "same", border="edge")
    model = keras.Sequential([keras.Input((6, 6, 2)), layer])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x, y = rng.normal(size=(4, 6, 6, 2)), rng.normal(size=(4, 12, 12, 2))
    model.fit(x, y, epochs=3, verbose=0)
    assert (
        kc.diagnostics.phase_imbalance(kc.diagnostics.phase_gains(layer.get_weights()[0], 2)) > 1e-3
    )
    assert kc.diagnostics.phase_imbalance(kc.diagnostics.phase_gains(layer)) < 1e-10
    flat = model.predict(np.ones((1, 6, 6, 2)), verbose=0)
    assert_close(flat, np.broadcast_to(flat[:, :1, :1], flat.shape), 5e-6)


def test_the_start_is_even_with_the_variance_of_the_plain_layer(rng):
    x = rng.normal(size=(1, 16, 16, 64)).astype("float32")
    for side in ((3, 2), (4, 2), (6, 3)):
        stds = []
        for cls in (keras.layers.Conv2DTranspose, kc.EvenConv2DTranspose):
            layer = cls(32, *side, "same", kernel_initializer=keras.initializers.HeNormal(1))
            stds.append(np.std(ops.convert_to_numpy(layer(x))))
        assert stds[1] == pytest.approx(stds[0], rel=0.05)
        stored = kc.diagnostics.phase_gains(layer.get_weights()[0], side[1])
        assert kc.diagnostics.phase_imbalance(stored) < 1e-10


def test_an_array_is_taken_as_it_is(rng):
    kernel = rng.normal(size=(3, 3, 2, 3)).astype("float32")
    layer = kc.EvenConv2DTranspose(2, 3, 2, kernel_initializer=kernel)
    layer.build((None, 4, 4, 3))
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 2, "strides": 3}, "at least .3, 3. taps"),
        ({"kernel_size": 2, "strides": 2, "order": 1}, "at least .3, 3. taps .* or order=0"),
        ({"kernel_size": (3, 4), "strides": (2, 3), "order": 1}, "at least .3, 5. taps"),
        ({"order": 2}, "`order` must be an integer of at least 0 and at most 1"),
        ({"padding": "reflect"}, "`padding` must be one of 'valid', 'same'.*`border`"),
        ({"border": "same", "padding": "same"}, "`border` must be one of"),
        ({"border": "edge"}, "`border` must be 'zeros' with padding='valid'"),
        ({"output_padding": 2, "strides": 2}, "`output_padding` must be below `strides`"),
        ({"output_padding": -1}, "`output_padding` must be an integer of at least 0"),
        ({"dilation_rate": 2}, "`dilation_rate` must be 1"),
        ({"filters": 0}, "`filters` must be an integer of at least 1"),
        ({"strides": 0}, "`strides` must be an integer of at least 1"),
    ],
)
def test_what_is_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=rf"EvenConv2DTranspose: .*{message}"):
        kc.EvenConv2DTranspose(**{"filters": 2, "kernel_size": 3, **settings})


def test_a_border_deeper_than_the_image_is_refused():
    layer = kc.EvenConv2DTranspose(2, 9, 2, "same", border="reflect")
    pads = border_of((9, 9), (2, 2), layer._crops)
    assert max(pads[0]) == 2
    with pytest.raises(ValueError, match="`border` must fit the image: a 'reflect' border of 2"):
        layer(np.ones((1, 2, 4, 1), "float32"))
    assert layer(np.ones((1, 3, 4, 1), "float32")).shape == (1, 6, 8, 2)
