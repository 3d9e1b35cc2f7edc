"""Keras's backends without training, OpenVINO and NumPy, answer as the others do."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import CASES

from images import assert_close, at_once, to_format

# NumPy's is built on JAX; OpenVINO's must do without any other.
ABSENT = {"openvino": ("jax", "torch", "tensorflow"), "numpy": ("torch", "tensorflow")}

PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
from test_inference_backends import answers
np.savez("answers.npz", **answers())
"""


def answers():
    """What each layer makes of the same images with the same weights, in both data formats."""
    found = {}
    for case, (cls, settings, shape) in CASES.items():
        for data_format in ("channels_last", "channels_first"):
            rng = np.random.default_rng(5)
            images = to_format(rng.normal(size=(2, *shape)), data_format)
            layer = cls(**settings, data_format=data_format)
            layer.build(images.shape)
            # A variance is positive.
            layer.set_weights(
                [rng.uniform(0.1, 1, w.shape).astype("float32") for w in layer.weights]
            )
            found[f"{case}-{data_format}"] = keras.ops.convert_to_numpy(at_once(layer)(images))
    return found


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compared with JAX")
@pytest.mark.parametrize("name", ABSENT)
def test_every_layer_answers_the_same(name, tmp_path):
    if name == "openvino":
        pytest.importorskip(name, reason="its backend in Keras")
    here = Path(__file__).parent
    paths = [here, here.parent, here.parent / "layers", here.parents[1]]
    environment = {
        **os.environ,
        "KERAS_BACKEND": name,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [sys.executable, "-c", PROGRAM.format(absent=ABSENT[name])]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=300)
    found = np.load(tmp_path / "answers.npz")
    expected = answers()
    assert set(found) == set(expected)
    for case, answer in expected.items():
        assert_close(found[case], answer, 1e-5)
