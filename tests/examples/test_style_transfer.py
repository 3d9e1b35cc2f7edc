"""The demo, in its quick form: its stated result, its files, and what it says to bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_devices import run as run_program

import style_transfer

PROGRAM = Path(style_transfer.__file__)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The figures of one quick run, and its folder."""
    folder = tmp_path_factory.mktemp("style")
    return style_transfer.main(["--quick", "--out", str(folder)]), folder


def _picture(path, shape, mode):
    pixels = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    Image.fromarray(pixels, mode).save(path)
    return str(path)


def test_example_reaches_its_stated_result(run):
    figures, _ = run
    assert figures["steps"] == {"transposed": 6, "resize": 6}
    share = figures["share"]
    assert share["transposed"] > 0.2
    assert share["resize"] < share["transposed"] / 10
    assert figures["excess"]["transposed"] > max(15, figures["excess"]["resize"] + 10)


def test_the_grid_in_the_gradient_goes_with_jitter_and_with_anti_aliasing(run):
    gradient = run[0]["gradient"]
    assert gradient["jitter"] < gradient["strided"] / 5
    assert gradient["anti-aliased"] < gradient["strided"] / 5


def test_the_picture_is_drawn(run):
    figures, _ = run
    with Image.open(figures["picture"]) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((37, 50, 3), "RGB"), ((16, 61), "L"), ((40, 33, 4), "RGBA")],
    ids=["odd", "grey", "transparent"],
)
def test_a_saved_model_restyles_any_photo(run, shape, mode, tmp_path):
    figures, _ = run
    photo = _picture(tmp_path / "photo.png", shape, mode)
    arguments = ["--apply", figures["models"]["resize"], photo, "--out", str(tmp_path / "new")]
    restyled = style_transfer.main(arguments)
    with Image.open(restyled["picture"]) as picture:
        assert picture.size == (shape[1], shape[0])
        assert picture.mode == "RGB"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--content", "nowhere.jpg"], "nowhere.jpg"),
        (["--content", "tiny.png"], "16"),
        (["--style", "text.png"], "text.png"),
        (["--apply", "nowhere.keras", "tiny.png"], "nowhere.keras"),
    ],
    ids=["missing", "tiny", "no picture", "no model"],
)
def test_bad_input_gets_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _picture("tiny.png", (5, 40, 3), "RGB")
    Path("text.png").write_text("not a picture")
    with pytest.raises(SystemExit) as stop:
        style_transfer.main(arguments)
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize("option", [["--size", "31"], ["--steps", "0"], ["--networks", "both2"]])
def test_bad_options_are_refused(option, capsys):
    with pytest.raises(SystemExit) as stop:
        style_transfer.main(option)
    assert stop.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_help_explains_itself():
    done = run_program(PROGRAM, "--help")
    for option in (
        "--content",
        "--style",
        "--steps",
        "--size",
        "--out",
        "--networks",
        "--devices",
        "--apply",
    ):
        assert option in done.stdout
