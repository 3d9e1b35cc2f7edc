import keras
import numpy as np
import pytest
from keras import ops

import keras_cnnfix as kc
from keras_cnnfix.diagnostics import phase_gains, phase_imbalance


def test_a_plain_layer_that_is_trained_stays_even(rng):
    layer = keras.layers.Conv2DTranspose(
        2,
        3,
        2,
        "same",
        kernel_initializer=kc.initializers.EvenPhases(strides=2),
        kernel_constraint=kc.EvenPhases(2),
    )
    model = keras.Sequential([keras.Input((6, 6, 2)), layer])
    assert phase_imbalance(phase_gains(layer)) < 1e-10
    model.compile(keras.optimizers.Adam(0.1), "mse")
    before = layer.get_weights()[0]
    model.fit(rng.normal(size=(4, 6, 6, 2)), rng.normal(size=(4, 12, 12, 2)), verbose=0)
    assert np.abs(layer.get_weights()[0] - before).max() > 0.01
    assert phase_imbalance(phase_gains(layer)) < 1e-10


@pytest.mark.parametrize("order", ["dcr", "crd"])
def test_a_convolution_before_a_depth_to_space_stays_even(order, rng):
    kernel = rng.normal(size=(3, 2, 4, 12)).astype("float32")
    constraint = kc.EvenPhases((2, 3), order)
    assert phase_imbalance(phase_gains(kernel, (2, 3), order)) > 0.1
    evened = ops.convert_to_numpy(constraint(kernel))
    assert phase_imbalance(phase_gains(evened, (2, 3), order)) < 1e-10
    bias = ops.convert_to_numpy(constraint(rng.normal(size=12).astype("float32")))
    of_phases = bias.reshape(6, 2) if order == "dcr" else bias.reshape(2, 6).T
    np.testing.assert_allclose(of_phases, np.broadcast_to(of_phases[:1], (6, 2)), atol=1e-6)


@pytest.mark.parametrize("cls", [kc.EvenPhases, kc.initializers.EvenPhases])
def test_the_config_round_trip(cls):
    first = cls(strides=(2, 3), channel_order="crd", order=1)
    home = keras.constraints if cls is kc.EvenPhases else keras.initializers
    second = home.deserialize(home.serialize(first))
    assert type(second) is cls
    assert second.get_config() == first.get_config()
    assert (second.strides, second.channel_order, second.order) == ((2, 3), "crd", 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kc.EvenPhases(0), "`strides` must be an integer of at least 1"),
        (lambda: kc.EvenPhases(2, "rgb"), "`channel_order` must be one of 'dcr', 'crd'"),
        (lambda: kc.EvenPhases(2, order=2), "`order` must be an integer of at least 0 and at most"),
        (lambda: kc.EvenPhases(3)(np.ones((2, 4, 1, 1))), "must have at least .3, 3. taps"),
        (lambda: kc.EvenPhases(2, order=1)(np.ones((2, 4, 1, 1))), "at least .3, 3. taps.*order=0"),
        (lambda: kc.EvenPhases(2, "dcr", 1)(np.ones((1, 1, 1, 4))), "at least .2, 2. taps"),
        (lambda: kc.EvenPhases(2, "dcr")(np.ones((3, 3, 1, 6))), "the shape must be"),
        (lambda: kc.EvenPhases(2)(np.ones(8)), "the shape must be"),
        (lambda: kc.initializers.EvenPhases(strides=3)((2, 2, 1, 1)), "at least .3, 3. taps"),
        (lambda: kc.initializers.EvenPhases("no such"), "`initializer` must be what"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=f"EvenPhases: .*{message}"):
        make()
