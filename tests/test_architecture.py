"""The house: who may import whom, and which names are public."""

import ast
import re
from pathlib import Path

import pytest

import keras_cnnfix

PACKAGE = Path(keras_cnnfix.__file__).parent
FLOORS = {
    "typing": -1,
    "checks": 0,
    "tables": 0,
    "ops": 1,
    "initializers": 2,
    "constraints": 2,
    "layers": 3,
    "diagnostics": 3,
    "graph": 4,
    "files": 4,
    "flats": 5,
    "rules": 5,
    "repair": 6,
    "report": 5,
    "diagnosis": 6,
    "cli": 7,
    "__main__": 8,
}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
BACKENDS = {"tensorflow", "jax", "torch"}


def _imports(file):
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module
            for name in node.names:
                yield f"{node.module}.{name.name}"


def _room(file):
    return Path(file).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_go_only_downstairs(file):
    for module in _imports(file):
        first, *rest = module.split(".")
        if first == "keras_cnnfix" and rest:
            below = FLOORS[rest[0]] < FLOORS[_room(file)]
            assert below or rest[0] == _room(file), f"{file} imports {module}"
            # Measures look at any model, not at this package's layers.
            assert (_room(file), rest[0]) != ("diagnostics", "layers"), file


def test_contributing_lists_the_floors():
    contributing = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (-?\d) \| (.+?) \| (.+?) \|$", contributing, re.M)
    listed = {
        name.removesuffix("/").removesuffix(".py"): int(floor)
        for floor, where, _ in rows
        for name in re.findall("`(.+?)`", where)
    }
    assert listed == {room: floor for room, floor in FLOORS.items() if room != "__main__"}


@pytest.mark.parametrize("file", FILES)
def test_only_one_folder_imports_a_backend_and_nothing_imports_private_keras(file):
    modules = list(_imports(file))
    if not file.startswith("ops/backend/"):
        assert not BACKENDS & {module.split(".")[0] for module in modules}
    assert not any(module.startswith("keras.src") for module in modules)


@pytest.mark.parametrize("file", FILES)
def test_only_the_layout_knows_axis_numbers_of_the_data_formats(file):
    """No other file decides by comparing with "channels_last"; `ops/backend` works around."""
    if file == "ops/layout.py" or file.startswith("ops/backend/"):
        return
    tree = ast.parse((PACKAGE / file).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            values = [c.value for c in node.comparators if isinstance(c, ast.Constant)]
            assert not {"channels_last", "channels_first"} & set(map(str, values)), file


def test_everything_public_is_at_the_front_door():
    assert sorted(keras_cnnfix.__all__) == [
        "AdaptiveAntiAlias",
        "BlurPool2D",
        "Diagnosis",
        "EvenConv2DTranspose",
        "EvenPhases",
        "FixReport",
        "ICNR",
        "MaxBlurPool2D",
        "NIB",
        "Padding2D",
        "ResizeConv2D",
        "SubPixelConv",
        "diagnose",
        "diagnostics",
        "distill",
        "fix",
        "initializers",
        "load_model",
        "rules",
    ]
    for name in keras_cnnfix.__all__:
        assert getattr(keras_cnnfix, name).__doc__
