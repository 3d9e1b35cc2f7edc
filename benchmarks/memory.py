"""Peak memory of training steps, in a fresh process for each competitor. Linux."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import models

STEPS = 3


def peaks(stages, upsamplings, batch):
    """MiB that training steps need beyond the imports and the model, for each of `upsamplings`."""
    found = {}
    for name in upsamplings:
        command = [sys.executable, "-m", "benchmarks.memory", stages, name, str(batch)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[name] = json.loads(output.splitlines()[-1])
    return found


def _peak(stages, upsampling, batch):
    rng = np.random.default_rng(0)
    model = models.decoder(models.STAGES[stages], getattr(models, upsampling))
    model.compile("adam", "mse")
    images = rng.normal(size=(batch, *model.input_shape[1:])).astype("float32")
    targets = np.zeros((batch, *model.output_shape[1:]), "float32")
    # Sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _kib("VmRSS")
    for _ in range(STEPS):
        model.train_on_batch(images, targets)
    return (_kib("VmHWM") - before) / 1024


def _kib(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(field)


if __name__ == "__main__":
    print(json.dumps(_peak(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
