"""Trains small networks on as many devices as its argument says, and prints what came out."""

import argparse
import json
import sys
from pathlib import Path

import keras
import numpy as np

import gan
import style_transfer
from common import devices, features, training
from keras_cnnfix import NIB, AdaptiveAntiAlias, ResizeConv2D

BATCH = 8
STEPS = 4


def small():
    """A network of the package's layers, with Adam."""
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

    def batch(rng):
        images = rng.normal(size=(BATCH, 12, 12, 3)).astype("float32")
        return images, np.tanh(images)

    return model, batch


def adversaries():
    """The trainer of `gan.py`."""
    args = argparse.Namespace(seed=1, size=32, width=2)
    trainer, _ = gan.build_trainer("resize", args, average=False)

    def batch(rng):
        images = rng.uniform(-1, 1, (BATCH, 32, 32, 3)).astype("float32")
        return ((images, gan.latents_of(rng, BATCH)),)

    return trainer, batch


def style():
    """The trainer of `style_transfer.py`, without random crops."""
    args = argparse.Namespace(seed=1, size=32, steps=STEPS)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    trainer, _ = style_transfer.build_trainer(
        style_transfer.resized, features.squeezenet(("conv1", "fire2")), picture, False, args
    )

    def batch(rng):
        return (rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32"),)

    return trainer, batch


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
    count, folder = int(argv[0]), Path(argv[1])
    figures = devices.in_processes(main, argv, count)
    if figures is not None:
        return figures
    args, figures = argparse.Namespace(out=folder, seed=0), {}
    with devices.used(count):
        for network in (small, adversaries, style):
            model, batch = network()
            if network is not small:
                # Adam's first steps are the gradient's sign, of which rounding may be all. At a
                # rate of 1e-2 four steps make 3 % of a change of the images by 1e-6.
                model.compile(keras.optimizers.SGD(1e-3))
            done = training.fit(model, batch, STEPS, args, network.__name__)
            weights = [np.asarray(weight).tolist() for weight in model.get_weights()]
            figures[network.__name__] = {"steps": done, "weights": weights}
        return figures | {"noise": noise_of(count).reshape(BATCH, -1).tolist()}


if __name__ == "__main__":
    print("\n" + json.dumps(main(sys.argv[1:])))
