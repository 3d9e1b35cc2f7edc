import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import DATA_FORMATS, assert_close, at_once, from_format, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.noise import NOISE_MODES


def _answer(layer, images, noise):
    x, n = (to_format(a, layer.data_format) for a in (images, noise))
    layer.build(x.shape)
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.trainable_weights]
    for weight, value in zip(layer.trainable_weights, weights, strict=True):
        weight.assign(value)
    return from_format(at_once(lambda x: layer(x, noise=n))(x), layer.data_format), weights


@pytest.mark.parametrize(
    ("mode", "padding", "data_format"), pairwise(NOISE_MODES, PADDING_MODES, DATA_FORMATS)
)
def test_nib_matches_the_oracle_for_a_given_noise(mode, padding, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    noise = rng.normal(size=(2, 5, 6, 1)).astype("float32")
    layer = kc.NIB(
        4, (3, 2), mode=mode, padding=padding, activation="tanh", data_format=data_format
    )
    y, (kernel, bias) = _answer(layer, images, noise)
    expected = oracle.nib(images, noise, kernel, bias, mode, padding)
    assert_close(y, np.tanh(expected), 5e-6)


@pytest.mark.parametrize(
    ("mode", "channels", "data_format"), pairwise(NOISE_MODES, [1, 3], DATA_FORMATS)
)
def test_without_filters_it_returns_the_noisy_channels(mode, channels, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    noise = rng.normal(size=(1, 5, 6, channels)).astype("float32")
    layer = kc.NIB(mode=mode, noise_channels=channels, data_format=data_format)
    y, weights = _answer(layer, images, noise)
    assert weights == []
    expected = oracle.nib(images, np.repeat(noise, 2, axis=0), mode=mode)
    assert_close(y, expected, 1e-6)


def test_nib_gives_a_flat_image_a_varying_response_and_a_convolution_cannot(data_format):
    flat = to_format(np.full((1, 16, 16, 3), 0.5), data_format)
    for mode in ("symmetric", "concat"):
        y = from_format(kc.NIB(8, mode=mode, data_format=data_format)(flat), data_format)
        # Channels 0 to 2 start as the input itself; every other one sees the noise.
        assert y.std(axis=(1, 2))[0, :3].max() < 1e-5
        assert y.std(axis=(1, 2))[0, 3:].min() > 1e-3
    y = from_format(kc.ResizeConv2D(8, size=1, data_format=data_format)(flat), data_format)
    assert y.std(axis=(1, 2)).max() < 1e-5


@pytest.mark.parametrize(
    ("mode", "kernel_size", "data_format"),
    pairwise(NOISE_MODES, [1, 2, 3, (4, 5)], DATA_FORMATS),
    ids=str,
)
def test_the_input_is_preserved_at_the_start(mode, kernel_size, data_format, rng):
    images = rng.normal(size=(2, 6, 7, 3)).astype("float32")
    layer = kc.NIB(5, kernel_size, mode=mode, data_format=data_format)
    y = from_format(layer(to_format(images, data_format)), data_format)
    assert_close(y[..., :3], images, 1e-6)


@pytest.mark.parametrize(("filters", "preserved"), [(1, 0), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_at_least_one_channel_sees_the_noise_from_the_start(filters, preserved, rng):
    images = rng.normal(size=(1, 8, 8, 3)).astype("float32")
    layer = kc.NIB(filters)
    first, second = (from_format(layer(images), "channels_last") for _ in range(2))
    for c in range(filters):
        changed = np.abs(first[..., c] - second[..., c]).max() > 1e-3
        assert changed == (c >= preserved)


def test_without_preservation_every_channel_sees_the_noise(rng):
    images = rng.normal(size=(1, 8, 8, 3)).astype("float32")
    layer = kc.NIB(4, preserve_input=False)
    first, second = (from_format(layer(images), "channels_last") for _ in range(2))
    assert np.abs(first - second).max(axis=(0, 1, 2)).min() > 1e-3


def test_noise_is_new_on_every_call_in_training_and_in_inference():
    flat = np.zeros((2, 16, 16, 1), "float32")
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, kc.NIB(seed=4)(inputs))
    answers = [model.predict(flat, verbose=0) for _ in range(2)]
    answers += [keras.ops.convert_to_numpy(model(flat, training=t)) for t in (True, False)]
    draws = [y[i, :, :, 0].ravel() for y in answers for i in range(2)]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    # 256 pixels: 1 / sqrt(256) = 0.06 is one standard deviation.
    assert np.abs(correlation).max() < 0.3
    assert 0.25 < np.std(draws) < 0.35


def test_a_training_step_draws_noise_too():
    model = keras.Sequential([kc.NIB(2, seed=4), keras.layers.GlobalAveragePooling2D()])
    images, target = np.zeros((4, 8, 8, 1), "float32"), np.zeros((4, 2), "float32")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = [model.train_on_batch(images, target) for _ in range(3)]
    assert len({float(loss) for loss in losses}) == 3


def test_fixed_noise_is_one_tile_for_all_images_and_calls(data_format):
    layer = kc.NIB(fixed=True, tile_size=4, seed=3, data_format=data_format)
    flat = to_format(np.zeros((2, 7, 9, 1)), data_format)
    first, second = (from_format(layer(flat), data_format) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(first[:, :3, :9], first[:, 4:, :9])
    expected = np.random.RandomState(3).normal(0.0, 1.0, (4, 4)) * 0.3
    np.testing.assert_allclose(first[0, :4, :4, 0], expected, rtol=1e-6)
    assert [w.name for w in layer.non_trainable_weights] == ["tile"]
    assert layer.tile is not None
    assert layer.tile.shape == (1, 4, 4, 1)


def test_a_fixed_layer_without_a_seed_draws_one_that_its_config_keeps():
    layer = kc.NIB(fixed=True, tile_size=4)
    twin = kc.NIB.from_config(layer.get_config())
    flat = np.zeros((1, 4, 4, 1), "float32")
    assert layer.seed is not None
    np.testing.assert_array_equal(*(from_format(x(flat), "channels_last") for x in (layer, twin)))
    assert kc.NIB(fixed=True).seed != layer.seed
    keras.utils.set_random_seed(1)
    first = kc.NIB(fixed=True).seed
    keras.utils.set_random_seed(1)
    assert kc.NIB(fixed=True).seed == first


def test_drawn_noise_keeps_no_weight():
    layer = kc.NIB(seed=3)
    layer(np.zeros((1, 4, 4, 1), "float32"))
    assert layer.weights == []


@pytest.mark.parametrize("mode", ["symmetric", "concat"])
def test_noise_channels_none_draws_one_for_each_input_channel(mode):
    layer = kc.NIB(mode=mode, noise_channels=None, seed=1)
    y = from_format(layer(np.zeros((1, 32, 32, 3), "float32")), "channels_last")
    assert y.shape == (1, 32, 32, 6)
    noise = y[0, :, :, 3:].reshape(-1, 3)
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.15


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_drawn_noise_has_the_asked_deviation(distribution):
    layer = kc.NIB(mode="concat", distribution=distribution, stddev=2.0, seed=1)
    y = from_format(layer(np.zeros((1, 100, 100, 1), "float32")), "channels_last")
    assert abs(y[..., 1].std() - 2.0) < 0.06


def test_given_noise_works_in_a_functional_model(rng):
    x, n = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    model = keras.Model([x, n], kc.NIB()(x, noise=n))
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    noise = rng.normal(size=(2, 5, 6, 1)).astype("float32")
    y = model.predict([images, noise], verbose=0)
    assert_close(y, np.concatenate([images + noise, images - noise], axis=-1), 1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": 0}, r"NIB: `filters` must be an integer of at least 1"),
        ({"mode": "add"}, r"NIB: `mode` must be one of 'symmetric', 'concat'\. Received: mode='ad"),
        (
            {"stddev": -0.1},
            r"NIB: `stddev` must be a number of at least 0\. Received: stddev=-0",
        ),
        ({"noise_channels": 0}, r"NIB: `noise_channels` must be an integer of at least 1"),
        ({"distribution": "pink"}, r"NIB: `distribution` must be one of 'normal', 'uniform', 'blu"),
        (
            {"distribution": "blue"},
            r"NIB: `distribution` must be 'normal' or 'uniform' for noise that is drawn on every "
            r"call\. Received: distribution='blue', fixed=False\. Use fixed=True\.",
        ),
        ({"tile_size": 0}, r"NIB: `tile_size` must be an integer of at least 1"),
        ({"seed": -1}, r"NIB: `seed` must be an integer of at least 0\. .* seed=-1"),
        ({"seed": 2**32}, r"NIB: `seed` must be an integer of at least 0 and at most 4294967295\."),
        ({"fixed": "no"}, r"NIB: `fixed` must be True or False\. Received: fixed='no'"),
        ({"preserve_input": 1}, r"NIB: `preserve_input` must be True or False\. Received: pres"),
        ({"use_bias": "no"}, r"NIB: `use_bias` must be True or False\. Received: use_bias='no'"),
        ({"padding": "same"}, r"NIB: `padding` must be one of"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.NIB(**settings)


def test_noise_channels_that_do_not_fit_the_image_are_refused():
    message = (
        r"NIB: `noise_channels` must be 1, the number of input channels, or None in "
        r"mode='symmetric'\. Received: noise_channels=2, 3 input channels\. Use noise_channels=None"
    )
    with pytest.raises(ValueError, match=message):
        kc.NIB(noise_channels=2)(np.ones((1, 4, 4, 3), "float32"))
    assert kc.NIB(mode="concat", noise_channels=2)(np.ones((1, 4, 4, 3), "float32")).shape[-1] == 5


@pytest.mark.parametrize("shape", [(2, 4, 4, 2), (2, 4, 5, 1), (3, 4, 4, 1)], ids=str)
def test_given_noise_that_does_not_fit_is_refused(shape):
    message = r"NIB: `noise` must have the height and width .* Received: noise of shape \("
    layer = kc.NIB()
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 4, 4, 3), "float32"), noise=np.ones(shape, "float32"))
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor((2, 4, 4, 3)), noise=keras.KerasTensor(shape))


def test_given_noise_of_integers_is_refused():
    with pytest.raises(ValueError, match=r"NIB: `noise` must be floating point\. Received: dtype="):
        kc.NIB()(np.ones((1, 4, 4, 3), "float32"), noise=np.ones((1, 4, 4, 1), "int32"))


@pytest.mark.parametrize("noise", [0.5, "text", [[0.5]], {"a": 1}], ids=repr)
def test_given_noise_that_is_no_tensor_is_refused(noise):
    message = r"NIB: `noise` must be one tensor or array\. Received: noise of type"
    with pytest.raises(ValueError, match=message):
        kc.NIB()(np.ones((1, 4, 4, 3), "float32"), noise=noise)
    with pytest.raises(ValueError, match=message):
        kc.NIB()(keras.KerasTensor((1, 4, 4, 3)), noise=noise)


def test_given_noise_of_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"NIB: `noise` must have 4 dimensions"):
        kc.NIB()(np.ones((1, 4, 4, 3), "float32"), noise=np.ones((4, 4), "float32"))


@pytest.mark.parametrize("seed", [2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("fixed", [False, True])
def test_every_seed_draws(seed, fixed):
    layer = kc.NIB(seed=seed, fixed=fixed)
    y = from_format(layer(np.zeros((1, 8, 8, 1), "float32")), "channels_last")
    assert y.std() > 0.1
    assert layer.get_config()["seed"] == seed


def test_an_empty_batch_with_its_noise():
    none = np.ones((0, 4, 4, 3), "float32")
    noise = keras.ops.ones((0, 4, 4, 1))
    assert kc.NIB()(none, noise=noise).shape == (0, 4, 4, 6)
    assert kc.NIB(4)(keras.ops.convert_to_tensor(none), noise).shape == (0, 4, 4, 4)
