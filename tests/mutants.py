"""Breaks the package on purpose, one place after the other, and names what no test sees.

    make mutants                                          # all of them, on PyTorch
    python tests/mutants.py --backend jax --only shuffle  # those whose file or texts match

Each mutant is a wrong formula, border, constant or check. It is written into a copy of the tree,
where the suite of its file must fail. The same suites pass there first, unbroken.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "docs", "out", "benchmarks.json"
)
CONTRACT = "tests/layers/test_contract.py -k "


class Mutant(NamedTuple):
    """`old`, which `file` of the package holds once, becomes `new`; `tests` must see it.

    `tests` are arguments of pytest; None is the file of the tests that mirrors `file`.
    """

    file: str
    old: str
    new: str
    tests: str | None = None

    @property
    def suite(self):
        folder, _, name = self.file.rpartition("/")
        return self.tests or f"tests/{folder}{'/' if folder else ''}test_{name}"

    def of(self, text):
        """`text` of the file, broken."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(
                f"{self.file}: must hold once what is broken, not {count}x:\n{self.old}"
            )
        if self.old == self.new:
            raise ValueError(f"{self.file}: is not broken by\n{self.new}")
        return text.replace(self.old, self.new)


MUTANTS = [
    # What is accepted, and what is said of the rest.
    Mutant("checks.py", '"reflect": 1, "symm', '"reflect": 0, "symm', "tests/ops/test_padding.py"),
    Mutant("checks.py", "deepest + spare > n", "deepest + spare >= n", "tests/ops/test_padding.py"),
    Mutant("checks.py", "Integral) and not isinstance(value, bool)", "Integral)"),
    Mutant("checks.py", "Fraction(str(v))", "Fraction(v)"),
    Mutant("checks.py", "math.gcd(count, groups)", "min(count, groups)"),
    Mutant("checks.py", "isinstance(n, int) and n < 1", "isinstance(n, int) and n < 0"),
    Mutant("checks.py", "minimum <= value < float", "minimum < value < float"),
    # Initial values.
    Mutant("initializers.py", "ops.stack(copies, axis=-1)", "ops.stack(copies, axis=-2)"),
    Mutant(
        "initializers.py",
        "self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)",
        "self.initializer(shape, dtype=dtype)[..., : shape[-1] // phases]",
    ),
    # Kernels, axes, precision.
    Mutant("ops/kernels.py", "(size - 1) // 2, size // 2", "size // 2, (size - 1) // 2"),
    Mutant("ops/kernels.py", "(0.5, 0.5)", "(1.0, 1.0)"),
    Mutant("ops/layout.py", "(n + stride - 1) // stride", "n // stride", CONTRACT + "symbolic"),
    Mutant("ops/layout.py", "axis=axis + 1)", "axis=axis)", "tests/ops/test_resize.py"),
    Mutant(
        "ops/layout.py",
        "image_shape((0, 0), pads, (0, 0)",
        "image_shape((0, 0), pads[::-1], (0, 0)",
        "tests/ops/test_padding.py",
    ),
    Mutant(
        "ops/precision.py",
        'result_type(x.dtype, "float32")',
        "result_type(x.dtype)",
        "tests/ops/test_blur.py",
    ),
    # Borders.
    Mutant("ops/padding.py", "_wrap(x, after, before, axis)", "_wrap(x, before, after, axis)"),
    Mutant("ops/padding.py", "[layout.last(x, 1, axis)]", "[layout.first(x, 1, axis)]"),
    Mutant("ops/padding.py", '"symmetric": _symmetric', '"symmetric": _edge'),
    # Fixed filters.
    Mutant("ops/blur.py", "kernels.box(n) for", "kernels.binomial(n) for"),
    Mutant("ops/blur.py", "layout.last(layout.first(x, n, axis), before", "layout.first(x, before"),
    Mutant(
        "ops/blur.py",
        "return _filter2d(x, taps, strides",
        "return _filter2d(x, taps[::-1], strides",
    ),
    Mutant("ops/blur.py", "at_least_float32(x), taps", "x, taps"),
    # Adaptive filters.
    Mutant("ops/adaptive.py", "_softmax(filters, taps_axis)", "_softmax(filters, channel_axis)"),
    Mutant("ops/adaptive.py", "tuple(t % stride for", "tuple(0 * t * stride for"),
    Mutant("ops/adaptive.py", "at_least_float32(logits)", "logits"),
    # Resizing and shuffling.
    Mutant("ops/resize.py", "(2 * _arange(n, out) + 1) * n // (2", "2 * _arange(n, out) * n // (2"),
    Mutant("ops/resize.py", "2 * phase + 1 + factor", "2 * phase + factor"),
    Mutant(
        "ops/resize.py",
        "else n * factor.numerator // factor.denominator",
        "else -(-n * factor.numerator // factor.denominator)",
    ),
    Mutant("ops/shuffle.py", '("y", "x", "c") if', '("x", "y", "c") if'),
    Mutant("ops/shuffle.py", 'else ("c", "y", "x")', 'else ("y", "c", "x")'),
    # Noise.
    Mutant("ops/noise.py", "reach = 3**0.5 * stddev", "reach = stddev"),
    Mutant("ops/noise.py", "stddev / blue.std()", "stddev"),
    Mutant("ops/noise.py", "[x + noise, x - noise]", "[x + noise, noise - x]"),
    Mutant("ops/noise.py", ": size[0], : size[1]", ": size[1], : size[0]"),
    # ops/backend, ops/resize_conv.py, ops/phases.py: here.
    # Layers.
    Mutant(
        "layers/image_layer.py",
        "if self.input_channels is not None and channels",
        "if self.input_channels is None and channels",
    ),
    Mutant(
        "layers/image_layer.py",
        "        self._check_dtype(inputs)\n        return super()",
        "        return super()",
    ),
    Mutant("layers/conv_settings.py", "regularizer=self.kernel_regularizer", "regularizer=None"),
    Mutant("layers/conv_settings.py", "constraint=self.bias_constraint", "constraint=None"),
    Mutant("layers/resize_conv2d.py", "return self.activation(y)", "return y"),
    Mutant("layers/resize_conv2d.py", "if self.size != (2, 2):", "if False:"),
    Mutant(
        "layers/subpixel_conv.py",
        "self.add_bias(y), self.size, self.channel_order",
        'self.add_bias(y), self.size, "dcr"',
    ),
    Mutant("layers/subpixel_conv.py", '= ICNR("glorot_uniform"', '= ICNR("glorot_normal"'),
    Mutant("layers/nib.py", "] = 0.5", "] = 1.0"),
    Mutant("layers/nib.py", "min(channels, shape[-1] - 1)", "min(channels, shape[-1])"),
    Mutant("layers/nib.py", "kernels.sides(k)[0] for", "kernels.sides(k)[1] for"),
    Mutant("layers/nib.py", "trainable=False", "trainable=True"),
    Mutant(
        "layers/nib.py",
        '            "preserve_input": self.preserve_input,\n',
        "",
        "tests/layers/test_image_layer.py",
    ),
    Mutant("layers/adaptive_anti_alias.py", "momentum=self.momentum", "momentum=1 - self.momentum"),
    Mutant("layers/adaptive_anti_alias.py", "epsilon=self.epsilon", "epsilon=0.001"),
    Mutant("layers/adaptive_anti_alias.py", "np.tile(np.log(", "np.repeat(np.log("),
    Mutant(
        "layers/adaptive_anti_alias.py",
        'dtype=keras.backend.result_type(self.compute_dtype, "float32")',
        "dtype=self.compute_dtype",
    ),
    Mutant(
        "layers/blur_pool2d.py",
        "size, kernels.border_of(self.kernel_size)",
        "size, ((0, 0), (0, 0))",
        "tests/layers/test_image_layer.py",
    ),
    Mutant("layers/max_blur_pool2d.py", "        kernel_size=3,", "        kernel_size=4,"),
    Mutant("layers/padding2d.py", "n + sum(pad)", "n + 2 * max(pad)", CONTRACT + "symbolic"),
    # Measures.
    Mutant(
        "diagnostics/arrays.py",
        "2 * border >= min(",
        "2 * border > min(",
        "tests/diagnostics/test_checkerboard.py",
    ),
    Mutant("diagnostics/checkerboard.py", "WINDOW_SPREAD = 9 / 4", "WINDOW_SPREAD = 3 / 2"),
    Mutant("diagnostics/checkerboard.py", "1: 15.0}", "1: 6.0}"),
    Mutant("diagnostics/checkerboard.py", "(y == 0, x == 0)", "(y == 0, y == 0)"),
    Mutant("diagnostics/flatness.py", "exact.var((1, 2)).mean(-1)", "exact.var((1, 2, 3))"),
    Mutant("diagnostics/overlap.py", "gains - gains.mean((0, 1))", "gains - gains.mean()"),
    Mutant("diagnostics/overlap.py", "tuple(k * s for", "tuple(k + s for"),
    Mutant("diagnostics/plots.py", "np.abs(result.shifts).max(1)", "np.abs(result.shifts).min(1)"),
    Mutant("diagnostics/shift.py", "right.any(0)", "right.all(0)"),
    Mutant("diagnostics/shift.py", "self.max_shift // step + 1", "self.max_shift // step"),
    Mutant("diagnostics/shift.py", "(-y, -x), (0, 1)", "(y, x), (0, 1)"),
]


def main(argv=None):
    """Tries the mutants, prints a row for each, and exits with 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", default="torch", help="tensorflow, jax or torch (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of files or texts")
    args = parser.parse_args(argv)
    mutants = [m for m in MUTANTS if any(part in "\n".join(m[:3]) for part in args.only)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        suites = dict.fromkeys(m.suite for m in mutants)
        broken = [suite for suite in suites if not passes(copy, suite, args.backend)]
        if broken:
            sys.exit(f"These fail before anything is broken: {', '.join(broken)}.")
        found = Counter(tried(copy, mutant, args.backend) for mutant in mutants)
    print(", ".join(f"{count} {what}" for what, count in sorted(found.items())))
    sys.exit(set(found) != {"caught"})


def tried(copy, mutant, backend):
    """Whether its suite catches `mutant` in the tree `copy`."""
    path, start = copy / "keras_cnnfix" / mutant.file, time.perf_counter()
    text = path.read_text()
    path.write_text(mutant.of(text))
    found = "SURVIVED" if passes(copy, mutant.suite, backend) else "caught"
    path.write_text(text)
    shown = " ".join(mutant.old.split())
    seconds = time.perf_counter() - start
    print(f"{found:8}  {seconds:4.0f} s  {mutant.file:30}  {shown:.60}", flush=True)
    return found


def passes(copy, suite, backend):
    """Whether the tests pass; what stops pytest from running them is an error."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [*command, *suite.split(" ", 2)], cwd=copy, env=environment, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        sys.exit(f"pytest {suite} could not be run:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


if __name__ == "__main__":
    main()
