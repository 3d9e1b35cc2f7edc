"""What every layer must do, whatever it computes: Keras's protocol on every backend."""

import json

import keras
import numpy as np
import pytest
from cases import CASES

from images import assert_close, at_once, from_format, to_format

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


def _model(case, data_format, size=None, **extra):
    """The layer with weights that are not those of the start, so that each one has an effect."""
    x = _input(case, data_format, size)
    model = keras.Model(x, _layer(case, data_format, **extra)(x))
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value + 0.1 * rng.normal(size=value.shape).astype(value.dtype))
    return model


def _answer(model, images):
    """What the layer itself makes of `images`, without Keras's `predict`."""
    return keras.ops.convert_to_numpy(at_once(model.layers[-1])(images))


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
    for size in [(5, 6), (8, 7), (6, 11)]:
        images = _images(case, data_format, size)
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


@pytest.mark.parametrize(("policy", "tolerance"), [("float16", 5e-3), ("bfloat16", 4e-2)])
@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "pure"])
def test_half_precision_is_close_to_float32(case, data_format, policy, tolerance, mixed):
    full = _model(case, data_format)
    half = _model(case, data_format, dtype=f"mixed_{policy}" if mixed else policy)
    half.set_weights(full.get_weights())
    images = _images(case, data_format)
    y = at_once(half.layers[-1])(images)
    assert keras.backend.standardize_dtype(y.dtype) == policy == half.output.dtype
    y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
    assert_close(y, _answer(full, images), tolerance)


def test_compiled_and_eager_agree(case, data_format, backend):
    if backend == "tensorflow" and not _layer(case, data_format).supports_jit:
        pytest.skip("says so itself: XLA cannot compile TensorFlow's antialiased resize")
    if backend == "torch":
        pytest.skip("torch.compile takes half a minute a model; Keras does not use it by default")
    model = _model(case, data_format)
    images = _images(case, data_format)
    model.compile(jit_compile=True)
    eager = keras.ops.convert_to_numpy(model.layers[-1](images))
    assert_close(model.predict(images, verbose=0), eager, 1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_one_training_step_moves_every_weight_and_stays_finite(case, data_format, policy):
    model = _model(case, data_format, UNKNOWN, dtype=policy)
    images = _images(case, data_format)
    target = np.ones_like(_answer(model, images), dtype="float32")
    if not model.trainable_weights:
        return
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    # The loss scale of Keras starts at 2**15; a smaller one keeps the first float16 step finite.
    optimizer = keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16.0)
    model.compile(optimizer, "mse")
    loss = model.train_on_batch(images, target)
    assert np.isfinite(loss)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert (new != old).any(), weight.path


def test_gradient_matches_finite_differences(case, data_format):
    """Through `train_on_batch` with SGD: a step of 1 moves a weight by minus its gradient."""
    model = _model(case, data_format)
    if not model.trainable_weights:
        return
    images = _images(case, data_format)
    target = np.zeros_like(_answer(model, images))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    names = [w.path for w in model.trainable_weights]
    values = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    model.train_on_batch(images, target)
    gradients = [
        old - keras.ops.convert_to_numpy(w)
        for w, old in zip(model.trainable_weights, values, strict=True)
    ]
    rng = np.random.default_rng(1)
    for index, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
        direction = rng.choice([-1.0, 1.0], size=gradient.shape).astype("float32")
        losses = []
        for sign in (1, -1):
            model.set_weights(before)
            weight = model.trainable_weights[index]
            weight.assign(values[index] + sign * 1e-2 * direction)
            y = model(images, training=True)
            loss = keras.ops.mean(keras.ops.square(y)) + sum(model.losses)
            losses.append(keras.ops.convert_to_numpy(loss))
        slope = (losses[0] - losses[1]) / 2e-2
        along = float((gradient * direction).sum())
        assert abs(slope - along) <= 0.03 * max(1e-2, np.abs(gradient).sum()), (name, slope, along)
