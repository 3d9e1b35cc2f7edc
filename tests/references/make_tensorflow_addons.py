"""Makes `tensorflow_addons.npz`: what TensorFlow Addons 0.23.0, the last one, answers.

    python3.11 tests/references/make_tensorflow_addons.py

It needs Keras 2, so it gets an environment of its own, in a temporary folder: Python 3.11 and some
600 MB of packages. Nothing else of the project depends on it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0")
FILE = Path(__file__).with_name("tensorflow_addons.npz")
BORDERS = ("REFLECT", "CONSTANT", "SYMMETRIC")


def record():
    """Writes all arrays, inputs included."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_addons as tfa

    rng = np.random.RandomState(0)  # A frozen stream.

    def drawn(*shape):
        return rng.normal(size=shape).astype("float32")

    images = drawn(2, 7, 6, 3)
    arrays = {"images": images}

    norm = tfa.layers.InstanceNormalization()
    norm.build(images.shape)
    arrays["instance_gamma"], arrays["instance_beta"] = drawn(3), drawn(3)
    norm.set_weights([arrays["instance_gamma"], arrays["instance_beta"]])
    arrays["instance_normalization"] = norm(images)

    for border in BORDERS:
        for shape in ((3, 5), (4, 3)):
            name = f"{border}_{shape[0]}x{shape[1]}"
            arrays[f"gaussian_filter2d_{name}"] = tfa.image.gaussian_filter2d(
                images, shape, (0.8, 1.3), border
            )
            arrays[f"mean_filter2d_{name}"] = tfa.image.mean_filter2d(images, shape, border)

    # Between the pixels, on them, and beyond each side.
    points = rng.uniform(-2, 8, size=(2, 20, 2)).astype("float32")
    points[:, :4] = [[0, 0], [6, 5], [3, 2], [6, 0]]
    arrays["query_points"] = points
    arrays["interpolate_bilinear"] = tfa.image.interpolate_bilinear(images, points)

    spectral = tfa.layers.SpectralNormalization(tf.keras.layers.Conv2D(4, 3), power_iterations=2)
    spectral.build(images.shape)
    names = [weight.name.rpartition("/")[-1].removesuffix(":0") for weight in spectral.weights]
    weights = [drawn(*weight.shape) for weight in spectral.weights]
    spectral.set_weights(weights)
    arrays |= {f"spectral_{name}": weight for name, weight in zip(names, weights, strict=True)}
    arrays["spectral_trained"] = spectral(images, training=True)
    after = dict(zip(names, spectral.get_weights(), strict=True))
    arrays |= {f"spectral_{name}_after": weight for name, weight in after.items()}
    arrays["spectral_normalization"] = spectral(images, training=False)
    arrays = {name: np.asarray(array, "float32") for name, array in arrays.items()}
    np.savez_compressed(FILE, **arrays)


def main():
    if "--inside" in sys.argv:
        record()
        return
    python = shutil.which("python3.11")
    if python is None:
        sys.exit("TensorFlow Addons 0.23.0 needs Python 3.11. Put python3.11 on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = str(Path(folder, "bin", "python"))
        subprocess.run([inside, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        subprocess.run([inside, __file__, "--inside"], check=True)


if __name__ == "__main__":
    main()
