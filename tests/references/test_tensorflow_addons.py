"""What `docs/migrating.md` has in the place of TensorFlow Addons, against what that answered.

`make_tensorflow_addons.py` has recorded it.
"""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import migrating
from images import assert_close

ARRAYS = dict(np.load(Path(__file__).with_name("tensorflow_addons.npz")))
IMAGES = ARRAYS["images"]


def _filter(name):
    def recorded(x, size, *sigma_and_padding):
        border = [word for word in sigma_and_padding if isinstance(word, str)] or ["REFLECT"]
        return ARRAYS[f"{name}_{border[0]}_{size[0]}x{size[1]}"]

    return recorded


# In the place of `tfa`, and of `tf` within its calls: what it answered for `IMAGES`, and the
# weights that it had, in Keras's order.
RECORDED = {
    "tf": SimpleNamespace(keras=keras),
    "tfa": SimpleNamespace(
        image=SimpleNamespace(
            gaussian_filter2d=_filter("gaussian_filter2d"),
            mean_filter2d=_filter("mean_filter2d"),
            interpolate_bilinear=lambda x, points: ARRAYS["interpolate_bilinear"],
        ),
        layers=SimpleNamespace(
            InstanceNormalization=lambda: ARRAYS["instance_normalization"],
            SpectralNormalization=lambda layer, power_iterations: ARRAYS["spectral_trained"],
        ),
    ),
}
WEIGHTS = {
    "GroupNormalization": [ARRAYS["instance_gamma"], ARRAYS["instance_beta"]],
    "SpectralNormalization": [ARRAYS[f"spectral_{name}"] for name in ("kernel", "sn_u", "bias")],
}
LINES = migrating.each(lambda chapter: chapter == "TensorFlow Addons")


def _prepared(layer):
    layer.build(IMAGES.shape)
    layer.set_weights(WEIGHTS.get(type(layer).__name__, []))
    return layer


@LINES
def test_each_line_answers_as_addons_did(line):
    old = eval(line.old, {**RECORDED, "x": IMAGES, "points": None})

    def in_training(layer):
        return lambda x: _prepared(layer)(x, training=True)

    points = keras.ops.convert_to_tensor(ARRAYS["query_points"])
    migrating.check(line, migrating.answer(line, IMAGES, in_training, points=points), old, None)


def test_spectral_normalization_keeps_what_addons_kept():
    """The normalised kernel and the vector after a step, and the answer with these."""
    layer = keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3), power_iterations=2)
    _prepared(layer)(IMAGES, training=True)
    for weight, name in zip(layer.get_weights(), ("kernel", "sn_u", "bias"), strict=True):
        assert_close(weight, ARRAYS[f"spectral_{name}_after"])
    answer = layer(IMAGES, training=False)
    assert_close(keras.ops.convert_to_numpy(answer), ARRAYS["spectral_normalization"])


@pytest.mark.parametrize("size", [(3, 5), (4, 3)])
@pytest.mark.parametrize(
    ("theirs", "ours"), [("REFLECT", "reflect"), ("CONSTANT", "zeros"), ("SYMMETRIC", "symmetric")]
)
def test_gaussian_filter2d_answers_as_addons_did_with_each_border_and_size(theirs, ours, size):
    x = keras.ops.convert_to_tensor(IMAGES)
    answer = migrating.defined()["gaussian_filter2d"](x, size, (0.8, 1.3), ours)
    old = ARRAYS[f"gaussian_filter2d_{theirs}_{size[0]}x{size[1]}"]
    assert_close(keras.ops.convert_to_numpy(answer), old)
