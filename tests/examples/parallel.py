"""Trains a small network on as many devices as its argument says, and prints what came out."""

import argparse
import json
import sys
from pathlib import Path

import keras
import numpy as np
from common import devices, training

from keras_cnnfix import NIB, AdaptiveAntiAlias, ResizeConv2D

BATCH = 8


def network():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            AdaptiveAntiAlias(groups=3, batch_norm=False),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            ResizeConv2D(3),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


def batch(rng):
    images = rng.normal(size=(BATCH, 12, 12, 3)).astype("float32")
    return images, np.tanh(images)


def noise_of(count):
    """What a noise block draws for a batch of zeros, of all devices, in their order."""
    model = keras.Sequential([keras.Input((4, 4, 1)), NIB(mode="concat", seed=3)])
    zeros = devices.share(np.zeros((BATCH, 4, 4, 1), "float32"))
    drawn = model.predict(zeros, batch_size=len(zeros), verbose=0)[..., 1]
    if len(zeros) == BATCH:
        return drawn
    import torch

    parts = [torch.zeros(drawn.shape) for _ in range(count)]
    torch.distributed.all_gather(parts, torch.tensor(drawn))
    return np.concatenate([part.numpy() for part in parts])


def main(argv=None):
    count, steps, folder = int(argv[0]), int(argv[1]), Path(argv[2])
    figures = devices.in_processes(main, argv, count)
    if figures is not None:
        return figures
    with devices.used(count):
        model = network()
        done = training.fit(model, batch, steps, argparse.Namespace(out=folder, seed=0), "small")
        return {
            "steps": done,
            "weights": [float(np.abs(weight).sum()) for weight in model.get_weights()],
            "noise": noise_of(count).reshape(BATCH, -1).tolist(),
        }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
