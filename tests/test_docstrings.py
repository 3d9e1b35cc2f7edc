"""Every example in a docstring and in the README runs, on the backend of this run."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import keras
import pytest

import keras_cnnfix

MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_cnnfix.__path__, "keras_cnnfix.")
    if not module.ispkg
]
README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"keras": keras})
    assert result.failed == 0


@pytest.mark.parametrize("name", keras_cnnfix.__all__)
def test_public_docstrings_are_complete(name):
    public = getattr(keras_cnnfix, name)
    doc = inspect.getdoc(public) or ""
    for section in ("Args:", "Raises:", "Example:"):
        assert section in doc, section
    documented = set(re.findall(r"[a-z_]+", doc.split("Args:")[1].split("Raises:")[0]))
    arguments = set(inspect.signature(public.__init__).parameters) - {"self"}
    assert arguments <= documented, arguments - documented


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", README.read_text(), re.S), ids=lambda b: b[:20]
)
def test_examples_in_the_readme_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The block may set KERAS_BACKEND for its reader; Keras is imported already, so it has no say.
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
