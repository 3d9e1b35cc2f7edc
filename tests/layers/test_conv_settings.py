"""Regularizers and constraints reach the weights that they are given for."""

import keras
import numpy as np
import pytest

import keras_cnnfix as kc

IMAGES = np.ones((1, 6, 6, 4), "float32")
LAYERS = {
    "resize_conv": (kc.ResizeConv2D, {"filters": 2}, ("kernel", "bias")),
    "subpixel_conv": (kc.SubPixelConv, {"filters": 2}, ("kernel", "bias")),
    "nib": (kc.NIB, {"filters": 2}, ("kernel", "bias")),
    "adaptive": (kc.AdaptiveAntiAlias, {"groups": 2}, ("kernel", "gamma", "beta")),
    "adaptive_bias": (kc.AdaptiveAntiAlias, {"groups": 2, "batch_norm": False}, ("kernel", "beta")),
}


@pytest.fixture(params=[(name, weight) for name, (*_, ws) in LAYERS.items() for weight in ws])
def case(request):
    name, weight = request.param
    cls, settings, _ = LAYERS[name]
    return cls, settings, weight


def _weight(layer, name):
    """The one weight called `name`; without batch norm the bias stands for beta."""
    names = ("beta", "bias") if name == "beta" else (name,)
    (found,) = [weight for weight in layer.trainable_weights if weight.name in names]
    return found


def test_a_regularizer_adds_the_loss_of_its_weight(case):
    cls, settings, name = case
    layer = cls(**settings, **{f"{name}_regularizer": keras.regularizers.L2(0.5)})
    layer.build(IMAGES.shape)
    value = np.random.default_rng(0).normal(size=_weight(layer, name).shape).astype("float32")
    _weight(layer, name).assign(value)
    (loss,) = layer.losses
    loss = keras.ops.convert_to_numpy(loss)
    assert loss == pytest.approx(0.5 * np.square(value).sum(), rel=1e-5)


def test_a_constraint_holds_for_its_weight_alone(case):
    cls, settings, name = case
    constraint = keras.constraints.NonNeg()
    layer = cls(**settings, **{f"{name}_constraint": constraint})
    layer.build(IMAGES.shape)
    constrained = [weight for weight in layer.trainable_weights if weight.constraint is not None]
    assert constrained == [_weight(layer, name)]
    assert constrained[0].constraint is constraint
