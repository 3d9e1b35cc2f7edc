"""Files of every released version, and of this one, are read, and give the numbers of then."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
import networks
from images import assert_close

VERSIONS = sorted(path.stem for path in Path(__file__).parent.glob("*.zip"))
PAIRS = [
    (version, Path(name).stem)
    for version in VERSIONS
    for name in zipfile.ZipFile(Path(__file__).with_name(f"{version}.zip")).namelist()
    if name.endswith(".npz")
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    for version in VERSIONS:
        with zipfile.ZipFile(Path(__file__).with_name(f"{version}.zip")) as archive:
            archive.extractall(folder / version)
    return folder


def _assert_as_then(model, path):
    with np.load(path) as arrays:
        inputs = {tensor.name: arrays[tensor.name] for tensor in model.inputs}
        answers = model(inputs, training=False)
        assert set(arrays) == {*inputs, *answers}
        for name, y in answers.items():
            assert_close(keras.ops.convert_to_numpy(y), arrays[name], 1e-5)


@pytest.mark.parametrize("load", [keras.saving.load_model, kc.load_model])
@pytest.mark.parametrize(("version", "name"), PAIRS)
def test_a_model_answers_as_it_did_when_it_was_written(version, name, load, folders):
    path = folders / version / f"{name}.keras"
    _assert_as_then(load(path), path.with_suffix(".npz"))


@pytest.mark.parametrize(("version", "name"), PAIRS)
def test_weights_are_read_into_a_model_of_others(version, name, folders):
    path = folders / version / f"{name}.keras"
    weights = path.with_suffix(".weights.h5")
    model = keras.saving.load_model(path)
    assert weights.is_file() == bool(model.weights)
    if model.weights:
        networks.filled(model, seed=1).load_weights(weights)
    _assert_as_then(model, path.with_suffix(".npz"))


def test_every_layer_of_this_version_is_in_its_files():
    names = {name for version, name in PAIRS if version == kc.__version__}
    public = {name: getattr(kc, name) for name in kc.__all__}
    classes = {name: kind for name, kind in public.items() if isinstance(kind, type)}
    layers = {name for name, kind in classes.items() if issubclass(kind, keras.Layer)}
    assert layers
    assert layers <= names
