import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from images import DATA_FORMATS, apply, assert_close, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.adaptive import NORMALIZATIONS


def _answer(layer, images):
    """The layer's output in inference, and its weights by name, set to random numbers."""
    layer.build(to_format(images, layer.data_format).shape)
    rng = np.random.default_rng(2)
    weights = {}
    for weight in layer.weights:
        value = rng.normal(size=weight.shape).astype("float32")
        value = np.abs(value) + 0.5 if weight.name == "moving_variance" else value
        weight.assign(value)
        weights[weight.name] = value
    return apply(lambda x: layer(x, training=False), images, layer.data_format), weights


GEOMETRIES = [  # kernel size, strides, padding
    *((3, 2, mode) for mode in PADDING_MODES),
    (5, 2, "reflect"),
    ((2, 4), (3, 1), "edge"),
    (1, 2, "reflect"),
    ((1, 3), 1, "wrap"),
]


@pytest.mark.parametrize(
    ("normalization", "geometry", "data_format"),
    pairwise(NORMALIZATIONS, GEOMETRIES, DATA_FORMATS),
    ids=str,
)
def test_adaptive_anti_alias_matches_the_oracle(normalization, geometry, data_format, rng):
    kernel_size, strides, padding = geometry
    images = rng.normal(size=(2, 7, 8, 6)).astype("float32")
    layer = kc.AdaptiveAntiAlias(
        kernel_size,
        strides,
        groups=3,
        normalization=normalization,
        padding=padding,
        data_format=data_format,
    )
    y, w = _answer(layer, images)
    expected = oracle.adaptive_anti_alias(
        images,
        w["kernel"],
        layer.strides,
        3,
        padding,
        normalization,
        w["gamma"],
        w["beta"],
        w["moving_mean"],
        w["moving_variance"],
    )
    assert_close(y, expected, 1e-5)


def test_without_batch_norm_it_matches_the_oracle(data_format, rng):
    images = rng.normal(size=(2, 7, 8, 6)).astype("float32")
    layer = kc.AdaptiveAntiAlias(groups=3, batch_norm=False, data_format=data_format)
    y, w = _answer(layer, images)
    assert set(w) == {"kernel", "bias"}
    expected = oracle.adaptive_anti_alias(
        images, w["kernel"], (2, 2), 3, "reflect", "group", None, None, None, None, bias=w["bias"]
    )
    assert_close(y, expected, 1e-5)


def test_weights_are_called_as_keras_calls_them():
    layer = kc.AdaptiveAntiAlias(groups=2)
    layer.build((None, None, None, 4))
    assert {w.name: tuple(w.shape) for w in layer.trainable_weights} == {
        "kernel": (3, 3, 4, 18),
        "gamma": (18,),
        "beta": (18,),
    }
    assert {w.name for w in layer.non_trainable_weights} == {"moving_mean", "moving_variance"}


@pytest.mark.parametrize(
    ("batch_norm", "training", "kernel_size", "data_format"),
    pairwise([True, False], [True, False], [1, 2, 3, (4, 5)], DATA_FORMATS),
    ids=str,
)
def test_a_fresh_filter_is_the_binomial_blur(batch_norm, training, kernel_size, data_format, rng):
    images = rng.normal(size=(2, 7, 8, 4)).astype("float32")
    layer = kc.AdaptiveAntiAlias(
        kernel_size, groups=2, batch_norm=batch_norm, data_format=data_format
    )
    y = layer(to_format(images, data_format), training=training)
    blur = kc.BlurPool2D(kernel_size, data_format=data_format)(to_format(images, data_format))
    assert_close(keras.ops.convert_to_numpy(y), keras.ops.convert_to_numpy(blur), 2e-6)


def test_a_fresh_joint_filter_has_gain_one_over_groups(data_format):
    images = np.ones((1, 6, 6, 8))
    layer = kc.AdaptiveAntiAlias(groups=4, normalization="joint", data_format=data_format)
    layer.build(to_format(images, data_format).shape)
    np.testing.assert_allclose(apply(layer, images, data_format), 1 / 4, rtol=1e-6)


def test_a_constant_stays_constant_whatever_was_learned(data_format):
    layer = kc.AdaptiveAntiAlias(groups=2, data_format=data_format)
    y, _ = _answer(layer, np.full((1, 6, 7, 4), 0.7, "float32"))
    np.testing.assert_allclose(y, 0.7, rtol=1e-5)


def test_roll_in_roll_out(rng):
    images = rng.normal(size=(1, 8, 8, 4)).astype("float32")
    layer = kc.AdaptiveAntiAlias(groups=2, padding="wrap")
    y, _ = _answer(layer, images)
    rolled = apply(lambda x: layer(x, training=False), np.roll(images, 2, axis=1), "channels_last")
    assert_close(rolled, np.roll(y, 1, axis=1), 1e-5)


def test_training_moves_it_away_from_the_blur(rng):
    images = rng.normal(size=(8, 8, 8, 4)).astype("float32")
    model = keras.Sequential([keras.Input((8, 8, 4)), kc.AdaptiveAntiAlias(groups=2)])
    start = model.predict(images, verbose=0)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = [model.train_on_batch(images, images[:, ::2, ::2]) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]
    assert np.abs(model.predict(images, verbose=0) - start).max() > 0.05


def test_a_filter_of_one_tap_trains_without_effect_and_without_complaint(rng):
    images = rng.normal(size=(2, 6, 6, 4)).astype("float32")
    model = keras.Sequential([keras.Input((6, 6, 4)), kc.AdaptiveAntiAlias(1, groups=2)])
    model.compile("sgd", "mse")
    assert np.isfinite(model.train_on_batch(images, images[:, ::2, ::2]))
    assert_close(model.predict(images, verbose=0), images[:, ::2, ::2], 1e-6)


def test_batch_norm_statistics_are_those_of_the_kept_positions(rng):
    images = rng.normal(size=(4, 6, 6, 4)).astype("float32")
    layer = kc.AdaptiveAntiAlias(groups=2, momentum=0.0)
    layer(images, training=True)
    padded = oracle.pad(images, ((1, 1), (1, 1)), "reflect")
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    logits = oracle.conv2d(padded, kernel, None, (2, 2))
    assert layer.normalizer is not None
    mean = keras.ops.convert_to_numpy(layer.normalizer.moving_mean)
    assert_close(mean, logits.mean(axis=(0, 1, 2)), 1e-5)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_statistics_and_offsets_of_half_precision_are_in_float32(policy):
    layer = kc.AdaptiveAntiAlias(groups=2, dtype=policy)
    layer.build((None, 6, 6, 4))
    kinds = {weight.name: weight.dtype for weight in layer.weights if weight.name != "kernel"}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    assert kinds == dict.fromkeys(names, "float32")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": 0}, r"AdaptiveAntiAlias: `strides` must be an integer of at least 1"),
        ({"kernel_size": -3}, r"AdaptiveAntiAlias: `kernel_size` must be an integer of at least 1"),
        ({"groups": 0}, r"AdaptiveAntiAlias: `groups` must be an integer of at least 1"),
        ({"normalization": "all"}, r"`normalization` must be one of 'group', 'joint'\. Received"),
        ({"padding": "same"}, r"AdaptiveAntiAlias: `padding` must be one of"),
        ({"momentum": -1}, r"AdaptiveAntiAlias: `momentum` must be a number of at least 0"),
        ({"epsilon": None}, r"AdaptiveAntiAlias: `epsilon` must be a number of at least 0"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.AdaptiveAntiAlias(**settings)


def test_channels_that_groups_do_not_divide_are_refused():
    message = (
        r"AdaptiveAntiAlias: the number of input channels must be a multiple of `groups`\. "
        r"Received: 12 channels, groups=8\. Use a divisor such as groups=4\."
    )
    with pytest.raises(ValueError, match=message):
        kc.AdaptiveAntiAlias()(np.ones((1, 4, 4, 12), "float32"))
