"""The command line: its answers, its exit status, and one line for everything that goes wrong."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import networks
from keras_cnnfix import cli

CLEAN, ARTIFACT, WRONG = 0, 1, 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    networks.filled(networks.pix2pix()).save(folder / "grid.keras")
    x = keras.Input((None, None, 3))
    y = layers.Conv2D(3, 3, padding="same")(layers.UpSampling2D(2)(x))
    networks.filled(keras.Model(x, y)).save(folder / "clean.keras")
    unsafe = keras.Sequential([keras.Input((8, 8, 3)), layers.Lambda(lambda x: x + 1)])
    unsafe.save(folder / "unsafe.keras")
    rng = np.random.default_rng(0)
    for name, size in (("large.png", (40, 48)), ("small.png", (20, 20))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), "uint8")).save(folder / name)
    return folder


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_an_artifact_is_found(files, capsys):
    assert run("diagnose", files / "grid.keras") == ARTIFACT
    assert "even_transposed_conv" not in capsys.readouterr().err


def test_a_clean_model_is_clean(files, capsys):
    assert run("diagnose", files / "clean.keras", "--json") == CLEAN
    data = json.loads(capsys.readouterr().out)
    assert data["findings"] == []
    assert any(note["check"] == "speed" for note in data["notes"])


@pytest.mark.parametrize("values", [("0", "1"), ("-1", "1"), ("0", "255")])
def test_pictures_are_given_as_the_model_takes_them(values, files, capsys):
    pictures = [files / "large.png", files / "small.png"]
    run("diagnose", files / "clean.keras", *pictures, "--range", *values, "--json")
    assert json.loads(capsys.readouterr().out)["settings"]["probes"] == "2 given"
    assert run("diagnose", files / "grid.keras", *pictures) == ARTIFACT


def test_a_fixed_model_is_written(files, tmp_path, capsys):
    out = tmp_path / "fixed.keras"
    assert run("fix", files / "grid.keras", "-o", out, "--rules", "upsampling") == CLEAN
    assert "EvenConv2DTranspose" in capsys.readouterr().out
    assert keras.saving.load_model(out).count_params() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["fixed.keras"]
    assert run("fix", files / "grid.keras", "-o", out) == WRONG
    assert "exists. Use --force" in capsys.readouterr().err
    assert run("fix", files / "grid.keras", "-o", out, "--force") == CLEAN


def test_a_dry_run_writes_nothing(files, tmp_path, capsys):
    out = tmp_path / "fixed.keras"
    assert run("fix", files / "clean.keras", "-o", out, "--dry-run") == CLEAN
    assert "ResizeConv2D" in capsys.readouterr().out
    assert not out.exists()


def test_the_rules_are_listed(capsys):
    assert run("rules") == CLEAN
    assert "resize_conv" in capsys.readouterr().out
    run("rules", "--json")
    assert {"rule", "finds", "becomes", "safety", "in"} == set(
        json.loads(capsys.readouterr().out)[0]
    )


WRONG_USES = {
    "no file": (["diagnose", "none.keras"], "there is no file"),
    "no model": (["diagnose", "text.keras"], "cannot be loaded"),
    "broken": (["diagnose", "broken.keras"], "cannot be loaded"),
    "bomb": (["diagnose", "bomb.keras"], "cannot be loaded: load_model: 'config.json'"),
    "weights": (["diagnose", "weights.keras"], "cannot be loaded: load_model: 'model.weights.h5'"),
    "code": (["diagnose", "unsafe.keras"], "--unsafe runs it"),
    "no picture": (["diagnose", "clean.keras", "text.png"], "cannot be read"),
    "picture bomb": (["diagnose", "clean.keras", "huge.png"], "cannot be read|too many"),
    "no output": (["fix", "clean.keras"], "fix needs -o"),
    "other suffix": (["fix", "clean.keras", "-o", "fixed.h5"], "must end in .keras"),
    "no folder": (["fix", "clean.keras", "-o", "none/fixed.keras"], "there is no folder"),
    "no rule": (["fix", "clean.keras", "-o", "new.keras", "--rules", "x"], "`rules` must be"),
}


@pytest.mark.parametrize("name", WRONG_USES)
def test_wrong_use_gets_one_line_and_status_2(name, files, capsys, monkeypatch):
    (files / "text.keras").write_text("no model")
    (files / "text.png").write_text("no picture")
    data = (files / "grid.keras").read_bytes()
    (files / "broken.keras").write_bytes(data[: len(data) // 2])
    with zipfile.ZipFile(files / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 2**27 + b"{}")
        archive.writestr("metadata.json", "{}")
    with zipfile.ZipFile(files / "weights.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b" " * 2**27)
    if name == "picture bomb":
        Image.new("1", (2**15, 2**14)).save(files / "huge.png")
    monkeypatch.chdir(files)
    arguments, message = WRONG_USES[name]
    assert run(*arguments) == WRONG
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert any(part in err for part in message.split("|"))
    assert not (files / "new.keras").exists()


def test_code_in_a_file_runs_only_where_it_is_asked_for(files):
    assert run("diagnose", files / "unsafe.keras", "--unsafe") == CLEAN


def test_it_is_a_module_too(files):
    command = [sys.executable, "-m", "keras_cnnfix", "rules"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "even_transposed_conv" in done.stdout
    command = [sys.executable, "-m", "keras_cnnfix", "nothing"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == WRONG
