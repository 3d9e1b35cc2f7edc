"""LiteRT files of 8 and of 16 bits: as close to the float network as one of Keras's own layers."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_cnnfix as kc

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="the converter is TensorFlow's"
    ),
    pytest.mark.filterwarnings("ignore"),  # Of the converter and its interpreter.
]

IMAGES = (16, 16, 8)


def _filtered_by_keras(kernel_size, groups):
    """`AdaptiveAntiAlias` with a border of zeros, from Keras's own layers."""
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    x = keras.Input(IMAGES)
    padded = layers.ZeroPadding2D(((before, after), (before, after)))(x)
    taps = kernel_size**2
    y = layers.Conv2D(groups * taps, kernel_size, strides=2, use_bias=False)(padded)
    y = layers.BatchNormalization()(y)
    y = layers.Softmax()(layers.Reshape((64, groups, taps))(y))
    filters = layers.Reshape((8, 8, groups, taps))(y)
    products = []
    for tap in range(taps):
        i, j = divmod(tap, kernel_size)
        pixels = layers.Reshape((8, 8, groups, -1))(padded[:, i : i + 15 : 2, j : j + 15 : 2])
        products.append(layers.Multiply()([filters[..., tap : tap + 1], pixels]))
    return keras.Model(x, layers.Reshape((8, 8, -1))(layers.Add()(products)))


def _network(*parts):
    return keras.Sequential([keras.Input(IMAGES), *parts])


PLAIN = {
    "moved pixels": lambda: _network(layers.ZeroPadding2D()),
    "convolution": lambda: _network(layers.Conv2D(8, 3, padding="same")),
    "convolution and mean": lambda: _network(
        layers.Conv2D(8, 3, padding="same"), layers.AveragePooling2D(2, 1)
    ),
    "nearest": lambda: _network(layers.UpSampling2D(), layers.Conv2D(8, 3, padding="same")),
    "bilinear": lambda: _network(
        layers.UpSampling2D(interpolation="bilinear"), layers.Conv2D(8, 3, padding="same")
    ),
    "transposed": lambda: _network(layers.Conv2DTranspose(8, 4, 2, "same")),
    "filter": lambda: _network(layers.DepthwiseConv2D(4, strides=2)),
    "maximum and filter": lambda: _network(
        layers.MaxPooling2D(2, 1), layers.DepthwiseConv2D(3, strides=2)
    ),
    "adaptive 3": lambda: _filtered_by_keras(3, 2),
    "adaptive 5": lambda: _filtered_by_keras(5, 2),
}

# Name -> (layer, arguments, the network of Keras's own layers that it is held to).
QUANTIZED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nearest": (kc.ResizeConv2D, {"filters": 8}, "nearest"),
    "nearest zeros": (kc.ResizeConv2D, {"filters": 8, "padding": "zeros"}, "nearest"),
    "nearest plain": (kc.ResizeConv2D, {"filters": 8, "implementation": "plain"}, "nearest"),
    "nearest wide": (kc.ResizeConv2D, {"filters": 8, "kernel_size": 5, "size": 3}, "nearest"),
    "nearest fraction": (kc.ResizeConv2D, {"filters": 8, "size": 1.5}, "nearest"),
    "grouped": (kc.ResizeConv2D, {"filters": 8, "groups": 2}, "nearest"),
    "bilinear": (kc.ResizeConv2D, {"filters": 8, "interpolation": "bilinear"}, "bilinear"),
    "bilinear fraction": (
        kc.ResizeConv2D,
        {"filters": 8, "interpolation": "bilinear", "size": 1.5},
        "bilinear",
    ),
    "sub-pixel": (kc.SubPixelConv, {"filters": 8}, "convolution"),
    "sub-pixel smooth": (
        kc.SubPixelConv,
        {"filters": 8, "channel_order": "crd", "smooth": True},
        "convolution and mean",
    ),
    "sub-pixel even": (kc.SubPixelConv, {"filters": 8, "even": True}, "convolution"),
    "even transposed": (
        kc.EvenConv2DTranspose,
        {"filters": 8, "kernel_size": 4, "strides": 2, "padding": "same"},
        "transposed",
    ),
    "even transposed border": (
        kc.EvenConv2DTranspose,
        {"filters": 8, "kernel_size": 3, "strides": 2, "padding": "same", "border": "edge"},
        "transposed",
    ),
    "noise": (kc.NIB, {"fixed": True, "seed": 1}, "moved pixels"),
    "noise and convolution": (kc.NIB, {"filters": 8, "fixed": True, "seed": 1}, "convolution"),
    "blur": (kc.BlurPool2D, {}, "filter"),
    "blur uneven": (kc.BlurPool2D, {"kernel_size": 3, "strides": (3, 1)}, "filter"),
    "maximum": (kc.MaxBlurPool2D, {}, "maximum and filter"),
    "adaptive": (kc.AdaptiveAntiAlias, {"groups": 2, "gamma_initializer": "ones"}, "adaptive 3"),
    "adaptive start": (kc.AdaptiveAntiAlias, {}, "adaptive 3"),
    "adaptive wide": (kc.AdaptiveAntiAlias, {"kernel_size": 5, "groups": 2}, "adaptive 5"),
    "padding": (kc.Padding2D, {}, "moved pixels"),
}


def _error(model, bits):
    """How far the quantized `model` is from itself: the root of the mean square, relative."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    images = rng.normal(size=(20, *IMAGES)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(images))
    found = _run(_converted(model, images, bits), images)
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def _converted(model, images, bits):
    import tensorflow as tf

    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, *IMAGES)))
    archive = tf.Module()
    archive.variables_of_model = [v.value for v in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], archive)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    kinds = tf.lite.OpsSet
    kind = {
        8: kinds.TFLITE_BUILTINS_INT8,
        16: kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    }
    converter.target_spec.supported_ops = [kind[bits]]
    dtype = {8: tf.int8, 16: tf.int16}[bits]
    converter.inference_input_type = converter.inference_output_type = dtype
    return converter.convert()


def _run(file, images):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=file)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        scale, zero = into["quantization"]
        limits = np.iinfo(into["dtype"])
        whole = np.clip(np.round(image[None] / scale + zero), limits.min, limits.max)
        interpreter.set_tensor(into["index"], whole.astype(into["dtype"]))
        interpreter.invoke()
        scale, zero = out["quantization"]
        answers.append((interpreter.get_tensor(out["index"]).astype("float32") - zero) * scale)
    return np.concatenate(answers)


@functools.cache
def _error_of_keras(name, bits):
    return _error(PLAIN[name](), bits)


@pytest.mark.parametrize("case", QUANTIZED)
def test_8_bits_are_as_close_as_with_keras_layers(case):
    cls, settings, plain = QUANTIZED[case]
    assert _error(_network(cls(**settings)), 8) <= 2 * _error_of_keras(plain, 8)


@pytest.mark.parametrize("case", QUANTIZED)
def test_16_bits_are_close(case):
    """Keras's own up-sampling has no form of 16 bits: the bound is that of its 8-bit weights."""
    cls, settings, _ = QUANTIZED[case]
    assert _error(_network(cls(**settings)), 16) <= 2 * _error_of_keras("convolution", 16)


def test_a_file_for_any_size_asserts_nothing():
    """What the graph asserts is gone, with its texts; the answers are the layer's."""
    import tensorflow as tf

    layer = kc.ResizeConv2D(4)
    layer.build((None, None, None, 3))
    images = tf.TensorSpec((None, None, None, 3), "float32")
    graph = tf.function(layer, input_signature=[images]).get_concrete_function()
    assert "Assert" in {operation.type for operation in graph.graph.get_operations()}
    archive = tf.Module()
    archive.variables_of_layer = [v.value for v in layer.variables]
    file = tf.lite.TFLiteConverter.from_concrete_functions([graph], archive).convert()
    interpreter = tf.lite.Interpreter(model_content=file)
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    for shape in [(1, 5, 6, 3), (2, 8, 3, 3)]:
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        interpreter.resize_tensor_input(into["index"], shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(into["index"], x)
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(out["index"]), layer(x), rtol=1e-5, atol=1e-5
        )
