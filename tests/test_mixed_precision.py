"""Training in half precision follows training in float32; float64 is as exact as it says."""

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle


def _losses(policy):
    """The losses of 12 steps of one small model with every layer that trains."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            kc.NIB(8, fixed=True, seed=1, activation="relu", dtype=policy),
            kc.AdaptiveAntiAlias(groups=4, dtype=policy),
            kc.MaxBlurPool2D(dtype=policy),
            kc.ResizeConv2D(8, interpolation="bilinear", activation="relu", dtype=policy),
            kc.SubPixelConv(3, smooth=True, dtype=policy),
        ]
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 12, 12, 3)).astype("float32")
    optimizer = keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=128.0)
    model.compile(optimizer, "mse")
    return np.array([float(model.train_on_batch(images, images)) for _ in range(12)])


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-3), ("mixed_bfloat16", 5e-3)]
)
def test_losses_stay_close_to_those_of_float32(policy, tolerance):
    full, half = _losses("float32"), _losses(policy)
    assert full[-1] < 0.95 * full[0]
    np.testing.assert_allclose(half, full, rtol=tolerance)


def _in_float64(layer, images, data_format, **call):
    x = keras.ops.convert_to_tensor(np.moveaxis(images, -1, 1) if data_format else images)
    layer.build(x.shape)
    weights = [np.random.default_rng(2).normal(size=w.shape) for w in layer.trainable_weights]
    for weight, value in zip(layer.trainable_weights, weights, strict=True):
        weight.assign(value)
    y = layer(x, **call)
    assert keras.backend.standardize_dtype(y.dtype) == "float64"
    y = keras.ops.convert_to_numpy(y)
    return np.moveaxis(y, 1, -1) if data_format else y, weights


@pytest.mark.parametrize("channels_first", [False, True])
def test_float64_is_computed_in_float64(channels_first, backend, rng):
    if backend == "jax":
        return  # Keras's float64 is float32 there, unless JAX is told otherwise.
    images = rng.normal(size=(2, 5, 6, 4))
    noise = rng.normal(size=(2, 5, 6, 1))
    settings = {
        "dtype": "float64",
        "data_format": "channels_first" if channels_first else "channels_last",
    }

    def check(layer, expected, **call):
        y, weights = _in_float64(layer, images, channels_first, **call)
        expected = expected(*weights)
        worst = np.abs(y - expected).max() / np.abs(expected).max()
        assert worst < 1e-12, (layer.name, worst)

    for size in ((2, 2), (4, 4)):
        out = (5 * size[0], 6 * size[1])
        for padding in ("reflect", "zeros"):
            check(
                kc.ResizeConv2D(3, size=size, padding=padding, **settings),
                lambda k, b, out=out, padding=padding: oracle.resize_conv2d(
                    images, k, b, out, "nearest", padding
                ),
            )
    check(
        kc.ResizeConv2D(3, interpolation="bilinear", **settings),
        lambda k, b: oracle.resize_conv2d(images, k, b, (10, 12), "bilinear", "reflect"),
    )
    for interpolation in ("nearest", "bilinear", "bicubic"):
        check(
            kc.ResizeConv2D(3, size=(1.4, 2.5), interpolation=interpolation, **settings),
            lambda k, b, name=interpolation: oracle.resize_conv2d(
                images, k, b, (7, 15), name, "reflect"
            ),
        )
    check(
        kc.ResizeConv2D(3, 1, interpolation="bicubic", **settings),
        lambda k, b: oracle.resize_conv2d(images, k, b, (10, 12), "bicubic", "reflect"),
    )
    check(
        kc.SubPixelConv(2, smooth=True, **settings),
        lambda k, b: oracle.sub_pixel_conv(images, k, b, (2, 2), "reflect", "dcr", True),
    )
    n = np.moveaxis(noise, -1, 1) if channels_first else noise
    check(
        kc.NIB(3, **settings),
        lambda k, b: oracle.nib(images, noise, k, b, "symmetric", "reflect"),
        noise=keras.ops.convert_to_tensor(n),
    )
    check(
        kc.BlurPool2D(**settings),
        lambda: oracle.blur_pool2d(images, (4, 4), (2, 2), "reflect"),
    )
    for padding in ("reflect", "wrap"):
        check(
            kc.MaxBlurPool2D(padding=padding, **settings),
            lambda padding=padding: oracle.max_blur_pool2d(images, (2, 2), (3, 3), (2, 2), padding),
        )
    check(
        kc.AdaptiveAntiAlias(groups=2, batch_norm=False, **settings),
        lambda k, b: oracle.adaptive_anti_alias(
            images, k, (2, 2), 2, "reflect", "group", None, None, None, None, bias=b
        ),
    )
    check(kc.Padding2D(**settings), lambda: oracle.pad(images, ((1, 1), (1, 1)), "reflect"))


def test_a_batch_norm_is_as_exact_as_that_of_keras(data_format, backend, rng):
    """PyTorch: Keras's own is in float32 for float64."""
    if backend == "jax":
        return  # As above.
    layer = kc.AdaptiveAntiAlias(groups=2, dtype="float64", data_format=data_format)
    images = rng.normal(size=(2, 5, 6, 4))
    x = keras.ops.convert_to_tensor(
        np.moveaxis(images, -1, 1) if data_format == "channels_first" else images
    )
    layer.build(x.shape)
    w = {}
    for weight in layer.weights:
        value = np.abs(rng.normal(size=weight.shape)) + 0.5
        weight.assign(value)
        w[weight.name] = value
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float64"
    y = keras.ops.convert_to_numpy(y)
    y = np.moveaxis(y, 1, -1) if data_format == "channels_first" else y
    statistics = [w[name] for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    expected = oracle.adaptive_anti_alias(
        images, w["kernel"], (2, 2), 2, "reflect", "group", *statistics
    )
    tolerance = 1e-6 if backend == "torch" else 1e-12
    assert np.abs(y - expected).max() < tolerance * np.abs(expected).max()
