"""Data-parallel training: two virtual devices, or processes, end where one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"


def run(*command, check=True):
    """Runs a program in a process of its own: devices are fixed once a backend has started."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(EXAMPLES),
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
    """What one device and two come to."""
    folder = tmp_path_factory.mktemp("devices")
    outputs = [run(HERE / "parallel.py", n, 8, folder / str(n)).stdout for n in (1, 2)]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def test_two_devices_end_where_one_does(trained):
    one, two = trained
    assert one["steps"] == two["steps"] == 8
    # Rounding of the gradients' sums, through eight steps of Adam.
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-4)


def test_every_device_has_noise_of_its_own(trained):
    for figures in trained:
        noise = np.array(figures["noise"])
        assert 0.2 < noise.std() < 0.4
        assert len(np.unique(noise.round(6), axis=0)) == len(noise)
