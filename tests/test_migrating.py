"""Each block and line of `docs/migrating.md` runs on this backend, and does what it says.

TensorFlow Addons' lines are in `references/`, those with weights in `test_migrating_from_torch.py`.
"""

import doctest

import numpy as np
import pytest

import migrating

SIZES = {"even": (8, 6), "odd": (7, 9)}
ELSEWHERE = ("TensorFlow Addons", "Weights")


def test_the_blocks_print_what_they_show():
    shown = [block for block in migrating.BLOCKS if ">>>" in block]
    assert shown
    for block in shown:
        test = doctest.DocTestParser().get_doctest(block, migrating.defined(), "page", None, 0)
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("size", SIZES)
@migrating.each(lambda chapter: chapter not in ELSEWHERE)
def test_each_line_does_what_it_says(line, size, rng):
    x = rng.normal(size=(2, *SIZES[size], 8)).astype("float32")
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
