"""Data-parallel training: two virtual devices, or processes, end where one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import parallel
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(*command, check=True):
    """Runs a program in a process of its own: devices are fixed once a backend has started."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        # This tree's package, not one that is installed from elsewhere.
        "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), str(ROOT)]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        check=check,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one device, in this process, and two come to."""
    folder = tmp_path_factory.mktemp("devices")
    two = run(HERE / "parallel.py", 2, folder / "2", check=False)
    assert two.returncode == 0, two.stderr
    return parallel.main([1, folder / "1"]), json.loads(two.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["small", "adversaries", "style"])
def test_two_devices_end_where_one_does(name, trained):
    one, two = (figures[name] for figures in trained)
    assert one["steps"] == two["steps"] == parallel.STEPS
    for a, b in zip(one["weights"], two["weights"], strict=True):
        # Sums in another order, through a few steps. Of all weights together: Adam moves one whose
        # gradient is nothing but rounding as far as any other. Some biases have no gradient at all.
        a, b = np.asarray(a), np.asarray(b)
        assert np.linalg.norm(b - a) <= 1e-3 * np.linalg.norm(a) + 1e-7 * a.size**0.5


def test_every_device_has_noise_of_its_own(trained):
    for figures in trained:
        noise = np.array(figures["noise"])
        assert 0.2 < noise.std() < 0.4
        assert len(np.unique(noise.round(6), axis=0)) == len(noise)
