"""What every layer must do, whatever it computes: Keras's protocol on every backend."""

import functools
import json
import tempfile

import keras
import numpy as np
import pytest
from cases import CASES, PERIOD, PERIODIC

import keras_cnnfix as kc
from images import (
    apply,
    assert_close,
    at_once,
    from_format,
    gradients,
    to_format,
)

UNKNOWN = (None, None)


def _layer(case, data_format, **extra):
    cls, settings, _ = CASES[case]
    return cls(**settings, data_format=data_format, **extra)


def _images(case, data_format, size=None, batch=2):
    height, width, channels = CASES[case][2]
    height, width = size or (height, width)
    images = np.random.default_rng(7).normal(size=(batch, height, width, channels))
    return to_format(images, data_format)


def _input(case, data_format, size=None):
    height, width, channels = CASES[case][2]
    height, width = size or (height, width)
    last = data_format == "channels_last"
    return keras.Input((height, width, channels) if last else (channels, height, width))


def _front(case, data_format, **extra):
    """A trainable layer that mixes the channels: what is behind it must hand a gradient back."""
    last = data_format == "channels_last"
    shape = _input(case, data_format, UNKNOWN).shape[1:]
    return keras.layers.EinsumDense("nhwc,cd->nhwd" if last else "nchw,cd->ndhw", shape, **extra)


def _model(case, data_format, size=None, **extra):
    """The layer behind a trainable one, with weights that are not those of the start, so that each
    one has an effect.
    """
    x = _input(case, data_format, size)
    front = _front(case, data_format, **extra)
    model = keras.Model(x, _layer(case, data_format, **extra)(front(x)))
    _leave_the_start(model)
    return model


def _leave_the_start(layer):
    rng = np.random.default_rng(3)
    for weight in layer.trainable_weights:
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value + 0.1 * rng.normal(size=value.shape).astype(value.dtype))


def _answer(model, images):
    """What the model makes of `images`, without Keras's `predict`."""
    return keras.ops.convert_to_numpy(at_once(model)(images))


@pytest.fixture(params=sorted(CASES))
def case(request):
    return request.param


def test_config_survives_json_and_names_every_argument(case):
    cls, settings, _ = CASES[case]
    layer = _layer(case, "channels_first", name="mine", dtype="mixed_bfloat16", trainable=False)
    config = layer.get_config()
    twin = cls.from_config(json.loads(json.dumps(config)))
    assert twin.get_config() == config
    assert (twin.name, twin.trainable, twin.compute_dtype) == ("mine", False, "bfloat16")
    assert set(settings) <= set(config)


@pytest.mark.parametrize("size", [(5, 6), (4, 9), (7, 7)], ids=str)
def test_symbolic_shape_is_the_eager_shape(case, data_format, size):
    layer = _layer(case, data_format)
    images = _images(case, data_format, size)
    symbolic = layer(keras.KerasTensor(images.shape))
    eager = layer(images)
    assert tuple(symbolic.shape) == tuple(eager.shape) == layer.compute_output_shape(images.shape)
    assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype)


def test_unknown_sizes_stay_unknown_and_predict_serves_every_size(case, data_format):
    model = _model(case, data_format, UNKNOWN)
    if "exact" not in case:
        size = model.output_shape[1:3] if data_format == "channels_last" else model.output_shape[2:]
        assert tuple(size) == UNKNOWN
    for size, batch in [((5, 6), 2), ((8, 7), 1), ((6, 11), 2)]:
        images = _images(case, data_format, size, batch)
        predicted = model.predict(images, verbose=0)
        assert_close(predicted, _answer(model, images), 1e-5)


def test_both_data_formats_give_the_same_numbers(case):
    first, last = _model(case, "channels_first"), _model(case, "channels_last")
    for weight, twin in zip(first.weights, last.weights, strict=True):
        assert weight.shape == twin.shape
        weight.assign(keras.ops.convert_to_numpy(twin))
    y = _answer(first, _images(case, "channels_first"))
    assert_close(
        from_format(y, "channels_first"), _answer(last, _images(case, "channels_last")), 1e-5
    )


def test_a_saved_model_predicts_the_same(case, data_format, tmp_path):
    model = _model(case, data_format, UNKNOWN)
    images = _images(case, data_format)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [w.path for w in loaded.weights] == [w.path for w in model.weights]
    assert_close(_answer(loaded, images), _answer(model, images), 1e-7)


def test_an_exported_graph_predicts_the_same(case, backend, tmp_path):
    """SavedModel, of unknown sizes from TensorFlow and of fixed ones from JAX; `torch.export`."""
    model = _model(case, "channels_last", UNKNOWN if backend == "tensorflow" else None)
    images = _images(case, "channels_last")
    if backend == "torch":
        import torch

        x = torch.from_numpy(images)
        graph = torch.export.export(model, (x,), strict=False).module()
        y = graph(x).detach().numpy()
    else:
        tf = pytest.importorskip("tensorflow", reason="a SavedModel is TensorFlow's")
        model.export(str(tmp_path), format="tf_saved_model", verbose=False)
        loaded = tf.saved_model.load(str(tmp_path))
        y = loaded.serve(images).numpy()
    assert_close(y, _answer(model, images), 1e-5)


def test_compiled_and_eager_agree(case, data_format, backend):
    if backend == "torch":
        pytest.skip("torch.compile takes half a minute a model; Keras does not use it by default")
    model = _model(case, data_format)
    images = _images(case, data_format)
    model.compile(jit_compile=True)
    eager = keras.ops.convert_to_numpy(model(images))
    assert_close(model.predict(images, verbose=0), eager, 1e-5)


def test_training_moves_every_weight_at_every_size(case, data_format):
    """A layer that is used twice in a model, on images of unknown sizes, then on a single one."""
    first, second = (_input(case, data_format, UNKNOWN) for _ in range(2))
    front, layer = _front(case, data_format), _layer(case, data_format)
    model = keras.Model([first, second], [layer(front(x)) for x in (first, second)])
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    assert len(before) == len(layer.trainable_weights) + 1
    for sizes, batch in [(((5, 6), (8, 7)), 2), (((8, 7), (5, 6)), 1)]:
        images = [_images(case, data_format, size, batch) for size in sizes]
        targets = [np.ones(layer.compute_output_shape(x.shape), "float32") for x in images]
        assert np.isfinite(model.train_on_batch(images, targets)).all()
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert (new != old).any(), weight.path


def _answer_and_gradients(model, images):
    """What the model answers in training, as a function of its trainable weights, and for those
    that it has; and the gradients of the sum of squares. All arrays are float32.
    """
    constants = [v.value for v in model.non_trainable_variables]
    images = keras.ops.convert_to_tensor(images)

    def answer(*values):
        variables = zip(values, model.trainable_variables, strict=True)
        weights = [keras.ops.cast(value, variable.dtype) for value, variable in variables]
        y, _ = model.stateless_call(weights, constants, images, training=True)
        assert keras.backend.standardize_dtype(y.dtype) == model.output.dtype
        return keras.ops.cast(y, "float32")

    values = [
        keras.ops.convert_to_numpy(keras.ops.cast(w.value, "float32"))
        for w in model.trainable_variables
    ]
    y = keras.ops.convert_to_numpy(at_once(answer)(*map(keras.ops.convert_to_tensor, values)))
    return answer, y, values, gradients(answer, *values)


@functools.cache
def _in_float32(case, data_format):
    """A model in float32, with what it answers: computed once for all tests that compare."""
    model = _model(case, data_format)
    return model, *_answer_and_gradients(model, _images(case, data_format))


def test_gradients_match_finite_differences(case, data_format):
    model, answer, _, values, found = _in_float32(case, data_format)
    loss = at_once(lambda *values: keras.ops.sum(keras.ops.square(answer(*values))))
    rng = np.random.default_rng(1)
    for index, (variable, gradient) in enumerate(
        zip(model.trainable_variables, found, strict=True)
    ):
        direction = rng.choice([-1.0, 1.0], size=gradient.shape).astype("float32")
        losses = []
        for sign in (1, -1):
            moved = list(values)
            moved[index] = values[index] + sign * 1e-2 * direction
            losses.append(float(loss(*map(keras.ops.convert_to_tensor, moved))))
        slope = (losses[0] - losses[1]) / 2e-2
        along = float((gradient * direction).sum())
        allowed = 0.03 * max(1e-2, np.abs(gradient).sum())
        assert abs(slope - along) <= allowed, (variable.path, slope, along)


HALF = {"float16": 2**-11, "bfloat16": 2**-8}  # by how much a number is rounded at most


# Every policy and every format, not each with each.
@pytest.mark.parametrize(
    ("policy", "form"),
    [
        ("float16", "channels_first"),
        ("bfloat16", "channels_last"),
        ("mixed_float16", "channels_last"),
        ("mixed_bfloat16", "channels_first"),
    ],
)
def test_half_precision_is_close_to_float32(case, policy, form):
    """The answer, and the gradients that arrive at the layer's weights and in front of it."""
    full, _, expected, _, expected_gradients = _in_float32(case, form)
    half = _model(case, form, dtype=policy)
    half.set_weights(full.get_weights())
    dtype = policy.removeprefix("mixed_")
    assert half.output.dtype == dtype
    _, y, _, found = _answer_and_gradients(half, _images(case, form))
    rounding = HALF[dtype]
    assert_close(y, expected, 10 * rounding)
    for gradient, wanted in zip(found, expected_gradients, strict=True):
        assert_close(gradient, wanted, 20 * rounding)


def _freeze_at_start(case):
    return _sandwich(case, trainable=False)


def _freeze_before_build(case):
    layer = _layer(case, "channels_last")
    layer.trainable = False
    return _sandwich(case, layer)


def _freeze_after_build(case):
    model = _sandwich(case)
    model.layers[-1].trainable = False
    return model


def _freeze_inside_a_model(case):
    x = _input(case, "channels_last")
    inner = keras.Sequential([_layer(case, "channels_last")])
    inner.trainable = False
    return keras.Model(x, inner(_front(case, "channels_last")(x)))


def _freeze_and_clone(case):
    return keras.models.clone_model(_freeze_after_build(case))


def _freeze_and_rebuild(case):
    return keras.Model.from_config(_freeze_after_build(case).get_config())


def _freeze_and_save(case):
    with tempfile.TemporaryDirectory() as folder:
        _freeze_after_build(case).save(f"{folder}/model.keras")
        return keras.saving.load_model(f"{folder}/model.keras")


def _sandwich(case, layer=None, **extra):
    """A trainable layer, and behind it the layer itself."""
    x = _input(case, "channels_last")
    layer = layer or _layer(case, "channels_last", **extra)
    return keras.Model(x, layer(_front(case, "channels_last")(x)))


WAYS_TO_FREEZE = [
    _freeze_at_start,
    _freeze_before_build,
    _freeze_after_build,
    _freeze_inside_a_model,
    _freeze_and_clone,
    _freeze_and_rebuild,
    _freeze_and_save,
]


def test_nothing_of_a_frozen_layer_trains_until_it_is_thawed(case):
    images = _images(case, "channels_last")
    names = [w.path.split("/")[-1] for w in _sandwich(case).layers[-1].trainable_weights]
    for freeze in WAYS_TO_FREEZE:
        model = freeze(case)
        layer = model.layers[-1]
        assert not layer.trainable_variables, freeze
        assert [w.name for w in model.trainable_variables] == ["kernel"], freeze
        weights = model.get_weights()
        training = keras.ops.convert_to_numpy(model(images, training=True))
        np.testing.assert_array_equal(
            training, keras.ops.convert_to_numpy(model(images, training=False))
        )
        for weight, old in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(weight, old)
        layer.trainable = True
        assert [w.path.split("/")[-1] for w in layer.trainable_weights] == names, freeze
        assert len(model.trainable_variables) == 1 + len(names), freeze
    if not names:
        return
    model = _freeze_at_start(case)
    layer = model.layers[-1]
    target = np.ones_like(training)
    for trainable in (False, True):
        layer.trainable = trainable
        model.compile(keras.optimizers.SGD(0.1), "mse")
        front, own = model.layers[1].get_weights(), layer.get_weights()
        model.train_on_batch(images, target)
        assert (model.layers[1].get_weights()[0] != front[0]).any()
        moved = [(new != old).any() for new, old in zip(layer.get_weights(), own, strict=True)]
        constants = [w.name in ("tile",) for w in layer.weights]
        assert moved == [trainable and not constant for constant in constants]


@pytest.mark.parametrize("name", sorted(PERIODIC))
def test_roll_in_roll_out_where_the_border_wraps(name, data_format):
    """What wraps tiles: a circular shift of the images is one of the answer, and no seam shows."""
    cls, settings, (_, _, channels) = CASES[name]
    border = {kc.Padding2D: "mode", kc.EvenConv2DTranspose: "border"}.get(cls, "padding")
    layer = cls(**{**settings, **PERIODIC[name], border: "wrap"}, data_format=data_format)
    rng = np.random.default_rng(5)
    images = rng.normal(size=(1, PERIOD, PERIOD, channels)).astype("float32")
    layer.build(to_format(images, data_format).shape)
    _leave_the_start(layer)
    y = apply(layer, images, data_format)
    rolled = apply(layer, np.roll(images, PERIOD // 2, axis=(1, 2)), data_format)
    if cls is kc.Padding2D:
        y, rolled = (a[:, :PERIOD, :PERIOD] for a in (y, rolled))
    assert np.std(y) > 0
    assert_close(rolled, np.roll(y, (y.shape[1] // 2, y.shape[2] // 2), axis=(1, 2)), 1e-5)
