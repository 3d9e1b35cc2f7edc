import keras
import numpy as np
import pytest

from images import apply, to_format
from keras_cnnfix.ops.noise import add_noise, draw_noise, noise_tile, repeat_tile


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_drawn_noise_has_the_mean_and_deviation_that_were_asked_for(distribution):
    seed = keras.random.SeedGenerator(0)
    n = draw_noise((4, 100, 100, 1), distribution, 0.3, "float32", seed)
    n = keras.ops.convert_to_numpy(n)
    # 40,000 draws: the standard errors are 0.0015 and 0.001.
    assert abs(n.mean()) < 0.006
    assert abs(n.std() - 0.3) < 0.005
    kurtosis = ((n / n.std()) ** 4).mean()
    assert abs(kurtosis - {"normal": 3.0, "uniform": 1.8}[distribution]) < 0.15


@pytest.mark.parametrize("distribution", ["normal", "uniform", "blue"])
def test_a_tile_has_the_deviation_that_was_asked_for(distribution):
    tile = noise_tile(128, 2, distribution, 0.3, seed=5)
    assert tile.shape == (1, 128, 128, 2)
    assert abs(tile.std() - 0.3) < 0.005
    assert abs(tile.mean()) < 0.01
    assert abs(np.corrcoef(tile[..., 0].ravel(), tile[..., 1].ravel())[0, 1]) < 0.03


def test_a_tile_is_numpys_frozen_stream():
    """First numbers of RandomState(0), which NumPy promises never to change."""
    normal = noise_tile(2, 1, "normal", 1.0, seed=0).ravel()
    np.testing.assert_allclose(normal, [1.76405235, 0.40015721, 0.97873798, 2.2408932])
    uniform = noise_tile(2, 1, "uniform", 1.0, seed=0).ravel() / 3**0.5
    np.testing.assert_allclose(
        (uniform + 1) / 2, [0.5488135, 0.71518937, 0.60276338, 0.54488318], rtol=1e-7
    )


def test_blue_noise_has_no_coarse_structure_and_white_noise_has():
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    coarse = {}
    for distribution in ("normal", "blue"):
        tile = noise_tile(64, 1, distribution, 1.0, seed=1)[0, :, :, 0]
        power = np.abs(np.fft.fft2(tile)) ** 2
        coarse[distribution] = power[radius < 0.1].mean() / power.mean()
    assert coarse["blue"] < 0.05
    assert 0.6 < coarse["normal"] < 1.4


@pytest.mark.parametrize("size", [(3, 4), (4, 9), (1, 1), (13, 8)], ids=str)
def test_a_tile_repeats_from_the_first_pixel(size, data_format, rng):
    tile = rng.normal(size=(1, 4, 4, 2)).astype("float32")
    y = repeat_tile(keras.ops.convert_to_tensor(tile), size, data_format)
    y = keras.ops.convert_to_numpy(y)
    y = np.moveaxis(y, 1, -1) if data_format == "channels_first" else y
    rows, columns = np.arange(size[0]) % 4, np.arange(size[1]) % 4
    np.testing.assert_array_equal(y, tile[:, rows][:, :, columns])


@pytest.mark.parametrize("mode", ["symmetric", "concat"])
@pytest.mark.parametrize("batch", [1, 2])
def test_noise_meets_the_image_as_the_formula_says(mode, batch, data_format, rng):
    images = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    noise = rng.normal(size=(batch, 3, 4, 1)).astype("float32")
    n = keras.ops.convert_to_tensor(to_format(noise, data_format))
    z = apply(lambda x: add_noise(x, n, mode, data_format), images, data_format)
    if mode == "symmetric":
        expected = np.concatenate([images + noise, images - noise], axis=-1)
        np.testing.assert_allclose((z[..., :3] + z[..., 3:]) / 2, images, atol=1e-6)
    else:
        expected = np.concatenate([images, np.broadcast_to(noise, (2, 3, 4, 1))], axis=-1)
    np.testing.assert_allclose(z, expected, atol=1e-6)
