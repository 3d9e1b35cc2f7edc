"""Numbers at the ends of the range, and what is not a number."""

from typing import Any

import keras
import numpy as np
import pytest
from cases import CASES

import keras_cnnfix as kc
from images import (
    apply,
    assert_close,
    at_once,
    from_format,
    gradients,
    price_of_products,
    to_format,
)

SIZE = (11, 13)
# (policy, brightness, tolerance): zero, and nearly the largest number of each dtype.
CONSTANTS = [
    ("float32", 0, 0),
    ("float32", 1e30, 1e-5),
    ("float32", -1e30, 1e-5),
    ("float16", 6e4, 2e-2),
    ("float16", -6e4, 2e-2),
    ("mixed_float16", 6e4, 2e-2),
    ("bfloat16", 1e30, 5e-2),
]


def _prices(cls):
    return (None, 0, 2**31) if cls is kc.ResizeConv2D else (None,)


def _built(case, data_format, **settings):
    """A layer that takes a weighted mean: what it makes of a constant is the constant."""
    cls, own, (_, _, channels) = CASES[case]
    own = {k: v for k, v in own.items() if k not in ("activation", "kernel_regularizer")}
    layer = cls(**{**own, **settings, "data_format": data_format})
    layer.build(to_format(np.zeros((2, *SIZE, channels)), data_format).shape)
    if cls is kc.AdaptiveAntiAlias or getattr(layer, "kernel", None) is None:
        return layer
    kernel = np.random.default_rng(0).uniform(0.1, 1, size=layer.kernel.shape)
    axes, total = (0, 1, 2), 1.0
    if cls is kc.EvenConv2DTranspose:
        layer.kernel.assign(kernel)
        kernel = keras.ops.convert_to_numpy(keras.ops.cast(layer.effective_kernel(), "float32"))
        axes, total = (0, 1, 3), np.prod(layer.strides)
    layer.kernel.assign(total * kernel / kernel.sum(axes, keepdims=True))
    if layer.use_bias:
        layer.bias.assign(np.zeros(layer.bias.shape))
    return layer


@pytest.mark.parametrize(("policy", "brightness", "tolerance"), CONSTANTS)
@pytest.mark.parametrize(
    "case",
    [
        case
        for case, (cls, settings, _) in CASES.items()
        # Noise is no constant, nor what reads zeros beyond the image, nor weights of all groups.
        if cls is not kc.NIB and settings.get("padding") != "valid"
        if case not in ("even_conv_transpose_wide", "adaptive_joint")
    ],
)
def test_a_constant_stays_a_constant_at_the_ends_of_the_range(
    case, policy, brightness, tolerance, data_format
):
    cls, _, (_, _, channels) = CASES[case]
    layer = _built(case, data_format, dtype=policy)
    images = np.full((2, *SIZE, channels), brightness, "float32")
    x = keras.ops.cast(to_format(images, data_format), layer.compute_dtype)
    for pixels in _prices(cls):
        with price_of_products(pixels):
            y = keras.ops.convert_to_numpy(keras.ops.cast(at_once(layer)(x), "float32"))
        assert np.isfinite(y).all()
        assert np.abs(y / max(abs(brightness), 1) - np.sign(brightness)).max() <= tolerance


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float16", "bfloat16"])
@pytest.mark.parametrize("normalization", ["group", "joint"])
def test_logits_of_ten_thousand_choose_one_tap(normalization, policy, data_format, rng):
    layer: Any = kc.AdaptiveAntiAlias(
        groups=1,
        batch_norm=False,
        normalization=normalization,
        data_format=data_format,
        dtype=policy,
    )
    images = to_format(rng.normal(size=(1, 7, 8, 2)), data_format)
    layer.build(images.shape)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign([-1e4] * 3 + [1e4] + [-1e4] * 5)  # Row 1, column 0: the pixel to the left.
    x = keras.ops.cast(images, layer.compute_dtype)
    expected = from_format(keras.ops.cast(x, "float32"), data_format)[:, ::2]
    y = from_format(keras.ops.cast(layer(x), "float32"), data_format)
    assert_close(y, expected[:, :, [1, 1, 3, 5]], 1e-6)

    found = gradients(lambda x: keras.ops.cast(layer(x), "float32"), x)
    assert np.isfinite(np.asarray(found[0], "float32")).all()


@pytest.mark.parametrize("pixel", [(0, 0), (1, 2), (5, 6), (10, 12)])
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_a_number_stays_where_the_pixel_reaches(case, pixel, data_format):
    """A pixel reaches what changes with it, and, of a bilinear resize, what it would with a weight
    that happens to be zero. Nothing less, either: TensorFlow's maximum alone lets it vanish.
    """
    cls, _, (_, _, channels) = CASES[case]
    layer: Any = _built(case, data_format)
    images = np.random.default_rng(1).uniform(1, 2, size=(2, *SIZE, channels))
    other, broken = images.copy(), images.copy()
    other[0, pixel[0], pixel[1]] = 1e3
    broken[0, pixel[0], pixel[1]] = np.nan
    for pixels in _prices(cls):
        with price_of_products(pixels):
            y, moved, answer = (apply(layer, x, data_format) for x in (images, other, broken))
        reached, found = moved != y, np.isnan(answer)
        if case == "resize_conv_grouped":
            # One pixel more to the left, where three times as many sample a pixel itself.
            reached[:, :, :-1] |= reached[:, :, 1:]
            assert found[:, :, 1:].any()
        elif not (cls is kc.MaxBlurPool2D and keras.backend.backend() == "tensorflow"):
            np.testing.assert_array_equal(found, reached)
        assert not (found & ~reached).any()
        assert_close(answer[1], y[1], 1e-5)
