"""ONNX files, run in onnxruntime: what each layer answers there is what it answers in Keras."""

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from cases import CASES

from images import assert_close, at_once, to_format

onnxruntime = pytest.importorskip("onnxruntime", reason="runs the exported files")

CONVERTERS = {"tensorflow": "tf2onnx", "torch": "onnxscript", "jax": "jax2onnx"}
SIZES = [(5, 6), (8, 11)]

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the converters: they are not ours.


@pytest.fixture(params=sorted(CASES))
def case(request, backend):
    pytest.importorskip(CONVERTERS[backend], reason=f"exports from {backend}")
    return request.param


def _model(case, data_format, size):
    cls, settings, (_, _, channels) = CASES[case]
    shape = (*size, channels) if data_format == "channels_last" else (channels, *size)
    model = keras.Sequential([keras.Input(shape), cls(**settings, data_format=data_format)])
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    # Keras exports no model that was never called.
    model(_images(case, data_format, SIZES[0], 1))
    return model


def _images(case, data_format, size, batch):
    images = np.random.default_rng(7).normal(size=(batch, *size, CASES[case][2][2]))
    return to_format(images, data_format)


def _assert_runs_the_same(path, model, *batches):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for images in batches:
        expected = keras.ops.convert_to_numpy(at_once(model.layers[-1])(images))
        assert_close(session.run(None, {name: images})[0], expected, 1e-5)


def test_a_file_for_one_size_takes_any_batch(case, data_format, tmp_path, backend):
    model = _model(case, data_format, SIZES[0])
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    batches = (_images(case, data_format, SIZES[0], batch) for batch in (1, 3))
    _assert_runs_the_same(path, model, *batches)


def test_a_file_for_any_size(case, data_format, tmp_path, backend):
    if backend == "jax":
        pytest.skip("jax2onnx has no reshape to a size that it does not know")
    model = _model(case, data_format, (None, None))
    path = str(tmp_path / "model.onnx")
    if backend == "torch":
        import torch

        # Keras traces an unknown size as 1, which no mirrored border can be.
        image = torch.from_numpy(_images(case, data_format, SIZES[0], 2))
        rows = 1 if data_format == "channels_last" else 2
        axes = {"images": {0: "batch", rows: "height", rows + 1: "width"}}
        settings: dict[str, Any] = {
            "dynamo": False,
            "input_names": ["images"],
            "dynamic_axes": axes,
        }
        torch.onnx.export(model.eval(), (image,), path, **settings)
    else:
        model.export(path, format="onnx", verbose=False)
    batches = (_images(case, data_format, size, batch) for batch, size in enumerate(SIZES, 1))
    _assert_runs_the_same(path, model, *batches)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.jit is PyTorch's")
def test_torch_jit_trace(case, data_format):
    import torch

    model = _model(case, data_format, SIZES[0])
    images = torch.from_numpy(_images(case, data_format, SIZES[0], 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model.eval(), (images,))
    assert_close(traced(images).detach().numpy(), model(images).detach().numpy(), 1e-5)
