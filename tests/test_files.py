"""Model files of Keras 2, and files that are no models."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import networks
from keras_cnnfix import SubPixelConv, cli, diagnose, fix, load_model
from keras_cnnfix.files import NEEDS_OWN_CHECK, written_at_once


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


def _hostile_model():
    return keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(4, 3), SubPixelConv(2), layers.Dense(3)]
    )


def _layer(number, **entries):
    def change(config):
        config["config"]["layers"][number].update(entries)
        return config

    return change


def _setting(number, **settings):
    def change(config):
        config["config"]["layers"][number]["config"].update(settings)
        return config

    return change


def _foreign(name, module="foreign", kind="function"):
    named = {"class_name": "function", "config": name} if kind == "function" else {}
    return {"class_name": name, "config": {}, "module": module, "registered_name": name, **named}


CODE = {"class_name": "__lambda__", "config": {"value": "4wA=", "defaults": None, "closure": None}}
HOSTILE = {
    "another class of Keras": _layer(1, class_name="Dense"),
    "a class without weights": _layer(1, class_name="MaxPooling2D", config={"pool_size": 2}),
    "a class that is not there": _layer(2, class_name="None", registered_name="keras_cnnfix>None"),
    "another class of ours": _layer(2, class_name="NIB", registered_name="keras_cnnfix>NIB"),
    "too many filters": _setting(1, filters=10**12),
    "too many filters of ours": _setting(2, filters=10**12),
    "a kernel too large": _setting(1, kernel_size=[10**5, 10**5]),
    "too many units": _setting(3, units=10**12),
    "foreign layer": _layer(1, **_foreign("Foreign", kind="class")),
    "foreign function as a layer": _layer(1, **_foreign("run")),
    "foreign activation": _setting(1, activation=_foreign("run")),
    "foreign activation of ours": _setting(2, activation=_foreign("run")),
    "foreign initializer": _setting(1, kernel_initializer=_foreign("Foreign", kind="class")),
    "foreign initializer of ours": _setting(2, kernel_initializer=_foreign("run")),
    "a function of Keras that fetches": _setting(1, activation=_foreign("get_file", "keras.utils")),
    "code": _setting(1, activation=CODE),
    "code of ours": _setting(2, kernel_initializer=CODE),
    "no model": lambda config: [],
    "half a model": lambda config: {"class_name": "Sequential"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_is_refused_and_runs_nothing(name, tmp_path, monkeypatch, capsys):
    ran = tmp_path / "ran"
    (tmp_path / "foreign.py").write_text(
        f"from pathlib import Path\n"
        f"Path({str(ran)!r}).touch()\n"
        f"def run(*arguments, **settings): return arguments[0]\n"
        f"class Foreign:\n"
        f"    from_config = classmethod(lambda cls, config: cls())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "model.keras"
    _old(_hostile_model(), path, HOSTILE[name])
    with pytest.raises((TypeError, ValueError)) as refused:
        load_model(path)
    if name.startswith(("too many", "a kernel")):
        assert "load_model: `" in str(refused.value)
    elif not (NEEDS_OWN_CHECK and "fetches" in name):
        with pytest.raises((TypeError, ValueError)):
            keras.saving.load_model(path)
    for command in (["diagnose", path], ["fix", path, "-o", tmp_path / "fixed.keras"]):
        assert cli.main([str(argument) for argument in command]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert {child.name for child in tmp_path.iterdir()} == {"foreign.py", "model.keras"}


@pytest.mark.parametrize("ask", [fix, diagnose])
def test_a_path_is_no_model(ask):
    with pytest.raises(ValueError, match=r"Received: 'model.keras'. A file is read by"):
        ask("model.keras")


def test_a_file_cut_short_is_refused(tmp_path, capsys):
    path = tmp_path / "model.keras"
    _hostile_model().save(path)
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 40):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"model\.keras"):
            load_model(path)
    assert cli.main(["diagnose", str(path)]) == 2


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, rng):
    path = tmp_path / "model.keras"
    model = _hostile_model()
    model.save(path)
    data = path.read_bytes()
    expected = model.get_weights()
    loaded = 0
    for place in rng.choice(len(data), 100, replace=False):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            weights = load_model(path).get_weights()
        except Exception:
            continue
        loaded += 1
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert loaded < 20


WEIGHTS: dict[str, dict] = {
    "an array of other sizes": {"shape": (3, 3, 2, 5)},
    "an array of 40 TB": {"shape": (10**6, 10**6, 10), "chunks": (100, 100, 10)},
    "an array in another file": {"shape": (3, 3, 2, 4), "external": [("other", 0, 288)]},
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_hostile_weights_are_refused(name, tmp_path):
    path, weights = tmp_path / "model.keras", tmp_path / "model.weights.h5"
    (tmp_path / "other").write_bytes(bytes(288))
    _hostile_model().save(path)
    with zipfile.ZipFile(path) as archive:
        archive.extract(weights.name, tmp_path)
        parts = {name: archive.read(name) for name in archive.namelist()}
    with h5py.File(weights, "r+") as file:
        del file["layers/conv2d/vars/0"]
        file.create_dataset("layers/conv2d/vars/0", dtype="float32", **WEIGHTS[name])
    parts[weights.name] = weights.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    with pytest.raises(ValueError, match="could not be loaded"):
        load_model(path)
    with pytest.raises(ValueError):  # noqa: PT011
        _hostile_model().load_weights(weights)


@pytest.mark.filterwarnings("ignore:.*legacy:UserWarning")
def test_code_in_an_h5_file_is_refused(tmp_path):
    path = tmp_path / "model.h5"
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x + 1)]).save(path)
    for load in (load_model,) if NEEDS_OWN_CHECK else (load_model, keras.saving.load_model):
        with pytest.raises((TypeError, ValueError), match=r"safe_mode|[Ll]ambda"):
            load(path)
    load_model(path, safe_mode=False)


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
