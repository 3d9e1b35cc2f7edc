"""The same seed gives the same numbers: again, in another process, after a reload, exported."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import CASES

import keras_cnnfix as kc
from images import at_once, to_format

ROOT = Path(__file__).parents[2]
# Every platform and version must give these: of a tile of each kind and an image of eighths.
TILES = {
    "normal": "8c1362b4217d8836",
    "uniform": "57ccc906736d7d66",
    "blue": "c52985e1f2c9e033",
}

TRAINED = ("resize_conv", "subpixel_conv", "even_conv_transpose", "nib_conv", "adaptive")


def numbers():
    """What the noisy layers answer and every layer learns, from fixed seeds, by each way to run."""
    found: dict[str, np.ndarray] = {}
    images = np.random.default_rng(0).normal(size=(4, 9, 8, 4)).astype("float32")
    for distribution in ("normal", "uniform"):
        keras.utils.set_random_seed(3)
        layer = kc.NIB(4, distribution=distribution, seed=5)
        model = keras.Sequential([keras.Input((9, 8, 4)), layer])
        ways = {
            "eager": lambda m=model: keras.ops.convert_to_numpy(m(images)),
            "predict": lambda m=model: m.predict(images, batch_size=2, verbose=0),
        }
        found |= {f"{distribution} {way}": answer() for way, answer in ways.items()}
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model.keras")
            loaded = keras.saving.load_model(Path(folder) / "model.keras")
        found[f"{distribution} reloaded"] = keras.ops.convert_to_numpy(loaded(images))
        for jit in (False, True):
            loaded = keras.models.clone_model(model)
            loaded.set_weights(model.get_weights())
            loaded.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=jit and _can_jit())
            history = loaded.fit(
                images, np.zeros_like(images), batch_size=2, epochs=2, shuffle=False, verbose=0
            )
            found[f"{distribution} fit, jit={jit}"] = np.array(history.history["loss"])
    for case in TRAINED:
        cls, settings, shape = CASES[case]
        keras.utils.set_random_seed(3)
        layer = cls(**settings)
        head = keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(2)
        model = keras.Sequential([keras.Input(shape), layer, *head])
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
        batch = np.random.default_rng(1).normal(size=(4, *shape)).astype("float32")
        losses = [model.train_on_batch(batch, np.ones((4, 2)))]
        found[f"{case} loss"] = np.array(losses)
        found |= {f"{case} {n}": w for n, w in enumerate(model.get_weights())}
    return found


def _can_jit():
    # `torch.compile` needs a compiler, and half a minute for each model.
    return keras.backend.backend() != "torch"


def test_the_same_seed_gives_the_same_numbers_in_another_process(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "import numpy as np, test_determinism\n"
        "np.savez(sys.argv[1], **test_determinism.numbers())"
    )
    paths = [ROOT, ROOT / "tests", ROOT / "tests" / "layers"]
    command = [sys.executable, "-c", code, tmp_path / "numbers.npz", *paths]
    subprocess.run(list(map(str, command)), check=True, env={**os.environ})
    once, again = np.load(tmp_path / "numbers.npz"), numbers()
    assert set(once.files) == set(again)
    for name, array in again.items():
        np.testing.assert_array_equal(once[name], array, err_msg=name)
    for distribution in ("normal", "uniform"):
        # A reload starts at the first draw again, as does each of the ways, without XLA.
        first = again[f"{distribution} eager"]
        np.testing.assert_array_equal(again[f"{distribution} reloaded"], first)
        assert (again[f"{distribution} predict"] != first).any()


@pytest.mark.filterwarnings("ignore")  # Of the converters: they are not ours.
@pytest.mark.parametrize("distribution", TILES)
def test_fixed_noise_is_the_same_bits_everywhere(distribution, data_format, backend, tmp_path):
    layer = kc.NIB(
        fixed=True, tile_size=6, seed=11, distribution=distribution, data_format=data_format
    )
    images = np.random.default_rng(2).integers(-8, 9, size=(2, 7, 9, 3)) / 8
    x = to_format(images, data_format)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    answers = {
        "eager": layer(x),
        "at once": at_once(layer)(keras.ops.convert_to_tensor(x)),
        "predict": model.predict(x, verbose=0),
    }
    model.save(tmp_path / "model.keras")
    answers["reloaded"] = keras.saving.load_model(tmp_path / "model.keras")(x)
    if backend != "jax":
        onnxruntime = pytest.importorskip("onnxruntime", reason="runs the exported files")
        model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        answers["onnx"] = session.run(None, {session.get_inputs()[0].name: x})[0]
    if backend != "torch":
        import tensorflow as tf

        model.export(str(tmp_path / "saved"), verbose=False)
        saved = tf.saved_model.load(str(tmp_path / "saved"))
        answers["saved model"] = saved.serve(x).numpy()
    for way, answer in answers.items():
        bits = np.ascontiguousarray(keras.ops.convert_to_numpy(answer))
        if data_format == "channels_first":
            bits = np.ascontiguousarray(np.moveaxis(bits, 1, -1))
        assert bits.dtype == np.dtype("float32")
        assert hashlib.sha256(bits.tobytes()).hexdigest()[:16] == TILES[distribution], way
