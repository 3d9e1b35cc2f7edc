"""What every layer says to an input that it cannot take, eagerly and in a symbolic model."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
from cases import CASES

import keras_cnnfix as kc
from images import to_format


@pytest.fixture(params=sorted(CASES))
def case(request):
    return request.param


def _layer(case, data_format="channels_last"):
    cls, settings, _ = CASES[case]
    return cls(**settings, data_format=data_format)


def _refuses(layer, images, message):
    """Fresh, built, and symbolic calls raise the same."""
    message = f"{type(layer).__name__}: {message}"
    with pytest.raises(ValueError, match=message):
        layer(images)
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(images.shape, dtype=str(images.dtype)))


def test_the_config_names_every_argument(case):
    cls, settings, _ = CASES[case]
    arguments = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    layer = cls(**settings, activity_regularizer="l2")
    assert arguments | {"activity_regularizer"} <= set(layer.get_config())


@pytest.mark.parametrize("shape", [(6, 6, 4), (1, 1, 6, 6, 4)], ids=str)
def test_a_wrong_rank_is_refused(case, shape):
    _refuses(_layer(case), np.ones(shape, "float32"), r"`inputs` must have 4 dimensions .* Recei")


def test_integer_images_are_refused_where_floats_are_needed(case, data_format):
    layer = _layer(case, data_format)
    images = to_format(np.ones((1, *CASES[case][2])), data_format).astype("uint8")
    if "padding" in case:
        assert layer(images).dtype is not None
        return
    _refuses(layer, images, r"`inputs` must be floating point\. Received: dtype='uint8'\. Convert")


def test_an_empty_image_is_refused(case):
    channels = CASES[case][2][2]
    images = np.ones((1, 0, 4, channels), "float32")
    _refuses(_layer(case), images, r"`inputs` must have at least 1 pixel a side")


def test_channels_must_be_known_where_there_are_weights(case):
    layer = _layer(case)
    unknown = keras.KerasTensor((None, 8, 8, None))
    if any(name in case for name in ("blur_pool", "padding")):
        assert layer(unknown).shape[-1] is None
        return
    with pytest.raises(ValueError, match=r"the number of channels of `inputs` must be known\. Rec"):
        layer(unknown)


def test_other_channels_than_those_of_the_weights_are_refused(case):
    layer = _layer(case)
    height, width, channels = CASES[case][2]
    layer(np.ones((1, height, width, channels), "float32"))
    other = np.ones((1, height, width, 2 * channels), "float32")
    if any(name in case for name in ("blur_pool", "padding")):
        assert layer(other).shape[-1] == 2 * channels
        return
    _refuses(layer, other, rf"`inputs` must have the {channels} channels that the layer was built")


def _with_a_deep_border(case, data_format="channels_last"):
    """The layer with a border of 4 pixels, of the name and mode; None where any border fits."""
    cls, settings, _ = CASES[case]
    border = "mode" if "padding" in case else "border" if "even_conv" in case else "padding"
    mode = settings.get(border, "zeros" if border == "border" else "reflect")
    if mode in ("edge", "zeros"):
        return None, border, mode
    # At stride 2 each pixel of the border is read by two taps.
    deep = {"padding": {"kernel_size": 9}, "border": {"kernel_size": 17}, "mode": {"padding": 4}}
    extra = deep[border]
    extra = extra | ({"filters": 4} if cls.__name__ == "NIB" else {})
    return cls(**{**settings, **extra}, data_format=data_format), border, mode


def test_a_border_deeper_than_the_image_is_refused(case):
    layer, border, mode = _with_a_deep_border(case)
    if layer is None:
        return
    if getattr(layer, "output_size", None):
        layer = type(layer).from_config({**layer.get_config(), "output_size": 3})
    images = np.ones((1, 1, 1, CASES[case][2][2]), "float32")
    _refuses(layer, images, rf"`{border}` must fit the image: a '{mode}' border of 4 pixels needs")


# Of each layer: what takes long is run with its default settings.
DEFAULTS = (
    "adaptive",
    "blur_pool",
    "max_blur_pool",
    "nib_conv",
    "padding",
    "resize_conv",
    "subpixel_conv",
)


@pytest.mark.parametrize(
    ("way", "data_format"),
    [
        ("predict", "channels_last"),
        ("predict", "channels_first"),
        ("fit", "channels_last"),
        ("function", "channels_first"),
        ("saved_model", "channels_last"),
    ],
)
def test_it_is_refused_by_a_graph_that_does_not_know_sizes(
    case, way, backend, data_format, tmp_path
):
    """On TensorFlow, where a graph has seen several sizes; elsewhere each size is known."""
    layer, border, mode = _with_a_deep_border(case, data_format)
    if layer is None or getattr(layer, "output_size", None):
        return
    if way != "predict" and (backend != "tensorflow" or case not in DEFAULTS):
        return
    channels = CASES[case][2][2]
    unknown = (None, None, channels) if data_format == "channels_last" else (channels, None, None)
    # Not one that a functional model has checked.
    model = keras.Sequential([layer])
    answer = _ways(way, model, unknown, tmp_path)
    good = [to_format(np.ones((2, *size, channels)), data_format) for size in [(9, 8), (8, 11)]]
    for images in good:
        answer(images)
    # Of the image that the border is taken from.
    received = 1 if "resize" not in case else int(layer.bordered_size((9, 1))[1])
    message = (
        rf"{type(layer).__name__}: `{border}` must fit the image: a '{mode}' border of 4 pixels "
        rf"needs a width of at least \d\. Received: {border}='{mode}', width={received}\. Use a "
        rf"smaller kernel or border, {border}='edge' or 'zeros', or a larger image\."
    )
    with pytest.raises(_errors(backend)) as refusal:
        answer(to_format(np.ones((2, 9, 1, channels)), data_format))
    # TensorFlow escapes quotes in what a graph asserts.
    assert re.search(message, str(refusal.value).replace("\\'", "'"))


@pytest.mark.parametrize("way", ["call", "predict"])
@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (
            kc.EvenConv2DTranspose,
            {"filters": 2, "kernel_size": (3, 4), "padding": "same", "output_padding": 0},
            r"`inputs` must leave a pixel: 4 taps, strides=1, padding='same' and "
            r"output_padding=0 need a width of at least 2\. Received: width=1\.",
        ),
        (
            kc.MaxBlurPool2D,
            {"pool_size": 5, "kernel_size": 1, "padding": "wrap"},
            r"`padding` must fit the image: a 'wrap' border of 2 pixels needs a width of at least "
            r"2\. Received: padding='wrap', width=1\.",
        ),
    ],
)
def test_too_small_an_image_is_refused_whether_its_size_is_known_or_not(
    cls, settings, message, way, backend, data_format
):
    layer = cls(**settings, data_format=data_format)
    answer = layer if way == "call" else _ways(way, keras.Sequential([layer]), None, None)
    for size in [(9, 8), (8, 11)]:
        answer(to_format(np.ones((2, *size, 3)), data_format))
    with pytest.raises(_errors(backend)) as refusal:
        answer(to_format(np.ones((2, 9, 1, 3)), data_format))
    assert re.search(f"{cls.__name__}: {message}", str(refusal.value).replace("\\'", "'"))


def _ways(way, model, unknown, folder):
    """The function of images that the model is, in each of the ways to run it."""
    if way == "predict":
        return lambda images: model.predict(images, verbose=0)
    if way == "fit":
        model.add(keras.layers.Conv2D(1, 1))  # Something to train.
        model.compile("sgd", lambda _, y: keras.ops.mean(y))
        return lambda images: model.fit(images, np.zeros(len(images)), verbose=0)
    import tensorflow as tf

    signature = tf.TensorSpec((None, *unknown), "float32")
    if way == "function":
        model.build((None, *unknown))
        return tf.function(model, input_signature=[signature])
    model.build((None, *unknown))
    model.export(str(folder), format="tf_saved_model", input_signature=[signature], verbose=False)
    loaded = tf.saved_model.load(str(folder))
    return lambda images: loaded.serve(images)


def _errors(backend):
    """What our messages come as: on TensorFlow a graph can raise nothing else when it runs."""
    if backend != "tensorflow":
        return ValueError
    import tensorflow as tf

    return (ValueError, tf.errors.InvalidArgumentError)


def test_a_graph_asserts_only_the_sizes_that_it_does_not_know(backend, data_format):
    if backend != "tensorflow":
        return
    import tensorflow as tf

    layer = kc.ResizeConv2D(2, data_format=data_format)
    for size, count in [((8, 8), 0), ((8, None), 1), ((None, 8), 1), ((None, None), 2)]:
        shape = (None, *size, 3) if data_format == "channels_last" else (None, 3, *size)
        graph = tf.function(layer, input_signature=[tf.TensorSpec(shape, "float32")])
        operations = graph.get_concrete_function().graph.get_operations()
        assert [o.type for o in operations].count("Assert") == count


def test_a_graph_refuses_one_pixel_too_few(backend):
    if backend != "tensorflow":
        return
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None, 3), "float32")
    graph = tf.function(kc.BlurPool2D(9), input_signature=[signature])
    assert graph(np.ones((1, 5, 5, 3), "float32")).shape == (1, 3, 3, 3)
    for size, received in [((5, 4), "width"), ((4, 5), "height")]:
        message = f"needs a {received} of at least 5. .*{received}=4"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            graph(np.ones((1, *size, 3), "float32"))


def test_a_compiled_graph_of_unknown_sizes_runs(case, backend):
    """XLA cannot assert, and must not mind."""
    if backend != "tensorflow" or "bicubic" in case:
        return
    import tensorflow as tf

    cls, settings, (height, width, channels) = CASES[case]
    layer = cls(**settings)
    layer.build((None, None, None, channels))
    signature = tf.TensorSpec((None, None, None, channels), "float32")
    compiled = tf.function(layer, jit_compile=True, input_signature=[signature])
    images = np.random.default_rng(0).normal(size=(2, height, width, channels)).astype("float32")
    np.testing.assert_allclose(compiled(images), layer(images), rtol=1e-4, atol=1e-5)


def test_channels_that_a_graph_does_not_know(case, backend):
    """They may change where there are no weights; otherwise the message is that of a known one."""
    if backend != "tensorflow":
        return
    import tensorflow as tf

    layer = _layer(case)
    height, width, channels = CASES[case][2]
    if layer.weights == [] and any(name in case for name in ("blur_pool", "padding")):
        graph = tf.function(layer, input_signature=[tf.TensorSpec([None] * 4, "float32")])
        for count in (channels, 2 * channels):
            images = np.ones((1, height, width, count), "float32")
            np.testing.assert_allclose(graph(images), layer(images), rtol=1e-6)
        return
    layer.build((None, None, None, channels))
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None] * 4, "float32")])
    assert graph(np.ones((1, height, width, channels), "float32")).shape[0] == 1
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=rf"{type(layer).__name__}: `inputs` must have the {channels} channels that the layer "
        rf"was built with\. Received: {2 * channels} channels",
    ):
        graph(np.ones((1, height, width, 2 * channels), "float32"))


def test_an_empty_batch_gives_an_empty_answer(case, data_format):
    layer = _layer(case, data_format)
    none = to_format(np.ones((0, *CASES[case][2])), data_format)
    y = layer(none)
    assert tuple(y.shape) == layer.compute_output_shape(none.shape)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"


def test_nothing_is_learned_from_an_empty_batch(case, data_format):
    """No statistic moves, whether `training` is passed or a model says so."""
    layer = _layer(case, data_format)
    none = to_format(np.ones((0, *CASES[case][2])), data_format)
    layer.build(none.shape)
    before = [keras.ops.convert_to_numpy(w) for w in layer.weights]
    assert layer(none, training=True).shape[0] == 0
    model = keras.Sequential([layer])
    assert model(none, training=True).shape[0] == 0
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)


@pytest.mark.parametrize(
    "inputs",
    [None, "text", 3, [], [np.ones((1, 6, 6, 4))] * 2, {"a": np.ones((1, 6, 6, 4))}],
    ids=["None", "text", "number", "empty", "list", "dict"],
)
def test_what_is_not_one_tensor_is_refused(case, inputs):
    layer = _layer(case)
    message = (
        rf"{type(layer).__name__}: `inputs` must be one tensor or array\. Received: inputs of "
    )
    with pytest.raises(ValueError, match=message):
        layer(inputs)


@pytest.mark.parametrize("dtype", [object, "complex64", "U1"])
def test_arrays_of_no_real_numbers_are_refused(case, dtype):
    layer = _layer(case)
    images = np.zeros((1, *CASES[case][2]), dtype)
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: `inputs` must be floating poi"):
        layer(images)


@pytest.mark.parametrize("name", ["use_bias", "smooth", "batch_norm", "fixed", "preserve_input"])
def test_text_is_not_taken_as_true(case, name):
    cls, settings, _ = CASES[case]
    if name in inspect.signature(cls.__init__).parameters:
        with pytest.raises(
            ValueError, match=rf"{cls.__name__}: `{name}` must be True or False\. R"
        ):
            cls(**{**settings, name: "no"})


@pytest.mark.parametrize("form", ["array", "tensor", "name", "class", "config", "None"])
def test_kernels_start_from_what_conv2d_takes(form):
    for cls, settings, shape in [
        (kc.ResizeConv2D, {"filters": 4}, (3, 3, 4, 4)),
        (kc.SubPixelConv, {"filters": 1}, (3, 3, 4, 4)),
        (kc.NIB, {"filters": 4, "preserve_input": False}, (3, 3, 8, 4)),
        (kc.AdaptiveAntiAlias, {"groups": 1}, (3, 3, 4, 9)),
    ]:
        start = {
            "array": np.ones(shape, "float32"),
            "tensor": keras.ops.ones(shape),
            "name": "ones",
            "class": keras.initializers.Ones,
            "config": {"class_name": "Ones", "config": {}},
            "None": None,
        }[form]
        layer = cls(**settings, kernel_initializer=start)
        layer.build((None, 6, 6, 4))
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        assert kernel.shape == shape
        assert (kernel == 1).all() == (form != "None")
        json.dumps(layer.get_config())
