"""Each branch on the backend, against what happens without it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import oracle
from images import apply, assert_close, from_format, gradients, to_format
from keras_cnnfix import ResizeConv2D
from keras_cnnfix.ops import backend as branches

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
@pytest.mark.parametrize("size", [1, 3])
def test_one_image_and_one_filter_train(channels, size, data_format, rng):
    """As a remainder batch may be: half the gradient of the same image twice."""
    image = to_format(rng.normal(size=(1, 8, 9, channels)), data_format)
    kernel = rng.normal(size=(size, size, channels, 1)).astype("float32")

    def function(x, k):
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


@pytest.mark.parametrize("strides", [(2, 3), (4, 1)], ids=str)
def test_conv_transpose2d_adds_a_tap_for_each_pixel(strides, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    kernel = rng.normal(size=(4, 5, 3, 2)).astype("float32")
    expected = np.zeros((2, 4 * strides[0] + 4, 5 * strides[1] + 5, 2))
    for i in range(5):
        for j in range(6):
            block = np.einsum("nc,uvcf->nuvf", images[:, i, j], kernel)
            y, x = strides[0] * i, strides[1] * j
            expected[:, y : y + 4, x : x + 5] += block
    top, left = (4 - strides[0]) // 2, (5 - strides[1]) // 2
    expected = expected[:, top : top + 5 * strides[0], left : left + 6 * strides[1]]
    k = keras.ops.convert_to_tensor(kernel)
    y = apply(lambda x: branches.conv_transpose2d(x, k, strides, data_format), images, data_format)
    assert_close(y, expected, 1e-6)


@pytest.mark.parametrize("with_bias", [True, False])
def test_add_at_ends(with_bias, data_format, rng):
    """Also where the first pixels are some of the last ones."""
    images = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    rows = rng.normal(size=(2, 1 + 3, 5, 4)).astype("float32")
    columns = rng.normal(size=(2, 3, 0 + 2, 4)).astype("float32")
    bias = rng.normal(size=4).astype("float32")
    expected = images + bias * with_bias
    expected[:, :1] += rows[:, :1]
    expected[:, -3:] += rows[:, 1:]
    expected[:, :, -2:] += columns

    def function(x, bias, *parts):
        settings = (((1, 3), (0, 2)), (1, 1), data_format)
        # Not of a leaf, which PyTorch lets nobody write to.
        return branches.add_at_ends(2 * x, bias if with_bias else None, parts, *settings)

    arrays = [to_format(array, data_format) for array in (images / 2, rows, columns)]
    tensors = [keras.ops.convert_to_tensor(array) for array in (arrays[0], bias, *arrays[1:])]
    y = function(*tensors)
    assert_close(from_format(y, data_format), expected, 1e-6)
    if not with_bias:
        return
    found = gradients(function, arrays[0], bias, *arrays[1:])
    of_rows = np.concatenate([expected[:, :1], expected[:, -3:]], axis=1)
    references = [2 * expected, expected.sum((0, 1, 2)), of_rows, expected[:, :, -2:]]
    for gradient, reference in zip(found, references, strict=True):
        if gradient.ndim == 4:
            gradient = from_format(gradient, data_format)
        assert_close(gradient, 2 * reference, 1e-5)


def test_take_at_ends(data_format, rng):
    images = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    weights = [rng.normal(size=shape).astype("float32") for shape in ((2, 4, 5, 4), (2, 3, 1, 4))]

    def function(x):
        x, rows, columns = branches.take_at_ends(2 * x, ((1, 3), (1, 0)), data_format)
        of_parts = [keras.ops.convert_to_tensor(to_format(w, data_format)) for w in weights]
        both = [part * w for part, w in zip((rows, columns), of_parts, strict=True)]
        return keras.ops.concatenate([keras.ops.reshape(t, (-1,)) for t in (x, *both)])

    rows = np.concatenate([images[:, :1], images], axis=1)
    parts = [images, rows * weights[0], images[:, :, :1] * weights[1]]
    y = function(keras.ops.convert_to_tensor(to_format(images, data_format)))
    expected = np.concatenate([to_format(part, data_format).ravel() for part in parts])
    assert_close(keras.ops.convert_to_numpy(y), 2 * expected, 1e-6)
    reference = images.copy()
    reference[:, :1] += (rows * weights[0] ** 2)[:, :1]
    reference += (rows * weights[0] ** 2)[:, 1:]
    reference[:, :, :1] += images[:, :, :1] * weights[1] ** 2
    (gradient,) = gradients(function, to_format(images, data_format))
    assert_close(from_format(gradient, data_format), 8 * reference, 1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the branch is PyTorch's")
def test_a_convolution_copies_no_image_into_another_memory_format(rng):
    """A permuted view of a channels_last image is what PyTorch calls channels_last already."""
    import torch

    x = torch.ones((2, 32, 32, 16))
    kernel = torch.ones((3, 3, 16, 16))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
        branches.conv2d(x, kernel, (1, 1), 1, "channels_last")
        branches.conv_transpose2d(x, keras.ops.ones((4, 4, 16, 16)), (2, 2), "channels_last")
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
    before = branches._tensorflow_graph.cache_info().currsize
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = branches.fused(_neighbours, x, weight=2)
    assert branches._tensorflow_graph.cache_info().currsize == before + 1
    np.testing.assert_allclose(y, 2 * x[:, 1:] * x[:, :-1], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x)[0, 0, 0], 2 * x[0, 1, 0])


def _weighted_sum(x, y, weight):
    return weight * x + y


def _wrong_transpose(of_sum, weight):
    """Such that it can be told from the gradient that the backend would find."""
    return [5 * weight * of_sum, -of_sum]


def test_with_transpose_has_the_gradient_that_is_given(rng):
    x, y = rng.normal(size=(2, 3, 4)).astype("float32")

    def function(x, y):
        return branches.with_transpose(_weighted_sum, _wrong_transpose, x, y, weight=3)

    total = 3 * x + y
    assert_close(function(*map(keras.ops.convert_to_tensor, (x, y))), total, 1e-6)
    of_x, of_y = gradients(function, x, y)
    assert_close(of_x, 2 * 5 * 3 * total, 1e-5)
    assert_close(of_y, -2 * total, 1e-5)


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


def test_resize2d_serves_unknown_sizes(rng):
    images = rng.normal(size=(2, 4, 5, 3)).astype("float32")

    def double(x):
        size = keras.ops.shape(x)
        return branches.resize2d(x, (size[1] * 2, size[2] * 2), "bicubic", True, "channels_last")

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        double = tf.function(double, input_signature=[tf.TensorSpec((None, None, None, 3))])
    y = apply(double, images, "channels_last")
    assert_close(y, oracle.resize(images, (8, 10), "bicubic"), 3e-6)


@on_tensorflow
def test_the_antialiased_resize_still_does_not_compile():
    """When this fails, XLA has learned it, and `resize_compiles` can go."""
    import tensorflow as tf

    assert not branches.resize_compiles("bicubic")
    assert branches.resize_compiles("bilinear")
    resize = tf.function(
        lambda x: branches.resize2d(x, (8, 8), "bicubic", True, "channels_last"), jit_compile=True
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="ScaleAndTranslate"):
        resize(tf.ones((1, 4, 4, 1)))


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


@pytest.mark.parametrize("from_end", [False, True])
def test_a_pixel_is_counted_from_either_end(from_end, rng):
    images = rng.normal(size=(1, 4, 5, 2)).astype("float32")
    y = apply(lambda x: branches.pixel(x, 1, from_end, 2), images, "channels_last")
    np.testing.assert_array_equal(y, images[:, :, 3:4] if from_end else images[:, :, 1:2])


@on_tensorflow
@pytest.mark.parametrize("end", ["first", "last"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_an_end_longer_than_an_unknown_side_is_an_error(end, jit_compile):
    import tensorflow as tf

    take = getattr(branches, end)
    traced = tf.function(
        lambda x: take(x, 3, 1),
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
def test_a_gradient_written_by_hand_reaches_variables_outside_of_a_graph(rng):
    """Where TensorFlow sees a variable among the arguments, it wants a second gradient."""
    import tensorflow as tf

    images = rng.normal(size=(4, 4, 4, 64)).astype("float32")
    fast, plain = (ResizeConv2D(8, implementation=form) for form in ("auto", "plain"))
    gradients = []
    for layer in (fast, plain):
        layer.build(images.shape)
        layer.set_weights(fast.get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(images)))
        gradients.append(tape.gradient(loss, [v.value for v in layer.trainable_variables]))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
