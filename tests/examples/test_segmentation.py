"""The segmentation under shifts: that it runs, its files, and what the figures mean."""

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

import segmentation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The figures of one quick run."""
    folder = tmp_path_factory.mktemp("segmentation")
    return segmentation.main(["--quick", "--out", str(folder)])


@pytest.fixture(scope="module")
def made():
    """A few scenes and their classes, of the size that is measured."""
    digits, labels = segmentation.data.digits(0)
    photos = list(segmentation.data.photographs().values())
    rng = np.random.default_rng(0)
    return segmentation.scenes(rng, 12, 72, digits, labels, photos)


def _reader():
    """A network that reads the class of a pixel off the image's first channel."""
    image = keras.Input((None, None, 3))
    classes = ops.cast(image[..., 0], "int32")
    return keras.Model(image, ops.one_hot(classes, segmentation.CLASSES))


def test_figures_are_complete(run):
    assert run["complete"]
    assert list(run["networks"]) == ["strided", "blur", "adaptive"]
    for row in run["networks"].values():
        assert 0 < row["miou"] < 1
        assert 0.5 < row["massc"] <= 1
        # So few steps do not leave the background, whose consistency says nothing.
        assert not row["counts"]


def test_the_picture_is_drawn(run):
    with Image.open(run["picture"]) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_perfect_network_has_miou_and_massc_1(made):
    _, classes = made
    figures = segmentation.measure(
        _reader(), np.repeat(classes[..., None], 3, -1).astype("float32"), classes
    )
    assert figures == {"miou": pytest.approx(1), "massc": pytest.approx(1)}


def test_miou_is_intersection_over_union_meaned_over_the_classes(made, rng):
    _, classes = made
    seen = np.where(rng.random(classes.shape) < 0.2, rng.integers(0, 11, classes.shape), classes)
    figures = segmentation.measure(
        _reader(), np.repeat(seen[..., None], 3, -1).astype("float32"), classes
    )
    truth, seen = classes[:, 4:68, 4:68], seen[:, 4:68, 4:68]
    shares = [
        np.sum((truth == k) & (seen == k)) / np.sum((truth == k) | (seen == k)) for k in range(11)
    ]
    assert figures["miou"] == pytest.approx(np.mean(shares))


def test_scenes_hold_light_digits_on_darker_photographs(made):
    images, classes = made
    assert images.shape == (12, 72, 72, 3)
    assert set(np.unique(classes)) == set(range(11))
    assert images[classes > 0].mean() > images[classes == 0].mean() + 50
    assert not set(segmentation.TRAINING) & set(segmentation.HELD_OUT)


def test_networks_differ_in_nothing_but_their_down_sampling():
    made = {name: segmentation.segmenter(*n) for name, n in segmentation.NETWORKS.items()}
    assert len({made[name].count_params() for name in ("strided", "max", "blur")}) == 1
    for model in made.values():
        assert model(np.zeros((1, 48, 64, 3), "float32")).shape == (1, 48, 64, 11)


@pytest.mark.parametrize("option", ["--seeds", "--steps"])
def test_bad_input_gets_one_line(option, capsys):
    with pytest.raises(SystemExit):
        segmentation.main([option, "0"])
    assert "must be at least 1. Received: 0." in capsys.readouterr().err
