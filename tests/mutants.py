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
BACKEND, RESIZE_CONV = "tests/ops/test_backend.py", "tests/ops/test_resize_conv.py"
CONTRACT = "tests/layers/test_contract.py -k "
IMAGES = "tests/layers/test_image_layer.py"
MODELS = "tests/diagnostics/test_models_and_batches.py"
EXACT, NEAREST = "tests/rules/test_exact.py", "tests/rules/test_nearest.py"
RETRAIN, REPAIR = "tests/rules/test_retrain.py", "tests/test_repair.py"


class Mutant(NamedTuple):
    """`old`, which `file` of the package holds once, becomes `new`; `tests` must see it.

    `tests` are arguments of pytest; None is the file of the tests that mirrors `file`. `backend` is
    the one that runs what is broken; None is any.
    """

    file: str
    old: str
    new: str
    tests: str | None = None
    backend: str | None = None

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
    Mutant("checks.py", "and n < least", "and n <= least", "tests/ops/test_padding.py"),
    Mutant("checks.py", "Integral) and not isinstance(value, bool)", "Integral)"),
    Mutant("checks.py", "Fraction(str(value))", "Fraction(value)"),
    Mutant("checks.py", "(bool, np.bool_)", "(bool, np.bool_, int)"),
    Mutant("checks.py", "math.gcd(count, groups)", "min(count, groups)"),
    Mutant("checks.py", "isinstance(n, int) and n < 1", "isinstance(n, int) and n < 0"),
    Mutant("checks.py", "_is_real(value) or not minimum <=", "_is_real(value) or not minimum <"),
    # Initial values.
    Mutant("initializers.py", "ops.stack(copies, axis=-1)", "ops.stack(copies, axis=-2)"),
    Mutant(
        "initializers.py",
        "self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)",
        "self.initializer(shape, dtype=dtype)[..., : shape[-1] // phases]",
    ),
    Mutant("initializers.py", "np.arange(k) // s", "np.arange(k) % s"),
    Mutant("initializers.py", "kernel if whole else even(kernel, self.size)", "kernel"),
    Mutant("initializers.py", "even_start(drawn, *phases)", "drawn", "tests/test_constraints.py"),
    Mutant("constraints.py", "return even(w, *phases)", "return w"),
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
        'return "float32" if dtype in',
        "return dtype if dtype in",
        "tests/ops/test_blur.py",
    ),
    # Borders.
    Mutant("ops/padding.py", "_wrap(x, after, before, axis)", "_wrap(x, before, after, axis)"),
    Mutant("ops/padding.py", "[backend.last(x, 1, axis)]", "[backend.first(x, 1, axis)]"),
    Mutant("ops/padding.py", '"symmetric": _symmetric', '"symmetric": _edge'),
    # Fixed filters.
    Mutant("ops/blur.py", "kernels.box(n) for", "kernels.binomial(n) for"),
    Mutant(
        "ops/blur.py", "backend.last(backend.first(x, n, axis), before", "backend.first(x, before"
    ),
    Mutant(
        "ops/blur.py",
        "return _filter2d(x, taps, strides",
        "return _filter2d(x, taps[::-1], strides",
    ),
    Mutant("ops/blur.py", "at_least_float32(x), taps", "x, taps"),
    # Adaptive filters.
    Mutant("ops/adaptive.py", 'axes.index("taps")', 'axes.index("groups")'),
    Mutant("ops/adaptive.py", "tuple(t % stride for", "tuple(0 * t * stride for"),
    Mutant("ops/adaptive.py", "at_least_float32(logits)", "logits"),
    # Resizing and shuffling.
    Mutant("ops/resize.py", "(2 * i + 1) * n // (2", "2 * i * n // (2"),
    Mutant("ops/resize.py", "2 * phase + 1 + factor", "2 * phase + factor"),
    Mutant(
        "ops/resize.py",
        "n * part // factor.denominator",
        "-(-n * part // factor.denominator)",
    ),
    Mutant("ops/resize.py", "if nearest <= factor", "if True"),
    Mutant("ops/resize.py", "reversed(ends) if wrap else ends", "ends"),
    Mutant("ops/resize.py", "(j + n) % n if wrap else", ""),
    Mutant("ops/resize.py", "(pixel + reach * n) % n", "(pixel + reach) % n"),
    Mutant("ops/resize.py", "width = count.maximum(n, size)", "width = size"),
    Mutant("ops/resize.py", "1.5 * distance - 2.5", "1.25 * distance - 2.25"),
    Mutant("ops/resize.py", "    weight = weight / ops.sum(weight, axis=1, keepdims=True)\n", ""),
    Mutant(
        "ops/resize.py", "at_least_float32(copies) * weight", "copies * ops.cast(weight, x.dtype)"
    ),
    Mutant("ops/shuffle.py", '("y", "x", "c") if', '("x", "y", "c") if'),
    Mutant("ops/shuffle.py", 'else ("c", "y", "x")', 'else ("y", "c", "x")'),
    # Noise.
    Mutant("ops/noise.py", "reach = 3**0.5 * stddev", "reach = stddev"),
    Mutant("ops/noise.py", "stddev / blue.std()", "stddev"),
    Mutant("ops/noise.py", "[x + noise, x - noise]", "[x + noise, noise - x]"),
    Mutant("ops/noise.py", ": size[0], : size[1]", ": size[1], : size[0]"),
    # Resize and convolve: which form is taken, the border of the small image, the reflected ends.
    Mutant("ops/resize_conv.py", ' and interpolation != "bicubic"', ""),
    Mutant("ops/resize_conv.py", 'interpolation == "nearest" and groups == 1', "groups == 1"),
    Mutant("ops/resize_conv.py", "2 * channels >= enough", "channels >= enough"),
    Mutant("ops/resize_conv.py", "taps // 2 < 2 * factor", "taps // 2 <= 2 * factor"),
    Mutant("ops/resize_conv.py", "parts[tap::taps]", "parts[tap * groups : (tap + 1) * groups]"),
    Mutant("ops/resize_conv.py", "(k // 2 + s - 1) // s", "k // 2 // s"),
    Mutant("ops/resize_conv.py", '{"reflect": "symmetric"}', '{"reflect": "edge"}'),
    Mutant("ops/resize_conv.py", "max(pads) <= 1", "max(pads) <= 2"),
    Mutant("ops/resize_conv.py", "axis=0)[:, ::-1]", "axis=0)"),
    Mutant(
        "ops/resize_conv.py",
        "taps + factor - taps % 2, taps, -",
        "taps + factor - taps % 2, taps, taps % 2 - 1 - ",
    ),
    Mutant(
        "ops/resize_conv.py",
        "at_least_float32(ops.reshape(kernel",
        "(ops.reshape(kernel",
        None,
        "tensorflow",
    ),
    Mutant("ops/resize_conv.py", "reach - factor + 1)", "reach - factor)"),
    Mutant("ops/resize_conv.py", "lines[2] - lines[3]", "lines[3] - lines[2]"),
    Mutant("ops/resize_conv.py", "for m in (0, 1, n", "for m in (1, 0, n"),
    Mutant("ops/resize_conv.py", "taps[-end:][::-1]", "taps[-end:]"),
    Mutant("ops/resize_conv.py", "z in of_taps[start:]]", "z in of_taps[:end]]"),
    Mutant("ops/resize_conv.py", "few = multiplications <", "few = multiplications >"),
    Mutant("ops/backend/convolution.py", "end + strides[0])", "end)", RESIZE_CONV, "tensorflow"),
    Mutant("ops/resize_conv.py", '"reflect" if side == 0 else "symmetric"', '"reflect"'),
    Mutant("ops/phases.py", "(i + 0.5) / factor - 0.5", "i / factor", RESIZE_CONV),
    Mutant(
        "ops/phases.py",
        'left % n if padding == "wrap" else max(left, 0)',
        "max(left, 0)",
        RESIZE_CONV,
    ),
    Mutant(
        "ops/phases.py", "(before, after), mode=mode", "(after, before), mode=mode", RESIZE_CONV
    ),
    Mutant("ops/phases.py", "matrix[i % factor, i", "matrix[-1 - i % factor, i", RESIZE_CONV),
    Mutant("ops/phases.py", "max((m + 1 for m in odd", "max((m for m in odd", RESIZE_CONV),
    Mutant("ops/phases.py", "min((m for m in odd", "min((m + 1 for m in odd", RESIZE_CONV),
    Mutant("ops/phases.py", "len(sums.head) + offset", "offset", RESIZE_CONV),
    Mutant("ops/phases.py", "else position - n", "else position - n + 1", RESIZE_CONV),
    Mutant(
        "ops/phases.py",
        "max(len(sums.head) + len(sums.tail), *deepest, 1)",
        "max(*deepest, 1)",
        RESIZE_CONV,
    ),
    Mutant(
        "ops/phases.py", "position + 1 if position >= 0", "position if position >= 0", RESIZE_CONV
    ),
    # Around the backends.
    Mutant(
        "ops/backend/slices.py",
        "(count - 1) * stride + 1",
        "(count - 1) * stride",
        BACKEND + " -k taken",
    ),
    Mutant(
        "ops/backend/slices.py",
        "index_select(axis",
        "index_select(1",
        BACKEND + " -k take",
        "torch",
    ),
    Mutant(
        "ops/backend/slices.py",
        "size[axis] = start, count",
        "size[axis] = start, -1",
        BACKEND + " -k taken",
        "tensorflow",
    ),
    Mutant("ops/backend/slices.py", '"int32" if', '"int64" if', "tests/ops/test_resize.py", "jax"),
    Mutant(
        "ops/backend/padding.py",
        "end - ops.abs(end - ops.abs(",
        "end - ops.abs(end - (",
        "tests/export/test_saved_model.py",
        "jax",
    ),
    Mutant(
        "ops/backend/convolution.py",
        "min(start, end + s - 1)",
        "min(start, end)",
        BACKEND + " -k conv_transpose2d",
        "torch",
    ),
    Mutant(
        "ops/backend/convolution.py",
        "crop[1] - out[1]",
        "crop[0] - out[0]",
        BACKEND + " -k conv_transpose2d",
        "tensorflow",
    ),
    Mutant(
        "ops/backend/convolution.py",
        "one_channel and strides",
        "not one_channel and strides",
        BACKEND + " -k unequal",
    ),
    Mutant(
        "ops/backend/convolution.py",
        "np.outer(*taps)",
        "np.outer(*taps[::-1])",
        "tests/ops/test_blur.py",
    ),
    Mutant(
        "ops/backend/gradients.py",
        '{"training": False}',
        '{"training": True}',
        BACKEND + " -k inference",
    ),
    Mutant("ops/backend/gradients.py", "function.eval()", "function.train()", MODELS, "torch"),
    Mutant(
        "ops/backend/gradients.py",
        "part.training = mode",
        "part.training = modes[0]",
        MODELS,
        "torch",
    ),
    Mutant("ops/backend/gradients.py", "return x.to(weight)", "return x", MODELS, "torch"),
    Mutant("ops/backend/assertions.py", "isinstance(received, int)", "True", IMAGES, "tensorflow"),
    Mutant("ops/backend/assertions.py", "    x.set_shape(shape)\n", "", IMAGES, "tensorflow"),
    # Layers.
    Mutant(
        "layers/image_layer.py",
        "elif self.input_channels not in (None, channels)",
        "elif self.input_channels is None",
    ),
    Mutant("layers/image_layer.py", "        self.check_images(inputs)\n", ""),
    Mutant("layers/image_layer.py", "**kwargs)[:0]", "**kwargs)"),
    Mutant(
        "layers/image_layer.py",
        "_with_one_more(v) if _is_empty(v) else v",
        "v",
        "tests/layers/test_nib.py",
    ),
    Mutant("layers/conv_settings.py", "regularizer=self.kernel_regularizer", "regularizer=None"),
    Mutant("layers/conv_settings.py", "constraint=self.bias_constraint", "constraint=None"),
    Mutant("layers/resize_conv2d.py", "return self.activation(y)", "return y"),
    Mutant("layers/resize_conv2d.py", "if self.size != (2, 2):", "if False:"),
    Mutant(
        "layers/subpixel_conv.py",
        "depth_to_space(y, self.size, self.channel_order",
        'depth_to_space(y, self.size, "dcr"',
    ),
    Mutant("layers/subpixel_conv.py", '= ICNR("glorot_uniform"', '= ICNR("glorot_normal"'),
    Mutant("layers/subpixel_conv.py", "even_kernel, even_bias)", "even_kernel)"),
    Mutant("layers/nib.py", "] = 0.5", "] = 1.0"),
    Mutant("layers/nib.py", "min(channels, shape[-1] - 1)", "min(channels, shape[-1])"),
    Mutant("layers/nib.py", "kernels.sides(k)[0] for", "kernels.sides(k)[1] for"),
    Mutant("layers/nib.py", "trainable=False", "trainable=True"),
    Mutant(
        "layers/nib.py",
        '            "preserve_input": self.preserve_input,\n',
        "",
        IMAGES,
    ),
    Mutant("layers/adaptive_anti_alias.py", "momentum=self.momentum", "momentum=1 - self.momentum"),
    Mutant("layers/adaptive_anti_alias.py", "epsilon=self.epsilon", "epsilon=0.001"),
    Mutant("layers/adaptive_anti_alias.py", "np.tile(np.log(", "np.repeat(np.log("),
    Mutant(
        "layers/adaptive_anti_alias.py",
        "dtype=dtype_of_sums(self.compute_dtype)",
        "dtype=self.compute_dtype",
    ),
    Mutant(
        "layers/adaptive_anti_alias.py",
        "            trainable=self.trainable,\n",
        "",
        CONTRACT + "frozen",
    ),
    Mutant(
        "layers/blur_pool2d.py",
        "kernels.border_of(self.kernel_size), self.padding\n",
        "((0, 0), (0, 0)), self.padding\n",
        IMAGES,
    ),
    Mutant("layers/max_blur_pool2d.py", "kernel_size: IntOrPair = 3", "kernel_size: IntOrPair = 4"),
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
    Mutant("ops/even.py", "np.eye(len(phases)) - uneven", "np.eye(len(phases)) - 0.5 * uneven"),
    Mutant(
        "ops/even.py", "(taps % strides) @ (strides[1], 1)", "(taps // strides) @ (strides[1], 1)"
    ),
    Mutant("ops/even.py", "pixels - taps[:, None] * strides", "pixels + taps[:, None] * strides"),
    Mutant("ops/even.py", "[: 1 + 2 * order]", "[: 1 + order]"),
    Mutant("ops/even.py", "ops.sqrt(before / ops", "(before / ops"),
    Mutant("ops/even.py", 'if channel_order == "dcr" else "tcfp"', 'if channel_order else "tcfp"'),
    Mutant("ops/conv_transpose.py", "both // 2, both - both // 2", "both - both // 2, both // 2"),
    Mutant("ops/conv_transpose.py", "taps % 2 + added)", "added)"),
    Mutant("ops/conv_transpose.py", "(k - 1 - crop) // s for", "(k - 1 - crop) // s - 1 for"),
    Mutant("ops/conv_transpose.py", "crop + s * pad for", "crop + pad for"),
    Mutant("ops/conv_transpose.py", "ops.flip(kernel, (0, 1))", "kernel", None, "jax"),
    Mutant("ops/conv_transpose.py", "k // 2 - s // 2,", "k // 2 - (s - 1) // 2,", None, "jax"),
    Mutant(
        "ops/phases.py",
        "i % factor == factor // 2",
        "i % factor == 0",
        "tests/ops/test_conv_transpose.py",
        "jax",
    ),
    Mutant(
        "layers/even_conv2d_transpose.py",
        "even(ops.convert_to_tensor(self.kernel), self.strides, order=self.order)",
        "ops.convert_to_tensor(self.kernel)",
    ),
    Mutant("layers/even_conv2d_transpose.py", "- sum(crop)", "- 2 * crop[0]"),
    Mutant("layers/even_conv2d_transpose.py", "added >= s for", "added > s for"),
    Mutant("layers/subpixel_conv.py", "along(self._evened(self.bias)", "along((self.bias)"),
    Mutant("diagnostics/probes.py", "zip((1, 0), edges", "zip((0, 1), edges"),
    Mutant("diagnostics/probes.py", "[np.ones_like(y), y, x]", "[np.ones_like(y), y, y]"),
    Mutant("diagnostics/overlap.py", "gains - gains.mean((0, 1))", "gains - gains.mean()"),
    Mutant("diagnostics/overlap.py", "tuple(k * s for", "tuple(k + s for"),
    Mutant("diagnostics/period.py", "1: 10**1.5}", "1: 10**0.8}"),
    Mutant("diagnostics/period.py", "FROM = 1 / 2, 1 / 4", "FROM = 1 / 2, 1 / 2"),
    Mutant("diagnostics/period.py", "np.where(power >= near,", "np.where(power >= 0,"),
    Mutant("diagnostics/period.py", "-period[0] * period[1]", "period[0] * period[1]"),
    Mutant("diagnostics/period.py", "== period[1] % x)", "== period[0] % x)"),
    Mutant("diagnostics/plots.py", "np.abs(result.shifts).max(1)", "np.abs(result.shifts).min(1)"),
    Mutant("diagnostics/shift.py", "hits.any(0)", "hits.all(0)"),
    Mutant("diagnostics/shift.py", "integers(0, high + 1", "integers(0, high"),
    Mutant("diagnostics/shift.py", "(-y, -x), (0, 1)", "(y, x), (0, 1)"),
    # Rules, and what takes a model apart.
    Mutant("rules/upsampling_conv.py", "ops.flip(kernel, axis=(0, 1))", "kernel", EXACT),
    Mutant("rules/upsampling_conv.py", 'None = "zeros"', 'None = "edge"', EXACT),
    Mutant("rules/upsampling_conv.py", "k % 2 == 0 for k", "k % 2 == 2 for k", EXACT),
    Mutant("rules/upsampling_conv.py", 'conv.padding != "valid"', "not conv.padding", EXACT),
    Mutant("rules/upsampling_conv.py", "steps != {(1, 1)}", "not steps", EXACT),
    Mutant("rules/depth_to_space.py", "before.after is not site", "not before", EXACT),
    Mutant("rules/recognition.py", "if _equal(np.pad(x, widths, mode=name), y)", "if 1", EXACT),
    Mutant("rules/transposed_conv.py", '"ay,bx,yxoi->abio"', '"ay,bx,xyoi->abio"', NEAREST),
    Mutant("rules/transposed_conv.py", "pixel + before - u", "pixel - before + u", NEAREST),
    Mutant("rules/transposed_conv.py", "r + crop - stride * d\n", "r - stride * d\n", EXACT),
    Mutant("rules/transposed_conv.py", "2 * before + 1, 2 * after", "2 * before + 1", EXACT),
    Mutant("rules/transposed_conv.py", "k < s for", "k <= s for", NEAREST),
    Mutant("rules/transposed_conv.py", "large, taps, (0, 1)", "large, taps, (1, 0)", NEAREST),
    Mutant("rules/transposed_conv.py", "ridge = RIDGE", "ridge = 100", NEAREST),
    Mutant(
        "rules/depth_to_space.py", "range(-right, left + 1)", "range(-left, right + 1)", NEAREST
    ),
    Mutant("rules/depth_to_space.py", '"crd": ("fyx", "fYX")', '"crd": ("yxf", "YXf")', NEAREST),
    Mutant("rules/depth_to_space.py", "assign(layer.bias, even", "abs(even", NEAREST),
    Mutant("rules/strided_conv.py", "math.gcd(8, channels)", "1", RETRAIN),
    Mutant("rules/low_pass.py", 'if layer.padding == "same" else 0 for axis', "for axis", RETRAIN),
    Mutant("rules/low_pass.py", "sides(window)[0] - padded // 2", "sides(window)[0]", RETRAIN),
    Mutant("rules/low_pass.py", "n - a <= k // 2", "n - a < k // 2", RETRAIN),
    Mutant("rules/low_pass.py", "fits = k <= 2 and", "fits = k and", RETRAIN),
    Mutant("rules/pooling.py", "all(n and n % 2 == 0", "any(n and n % 2 == 0", RETRAIN),
    Mutant("rules/strided_conv.py", "[others[-1], *behind]", "[*behind, others[-1]]", RETRAIN),
    Mutant("rules/search.py", "replaced < calls", "replaced > calls", REPAIR),
    Mutant("rules/rule.py", "assign(layer.bias, bias)", "pass", EXACT),
    Mutant("repair.py", "not difference <= allowed * largest", "not largest", EXACT),
    Mutant("repair.py", "number / (number + 1)", "0", "tests/test_distill.py"),
    Mutant(
        "repair.py",
        "return super().call(inputs, training=False",
        "return super().call(inputs",
        "tests/test_distill.py",
    ),
    Mutant("graph.py", "not self.ends and", "", "tests/test_graph.py tests/rules/test_exact.py"),
    Mutant("graph.py", "new._inbound_nodes, new._outbound_nodes = [], []", "pass"),
    Mutant("graph.py", "(*(layer._flatten_layers() for layer in pair), strict=True)", "()"),
    Mutant("graph.py", "keras.ops.convert_to_numpy(value)", "value", REPAIR, "jax"),
    Mutant("flats.py", "a * b for a, b", "a for a, b", "tests/test_diagnosis.py"),
    Mutant("diagnosis.py", "if value < HALF_STEP:", "if value > HALF_STEP:"),
    Mutant("diagnosis.py", "if score.share < SHARE:", "if score.share > 2:"),
    Mutant("diagnosis.py", "1 - result.agreement,", "result.agreement,"),
    Mutant("diagnosis.py", "in found.refused]", "in ()]"),
    Mutant("files.py", "(is_config or packed)", "is_config", "tests/test_cli.py"),
    Mutant("files.py", 'inner.get("groups") == 1', 'inner.get("groups")'),
    Mutant("cli.py", "safe_mode=not unsafe", "safe_mode=False"),
    Mutant("cli.py", 'f.severity == "artifact"', 'f.severity == "none"'),
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
        runs = dict.fromkeys((m.suite, m.backend or args.backend) for m in mutants)
        broken = [run[0] for run in runs if not passes(copy, *run)]
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
    found = "SURVIVED" if passes(copy, mutant.suite, mutant.backend or backend) else "caught"
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
