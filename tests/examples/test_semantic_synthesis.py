"""Textures from flat label maps: the measure, what noise changes, and the files."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import semantic_synthesis


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return semantic_synthesis.main(["--quick", "--out", str(tmp_path_factory.mktemp("quick"))])


def test_the_figures_are_complete(figures):
    assert set(figures) == {"crops of the photographs", "without", "with NIB", "picture"}
    for name in semantic_synthesis.FIRST:
        assert set(figures[name]["gram distance"]) == {"brick", "grass", "gravel"}
        assert figures[name]["steps"] == 30
    json.dumps(figures)


def test_without_noise_a_region_stays_flat(figures):
    assert max(figures["without"]["contrast"].values()) < 1
    assert min(figures["without"]["gram distance"].values()) > 0.9


def test_noise_gives_every_region_contrast(figures):
    for label, contrast in figures["with NIB"]["contrast"].items():
        assert contrast > 5 + figures["without"]["contrast"][label]


def test_noise_lowers_the_gram_distance_within_the_first_steps(figures):
    distances = [figures[name]["mean gram distance"] for name in ("with NIB", "without")]
    assert distances[0] < 0.75 * distances[1]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trained longer on one backend only"
)
def test_noise_at_least_halves_the_gram_distance(tmp_path, monkeypatch):
    monkeypatch.setattr(semantic_synthesis, "WIDTHS", semantic_synthesis.QUICK)
    figures = semantic_synthesis.main(["--steps", "40", "--out", str(tmp_path)])
    distances = [figures[name]["mean gram distance"] for name in ("with NIB", "without")]
    assert distances[0] < distances[1] / 2


def test_crops_of_the_photographs_are_near_to_them(figures):
    assert max(figures["crops of the photographs"]["gram distance"].values()) < 0.4


def test_every_window_lies_within_its_region():
    windows = semantic_synthesis.windows(semantic_synthesis.label_map())
    assert [np.unique(window).tolist() for window in windows] == [[0], [1], [2]]


def test_the_picture_is_drawn(figures):
    with Image.open(figures["picture"]) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_saved_model_paints_maps_of_any_size(figures):
    network = keras.saving.load_model(figures["with NIB"]["model"], compile=False)
    labels = semantic_synthesis.one_hot(np.zeros((1, 48, 64), int))
    assert network.predict(labels, verbose=0).shape == (1, 48, 64, 1)


def test_bad_options_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        semantic_synthesis.main(["--steps", "0"])
    assert stop.value.code == 2
    assert "--steps" in capsys.readouterr().err
