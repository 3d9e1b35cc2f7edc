"""Model files of Keras 2, and files that are no models."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import networks
from keras_cnnfix import load_model
from keras_cnnfix.files import written_at_once


def assert_same(loaded, model):
    x = networks.inputs_of(model)
    for one, other in zip(*(networks.outputs_of(m, x) for m in (loaded, model)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def _old(model, path, change):
    """Saves `model` with its config as `change` makes it."""
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = change(json.loads(file.attrs["model_config"]))
            file.attrs["model_config"] = json.dumps(config)
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json.dumps(change(json.loads(parts["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def _with_groups(config):
    for layer in config["config"]["layers"]:
        if layer["class_name"] in ("Conv2DTranspose", "DepthwiseConv2D"):
            layer["config"]["groups"] = 1
    return config


@pytest.mark.filterwarnings("ignore:.*legacy:UserWarning")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_transposed_convolution_with_groups_is_loaded(suffix, tmp_path):
    model = networks.filled(
        keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                layers.DepthwiseConv2D(3),
                layers.Conv2DTranspose(2, 3, strides=2),
            ]
        )
    )
    path = tmp_path / f"old.{suffix}"
    _old(model, path, _with_groups)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError), match="groups"):
        keras.saving.load_model(path)
    loaded = load_model(path, compile=False)
    assert_same(loaded, model)
    assert type(loaded.layers[1]) is layers.Conv2DTranspose
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*legacy:UserWarning")
def test_a_sequential_model_whose_config_is_a_list_is_loaded(tmp_path):
    model = networks.filled(keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(2, 3)]))

    def as_a_list(config):
        layers_ = [c for c in config["config"]["layers"] if c["class_name"] != "InputLayer"]
        layers_[0]["config"]["batch_input_shape"] = [None, 8, 8, 2]
        return {"class_name": "Sequential", "config": layers_}

    path = tmp_path / "old.h5"
    _old(model, path, as_a_list)
    with pytest.raises(Exception):  # noqa: B017, PT011
        keras.saving.load_model(path)
    assert_same(load_model(path, compile=False), model)


def test_grouped_ones_are_still_refused(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2DTranspose(2, 3)])
    path = tmp_path / "old.keras"

    def grouped(config):
        config["config"]["layers"][1]["config"]["groups"] = 2
        return config

    _old(model, path, grouped)
    with pytest.raises((TypeError, ValueError), match="groups"):
        load_model(path)


def test_safe_mode_stays_on(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x + 1)])
    path = tmp_path / "model.keras"
    model.save(path)
    with pytest.raises(ValueError, match="safe_mode"):
        load_model(path)
    assert load_model(path, safe_mode=False).count_params() == 0


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 broken"])
def test_what_is_no_model_gets_keras_own_error(content, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras"):
        load_model(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    with written_at_once(path) as part:
        part.write_text("all")
    assert path.read_text() == "all"

    def fail():
        with written_at_once(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "all"
    assert [child.name for child in tmp_path.iterdir()] == ["file.txt"]
