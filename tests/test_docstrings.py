"""Every example in a docstring and in the README runs, on the backend of this run."""

import dataclasses
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
PUBLIC = [
    *(
        getattr(keras_cnnfix, name)
        for name in keras_cnnfix.__all__
        if name not in ("diagnostics", "initializers")
    ),
    keras_cnnfix.initializers.EvenPhases,
    *(getattr(keras_cnnfix.diagnostics, name) for name in keras_cnnfix.diagnostics.__all__),
]
README = Path(__file__).parent.parent / "README.md"


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


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", README.read_text(), re.S), ids=lambda b: b[:20]
)
def test_examples_in_the_readme_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The block may set KERAS_BACKEND for its reader; Keras is imported already, so it has no say.
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
