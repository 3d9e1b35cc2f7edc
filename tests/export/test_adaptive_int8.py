"""Where the error of `AdaptiveAntiAlias` in 8 bits comes from: what docs/export.md says of it."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import test_litert

import keras_cnnfix as kc
from keras_cnnfix.ops import kernels
from keras_cnnfix.ops.padding import pad2d

pytestmark = test_litert.pytestmark

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
GROUPS = 8
# Name on the page -> (taps a side, normalization, deviation of what is added to the weights).
SETTINGS = {
    "3x3": (3, "group", 0.1),
    "3x3, wide logits": (3, "group", 1.0),
    '5x5, `"joint"`': (5, "joint", 0.1),
}
PARTS = ("image", "logits", "softmax", "products", "sums", "all of these")


def _model(taps, normalization, spread):
    keras.utils.set_random_seed(0)
    layer = kc.AdaptiveAntiAlias(taps, groups=GROUPS, normalization=normalization)
    model = keras.Sequential([keras.Input(test_litert.IMAGES), layer])
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + spread * rng.normal(size=weight.shape))
    return model, rng.normal(size=(20, *test_litert.IMAGES)).astype("float32")


def _rounded(values, step=None):
    """`values` in the 256 steps that LiteRT takes: from the least to the largest, by itself."""
    least, largest = min(values.min(), 0), max(values.max(), 0)
    step = step or (largest - least) / 255 or 1
    zero = np.round(-128 - least / step)
    return (np.clip(np.round(values / step + zero), -128, 127) - zero) * step


def _answer(layer, images, part):
    """The layer in NumPy, with the values of one part of it, or of all, rounded as LiteRT does."""

    def seen(values, name, step=None):
        return _rounded(values, step) if part in (name, "all of these") else values

    taps = layer.kernel_size[0]
    border = kernels.border_of(layer.kernel_size)
    x = pad2d(seen(images, "image"), border, "reflect", "channels_last").numpy()
    logits = keras.ops.conv(x, layer.kernel, 2, "valid", "channels_last")
    logits = seen(layer.normalizer(logits, training=False).numpy(), "logits")
    batch, height, width, _ = logits.shape
    split = (batch, height, width, GROUPS, taps**2)
    logits = logits.reshape(split if layer.normalization == "group" else logits.shape)
    # LiteRT gives every softmax this step.
    filters = seen(keras.ops.softmax(logits).numpy(), "softmax", 1 / 256).reshape(split)
    total = np.zeros(1)
    for tap in range(taps**2):
        i, j = divmod(tap, taps)
        pixels = x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        product = filters[..., tap : tap + 1] * pixels.reshape(*split[:4], -1)
        total = seen(total + seen(product, "products"), "sums")
    return total.reshape(*split[:3], -1)


def _error(found, expected):
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def _figures(row):
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
    return [float(figure) / 100 for figure in re.findall(r"([\d.]+)%", line)]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_roundings_of_its_parts_are_the_error_of_the_file(name):
    model, images = _model(*SETTINGS[name])
    layer = model.layers[-1]
    expected = model(images).numpy()
    np.testing.assert_allclose(_answer(layer, images, None), expected, atol=1e-5)
    parts = [_error(_answer(layer, images, part), expected) for part in PARTS]
    file = _error(test_litert._run(test_litert._converted(model, images, 8), images), expected)
    print(f"| {name} | " + " | ".join(f"{figure:.1%}" for figure in [*parts, file]) + " |")
    assert parts[-1] == pytest.approx(file, rel=0.15)
    np.testing.assert_allclose([*parts, file], _figures(name), rtol=0.15, atol=6e-4)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_what_lies_outside_of_the_calibration_is_cut_off(count):
    """As with any layer: the largest error goes, the more images there are."""
    found = []
    for layer in (kc.AdaptiveAntiAlias(), kc.BlurPool2D()):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input(test_litert.IMAGES), layer])
        images = np.random.default_rng(1).normal(size=(20, *test_litert.IMAGES)).astype("float32")
        file = test_litert._converted(model, images[:count], 8)
        difference = np.abs(test_litert._run(file, images) - model(images).numpy()).max()
        found.append(float(difference / np.abs(model(images).numpy()).max()))
    print(f"| {count} | " + " | ".join(f"{figure:.1%}" for figure in found) + " |")
    np.testing.assert_allclose(found, _figures(count), rtol=0.15, atol=6e-4)
