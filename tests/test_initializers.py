import keras
import numpy as np
import pytest

import keras_cnnfix as kc
from keras_cnnfix.diagnostics import phase_gains, phase_imbalance


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


@pytest.mark.parametrize(
    ("taps", "size"),
    [(4, 2), (3, 2), (5, 2), (5, (3, 2)), ((2, 7), (2, 3)), (3, 1)],
    ids=str,
)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_transposed_convolution_starts_with_even_phases(taps, size, padding):
    layer = keras.layers.Conv2DTranspose(
        5,
        taps,
        strides=size,
        padding=padding,
        kernel_initializer=kc.ICNR("glorot_uniform", size, transposed=True),
    )
    y = keras.ops.convert_to_numpy(layer(np.full((1, 8, 9, 3), 0.7, "float32")))
    assert phase_imbalance(phase_gains(layer)) < 1e-12
    inner = y[:, 6:-6, 6:-6] if layer.strides != (1, 1) else y[:, 3:-3, 3:-3]
    assert np.ptp(inner, axis=(1, 2)).max() <= 1e-6
    assert np.abs(inner).min() > 0


def test_even_taps_are_the_nearest_kernel_of_even_phases():
    """3 taps and a stride of 2, on paper: phases t0 + t2 = v0 + v1 and t1 = v0."""
    kernel = _draw(kc.ICNR(_ramp, (2, 1), transposed=True), (3, 1, 1, 1)).ravel()
    v0, v1 = 1.0, 2.0
    even = ((v0 + v1) / 2 + v0) / (1 / 2 + 1)
    apart = (v0 + v1 - even) / 2
    np.testing.assert_allclose(kernel, [v0 - apart, even, v1 - apart], rtol=1e-6)
    # No other kernel of even phases is nearer to the taps (v0, v0, v1).
    for other in np.random.default_rng(0).normal(size=(99, 2)):
        moved = np.array([other[0], other.sum(), other[1]])
        step = np.dot(moved, kernel - (v0, v0, v1))
        assert abs(step) < 1e-5


def _ramp(shape, dtype=None):
    return keras.ops.reshape(keras.ops.arange(1, np.prod(shape) + 1, dtype=dtype), shape)


@pytest.mark.parametrize("size", [2, (3, 1)], ids=str)
def test_a_transposed_convolution_of_whole_blocks_starts_as_nearest_resize(size, rng):
    images = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    start = kc.ICNR("he_normal", size, transposed=True)
    taps = tuple(2 * s for s in start.size)
    layer = keras.layers.Conv2DTranspose(4, taps, strides=size, kernel_initializer=start)
    y = keras.ops.convert_to_numpy(layer(images))
    sy, sx = start.size
    blocks = y.reshape(2, 5, sy, 6, sx, 4)
    np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape))


def test_the_fans_of_a_transposed_convolution_are_those_at_the_low_resolution():
    """Of a kernel of 2 x 2 taps from 4 channels to 16: sqrt(6 / (4 * (4 + 16)))."""
    kernel = _draw(kc.ICNR("glorot_uniform", 4, transposed=True), (8, 8, 16, 4))
    limit = np.sqrt(6 / (4 * (4 + 16)))
    assert 0.8 * limit < np.abs(kernel).max() <= limit
    # A fan-in initializer tells the input's channels from the filters.
    kernel = _draw(kc.ICNR("lecun_uniform", 2, transposed=True), (2, 2, 64, 3))
    assert 0.8 < np.abs(kernel).max() <= np.sqrt(3 / 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_its_dtype(dtype):
    kernel = kc.ICNR(size=2, transposed=True)((4, 3, 2, 2), dtype=dtype)
    assert keras.backend.standardize_dtype(kernel.dtype) == dtype


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (1, 4, 8, 8), (4, 8)], ids=str)
def test_a_transposed_kernel_that_leaves_pixels_uncovered_is_refused(shape):
    message = r"ICNR: `shape` must be \(height, width, filters, channels\) .* Use a larger kernel\."
    with pytest.raises(ValueError, match=message):
        kc.ICNR(size=2, transposed=True)(shape)


def test_none_is_glorot_uniform_as_in_keras():
    assert isinstance(kc.ICNR(None).initializer, keras.initializers.GlorotUniform)


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize("filters", [1, 2])
def test_the_kernel_can_be_written_to(order, filters):
    kernel = keras.Variable(kc.ICNR("zeros", 2, order), shape=(3, 3, 2, 4 * filters))
    value = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    kernel.assign(value)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), value)


def test_config_round_trip():
    initializer = kc.ICNR(keras.initializers.HeNormal(seed=3), (2, 3), "crd")
    assert not initializer.transposed
    config = keras.initializers.serialize(initializer)
    twin = keras.initializers.deserialize(config)
    assert isinstance(twin, kc.ICNR)
    assert (twin.size, twin.channel_order) == ((2, 3), "crd")
    np.testing.assert_array_equal(_draw(twin, (1, 1, 2, 6)), _draw(initializer, (1, 1, 2, 6)))
    transposed = kc.ICNR(transposed=True)
    assert kc.ICNR.from_config(transposed.get_config()).transposed


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
    message = r"ICNR: the last axis of `shape` must be a multiple of 4, .*, or transposed=True in a"
    with pytest.raises(ValueError, match=message):
        kc.ICNR(size=2)((3, 3, 4, 6))
