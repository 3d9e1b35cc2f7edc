"""Weights of torch modules in Keras layers, by what `docs/migrating.md` says."""

import keras
import numpy as np
import pytest

import migrating

torch = pytest.importorskip("torch")
import originals  # noqa: E402

SIZES = {"even": (8, 6), "odd": (7, 9)}


@pytest.mark.parametrize("size", SIZES)
@migrating.each(lambda chapter: chapter == "Weights")
def test_weights_go_over_by_the_recipe(line, size, rng):
    x = rng.normal(size=(2, *SIZES[size], 8)).astype("float32")
    module = _filled(eval(line.old, vars(originals)))
    with torch.no_grad():
        old = module(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()

    take_weights = migrating.defined()["take_weights"]
    new = migrating.answer(line, x, lambda layer: take_weights(layer, module, x.shape[1:]))
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
    layer.set_weights(migrating.defined()["weights_of"](module))
    new = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(new, module(torch.from_numpy(x)).detach().numpy(), rtol=1e-5)
