import keras
import numpy as np
import pytest

import keras_cnnfix as kc


def _draw(initializer, shape):
    return keras.ops.convert_to_numpy(initializer(shape, dtype="float32"))


@pytest.mark.parametrize(
    ("order", "size"), [("dcr", 2), ("crd", 2), ("dcr", (3, 1)), ("crd", (2, 3))]
)
def test_all_filters_of_a_block_start_equal(order, size):
    initializer = kc.ICNR("he_normal", size, order)
    phases = int(np.prod(initializer.size))
    kernel = _draw(initializer, (3, 3, 4, 5 * phases))
    split = (phases, 5) if order == "dcr" else (5, phases)
    blocks = kernel.reshape(3, 3, 4, *split)
    axis = 3 if order == "dcr" else 4
    np.testing.assert_array_equal(blocks, np.take(blocks, [0], axis=axis) + 0 * blocks)
    assert np.std(np.take(blocks, 0, axis=axis)) > 0


def test_the_fan_out_is_that_of_one_phase():
    """Glorot's limit is sqrt(6 / (fan in + fan out)), here with 2 filters, not 2 * 16."""
    kernel = _draw(kc.ICNR("glorot_uniform", 4), (3, 3, 2, 2 * 16))
    limit = np.sqrt(6 / (9 * (2 + 2)))
    assert 0.8 * limit < np.abs(kernel).max() <= limit


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize("filters", [1, 2])
def test_the_kernel_can_be_written_to(order, filters):
    kernel = keras.Variable(kc.ICNR("zeros", 2, order), shape=(3, 3, 2, 4 * filters))
    value = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    kernel.assign(value)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), value)


def test_config_round_trip():
    initializer = kc.ICNR(keras.initializers.HeNormal(seed=3), (2, 3), "crd")
    config = keras.initializers.serialize(initializer)
    twin = keras.initializers.deserialize(config)
    assert isinstance(twin, kc.ICNR)
    assert (twin.size, twin.channel_order) == ((2, 3), "crd")
    np.testing.assert_array_equal(_draw(twin, (1, 1, 2, 6)), _draw(initializer, (1, 1, 2, 6)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, r"ICNR: `size` must be an integer of at least 1, or .* Received: size=0\."),
        ({"channel_order": "rcd"}, r"ICNR: `channel_order` must be one of 'dcr', 'crd'\. Received"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.ICNR(**arguments)


def test_a_shape_that_holds_no_whole_block_is_refused():
    with pytest.raises(ValueError, match=r"ICNR: the last axis of `shape` must be a multiple of 4"):
        kc.ICNR(size=2)((3, 3, 4, 6))
