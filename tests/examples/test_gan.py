"""The GAN, in its quick form: its stated result, its parts, and what it says to bad input."""

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

import gan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The figures of one quick run, and its folder."""
    folder = tmp_path_factory.mktemp("gan")
    return gan.main(["--quick", "--out", str(folder)]), folder


@pytest.fixture
def args():
    """Settings of the smallest trainer."""
    args = gan.parse(["--size", "32", "--width", "2"])
    args.seed = 1
    return args


def test_at_the_start_both_transposed_convolutions_draw_a_grid_and_resize_none(run):
    start = run[0]["start"]
    assert set(start) == set(gan.UPSAMPLING)
    for transposed in (start["transposed3"], start["transposed4"]):
        assert transposed > 0.1
        assert transposed >= 50 * start["resize"]
        assert transposed >= 50 * start["resize-bilinear"]


@pytest.mark.parametrize("taps", [3, 4, 5, 6])
def test_at_the_start_even_phases_draw_a_hundredth_of_the_grid(run, taps):
    start = run[0]["start"]
    assert start[f"transposed{taps}"] >= 100 * start[f"even{taps}"]


def test_at_the_start_icnr_takes_the_grid_from_a_subpixel_convolution(run):
    start = run[0]["start"]
    assert start["subpixel"] > 0.1
    assert start["subpixel"] >= 20 * start["subpixel-icnr"]


def test_in_the_first_steps_resize_draws_no_grid(run):
    first = run[0]["first_steps"]
    assert first["transposed4"] > 0.02
    assert first["transposed4"] >= 50 * first["resize-bilinear"]


def test_the_figures_are_complete(run):
    figures, folder = run
    names = {"transposed4", "resize-bilinear"}
    for key in ("first_steps", "trained", "flat", "kernel_distance", "seconds", "models"):
        assert set(figures[key]) == names
    assert figures["steps"] == dict.fromkeys(names, gan.FIRST_STEPS)
    assert all(distance > 0 for distance in figures["kernel_distance"].values())
    assert not list(folder.glob("unfinished-*"))


def test_the_pictures_are_drawn(run):
    for path in run[0]["pictures"]:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 10


def test_a_saved_generator_draws(run):
    generator = keras.saving.load_model(run[0]["models"]["resize-bilinear"])
    images = generator.predict(np.zeros((2, gan.LATENTS), "float32"), verbose=0)
    assert images.shape == (2, 64, 64, 3)
    assert np.abs(images).max() <= 1


def _losses(trainer, images, latents):
    """The hinge losses of the discriminator and of the generator, written out."""
    networks = trainer.layers[-1]
    fakes = networks.generator(latents)
    real, fake = (ops.convert_to_numpy(networks.discriminator(x)) for x in (images, fakes))
    return np.maximum(1 - real, 0).mean() + np.maximum(1 + fake, 0).mean(), -fake.mean()


def test_each_loss_reaches_the_weights_of_its_own_network_only(args, rng):
    trainer, _ = gan.build_trainer("resize", args)
    trainer.compile(keras.optimizers.SGD(0.01))
    networks = trainer.layers[-1]
    for weight in networks.discriminator.trainable_variables:
        weight.constraint = None  # The plain gradient step is what is looked at.
    images = rng.uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
    latents = rng.normal(size=(4, gan.LATENTS)).astype("float32")
    # Copies: on PyTorch the array is the weight's own memory.
    before = [ops.convert_to_numpy(w).copy() for w in trainer.trainable_weights]
    trainer.train_on_batch([images, latents])
    after = [ops.convert_to_numpy(w) for w in trainer.trainable_weights]
    owned = {id(w) for w in networks.discriminator.trainable_weights}
    for which in (0, 1):
        steps = [
            (b - a) * ((id(w) in owned) == (which == 0))
            for w, a, b in zip(trainer.trainable_weights, after, before, strict=True)
        ]
        # A step of gradient descent is -0.01 gradient: along it, the loss itself must say so.
        slope = sum(float(np.square(step).sum()) for step in steps) / 0.01
        assert slope > 0
        # A small part of the step: pixel norm bends the loss of so narrow a generator.
        size, found = 0.002, []
        for sign in (1, -1):
            for w, b, step in zip(trainer.trainable_weights, before, steps, strict=True):
                w.assign(b + sign * size * step)
            found.append(_losses(trainer, images, latents)[which])
        assert (found[0] - found[1]) / (2 * size) == pytest.approx(slope, rel=0.05)


def test_the_loss_is_a_mean_over_the_batch(args, rng):
    trainer, _ = gan.build_trainer("transposed4", args)
    images = rng.uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
    latents = rng.normal(size=(4, gan.LATENTS)).astype("float32")
    expected = sum(_losses(trainer, images, latents))
    twice = [np.concatenate([x, x]) for x in (images, latents)]
    assert trainer.evaluate(x=[images, latents], verbose=0) == pytest.approx(expected, rel=1e-4)
    assert trainer.evaluate(x=twice, verbose=0) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(4, 4, 3, 8), (4, 4, 16, 32), (40, 1)])
def test_the_constraint_leaves_a_largest_singular_value_of_one(shape, rng):
    kernel = rng.normal(size=shape).astype("float32")
    projected = ops.convert_to_numpy(gan.UnitSpectralNorm()(ops.convert_to_tensor(kernel)))
    assert np.linalg.norm(projected.reshape(-1, shape[-1]), 2) == pytest.approx(1, abs=0.02)
    ratio = projected / kernel
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)


def test_the_deviation_of_a_group_is_that_of_its_own_images(rng):
    maps = rng.normal(size=(8, 3, 3, 2)).astype("float32")
    maps[4:] = maps[4]
    result = ops.convert_to_numpy(gan.GroupDeviation()(maps))
    np.testing.assert_array_equal(result[..., :2], maps)
    expected = np.sqrt(maps[:4].var(0) + 1e-8).mean()
    np.testing.assert_allclose(result[:4, ..., 2], expected, rtol=1e-5)
    np.testing.assert_allclose(result[4:, ..., 2], 1e-4, rtol=1e-2)


def test_the_kernel_distance_is_that_of_a_loop_over_pairs(rng):
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)) + 1
    x /= np.sqrt(np.square(x).mean())

    def mean(a, b):
        pairs = [(p, q) for p in a for q in b if p is not q]
        return np.mean(
            [(sum(u * v for u, v in zip(p, q, strict=True)) / 3 + 1) ** 3 for p, q in pairs]
        )

    x, y = list(x), list(y)
    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert gan.kernel_distance(np.array(x), np.array(y)) == pytest.approx(expected)


def test_the_kernel_distance_tells_another_distribution_from_the_same(rng):
    x, same, other = (rng.normal(size=(200, 8)) + shift for shift in (1, 1, 1.5))
    assert abs(gan.kernel_distance(x, same)) < 0.2 * gan.kernel_distance(x, other)


@pytest.mark.parametrize(("name", "least", "most"), [("faces", 60, 90), ("mnist", 5000, 5000)])
def test_the_data_are_pictures(name, least, most):
    images = gan.load(gan.parse(["--data", name, "--size", "32"]))
    assert least <= len(images) <= most
    assert images.shape[1:] == (32, 32, 3)
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std(0).mean() > 0.1


def test_a_folder_of_pictures_is_taken(tmp_path, rng):
    for n in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50 + n, 3), "uint8")).save(tmp_path / f"{n}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert gan.load(gan.parse(["--data", str(tmp_path)])).shape == (3, 64, 64, 3)


def test_a_folder_without_pictures_gets_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(SystemExit) as stop:
            gan.main(["--data", str(tmp_path / folder), "--out", str(tmp_path / "out")])
        assert folder in str(stop.value)
        assert "\n" not in str(stop.value)


@pytest.mark.parametrize("option", [["--size", "31"], ["--steps", "0"], ["--upsampling", "deconv"]])
def test_bad_options_are_refused(option, capsys):
    with pytest.raises(SystemExit) as stop:
        gan.parse(option)
    assert stop.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_the_flattest_quarter_of_the_tiles_is_measured_apart(rng):
    """Noise in three quarters of each image, a grid in the rest."""
    images = rng.normal(size=(2, 64, 64, 3))
    flat = images[:, 4:18, 4:60]
    grid = np.broadcast_to((-1.0) ** np.arange(56)[:, None], flat.shape)
    flat[:] = 0.5 + 0.01 * grid
    assert gan.share(images) < 0.1
    assert gan.flat_share(images) > 0.99
