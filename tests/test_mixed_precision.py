"""Training in half precision follows training in float32."""

import keras
import numpy as np
import pytest

import keras_cnnfix as kc


def _losses(policy):
    """The losses of 12 steps of one small model with every layer that trains."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            kc.NIB(8, fixed=True, seed=1, activation="relu", dtype=policy),
            kc.AdaptiveAntiAlias(groups=4, dtype=policy),
            kc.MaxBlurPool2D(dtype=policy),
            kc.ResizeConv2D(8, interpolation="bilinear", activation="relu", dtype=policy),
            kc.SubPixelConv(3, smooth=True, dtype=policy),
        ]
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 12, 12, 3)).astype("float32")
    optimizer = keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=128.0)
    model.compile(optimizer, "mse")
    return np.array([float(model.train_on_batch(images, images)) for _ in range(12)])


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-3), ("mixed_bfloat16", 5e-3)]
)
def test_losses_stay_close_to_those_of_float32(policy, tolerance):
    full, half = _losses("float32"), _losses(policy)
    assert full[-1] < 0.95 * full[0]
    np.testing.assert_allclose(half, full, rtol=tolerance)
