"""What must hold for every configuration, whatever was drawn."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import oracle
from fuzz.configurations import default, output_images, pair, refused, resized
from images import assert_close, at_once, from_format, gradients, price_of_products


def holds(configuration):
    """Asserts what `configuration` promises: the layer's own error, or all that a layer does."""
    layer, settings, _ = configuration
    if refused(configuration):
        with pytest.raises(ValueError, match=_message(layer)):
            _run(layer(**settings), _images(configuration))
        return
    model, images = _model(configuration), _images(configuration)
    y = _answers_as_it_says(configuration, model, images)
    _survives_a_file(configuration, model, images, y)
    if not len(images):
        return
    assert np.isfinite(y).all()
    found = _finite_gradients(configuration, model, images)
    if y.dtype in (np.float32, np.float64) and _is_fixed(configuration):
        expected = _by_the_formula(configuration, model, images)
        if expected is not None:
            assert_close(from_format(y, settings["data_format"]), expected, 1e-4)
        if layer is kc.ResizeConv2D:
            _every_form_is_plain(configuration, model, images, y, found)


def refuses(layer, settings, name, value):
    """Asserts that `layer` refuses the argument `name` of `value`, by a message of its own."""
    with pytest.raises(ValueError, match=_message(layer)):
        layer(**{**settings, name: value})


def refuses_inputs(layer, settings, inputs):
    """Asserts that `layer` refuses the `inputs`, by a message of its own."""
    with pytest.raises(ValueError, match=_message(layer)):
        layer(**settings)(inputs)


def _message(layer):
    """What its errors say, which Keras embeds where they are raised in a call."""
    return re.compile(rf"(^|\x1b\[1m){layer.__name__}: .*Received: ", re.DOTALL)


def _images(configuration):
    """Random images, of the dtype that the policy computes in, in the data format."""
    shape = configuration.images
    images = np.random.default_rng(7).normal(size=shape)
    dtype = keras.DTypePolicy(configuration.settings["dtype"]).compute_dtype
    if configuration.settings["data_format"] == "channels_first":
        images = np.moveaxis(images, -1, 1)
    return keras.ops.cast(keras.ops.convert_to_tensor(images.astype("float64")), dtype)


def _model(configuration):
    """A model of the layer alone, with weights that are not those of the start."""
    layer, settings, (_, height, width, channels) = configuration
    keras.utils.set_random_seed(5)
    shape = (height, width, channels)
    if settings["data_format"] == "channels_first":
        shape = (channels, height, width)
    x = keras.Input(shape, dtype=keras.DTypePolicy(settings["dtype"]).compute_dtype)
    model = keras.Model(x, layer(**settings)(x))
    rng = np.random.default_rng(3)
    for weight in model.layers[-1].weights:
        if weight.name in ("kernel", "bias", "gamma", "beta"):
            value = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))
            noise = 0.1 * np.abs(rng.normal(size=value.shape))
            weight.assign(keras.ops.cast(value + noise, weight.dtype))
    return model


def _run(layer, images):
    return keras.ops.convert_to_numpy(_answer(layer, images))


def _answer(layer, images):
    """In one piece, unless the state of a draw would leave a trace on JAX."""
    return (layer if getattr(layer, "seed_generator", None) else at_once(layer))(images)


def _answers_as_it_says(configuration, model, images):
    """Symbolic, eager and computed shapes are those of the documentation, in one dtype."""
    layer = model.layers[-1]
    n, height, width, channels = output_images(configuration)
    first = configuration.settings["data_format"] == "channels_first"
    expected = (n, channels, height, width) if first else (n, height, width, channels)
    assert layer.compute_output_shape(tuple(images.shape)) == expected
    assert model.output_shape == (None, *expected[1:])
    y = _answer(layer, images)
    assert tuple(y.shape) == expected
    assert keras.backend.standardize_dtype(y.dtype) == model.output.dtype == layer.compute_dtype
    unknown = [None] * 4
    unknown[1 if first else 3] = images.shape[1 if first else 3]
    symbolic = layer.compute_output_shape(tuple(unknown))
    assert all(m in (None, n) for m, n in zip(symbolic, expected, strict=True)), symbolic
    return keras.ops.convert_to_numpy(y)


def _survives_a_file(configuration, model, images, y):
    layer = model.layers[-1]
    config = layer.get_config()
    twin = type(layer).from_config(json.loads(json.dumps(config)))
    assert twin.get_config() == config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    for weight, old in zip(loaded.weights, model.weights, strict=True):
        if "seed" not in old.path:
            assert weight.dtype == old.dtype
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weight, old)))
    if _is_fixed(configuration):
        np.testing.assert_allclose(_run(loaded.layers[-1], images), y, rtol=1e-6, atol=1e-6)


def _is_fixed(configuration):
    """Whether the layer answers the same twice."""
    return configuration.layer is not kc.NIB or configuration.settings.get("fixed", False)


def _function(model):
    """The model as a function of its images and trainable weights, whose answer is float32."""
    constants = [v.value for v in model.non_trainable_variables]

    def answer(images, *values):
        y, _ = model.stateless_call(list(values), constants, images)
        # Of the squares whose sum is derived, the mean: of many, half precision would overflow.
        return keras.ops.cast(y, "float32") / np.sqrt(np.prod(y.shape), dtype="float32")

    return answer, [v.value for v in model.trainable_variables]


def _finite_gradients(configuration, model, images):
    answer, weights = _function(model)
    found = gradients(answer, images, *weights)
    if not _unwritten_by_onednn(images):
        for gradient in found:
            assert np.isfinite(np.asarray(gradient, "float32")).all()
    assert len(weights) == 0 or configuration.settings.get("trainable", True)
    return found


def _unwritten_by_onednn(images):
    """Whether taps may lie beyond the image for every pixel of the answer: oneDNN then leaves all
    of a kernel's gradient in bfloat16 unwritten, as for `Conv2DTranspose(1, 3, 2, "same")` of one
    pixel (PyTorch 2.13).
    """
    half = keras.backend.standardize_dtype(images.dtype) == "bfloat16"
    return half and keras.backend.backend() == "torch" and min(images.shape[1:]) <= 3


def _every_form_is_plain(configuration, model, images, y, found):
    """As on a machine where the products are always, or never, worth their price."""
    twin = type(model.layers[-1])(**{**configuration.settings, "implementation": "plain"})
    keras.Model(model.input, twin(model.input))
    twin.set_weights(model.layers[-1].get_weights())
    plain = keras.Model(model.input, twin(model.input))
    expected = _finite_gradients(configuration, plain, images)
    # Sums of as many products, in another order.
    tolerance = 1e-5 * max(1, (configuration.images[3] / 100) ** 0.5)
    assert_close(y, _run(twin, images), tolerance)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, 1e-4)
    if configuration.settings.get("implementation", "auto") == "plain":
        return
    for price in (0, 2**31):
        with price_of_products(price):
            assert_close(_run(model.layers[-1], images), _run(twin, images), tolerance)
            for one, other in zip(
                _finite_gradients(configuration, model, images), expected, strict=True
            ):
                assert_close(one, other, 1e-4)


def _by_the_formula(configuration, model, images):
    """The answer by `tests/oracle.py`, before the activation; None where it would take long."""
    layer, settings, (n, height, width, channels) = configuration
    built = model.layers[-1]
    filters = settings.get("filters") or 1
    if channels > 40 or n * height * width * filters > 3000:
        return None
    if settings.get("activation") not in (None, "linear") or settings["dtype"] == "float64":
        return None
    x = from_format(images, settings["data_format"])
    padding = default(configuration, "padding")
    weights: Any = {w.name: keras.ops.convert_to_numpy(w) for w in built.weights}
    kernel, bias = weights.get("kernel"), weights.get("bias")
    if layer is kc.ResizeConv2D:
        way = default(configuration, "interpolation")
        groups = default(configuration, "groups")
        return oracle.resize_conv2d(x, kernel, bias, resized(configuration), way, padding, groups)
    if layer is kc.SubPixelConv and not settings.get("even"):
        size, order = pair(default(configuration, "size")), default(configuration, "channel_order")
        smooth = settings.get("smooth", False)
        return oracle.sub_pixel_conv(x, kernel, bias, size, padding, order, smooth)
    if layer is kc.EvenConv2DTranspose and default(configuration, "border") == "zeros":
        kernel = keras.ops.convert_to_numpy(built.effective_kernel())
        strides = pair(default(configuration, "strides"))
        sizes = output_images(configuration)[1:3]
        crops: Any = []
        for n, k, s, out in zip((height, width), kernel.shape[:2], strides, sizes, strict=True):
            both = (n - 1) * s + k - out
            before = 0 if padding == "valid" else both // 2
            crops.append((before, both - before))
        return oracle.conv_transpose2d(x, kernel, bias, strides, crops)
    if layer is kc.NIB:
        tile = weights["tile"][0]
        repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
        noise = np.tile(tile, repeats)[:height, :width]
        noise = np.broadcast_to(noise, (n, *noise.shape))
        return oracle.nib(x, noise, kernel, bias, default(configuration, "mode"), padding)
    if layer is kc.AdaptiveAntiAlias:
        strides, groups = pair(default(configuration, "strides")), default(configuration, "groups")
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        statistics: Any = {name.removeprefix("moving_"): weights.get(name) for name in names}
        return oracle.adaptive_anti_alias(
            x,
            kernel,
            strides,
            groups,
            padding,
            default(configuration, "normalization"),
            **statistics,
            epsilon=settings.get("epsilon", 1e-5),
            bias=bias,
        )
    taps = pair(default(configuration, "kernel_size"))
    if layer is kc.BlurPool2D:
        return oracle.blur_pool2d(x, taps, pair(default(configuration, "strides")), padding)
    if layer is kc.MaxBlurPool2D:
        window, strides = (pair(default(configuration, name)) for name in ("pool_size", "strides"))
        return oracle.max_blur_pool2d(x, window, taps, strides, padding)
    if layer is kc.Padding2D:
        widths = tuple(map(pair, pair(padding)))
        return oracle.pad(x, widths, default(configuration, "mode"))
    return None
