"""The repair of an autoencoder: no grid on flats, and the error near what it was."""

import keras
import pytest

import repair


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    out = tmp_path_factory.mktemp("quick")
    return out, repair.main(["--quick", "--out", str(out)])


def test_the_grid_on_flats_is_gone(figures):
    stages = figures[1]["3 taps"]
    assert stages["fixed"]["grid"] < stages["as it was"]["grid"] / 100
    assert stages["distilled"]["grid"] < stages["as it was"]["grid"] / 100


def test_distillation_brings_the_error_back(figures):
    stages = figures[1]["3 taps"]
    assert stages["as it was"]["error"] < stages["distilled"]["error"] < stages["fixed"]["error"]


def test_model_and_picture_are_written(figures):
    out, _ = figures
    model = keras.saving.load_model(out / "3_taps.keras")
    assert [type(layer).__name__ for layer in model.layers].count("EvenConv2DTranspose") == 2
    assert (out / "3_taps.png").stat().st_size > 1000


def test_a_model_from_a_file_is_repaired(tmp_path):
    repair.autoencoder(4).save(tmp_path / "own.keras")
    argv = ["--quick", "--model", str(tmp_path / "own.keras"), "--out", str(tmp_path / "out")]
    assert set(repair.main(argv)) == {"own"}


def test_a_missing_file_gets_one_line(tmp_path):
    with pytest.raises(SystemExit, match="repair: "):
        repair.main(["--model", str(tmp_path / "none.keras"), "--out", str(tmp_path)])
