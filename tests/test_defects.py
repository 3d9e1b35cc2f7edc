"""The defects of Keras that the package works around, each shown with Keras alone.

A test fails once its defect is gone, and says which branch went around it. The branch goes when the
oldest Keras that setup.cfg asks for is one without the defect; until then, `mended` names the first
release that is.
"""

import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

RELEASE = tuple(map(int, keras.__version__.split(".")[:2]))
BACKEND = keras.backend.backend()
FLOORS: list = []


def defect(branch, backend=None, since=(3, 0), mended=None):
    """Marks a function that says whether Keras has a defect, on a backend, in some releases.

    Args:
        branch: Which part of the package works around it.
        backend: Whose defect it is; None is of all.
        since, mended: The first release that it was seen in, and the first without it.
    """
    if mended is not None:
        FLOORS.append(pytest.param(mended, branch, id=branch))

    def mark(has_defect):
        @pytest.mark.skipif(backend not in (None, BACKEND), reason=f"a defect on {backend}")
        @pytest.mark.skipif(since > RELEASE, reason=f"not before Keras {since}")
        def test():
            expected = mended is None or mended > RELEASE
            found = has_defect()
            if expected and not found:
                pytest.fail(
                    f"Keras {keras.__version__} is without this defect. Set `mended`, and remove "
                    f"what works around it once setup.cfg asks for that Keras: {branch}."
                )
            assert found == expected, f"it should have been gone since Keras {mended}"

        test.__doc__ = has_defect.__doc__
        return test

    return mark


def fails(function, *errors):
    try:
        function()
    except errors:
        return True
    return False


@pytest.mark.parametrize(("mended", "branch"), FLOORS or [((9, 9), "none")])
def test_no_branch_is_for_a_keras_that_is_supported_no_more(mended, branch):
    (floor,) = re.findall(
        r"keras >= (\d+)\.(\d+)", (Path(__file__).parents[1] / "setup.cfg").read_text()
    )
    assert tuple(map(int, floor)) < mended, f"Remove what works around: {branch}."


def _images(*shape):
    return ops.reshape(ops.arange(np.prod(shape), dtype="float32"), shape)


@defect("files.py: NEEDS_OWN_CHECK", mended=(3, 12))
def test_code_of_an_h5_file_runs_in_safe_mode():
    """CVE-2025-9905."""
    import tempfile

    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x + 1)])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(f"{folder}/model.h5")
        return not fails(lambda: keras.saving.load_model(f"{folder}/model.h5"), ValueError)


@defect("ops/backend/convolution.py: shifted; tests/images.py: KERAS_3_10", "torch", mended=(3, 11))
def test_a_transposed_convolution_is_a_pixel_off():
    x = ops.reshape(ops.convert_to_tensor([1.0, 0.0, 0.0]), (1, 3, 1))
    kernel = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 3.0]), (3, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = ops.conv_transpose(x, kernel, 2, "same")
    return not np.array_equal(np.ravel(ops.convert_to_numpy(y)), [1, 2, 3, 0, 0, 0])


@defect("graph.py: the layer in _functional", mended=(3, 11))
def test_a_model_of_its_input_alone_is_refused():
    x = keras.Input(())
    return fails(lambda: keras.Model(x, x), ValueError)


@defect("ops/blur.py: strides of max_pool", "jax")
def test_max_pool_needs_strides():
    return fails(lambda: ops.max_pool(ops.ones((1, 4, 4, 1)), 2), TypeError)


@defect("ops/padding.py: _symmetric", "torch", mended=(3, 16))
def test_symmetric_padding_is_edge_padding():
    """keras-team/keras#23230."""
    y = ops.pad(_images(1, 3, 3, 1), ((0, 0), (2, 2), (2, 2), (0, 0)), "symmetric")
    expected = np.pad(np.arange(9).reshape(3, 3), 2, "symmetric")
    return not np.array_equal(ops.convert_to_numpy(y)[0, ..., 0], expected)


def _edge_or_wrap_is_refused():
    """`ops.pad` has neither."""
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    errors = (ValueError, NotImplementedError, RuntimeError)
    return all(
        fails(lambda mode=mode: ops.pad(_images(1, 3, 3, 1), pads, mode), *errors)
        for mode in ("edge", "wrap")
    )


test_edge_and_wrap_on_tensorflow = defect("ops/padding.py: _edge, _wrap", "tensorflow")(
    _edge_or_wrap_is_refused
)
test_edge_and_wrap_on_torch = defect("ops/padding.py: _edge, _wrap", "torch")(
    _edge_or_wrap_is_refused
)


@defect("ops/padding.py: no pads", "torch")
def test_reflection_by_nothing_is_refused():
    pads = ((0, 0),) * 4
    return fails(
        lambda: ops.pad(_images(1, 3, 3, 1), pads, "reflect"), NotImplementedError, RuntimeError
    )


@defect("ops/backend/padding.py: only_width", "torch")
def test_reflection_of_the_last_of_four_axes_is_refused():
    pads = ((0, 0), (0, 0), (0, 0), (1, 1))
    return fails(
        lambda: ops.pad(_images(1, 1, 3, 3), pads, "reflect"), NotImplementedError, RuntimeError
    )


def _orders_differ():
    x = _images(1, 8, 1, 1)  # Channels: dcr puts 0, 2, 4, 6 into the first filter, crd 0, 1, 2, 3.
    y = ops.depth_to_space(x, 2, data_format="channels_first")
    return np.array_equal(np.ravel(ops.convert_to_numpy(y)[:, 0]), [0, 1, 2, 3])


for name in ("torch", "jax"):
    globals()[f"test_depth_to_space_has_another_order_in_channels_first_on_{name}"] = defect(
        "ops/shuffle.py: depth_to_space", name, since=(3, 14)
    )(_orders_differ)


@defect("ops/even.py, ops/resize_conv.py: einsum instead of matmul", "torch", since=(3, 15))
def test_matmul_of_float64_is_in_float32():
    x = ops.convert_to_tensor([[1 + 2.0**-40]], dtype="float64")
    return float(ops.matmul(x, x)[0, 0]) == 1


@defect("ops/noise.py: the seed, modulo 2**31", "torch")
def test_a_seed_of_32_bits_is_refused():
    return fails(
        lambda: keras.random.normal((1,), seed=keras.random.SeedGenerator(2**32 - 1)),
        RuntimeError,
        OverflowError,
        ValueError,
    )


def _shares_memory(function):
    x = ops.ones((3, 1))
    y = function(x)
    return len(set(y.stride()) & {0}) > 0


@defect("initializers.py: ops.concatenate instead of ops.tile", "torch", since=(3, 15))
def test_tile_can_return_one_place_several_times():
    return any(
        _shares_memory(f)
        for f in (lambda x: ops.tile(x, (1, 4)), lambda x: ops.repeat(x, 4, axis=1))
    )


@defect("ops/backend/convolution.py: _split_conv2d", "tensorflow")
def test_a_grouped_convolution_is_compiled_by_xla():
    import tensorflow as tf

    kernel = keras.ops.ones((3, 3, 2, 4))
    traced = tf.function(lambda x: ops.conv(x, kernel))
    graph = traced.get_concrete_function(tf.TensorSpec((1, 8, 8, 4))).graph.as_graph_def()
    return "_XlaMustCompile" in str(graph)


@defect("ops/backend/convolution.py: _torch_kernel", "torch")
def test_one_filter_and_one_image_do_not_train():
    """PyTorch's: "grad_weight must be contiguous"."""
    layer = layers.Conv2D(1, 3)
    y = layer(ops.ones((1, 8, 9, 4)))
    return fails(lambda: y.sum().backward(), RuntimeError)


@defect("ops/backend/slices.py: take", "torch")
def test_take_flattens_its_indices():
    """With `aten.ravel`, which has no ONNX form."""
    import torch

    class Take(torch.nn.Module):
        def forward(self, x, indices):
            return ops.take(x, indices, 1)

    exported = torch.export.export(Take(), (torch.ones(1, 4, 2), torch.tensor([2, 0])))
    return "ravel" in str(exported.graph)


@defect("ops/resize.py: not ops.image.resize", "tensorflow", since=(3, 14), mended=(3, 16))
def test_resize_does_not_take_unknown_sizes():
    """keras-team/keras#22079, mended by #23315."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1))])
    def traced(x):
        size = tf.shape(x)
        return ops.image.resize(x, (size[1] * 2, size[2] * 2), "bilinear")

    return fails(lambda: traced(tf.ones((1, 2, 2, 1))), TypeError)


@defect("ops/resize.py: _bicubic", "tensorflow")
def test_antialiased_resize_has_no_second_derivative():
    """TensorFlow's: no gradient of ScaleAndTranslateGrad."""
    import tensorflow as tf

    def second():
        x = tf.ones((1, 4, 4, 1))
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = ops.image.resize(x, (8, 8), "bicubic", antialias=True)
                y = tf.reduce_sum(y**2)
            first = inner.gradient(y, x)
        return outer.gradient(first, x)

    return fails(second, LookupError)


@defect("ops/backend/padding.py: is_symbolic", "jax")
def test_reflection_of_an_unknown_size_is_refused():
    """JAX's: it asks whether the border is narrower than the image."""
    import jax

    (n,) = jax.export.symbolic_shape("n")
    image = jax.ShapeDtypeStruct((1, n, 4, 1), "float32")
    pads = ((0, 0), (1, 1), (0, 0), (0, 0))
    exported = jax.export.export(jax.jit(lambda x: ops.pad(x, pads, "reflect")))
    return fails(lambda: exported(image), ValueError, TypeError, NotImplementedError)


@pytest.mark.filterwarnings("ignore")
@defect("files.py: UNGROUPED")
def test_groups_of_keras_2_are_refused():
    config = {**layers.Conv2DTranspose(1, 3).get_config(), "groups": 1}
    return fails(lambda: layers.Conv2DTranspose.from_config(config), ValueError, TypeError)


@defect("the documentation of NIB: not under keras.remat", "torch")
def test_rematerialised_noise_is_drawn_again():
    """The gradient is of another draw than the answer, with Keras's own noise, too."""
    noise = keras.random.SeedGenerator(1)
    x = ops.convert_to_tensor(np.ones(8, "float32"))
    x.requires_grad_()
    y = keras.remat(lambda x: x * keras.random.normal((8,), seed=noise))(x)
    y.sum().backward()
    return not np.allclose(y.detach(), x.grad)
