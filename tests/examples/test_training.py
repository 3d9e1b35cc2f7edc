"""Training that is killed or interrupted goes on, and ends as if it had not been."""

from pathlib import Path

import interrupted
import keras
import numpy as np
import pytest
from test_devices import run

from common import devices, program, training


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training comes to that nothing disturbs."""
    return interrupted.main("whole", 0, tmp_path_factory.mktemp("whole"))


def _assert_same(one, other):
    assert one["done"] == other["done"] == 120
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_killed_training_ends_as_if_it_had_not_been_killed(whole, tmp_path):
    assert run(interrupted.__file__, "kill", 83, tmp_path, check=False).returncode == 9
    again = interrupted.main("whole", 0, tmp_path)
    _assert_same(again, whole)
    assert again["batches"] < whole["batches"]  # It went on, and did not begin anew.
    # What is done is not trained again.
    _assert_same(interrupted.main("whole", 0, tmp_path), whole)


def test_an_interrupted_training_keeps_its_steps_and_can_be_finished(whole, tmp_path):
    part = interrupted.main("interrupt", 70, tmp_path)
    assert 50 < part["done"] < 80
    _assert_same(interrupted.main("whole", 0, tmp_path), whole)


def test_a_network_that_was_trained_before_is_trained_on(tmp_path):
    whole = interrupted.main("whole", 0, tmp_path / "whole", before=20)
    part = interrupted.main("interrupt", 90, tmp_path / "part", before=20)
    assert 70 < part["done"] < 100
    again = interrupted.main("whole", 0, tmp_path / "part", before=20)
    _assert_same(again, whole)
    assert again["batches"] < whole["batches"]


def test_other_settings_do_not_go_on_from_these_checkpoints(tmp_path):
    args = program.parser("x", "x").parse_args(["--out", str(tmp_path)])
    other = program.parser("x", "x").parse_args(["--out", str(tmp_path), "--seed", "1"])
    assert training._folder(args) != training._folder(other)
    training._folder(args).mkdir()
    training.finish(other)
    assert training._folder(args).exists()
    training.finish(args)
    assert not training._folder(args).exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "model.keras"), "No space left on device"),
        (program.InputError("photo.png cannot be read."), "photo.png cannot be read."),
        (KeyboardInterrupt(), "What was trained so far is kept"),
        (ImportError("no", name="skimage"), "the package 'skimage' is missing. Run: pip install"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_the_user_can_mend_is_one_line(error, line):
    guard = program.imports if isinstance(error, ImportError) else program.one_line_errors
    with pytest.raises(SystemExit) as stop, guard("gan"):
        raise error
    assert str(stop.value).startswith("gan: ")
    assert line in str(stop.value)
    assert "\n" not in str(stop.value)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="shapes"), program.one_line_errors("gan"):
        raise ValueError("shapes do not fit")


def test_a_table_holds_what_it_is_given(capsys):
    program.table("Shares", ["network", "share"], [["resize", 0.00123], ["transposed", "none"]])
    printed = capsys.readouterr().out
    for text in ("Shares", "network", "resize", "0.00123", "none"):
        assert text in printed


EXAMPLES = sorted(path.stem for path in Path(training.__file__).parents[1].glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_explains_itself(name, capsys):
    example = __import__(name)
    with pytest.raises(SystemExit) as stop:
        example.main(["--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    for option in ("--quick", "--out", "--seed"):
        assert option in told
    # These two are of no paper.
    assert name in ("gallery", "export") or "Sources:" in (example.__doc__ or "")


def test_the_gallery_is_made_small(tmp_path):
    gallery = __import__("gallery")
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (300, 1400, 3), "uint8")
    source = tmp_path / "out" / "gan" / "start.png"
    source.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(source)
    made = gallery.main(
        ["--examples", "--out", str(tmp_path / "out"), "--images", str(tmp_path / "images")]
    )
    (path,) = made["pictures"]
    with Image.open(path) as picture:
        assert picture.size == (1000, 214)
        assert picture.mode == "P"


def test_every_example_names_a_missing_package_in_one_line():
    """A missing package is named by every example, before anything is computed."""
    for name in EXAMPLES:
        code = f"import sys; sys.modules['numpy'] = sys.modules['PIL'] = None; import {name}"
        done = run("-c", code, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith(f"{name}: the package ")


def test_no_noise_comes_twice():
    """Neither from one epoch to the next, nor from one layer to the other."""
    drawn = []

    class Draws(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(5)

        def call(self, inputs):
            return inputs + keras.random.normal((), seed=self.seed_generator)

    model = keras.Sequential([keras.Input((1,)), Draws(), Draws()])
    batches = training.Batches(lambda rng: (rng.random(1),), 0, 50)
    follow = training.FollowTheSeed(batches)
    follow.set_model(model)
    for epoch in range(3):
        follow.on_epoch_begin(epoch)
        for layer in model.layers:
            drawn += [float(layer(np.zeros((1, 1), "float32"))[0, 0]) for _ in range(50)]
    assert len(set(drawn)) == len(drawn) == 300


def test_a_network_is_traced_once_for_all_epochs(tmp_path):
    """Python runs a layer again where the program of a training step is made anew."""
    calls = []

    class Counted(keras.layers.Dense):
        def call(self, inputs, training=None):
            calls.append(training)
            return super().call(inputs)

    model = keras.Sequential([keras.Input((3,)), Counted(1)])
    model.compile("sgd", "mse")
    at_every_epoch = []
    after = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: at_every_epoch.append(len(calls))
    )
    fit, args = model.fit, program.parser("x", "x").parse_args(["--out", str(tmp_path)])
    model.fit = lambda *a, callbacks, **k: fit(*a, callbacks=[*callbacks, after], **k)

    def batch(rng):
        return rng.random((4, 3), "float32"), np.ones((4, 1), "float32")

    training.fit(model, batch, 120, args, "x")
    assert len(at_every_epoch) == 3
    if keras.backend.backend() != "torch":  # Which runs each step as Python.
        assert len(set(at_every_epoch)) == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the thread is tf.data's")
def test_no_epoch_waits_for_a_thread_that_sleeps():
    """The thread that tunes; with it, an epoch of 18 s is followed by a wait of 9."""
    batches = training.Batches(lambda rng: (rng.random((4, 3)), rng.random((4, 1))), 0, 5)
    dataset = devices.fed(batches)
    assert dataset.options().autotune.enabled is False
    assert len(dataset) == 5
    for n, (x, y) in enumerate(dataset):
        np.testing.assert_array_equal(x, batches[n][0])
        np.testing.assert_array_equal(y, batches[n][1])


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    usage = training.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(training.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SystemExit, match=r"gan: .*No space left"), program.one_line_errors("gan"):
        interrupted.main("whole", 0, tmp_path)
