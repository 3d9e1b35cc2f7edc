"""The source archive holds what a packager tests with, and its tests can be run."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (".github", "benchmarks", "docs", "examples", "keras_cnnfix", "tests")
FILES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "setup.cfg",
)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same archive on every backend: once"
)
def test_the_source_archive_is_complete_and_its_tests_are_found(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    tree, built = tmp_path / "tree", tmp_path / "built"
    tree.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    expected = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    (tree / "tests" / "__pycache__").mkdir()
    (tree / "tests" / "__pycache__" / "oracle.cpython-311.pyc").touch()

    build = "import sys, setuptools.build_meta as m; print(m.build_sdist(sys.argv[1]))"
    done = _run(tree, "-c", build, built)
    with tarfile.open(built / done.splitlines()[-1]) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    made = {name for name in held - expected if name != "PKG-INFO" and ".egg-info/" not in name}
    assert (expected - held, made) == (set(), set())

    found = _run(unpacked, "-m", "pytest", "--collect-only", "-q", "tests/ops", "tests/layers")
    assert "no tests" not in found
    _run(unpacked, "-m", "pytest", "-q", "tests/test_architecture.py", "tests/test_mutants.py")


def _run(folder, *command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
