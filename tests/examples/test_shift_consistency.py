"""The classifiers under shifts: their stated result, their files, and what the figures mean."""

import keras
import numpy as np
import pytest
from PIL import Image

import shift_consistency
from keras_cnnfix.diagnostics import ShiftConsistency


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The figures of one quick run."""
    folder = tmp_path_factory.mktemp("shift_consistency")
    return shift_consistency.main(["--quick", "--out", str(folder)])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="takes a minute: on one backend")
def test_example_reaches_its_stated_result(tmp_path):
    settings = ["--seeds", "1", "--epochs", "8", "--digits", "2000", "--out", str(tmp_path)]
    names = ["max pooling", "blur", "adaptive"]
    of = shift_consistency.main([*settings, "--networks", *names])["networks"]
    assert all(of[name]["counts"] for name in names)
    for name in ("blur", "adaptive"):
        assert of[name]["agreement"] > of["max pooling"]["agreement"] + 0.03
        assert of[name]["accuracy"] > of["max pooling"]["accuracy"]


def test_figures_are_complete(run):
    assert run["complete"]
    assert list(run["networks"]) == list(shift_consistency.NETWORKS)
    for row in run["networks"].values():
        assert len(row["agreement_seeds"]) == 1
        assert 0 < row["accuracy"] <= 1
        assert 0 <= row["agreement"] <= 1
        assert row["parameters"] > 0


def test_the_picture_is_drawn(run):
    with Image.open(run["picture"]) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 10


def test_networks_differ_in_nothing_but_their_down_sampling():
    made = {
        name: shift_consistency.classifier(*n) for name, n in shift_consistency.NETWORKS.items()
    }
    size = {name: model.count_params() for name, model in made.items()}
    assert size["strided convolution"] == size["max pooling"] == size["blur"]
    assert size["blur, wider"] == pytest.approx(size["adaptive"], rel=0.02)
    for model in made.values():
        assert model(np.zeros((2, 32, 32, 1), "float32")).shape == (2, 10)


def test_a_network_with_one_answer_is_consistent_and_does_not_count():
    none = np.zeros((0, 2))
    one_answer = ShiftConsistency(1.0, 1.0, 0.1, none, none)
    good = ShiftConsistency(0.9, 0.95, 0.9, none, none)
    assert shift_consistency.summary([good, good])["counts"]
    assert not shift_consistency.summary([good, one_answer])["counts"]


def test_no_place_cuts_more_than_the_ends_of_a_stroke():
    images, _ = shift_consistency.digits(0)
    for corner in ((0, 0), (0, 8), (8, 0), (8, 8)):
        cuts = shift_consistency.moved(images, np.tile(corner, (len(images), 1)))
        assert cuts.shape == (5000, 32, 32, 1)
        assert cuts.sum() > 0.997 * images.sum()


@pytest.mark.parametrize("option", ["--seeds", "--epochs"])
def test_bad_input_gets_one_line(option, capsys):
    with pytest.raises(SystemExit):
        shift_consistency.main([option, "0"])
    assert "must be at least 1. Received: 0." in capsys.readouterr().err
