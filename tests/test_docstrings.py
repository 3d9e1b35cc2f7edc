"""Every example in a docstring, in the README and in the guides runs, on this run's backend."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_cnnfix
import networks

MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_cnnfix.__path__, "keras_cnnfix.")
    if not module.ispkg and not module.name.endswith("__main__")
]
PUBLIC = [
    *(
        getattr(keras_cnnfix, name)
        for name in keras_cnnfix.__all__
        if name not in ("diagnostics", "initializers", "rules")
    ),
    keras_cnnfix.initializers.EvenPhases,
    *(getattr(keras_cnnfix.diagnostics, name) for name in keras_cnnfix.diagnostics.__all__),
]
ROOT = Path(__file__).parent.parent
BLOCKS = [
    block
    for file in ("README.md", "docs/repair.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.S)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"keras": keras})
    assert result.failed == 0


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_public_docstrings_are_complete(public):
    doc = inspect.getdoc(public) or ""
    if dataclasses.is_dataclass(public):
        names = {field.name for field in dataclasses.fields(public)}
        assert names <= set(re.findall(r"[a-z_]+", doc.split("Attributes:")[1]))
        return
    for section in ("Args:", "Raises:", "Example:"):
        assert section in doc, section
    documented = set(re.findall(r"[a-z_]+", doc.split("Args:")[1].split("Raises:")[0]))
    called = public.__init__ if inspect.isclass(public) else public
    arguments = set(inspect.signature(called).parameters) - {"self"}
    assert arguments <= documented, arguments - documented


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b[:20])
def test_examples_in_the_guides_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "model.keras" in block and ".save(" not in block.split("model.keras")[0]:
        # What its reader has.
        networks.filled(networks.pix2pix()).save("model.keras")
    # The block may set KERAS_BACKEND for its reader; Keras is imported already, so it has no say.
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    images = np.random.default_rng(0).random((16, 32, 32, 3)).astype("float32")
    exec(compile(block, "guide", "exec"), {"__name__": "guide", "images": images})
