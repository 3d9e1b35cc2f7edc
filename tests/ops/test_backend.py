"""Each branch on the backend, against what happens without it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import oracle
from images import apply, assert_close, at_once, from_format, gradients, to_format
from keras_cnnfix import ResizeConv2D
from keras_cnnfix.ops import backend as branches
from keras_cnnfix.ops.backend import fusion

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the branch is TensorFlow's"
)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)], ids=str)
def test_conv2d_matches_the_oracle(groups, strides, data_format, rng):
    images = rng.normal(size=(2, 6, 7, 4)).astype("float32")
    kernel = rng.normal(size=(3, 2, 4 // groups, 8)).astype("float32")
    k = keras.ops.convert_to_tensor(kernel)
    y = apply(lambda x: branches.conv2d(x, k, strides, groups, data_format), images, data_format)
    assert_close(y, oracle.conv2d(images, kernel, None, strides, groups), 1e-6)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("strides", [(1, 4), (4, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("depthwise", [True, False])
def test_unequal_strides(channels, strides, depthwise, data_format, rng):
    """With one channel, and one pixel of width left, oneDNN answers with memory of others."""
    images = rng.normal(size=(3, 9, 7, channels)).astype("float32")
    if depthwise:
        taps = rng.normal(size=4), rng.normal(size=4)
        kernel = np.repeat(np.outer(*taps)[:, :, None, None], channels, axis=3)

        def function(x):
            return branches.depthwise_conv2d(x, taps, strides, data_format)

    else:
        kernel = rng.normal(size=(4, 4, channels, 2)).astype("float32")

        def function(x):
            k = keras.ops.convert_to_tensor(kernel)
            return branches.conv2d(x, k, strides, 1, data_format)

    expected = oracle.conv2d(images, kernel, None, strides, channels if depthwise else 1)
    for _ in range(3):
        np.full(10_000, 1e9, "float32")  # What freed memory may hold.
        assert_close(apply(function, images, data_format), expected, 1e-6)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("size", "transposed"), [(1, False), (3, False), (4, True), (2, True)])
def test_one_image_and_one_filter_train(channels, size, transposed, data_format, rng):
    """As a remainder batch may be: half the gradient of the same image twice."""
    image = to_format(rng.normal(size=(1, 8, 9, channels)), data_format)
    ends = (1, channels) if transposed else (channels, 1)
    kernel = rng.normal(size=(size, size, *ends)).astype("float32")

    def function(x, k):
        if transposed:
            return branches.conv_transpose2d(x, k, None, (2, 2), ((2, 3), (1, 0)), data_format)
        return branches.conv2d(x, k, (1, 1), 1, data_format)

    of_one = gradients(function, image, kernel)[1]
    of_two = gradients(function, np.concatenate([image, image]), kernel)[1]
    assert_close(2 * of_one, of_two, 1e-5)


@on_tensorflow
def test_no_layer_needs_onednn():
    """In a process of its own: TensorFlow reads the variable when it is imported."""
    program = (
        "import keras, keras_cnnfix as kc\n"
        "x = keras.random.normal((1, 4, 8, 8))\n"
        "for layer in (kc.ResizeConv2D(4, groups=2), kc.SubPixelConv(4), kc.NIB(4),\n"
        "              kc.AdaptiveAntiAlias(groups=2), kc.BlurPool2D(), kc.MaxBlurPool2D(),\n"
        "              kc.AdaptiveAntiAlias(strides=(1, 2), groups=2), kc.BlurPool2D(3, (3, 1)),\n"
        "              kc.MaxBlurPool2D(2, 3, (1, 2)),\n"
        "              kc.BlurPool2D(3, (3, 1), dtype='float64')):\n"
        "    layer.data_format = 'channels_first'\n"
        "    assert layer(x).shape[1] == 4\n"
        "    keras.Sequential([layer]).predict(x, verbose=0)\n"
    )
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=300)


@on_tensorflow
def test_a_grouped_convolution_is_not_compiled_anew_for_every_size():
    import tensorflow as tf

    kernel = keras.ops.ones((3, 3, 2, 4))
    traced = tf.function(lambda x: branches.conv2d(x, kernel, (1, 1), 2, "channels_last"))
    graph = traced.get_concrete_function(tf.TensorSpec((None, None, None, 4))).graph
    compiled = [op for op in graph.get_operations() if "_XlaMustCompile" in str(op.node_def)]
    assert compiled == []


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(
    ("strides", "crops"),
    [
        ((2, 3), ((0, 0), (0, 0))),
        ((4, 1), ((1, 0), (2, 3))),
        ((2, 3), ((2, 2), (7, 8))),
        ((2, 3), ((0, -1), (3, -2))),
        ((2, 1), ((5, 1), (0, 2))),
    ],
    ids=str,
)
def test_conv_transpose2d_adds_a_tap_for_each_pixel(strides, crops, with_bias, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    kernel = rng.normal(size=(4, 5, 2, 3)).astype("float32")
    bias = rng.normal(size=2).astype("float32")
    expected = oracle.conv_transpose2d(images, kernel, bias * with_bias, strides, crops)
    tensors = map(keras.ops.convert_to_tensor, (to_format(images, data_format), kernel, bias))

    def function(x, k, b):
        b = b if with_bias else None
        return branches.conv_transpose2d(x, k, b, strides, crops, data_format)

    assert_close(from_format(at_once(function)(*tensors), data_format), expected, 1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the branch is PyTorch's")
def test_a_convolution_copies_no_image_into_another_memory_format(rng):
    """A permuted view of a channels_last image is what PyTorch calls channels_last already."""
    import torch

    x = torch.ones((2, 32, 32, 16))
    kernel = torch.ones((3, 3, 16, 16))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
        branches.conv2d(x, kernel, (1, 1), 1, "channels_last")
        k = torch.ones((4, 4, 16, 16))
        branches.conv_transpose2d(x, k, None, (2, 2), ((3, 3), (3, 3)), "channels_last")
    copies = [event for event in profile.events() if event.name in ("aten::copy_", "aten::clone")]
    assert not [event for event in copies if np.prod(event.input_shapes[0]) >= x.numel()]


def _neighbours(x, weight):
    return (x[:, 1:] * x[:, :-1]) * weight


def test_fused_changes_neither_the_values_nor_the_gradients(rng):
    x = rng.normal(size=(2, 5, 4)).astype("float32")

    def function(x):
        return branches.fused(_neighbours, x, weight=3)

    y = x[:, 1:] * x[:, :-1] * 3
    assert_close(function(keras.ops.convert_to_tensor(x)), y, 1e-6)
    expected = np.zeros_like(x)
    expected[:, 1:] += 6 * y * x[:, :-1]
    expected[:, :-1] += 6 * y * x[:, 1:]
    assert_close(gradients(function, x)[0], expected, 1e-5)


@on_tensorflow
def test_fused_compiles_large_tensors_eagerly_too(rng):
    import tensorflow as tf

    x = tf.constant(rng.normal(size=(2, 300, 128)).astype("float32"))
    before = fusion._tensorflow_graph.cache_info().currsize
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = branches.fused(_neighbours, x, weight=2)
    assert fusion._tensorflow_graph.cache_info().currsize == before + 1
    np.testing.assert_allclose(y, 2 * x[:, 1:] * x[:, :-1], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x)[0, 0, 0], 2 * x[0, 1, 0])


@on_tensorflow
def test_fused_asks_xla_for_one_pass_and_stays_ordinary_operations():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, 4))])
    def traced(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = branches.fused(_neighbours, x, weight=1)
        return tape.gradient(y, x)

    operations = traced.get_concrete_function().graph.get_operations()
    compiled = {op.type for op in operations if "_XlaCompile" in str(op.node_def)}
    assert {"StridedSlice", "Mul", "StridedSliceGrad"} <= compiled
    assert not [op for op in operations if "Call" in op.type]
    np.testing.assert_array_equal(traced(tf.ones((1, 3, 4)))[0, :, 0], [1, 2, 1])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the branch is PyTorch's")
@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler
def test_a_resize_convolution_compiles_for_one_size_after_the_other(rng):
    import torch

    layer = ResizeConv2D(4, 3)
    assert not branches.is_compiled_by_torch()
    compiled = torch.compile(lambda x: layer(x), backend="aot_eager")
    for size in (4, 5, 6):
        x = torch.tensor(rng.normal(size=(2, size, 5, 3)).astype("float32"))
        expected = layer(x).detach()
        y = compiled(x)
        y.sum().backward()
        assert_close(y.detach(), expected, 1e-6)


def test_take_picks_entries_along_an_axis(rng):
    images = rng.normal(size=(1, 4, 5, 2)).astype("float32")
    indices = np.array([4, 0, 0, 3], "int32")

    def pick(x):
        return branches.take(x, keras.ops.convert_to_tensor(indices), 2)

    np.testing.assert_array_equal(apply(pick, images, "channels_last"), images[:, :, indices])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the branch is PyTorch's")
def test_take_uses_no_operator_without_an_onnx_form():
    import torch

    class Pick(torch.nn.Module):
        def forward(self, x, indices):
            return branches.take(x, indices, 2)

    arguments = (torch.ones((1, 4, 5, 2)), torch.tensor([4, 0, 3]))
    exported = torch.export.export(Pick(), arguments)
    assert "ravel" not in str(exported.graph)


@pytest.mark.parametrize("end", ["first", "last"])
def test_an_end_of_known_length_is_cut_off(end, rng):
    images = rng.normal(size=(1, 4, 5, 2)).astype("float32")
    take = getattr(branches, end)
    y = apply(lambda x: take(x, 3, 2), images, "channels_last")
    np.testing.assert_array_equal(y, images[:, :, :3] if end == "first" else images[:, :, -3:])


@pytest.mark.parametrize(("start", "count", "stride"), [(1, 2, 1), (0, 3, 2), (4, 1, 3)])
def test_every_so_many_entries_are_taken(start, count, stride, rng):
    images = rng.normal(size=(1, 4, 5, 2)).astype("float32")
    y = apply(lambda x: branches.every(x, start, count, stride, 2), images, "channels_last")
    stop = start + (count - 1) * stride + 1
    np.testing.assert_array_equal(y, images[:, :, start:stop:stride])


@on_tensorflow
def test_a_part_keeps_the_sizes_that_are_known():
    """A convolution that does not know its channels is compiled by XLA, which no exporter reads."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, 5, 3))])
    def part(x):
        y = branches.every(x, 1, tf.shape(x)[1] - 2, 1, 1)
        return tf.constant([-1 if n is None else n for n in y.shape])

    np.testing.assert_array_equal(part(tf.ones((2, 4, 5, 3))), [-1, -1, 5, 3])


@on_tensorflow
@pytest.mark.parametrize("part", ["every", "first", "last"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_part_longer_than_an_unknown_side_is_an_error(part, jit_compile):
    import tensorflow as tf

    def cut(x):
        return (
            branches.every(x, 0, 3, 1, 1) if part == "every" else getattr(branches, part)(x, 3, 1)
        )

    traced = tf.function(
        cut,
        input_signature=[tf.TensorSpec((None, None, 4, 1))],
        jit_compile=jit_compile,
    )
    assert traced(tf.ones((1, 3, 4, 1))).shape == (1, 3, 4, 1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        traced(tf.ones((1, 2, 4, 1)))


def test_gradient_with_respect_to_an_input_is_the_same_everywhere(rng):
    """Each backend has its own way to ask for it. Of sum (a x)^2 / 2 it is a^2 x."""
    x = rng.normal(size=(2, 5, 5, 3)).astype("float32")
    for taken in (x, keras.ops.convert_to_tensor(x)):
        found = branches.gradient(lambda x: [3 * x, 4 * x], taken, None)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), 25 * x, rtol=1e-5)
    found = branches.gradient(lambda x: 3 * x, x, keras.ops.sum)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), 3, rtol=1e-6)


def test_gradient_of_a_model_is_taken_in_inference_mode(rng):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.9)])
    found = branches.gradient(model, rng.normal(size=(3, 4)).astype("float32"), keras.ops.sum)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), 1)


@on_tensorflow
@pytest.mark.parametrize("implementation", ["auto", "polyphase", "plain"])
def test_no_slice_has_the_slow_gradient(implementation):
    """Of a Python slice: StridedSliceGrad, which takes three to five times as long."""
    import tensorflow as tf

    layer = ResizeConv2D(4, 5, padding="wrap", implementation=implementation)
    deep = ResizeConv2D(4, 5, implementation=implementation)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 64))])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(layer(x)) + tf.reduce_sum(deep(x))
        return tape.gradient(y, [x, *(v.value for v in layer.trainable_variables)])

    kinds = {op.type for op in gradient.get_concrete_function().graph.get_operations()}
    assert "Slice" in kinds
    assert "StridedSliceGrad" not in kinds


@on_tensorflow
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_gradient_penalty_trains_through_every_interpolation(interpolation, rng):
    """A second derivative, which TensorFlow's antialiased resize has not (TensorFlow 2.21)."""
    import tensorflow as tf

    images = tf.constant(rng.normal(size=(1, 3, 4, 2)).astype("float32"))
    layer = ResizeConv2D(2, interpolation=interpolation)
    layer.build(images.shape)
    weight = layer.weights[0]

    def penalty(kernel):
        weight.assign(kernel)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(images)
                y = tf.reduce_sum(tf.square(layer(images)))
            of_images = inner.gradient(y, images)
            loss = tf.reduce_sum(tf.square(of_images))
        return float(loss), outer.gradient(loss, weight.value).numpy()

    kernel = weight.numpy()
    _, found = penalty(kernel)
    direction = rng.choice([-1.0, 1.0], size=kernel.shape).astype("float32")
    step = 1e-2
    losses = [penalty(kernel + sign * step * direction)[0] for sign in (1, -1)]
    along = (losses[0] - losses[1]) / (2 * step)
    assert_close(along, (found * direction).sum(), 1e-2)
