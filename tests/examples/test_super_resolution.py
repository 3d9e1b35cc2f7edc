"""Super-resolution: the grid at the start, its cures, and figures above bicubic's."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import super_resolution

GRIDLESS = (
    "sub-pixel, ICNR",
    "sub-pixel, smooth",
    "sub-pixel, even",
    "transposed, even",
    "resize",
)
EARLY = f"{super_resolution.EARLY} steps"


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return super_resolution.main(["--quick", "--out", str(tmp_path_factory.mktemp("quick"))])


@pytest.mark.parametrize("end", GRIDLESS)
def test_random_kernels_start_with_a_grid_and_the_others_without(figures, end):
    random = figures["sub-pixel, random"]
    assert random["start"]["grid"] > 0.3
    assert figures[end]["start"]["grid"] < random["start"]["grid"] / 50


@pytest.mark.parametrize("end", GRIDLESS)
def test_the_grid_of_random_kernels_outlives_the_first_steps(figures, end):
    random = figures["sub-pixel, random"]
    assert random[EARLY]["grid"] > 0.01
    assert figures[end][EARLY]["grid"] < random[EARLY]["grid"] / 50


def test_the_figures_are_complete(figures):
    assert set(figures) == {"original", "bicubic", *super_resolution.ENDS, "picture"}
    for end in super_resolution.ENDS:
        assert figures[end]["steps"] == super_resolution.EARLY
        for moment in ("start", EARLY, "trained"):
            assert set(figures[end][moment]) == {"psnr", "ssim", "grid"}
    json.dumps(figures)


def test_sub_pixel_ends_have_equal_numbers_of_weights(figures):
    counts = {figures[end]["parameters"] for end in figures if end.startswith("sub-pixel")}
    assert len(counts) == 1


def test_the_picture_is_drawn(figures):
    with Image.open(figures["picture"]) as picture:
        assert min(picture.size) > 600
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="trained on one backend only: the numbers agree"
)
def test_a_trained_network_beats_bicubic_on_photographs_that_it_has_not_seen(tmp_path):
    assert not set(super_resolution.TRAINING) & set(super_resolution.HELD_OUT)
    end = "sub-pixel, ICNR"
    arguments = ["--ends", end, "--steps", "1000", "--out", str(tmp_path)]
    figures = super_resolution.main(arguments)
    trained, bicubic = figures[end]["trained"], figures["bicubic"]
    assert trained["psnr"] > bicubic["psnr"]
    assert trained["ssim"] > bicubic["ssim"]
    assert trained["grid"] < 1e-3


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_low_and_high_resolution_lie_on_top_of_each_other(factor):
    ramp = np.repeat(np.arange(48)[None, :, None] * 5, 48, axis=0).repeat(3, axis=2)
    high, low = super_resolution.pair(ramp.astype("uint8"), factor)
    assert high.shape == (48, 48)
    # A pixel of the low resolution is the mean of its block where the picture is a ramp.
    blocks = high.reshape(48 // factor, factor, 48 // factor, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(low[4:-4, 4:-4], blocks[4:-4, 4:-4], atol=1)


@pytest.mark.parametrize("option", [["--factor", "5"], ["--steps", "1"], ["--steps", "many"]])
def test_bad_options_are_refused(option, capsys):
    with pytest.raises(SystemExit) as stop:
        super_resolution.main(option)
    assert stop.value.code == 2
    assert option[0] in capsys.readouterr().err
