"""Weights of torch modules in Keras layers, by what `docs/migrating.md` says."""

import keras
import numpy as np
import pytest

import keras_cnnfix
import migrating

torch = pytest.importorskip("torch")
import originals  # noqa: E402


@pytest.mark.parametrize("size", migrating.SIZES)
@migrating.each(lambda chapter: chapter == "Weights")
def test_weights_go_over_by_the_recipe(line, size, rng):
    x = rng.normal(size=(2, *migrating.SIZES[size], 8)).astype("float32")
    module = _filled(eval(line.old, vars(originals)))
    with torch.no_grad():
        old = module(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()

    take_weights = migrating.defined()["take_weights"]
    state = {f"up.0.{name}": tensor for name, tensor in module.state_dict().items()}
    state |= {"up.1.weight": torch.zeros(3), "down.bias": torch.zeros(3)}

    def prepared(layer):
        return take_weights(layer, state, x.shape[1:], prefix="up.0.")

    new = migrating.answer(line, x, prepared)
    migrating.check(line, new, np.moveaxis(old, 1, -1), even=size == "even")


def _filled(module):
    """Weights of no symmetry, statistics included; in evaluation."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 1, generator=generator)
        for parameter in module.parameters():
            parameter.mul_(2).sub_(1)
    return module.eval()


def test_weights_of_dense_layers_and_of_modules_in_a_row_go_over(rng):
    module = _filled(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)))
    x = rng.normal(size=(2, 5)).astype("float32")
    layer = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3)])
    layer.build((None, 5))
    layer.set_weights(migrating.defined()["weights_of"](module.state_dict()))
    new = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(new, module(torch.from_numpy(x)).detach().numpy(), rtol=1e-5)


def test_fastais_blur_of_scale_4_lets_a_grid_through_and_smooth_does_not():
    module = _filled(originals.PixelShuffle_ICNR(3, 1, scale=4, blur=True))
    layer = keras_cnnfix.SubPixelConv(1, 1, 4, channel_order="crd", activation="relu", smooth=True)
    migrating.defined()["take_weights"](layer, module.state_dict(), (5, 5, 3))
    with torch.no_grad():
        theirs = module(torch.ones((1, 3, 5, 5))).numpy()[0, 0, 4:-4, 4:-4]
    ours = keras.ops.convert_to_numpy(layer(np.ones((1, 5, 5, 3), "float32")))[0, 4:-4, 4:-4, 0]
    assert np.ptp(theirs) > 0.1
    assert np.ptp(ours) < 1e-5
