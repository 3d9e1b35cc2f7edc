"""The benchmarks run, on tiny decoders, and refuse competitors that differ."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import even, models, single_layers, timing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(models.STAGES, "dcgan", (4, [4, 3, 2]))
    decoders = [("dcgan", 3, 2, 2, False), ("dcgan", 5, 2, 2, True), ("dcgan", 3, 4, 2, False)]
    monkeypatch.setattr(program, "DECODERS", decoders)


def test_decoders_are_timed_step_by_step(tiny, tmp_path, capsys):
    file = tmp_path / "figures.json"
    program.main(["--parts", "decoders", "--rounds", "1", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert figures["machine"]["keras"] == keras.__version__
    races = figures["decoders"]
    assert len(races) == 6
    for times in races.values():
        assert list(times)[:2] == ["ours", "UpSampling2D + pad + Conv2D"]
        assert all(ms > 0 for ms in times.values())
    assert "Conv2DTranspose(6, 4)" in capsys.readouterr().out


def test_competitors_that_differ_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(program, "_set_equal_kernels", lambda model, source, size: None)
    with pytest.raises(AssertionError, match=r"the competitors differ by"):
        program.main(["--parts", "decoders", "--rounds", "1"])


def test_every_single_layer_equals_its_competitors(monkeypatch):
    def small(races):
        for title, (competitors, (_, _, _, channels), kernel_shape) in races.items():
            yield title, (competitors, (1, 8, 8, channels), kernel_shape)

    races = {
        title.split(",")[0]: race
        for title, race in small(single_layers.races())
        if "256" not in title and "x28x" not in title
    }
    monkeypatch.setattr(single_layers, "races", lambda: races)
    monkeypatch.setattr(program, "race", lambda functions, rounds: {"ours": 1.0})
    figures = program.run_layers(1)
    assert len(figures) == 2 * len(races)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_steps_need():
    """Beyond the imports: less than they take, and more than the activations of the output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.memory", "dcgan", "plain", "16"]
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT
    ).stdout
    mebibytes = json.loads(output.splitlines()[-1])
    of_the_output = 16 * 64 * 64 * 32 * 4 / 2**20
    assert of_the_output < mebibytes < 2000


def test_a_composite_kernel_is_the_kernel_with_a_box():
    kernel = np.arange(1.0, 4.0).reshape(3, 1, 1, 1) * np.ones((1, 3, 1, 1))
    composite = models.composite_kernel(kernel, 2)
    np.testing.assert_array_equal(composite[:, 0, 0, 0], [3, 5, 3, 1])
    gradient = np.random.default_rng(0).normal(size=composite.shape)
    pulled = models.pulled_back(gradient, 3, 2)
    np.testing.assert_allclose((pulled * kernel).sum(), (gradient * composite).sum())


def test_even_phases_are_raced_against_what_they_equal(monkeypatch, rng):
    """For a kernel that is even already, and on shapes that fit the limits."""
    kernel = rng.normal(size=(4, 4, 2, 3))
    sums = [[kernel[y::2, x::2].sum((0, 1)) for x in (0, 1)] for y in (0, 1)]
    for y, x in np.ndindex(2, 2):
        kernel[y::2, x::2] -= sums[y][x] / 4
    x, w = (keras.ops.convert_to_tensor(a, "float32") for a in (np.ones((1, 5, 6, 3)), kernel))
    forms = even.forms(4, 2)
    ours, theirs = (keras.ops.convert_to_numpy(forms[n](x, w)) for n in ("ours", "Conv2DTranspose"))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    monkeypatch.setattr(timing, "race", lambda functions, rounds: dict.fromkeys(functions, 2.0))
    found = even.run(seed=3, count=2, rounds=1)
    assert found["ratios"]["forward"]["even over Conv2DTranspose"] == {"median": 1, "worst": 1}
    assert all(taps >= stride for *_, taps, stride in even.cases(0, 20))
