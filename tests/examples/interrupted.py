"""Trains a small network with noise in it, killed or interrupted at a step if told so."""

import argparse
import os
import signal
import sys
from pathlib import Path

import keras

from common import training
from keras_cnnfix import NIB

STEPS = 120


def main(how, at, folder, before=0):
    """Trains for `STEPS` steps; the first `before` of them in a training of their own."""
    seen = []

    def batch(rng):
        seen.append(0)
        if how == "kill" and len(seen) == at:
            os._exit(9)
        if how == "interrupt" and len(seen) == at:
            os.kill(os.getpid(), signal.SIGINT)
        images = rng.normal(size=(4, 6, 6, 2)).astype("float32")
        return images, images[..., :1]

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), NIB(4, activation="relu"), keras.layers.Conv2D(1, 1)]
    )
    # What has become the average cannot be trained on, on JAX (Keras 3.15).
    model.compile(keras.optimizers.Adam(1e-2, use_ema=not before, ema_momentum=0.9), "mse")
    args = argparse.Namespace(out=Path(folder), seed=3)
    if before:
        training.fit(model, batch, before, args, "before")
    done = training.fit(model, batch, STEPS - before, args, "network")
    return {"done": done, "batches": len(seen), "weights": model.get_weights()}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
