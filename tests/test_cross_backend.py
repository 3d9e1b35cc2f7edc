"""A file written on this backend is read on the others, and predicts the same numbers."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_cnnfix as kc
from images import DATA_FORMATS, assert_close

MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
READER = """
import sys
import keras, numpy as np, keras_cnnfix
for folder in sys.argv[1:]:
    model = keras.saving.load_model(folder + "/model.keras", compile=False)
    images = np.load(folder + "/images.npy")
    np.save(folder + "/" + keras.backend.backend() + ".npy", model.predict(images, verbose=0))
"""


def _model(data_format):
    """Every layer once, with unknown height and width."""
    last = data_format == "channels_last"
    x = inputs = keras.Input((None, None, 3) if last else (3, None, None))
    settings = {"data_format": data_format}
    x = kc.NIB(8, fixed=True, tile_size=8, activation="tanh", **settings)(x)
    x = kc.AdaptiveAntiAlias(groups=4, gamma_initializer="ones", **settings)(x)
    x = kc.MaxBlurPool2D(**settings)(x)
    x = kc.ResizeConv2D(8, size=1.5, interpolation="bilinear", padding="wrap", **settings)(x)
    x = kc.ResizeConv2D(4, groups=2, activation="relu", padding="symmetric", **settings)(x)
    x = kc.SubPixelConv(4, channel_order="crd", smooth=True, padding="edge", **settings)(x)
    x = kc.BlurPool2D(3, 1, **settings)(x)
    x = kc.Padding2D(2, **settings)(x)
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders, one a data format, with a trained model, images, and what the model predicts."""
    folders = [tmp_path_factory.mktemp(data_format) for data_format in DATA_FORMATS]
    for folder, data_format in zip(folders, DATA_FORMATS, strict=True):
        _write(folder, data_format)
    return folders


def _write(folder, data_format):
    model = _model(data_format)
    images = np.random.default_rng(0).normal(size=(2, 12, 17, 3)).astype("float32")
    if data_format == "channels_first":
        images = np.moveaxis(images, -1, 1)
    model.compile("adam", "mse")
    model.train_on_batch(images, np.zeros_like(model.predict(images, verbose=0)))
    model.save(folder / "model.keras")
    np.save(folder / "images.npy", images)
    np.save(folder / "predicted.npy", model.predict(images, verbose=0))


@pytest.mark.parametrize("reader", [name for name in MODULES if name != keras.backend.backend()])
def test_a_file_of_this_backend_predicts_the_same_on_the_other(reader, written):
    if importlib.util.find_spec(MODULES[reader]) is None:
        pytest.skip(f"{reader} is not installed")
    # The optimizer of PyTorch is a class of its own, which others cannot compile (Keras 3.15);
    # reading a model to predict does not need it.
    environment = {**os.environ, "KERAS_BACKEND": reader}
    subprocess.run([sys.executable, "-c", READER, *written], env=environment, check=True)
    for folder in written:
        predicted = np.load(folder / "predicted.npy")
        assert_close(np.load(folder / f"{reader}.npy"), predicted, 1e-5)
