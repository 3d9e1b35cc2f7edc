"""What a type checker, or an editor, makes of the package in a user's program."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import keras
import pytest

from keras_cnnfix.rules import GROUPS, RULES
from keras_cnnfix.typing import RuleName

ROOT = Path(__file__).parents[1]
PARTS = ("LICENSE", "README.md", "keras_cnnfix", "pyproject.toml", "setup.cfg")

RIGHT = """
from fractions import Fraction

import keras  # type: ignore[import-untyped]
import numpy as np

import keras_cnnfix as kc
from keras_cnnfix.graph import Site
from keras_cnnfix.typing import Padding


def decoder(filters: int, padding: Padding = "reflect") -> keras.Model:
    return keras.Sequential(
        [
            kc.ResizeConv2D(filters, 3, (2, 2), padding=padding, activation="relu", name="up"),
            kc.ResizeConv2D(filters, size=Fraction(4, 3), kernel_initializer=np.ones((3, 3, 1, 1))),
            kc.SubPixelConv(filters, size=2, channel_order="crd", dtype="float16"),
            kc.EvenConv2DTranspose(filters, 4, strides=2, padding="same", border="edge"),
            kc.NIB(filters, mode="concat", fixed=True, distribution="blue", seed=0),
            kc.AdaptiveAntiAlias(groups=4, normalization="joint", trainable=False),
            kc.MaxBlurPool2D((2, 2), activity_regularizer="l2"),
            kc.Padding2D(((1, 1), (0, 2)), mode="wrap", data_format="channels_first"),
            keras.layers.Conv2DTranspose(
                1, 4, 2, kernel_initializer=kc.ICNR(size=2), kernel_constraint=kc.EvenPhases(2)
            ),
        ]
    )


class Mine(kc.rules.Rule):
    name = "mine"
    safety = kc.rules.Safety.RETRAIN

    def match(self, site: Site) -> kc.rules.Match | None:
        return kc.rules.Match((site,)) if site.before is None else None


model = kc.load_model("model.keras", safe_mode=True)
images = np.ones((4, 32, 32, 3), "float32")
fixed, report = kc.fix(model, rules=["exact", Mine()], include="decoder/*", dry_run=True)
lost: list[float] = [change.residual or 0.0 for change in report.changed]
found = kc.diagnose(model, images)
severities: set[str] = {finding.severity for finding in found.findings}
score = kc.diagnostics.checkerboard_score(images, period=(2, 4), border=1)
as_numbers: tuple[float, bool, tuple[int, int]] = (score.excess, score.found, score.period)
gains: float = kc.diagnostics.phase_gains(np.ones((3, 3, 1, 1)), 2).mean()
"""

WRONG = """
import numpy as np

import keras_cnnfix as kc

kc.ResizeConv2D(8, padding="reflct")  # arg-type
kc.ResizeConv2D(8, interpolation="cubic")  # arg-type
kc.ResizeConv2D(8, implementation="fast")  # arg-type
kc.ResizeConv2D(8, size=(2, 2, 2))  # arg-type
kc.ResizeConv2D("8")  # arg-type
kc.ResizeConv2D()  # call-arg
kc.ResizeConv2D(8, strides=2)  # call-arg
kc.EvenConv2DTranspose(8, 4, padding="reflect")  # arg-type
kc.SubPixelConv(8, channel_order="rgb")  # arg-type
kc.SubPixelConv(8, data_format="NHWC")  # arg-type
kc.AdaptiveAntiAlias(normalization="batch")  # arg-type
kc.NIB(mode="add")  # arg-type
kc.NIB(distribution="pink")  # arg-type
kc.Padding2D(1, mode="constant")  # arg-type
kc.ICNR(channel_order=None)  # arg-type
kc.ICNR(3)  # arg-type
kc.fix(None, rules="exakt")  # arg-type
fixed, report = kc.fix(None)
report.changed[0].residual + 1  # operator
report.changes  # attr-defined
kc.diagnose(None).findings[0].severity == "bad"  # comparison-overlap
kc.diagnostics.checkerboard_score(np.ones((8, 8)), period="2")  # arg-type
"""


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the same on every backend: once")
def test_the_wheel_tells_a_user_s_type_checker_what_is_right_and_what_is_wrong(tmp_path):
    pytest.importorskip("mypy")
    pytest.importorskip("setuptools", minversion="77")
    tree, site, programs = tmp_path / "tree", tmp_path / "site", tmp_path / "programs"
    tree.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    build = "import sys, setuptools.build_meta as m; print(m.build_wheel(sys.argv[1]))"
    built = _run(tree, "-c", build, tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    with zipfile.ZipFile(tmp_path / built.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
    assert (site / "keras_cnnfix" / "report" / "page.html").is_file()

    programs.mkdir()
    (programs / "right.py").write_text(RIGHT)
    (programs / "wrong.py").write_text(WRONG)
    checked = _run(programs, "-m", "mypy", "--strict", "right.py", "wrong.py", PYTHONPATH=site)
    found = re.findall(r"^(\w+)\.py:(\d+): error: .* \[([a-z-]+)\]$", checked.stdout, re.M)
    expected = [
        ("wrong", str(number), line.split("# ")[1])
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "# " in line
    ]
    assert sorted(set(found)) == sorted(expected), checked.stdout + checked.stderr


def test_the_names_of_rules_are_those_that_fix_takes():
    assert sorted(get_args(RuleName)) == sorted({*GROUPS, *(rule.name for rule in RULES)})


def _run(folder, *command, **environment):
    env = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
