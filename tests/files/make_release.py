"""Writes the files of this version that every later one must read.

    PYTHONPATH=.:tests:tests/layers python tests/files/make_release.py

An archive of the version with, for each layer, a `.keras` file, its weights alone (`.weights.h5`),
and arrays (`.npz`): what goes in, and what comes out. That of a released version stays as it is.
"""

import itertools
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
from cases import CASES

import keras_cnnfix as kc
import networks
from images import DATA_FORMATS, to_format

FOLDER = Path(__file__).parent
SHAPE = (1, 5, 6, 4)


def layers():
    """Name of a layer -> its settings in the cases, in one data format and the other by turns."""
    found: dict[str, list] = {}
    formats = itertools.cycle(DATA_FORMATS)
    for (name, (layer, settings, _)), data_format in zip(CASES.items(), formats, strict=False):
        small = {"tile_size": 4} if layer is kc.NIB else {}
        made = layer(**{**settings, **small}, data_format=data_format, name=name)
        found.setdefault(layer.__name__, []).append(made)
    plain = keras.layers.Conv2DTranspose(
        2,
        3,
        strides=2,
        kernel_initializer=kc.ICNR(size=1),
        kernel_constraint=kc.EvenPhases(2),
        data_format="channels_last",
        name="even_phases",
    )
    return {**found, "EvenPhases": [plain]}


def write(folder):
    rng = np.random.default_rng(0)
    for name, branches in layers().items():
        images, inputs = {}, {}
        for data_format in sorted({layer.data_format for layer in branches}):
            images[data_format] = to_format(rng.normal(size=SHAPE), data_format)
            unknown = to_format(np.empty(SHAPE), data_format).shape[1:]
            unknown = [n if n == SHAPE[-1] else None for n in unknown]
            inputs[data_format] = keras.Input(unknown, name=data_format)
        outputs = {layer.name: layer(inputs[layer.data_format]) for layer in branches}
        model = networks.filled(keras.Model(inputs, outputs))
        answers = {key: keras.ops.convert_to_numpy(y) for key, y in model(images).items()}
        model.save(folder / f"{name}.keras")
        if model.weights:
            model.save_weights(folder / f"{name}.weights.h5")
        np.savez_compressed(folder / f"{name}.npz", **images, **answers)


def main():
    archive = FOLDER / f"{kc.__version__}.zip"
    if archive.exists():
        raise SystemExit(f"{archive} exists. Only if that version is not released: remove it.")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        shutil.make_archive(str(archive.with_suffix("")), "zip", folder)


if __name__ == "__main__":
    main()
