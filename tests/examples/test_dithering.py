"""Deep halftoning: the stated result where it is trained for, and on every backend that it runs."""

import keras
import numpy as np
import pytest

import dithering
from common import pictures
from keras_cnnfix.ops.backend import gradient

NETWORKS = ("NIB", "no NIB", "reversible")
REFERENCES = ("Floyd-Steinberg", "void and cluster", "blue tile of NIB")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The figures of a quick run, colours included."""
    folder = str(tmp_path_factory.mktemp("dithering"))
    return dithering.main(["--quick", "--reversible", "--out", folder])


def test_all_networks_are_trained_and_all_dithers_measured(run):
    jobs = ("halftone NIB", "halftone no NIB", "restore reversible", "restore NIB")
    assert run["steps"] == dict.fromkeys(jobs, dithering.QUICK_STEPS)
    for name in (*NETWORKS, *REFERENCES):
        assert run[name]["binary"]
        assert len(run[name]["level_error"]) == 9
        assert len(run[name]["low_frequency"]) == 7
        assert np.isfinite(run[name]["window_error"])


def test_without_noise_a_flat_field_stays_flat_and_with_it_does_not(run):
    assert max(run["no NIB"]["spatial_std"]) < 0.01
    assert max(run["no NIB"]["level_error"]) > 0.3  # All black or all white.
    assert max(run["NIB"]["spatial_std"]) > 0.1


def test_the_pictures_are_drawn(run):
    for path in run["pictures"]:
        picture = pictures.read(path, least=400)
        assert picture.std() > 40


def test_a_saved_network_makes_the_same_kind_of_halftone(run):
    network = keras.saving.load_model(run["models"]["halftone NIB"], compile=False)
    halftone = network.predict(np.full((1, 37, 50, 3), 0.5, "float32"), verbose=0)
    assert halftone.shape == (1, 37, 50, 1)
    assert set(np.unique(halftone)) == {0.0, 1.0}


def test_the_old_dithers_are_as_good_as_they_are_known_to_be(run):
    for name in REFERENCES:
        assert max(run[name]["level_error"]) < 0.01
        assert run[name]["window_error"] < 0.01
    assert max(run["Floyd-Steinberg"]["low_frequency"]) < 0.1
    assert max(run["void and cluster"]["low_frequency"]) < 0.2


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a minute of training, once")
def test_example_reaches_its_stated_result(tmp_path):
    figures = dithering.main(["--networks", "NIB", "--out", str(tmp_path)])["NIB"]
    assert figures["binary"]
    assert max(figures["level_error"]) <= 0.02
    assert figures["window_error"] <= 0.015
    assert max(figures["low_frequency"]) <= 0.4


def test_the_colours_are_compared_and_drawn(run):
    assert set(run["psnr"]) == {"reversible", "NIB", "luminance"}
    assert all(np.isfinite([*f.values()]).all() for f in run["psnr"].values())
    assert len(run["pictures"]) == 2


def test_low_frequency_is_one_for_white_noise_and_nothing_for_a_checkerboard(rng):
    noise = (rng.random((256, 256)) < 0.3).astype("float32")
    assert dithering.low_frequency(noise, 0.3) == pytest.approx(1, abs=0.1)
    checkerboard = np.indices((64, 64)).sum(0) % 2
    assert dithering.low_frequency(checkerboard, 0.5) < 1e-20


def test_low_frequency_sees_coarse_structure():
    stripes = np.broadcast_to(np.arange(64) // 8 % 2, (64, 64))
    assert dithering.low_frequency(stripes, 0.5) > 3


def test_window_error_matches_the_loop(rng):
    halftone, photo = rng.random((2, 40, 45))
    side = dithering.WINDOW
    windows = [
        abs((halftone - photo)[y : y + side, x : x + side].mean())
        for y in range(40 - side + 1)
        for x in range(45 - side + 1)
    ]
    assert dithering.window_error(halftone, photo) == pytest.approx(np.mean(windows))


def test_the_gradient_is_what_flipping_a_pixel_costs(rng, monkeypatch):
    monkeypatch.setattr(dithering, "PEAK_WEIGHT", 0.0)  # That term is not quadratic.
    photo = rng.random((1, 24, 24, 3)).astype("float32")
    halftone = (rng.random((1, 24, 24, 1)) < 0.5).astype("float32")
    layer = dithering.HalftoneCost()
    layer([photo, halftone])

    def cost(h):
        layer([keras.ops.convert_to_tensor(photo), h])
        return sum(layer.losses)

    slopes = keras.ops.convert_to_numpy(gradient(cost, halftone, lambda total: total))
    for y, x in ((11, 12), (12, 12), (9, 14)):  # Blurred pixels at the border weigh differently.
        black, white = halftone.copy(), halftone.copy()
        black[0, y, x], white[0, y, x] = 0, 1
        change = float(cost(white)) - float(cost(black))
        assert slopes[0, y, x, 0] == pytest.approx(change, rel=0.01, abs=1e-4)


def test_gaussian_blur_keeps_a_constant_and_mirrors_the_ends():
    blur = dithering.gaussian_blur(32, 1.8)
    np.testing.assert_allclose(blur.sum(1), 1)
    np.testing.assert_allclose(blur, blur[::-1, ::-1])
    assert blur[0, 1] > blur[0, 0] * 0.9  # The pixel beside the border is seen twice.


@pytest.mark.parametrize(
    ("side", "message"), [(None, "cannot be read"), (20, "64")], ids=["text", "tiny"]
)
def test_bad_input_gets_one_line(side, message, tmp_path):
    path = tmp_path / "photo.png"
    if side is None:
        path.write_text("not a picture")
    else:
        pictures.write(path, np.zeros((side, 80, 3), "uint8"))
    with pytest.raises(SystemExit) as stop:
        dithering.main(["--photo", str(path), "--out", str(tmp_path)])
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)
