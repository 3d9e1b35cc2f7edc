"""Each block and line of `docs/migrating.md` runs on this backend, and does what it says.

TensorFlow Addons' lines are in `references/`, those with weights in `test_migrating_from_torch.py`.
"""

import doctest
import re

import keras
import numpy as np
import pytest

import migrating

ELSEWHERE = ("TensorFlow Addons", "Weights")


def test_the_blocks_print_what_they_show():
    shown = [block for block in migrating.BLOCKS if ">>>" in block]
    assert shown
    for block in shown:
        test = doctest.DocTestParser().get_doctest(block, migrating.defined(), "page", None, 0)
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_names_of_keras_on_the_page_are_there():
    names = set(re.findall(r"`(keras\.[\w.]+)`", migrating.PAGE))
    assert len(names) > 5
    for name in names:
        eval(name, {"keras": keras})


def test_keras_own_gaussian_blur_is_as_wrong_as_the_page_says(backend, rng):
    """Keras 3.15. Where this fails, it has been mended: then the page may recommend it."""
    x = keras.ops.convert_to_tensor(rng.normal(size=(1, 8, 8, 3)).astype("float32"))

    def blurred(size, **kwargs):
        return keras.ops.convert_to_numpy(keras.ops.image.gaussian_blur(x, size, **kwargs))

    right = keras.ops.convert_to_numpy(migrating.defined()["gaussian_filter2d"](x, mode="zeros"))
    told = blurred((3, 3), data_format="channels_last")
    np.testing.assert_allclose(told, right, atol=1e-6)
    assert np.allclose(blurred((3, 3)), right, atol=1e-6) == (backend == "tensorflow")
    right = migrating.defined()["gaussian_filter2d"](x, (3, 5), mode="zeros")
    unequal = blurred((3, 5), data_format="channels_last")
    right = keras.ops.convert_to_numpy(right)
    assert unequal.shape != right.shape or not np.allclose(unequal, right, atol=1e-2)


@pytest.mark.parametrize("size", migrating.SIZES)
@migrating.each(lambda chapter: chapter not in ELSEWHERE)
def test_each_line_does_what_it_says(line, size, rng):
    x = rng.normal(size=(2, *migrating.SIZES[size], 8)).astype("float32")
    new = migrating.answer(line, x)
    migrating.check(line, new, _original(line, x), even=size == "even")


def _original(line, x):
    torch = pytest.importorskip("torch")
    import originals

    x = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    scope = {**vars(originals), "x": x}
    if "kornia" in line.old:
        scope["kornia"] = pytest.importorskip("kornia")
    made = eval(line.old, scope)
    return np.moveaxis((made(x) if isinstance(made, torch.nn.Module) else made).numpy(), 1, -1)
