"""`docs/migrating.md`, read: its lines, what its blocks define, and what a line claims."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from images import assert_close

PAGE = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)

# Sides of the images that lines are tried with.
SIZES = {"even": (12, 14), "odd": (13, 11)}


class Line(NamedTuple):
    chapter: str
    section: str
    old: str
    new: str
    claim: str


def _lines():
    chapter = section = ""
    for text in PAGE.splitlines():
        if text.startswith("#"):
            marks, section = text.split(" ", 1)
            chapter = section if marks == "##" else chapter
        elif text.startswith("| `"):
            cells = re.fullmatch(r"\| `([^`]+)` \| `([^`]+)` \| (.+) \|", text)
            assert cells, f"no line of three cells: {text}"
            yield Line(chapter, section, *cells.groups())


LINES = list(_lines())


def each(chapters):
    """A test for each line of the chapters that `chapters` says yes to."""
    lines = [line for line in LINES if chapters(line.chapter)]
    return pytest.mark.parametrize("line", lines, ids=lambda line: f"{line.old}-{line.new}")


@functools.cache
def _defined():
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if ">>>" not in block:
            exec(compile(block, "docs/migrating.md", "exec"), names)
    return names


def defined():
    """What the blocks of the page define, by name."""
    return dict(_defined())


def answer(line, x, prepare=lambda layer: layer, **names):
    """What the new side makes of the images `x` (N, H, W, C); a layer is prepared first."""
    x = keras.ops.convert_to_tensor(x)
    made = eval(line.new, {**defined(), **names, "x": x})
    made = prepare(made)(x) if isinstance(made, keras.Layer) else made
    return keras.ops.convert_to_numpy(made)


def check(line, new, old, even):
    """That `new` is to `old`, both (N, H, W, C), as the line claims for images of `even` sides."""
    rule = next(rule for claim, rule in CLAIMS.items() if line.claim.startswith(claim))
    rule(new, old, even=even)


def _same(new, old, even=True):
    assert_close(new, old)


def _not_the_same(new, old, even=True):
    if new.shape == old.shape:
        assert np.abs(new - old).max() > 0.01 * np.abs(old).max()


def _same_inside(new, old, even):
    _same(new[:, 2:-2, 2:-2], old[:, 2:-2, 2:-2])
    _not_the_same(new, old)


def _same_but_for_the_end(new, old, even):
    rows, columns = old.shape[1] - 1, old.shape[2] - 1
    _same(new[:, :rows, :columns], old[:, :rows, :columns])
    _not_the_same(new[:, rows, :columns], old[:, rows, :columns])
    _not_the_same(new[:, :rows, columns], old[:, :rows, columns])


def _same_one_further(new, old, even):
    assert new.shape == old.shape
    _same(new[:, :-1, :-1], old[:, 1:, 1:])
    _not_the_same(new, old)


# Those that begin alike stand with the longer one first.
CLAIMS: dict[str, Callable] = {
    "The same at even sizes": lambda *both, even: (_same if even else _not_the_same)(*both),
    "The same at odd sizes": lambda *both, even: (_not_the_same if even else _same)(*both),
    "The same inside": _same_inside,
    "The same but for the end": _same_but_for_the_end,
    "The same, one pixel further": _same_one_further,
    "The same": _same,
    "Not the same": _not_the_same,
}
