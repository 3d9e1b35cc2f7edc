"""Times the layers against what is used today: `make bench`, or `python -m benchmarks --help`.

All competitors of a race have the same weights, and must give the same outputs and gradients
before they are timed, in turns, in one process.
"""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from keras import ops

from benchmarks import even, memory, models, regret, single_layers
from benchmarks.timing import ROUNDS, compiled, compiler, finish, gradient, race
from keras_cnnfix.ops import backend, resize_conv

TOLERANCE = 2e-5
# Of a layer at 8 images of 128 x 128 pixels, the gradient for the kernel sums 1e5 numbers in
# float32: 1e5 ** 0.5 * 6e-8 = 2e-5 for each of two competitors.
GRADIENT_TOLERANCE = 5e-5
DECODERS = [
    # stages, kernel size, size, batch, with batch normalization
    ("dcgan", 3, 2, 32, False),
    ("dcgan", 3, 2, 32, True),
    ("dcgan", 5, 2, 32, False),
    ("style transfer", 3, 2, 2, False),
    ("style transfer", 5, 2, 2, False),
    ("style transfer in one step", 3, 4, 2, False),
    ("latent decoder", 3, 2, 4, False),
    ("latent decoder", 5, 2, 4, False),
]
PARTS = ("decoders", "layers", "compiled", "regret", "even", "memory", "limit")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each race (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    arguments = parser.parse_args(argv)
    figures = {"machine": machine()}
    print(", ".join(f"{key}: {value}" for key, value in figures["machine"].items()))
    for part in arguments.parts:
        figures[part] = globals()[f"run_{part}"](arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def machine():
    """What the figures depend on."""
    name = keras.backend.backend()
    package = "tensorflow-cpu" if name == "tensorflow" else name
    return {
        "backend": f"{name} {version(package)}",
        "keras": keras.__version__,
        "python": platform.python_version(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
    }


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def run_decoders(rounds):
    """Whole decoders, through `predict_on_batch` and `train_on_batch`."""
    figures = {}
    for name, taps, size, batch, batch_norm in DECODERS:
        transposed = f"Conv2DTranspose({taps + size - 1}, {size})"
        title = f"{name}, size={size} kernel_size={taps}, batch {batch}" + (
            ", batch norm" if batch_norm else ""
        )
        options = {"kernel_size": taps, "size": size, "batch_norm": batch_norm}
        upsamplings = {
            "ours": models.resize_conv,
            "UpSampling2D + pad + Conv2D": models.plain,
            transposed: models.transposed,
        }
        _assert_equal_steps(models.STAGES[name], options, title)
        competitors = {
            competitor: models.decoder(models.STAGES[name], upsampling, **options)
            for competitor, upsampling in upsamplings.items()
        }
        images, targets = _batch(competitors["ours"], batch)
        for model in competitors.values():
            _set_equal_kernels(model, competitors["ours"], size)
            model.compile(keras.optimizers.SGD(1e-3), "mse")
        for step in ("predict", "train"):
            functions = {
                competitor: _step(model, step, images, targets)
                for competitor, model in competitors.items()
            }
            figures[f"{title}, {step}"] = race(functions, rounds)
            _show(f"{title}, {step}", figures[f"{title}, {step}"])
    return figures


def _step(model, step, images, targets):
    if step == "predict":
        return lambda: model.predict_on_batch(images)
    return lambda: model.train_on_batch(images, targets)


def _batch(model, batch):
    rng = np.random.default_rng(0)
    shapes = (model.input_shape, model.output_shape)
    return [rng.normal(size=(batch, *shape[1:])).astype("float32") for shape in shapes]


def _kernels(model):
    return [layer for layer in model.layers if getattr(layer, "kernel", None) is not None]


def _set_equal_kernels(model, source, size):
    for layer, other in zip(_kernels(model), _kernels(source), strict=True):
        kernel = ops.convert_to_numpy(other.kernel)
        if isinstance(layer, keras.layers.Conv2DTranspose):
            kernel = models.composite_kernel(kernel, size)
        layer.kernel.assign(kernel)


def _assert_equal_steps(stages, options, title):
    """The same outputs, and after a step of gradient descent the same change of the kernels.

    Without the kink of a ReLU, where rounding decides over whole gradients. The transposed
    convolution has zeros as its border: it must equal ours with zeros.
    """
    size, taps = options["size"], options["kernel_size"]
    for padding, upsampling in (("reflect", models.plain), ("zeros", models.transposed)):
        pair = [
            models.decoder(
                stages, models.resize_conv, padding=padding, activation="tanh", **options
            ),
            models.decoder(stages, upsampling, activation="tanh", **options),
        ]
        images, targets = _batch(pair[0], 2)
        _set_equal_kernels(pair[1], pair[0], size)
        answers = [model.predict_on_batch(images) for model in pair]
        _assert_close(answers[0], answers[1], title)
        steps = []
        for model in pair:
            # So large a step that the kernels before it do not matter for its precision.
            model.compile(keras.optimizers.SGD(1e6), "mse")
            before = [ops.convert_to_numpy(layer.kernel).copy() for layer in _kernels(model)]
            model.train_on_batch(images, targets)
            after = [ops.convert_to_numpy(layer.kernel) for layer in _kernels(model)]
            steps.append([new - old for old, new in zip(before, after, strict=True)])
        for ours, other in zip(*steps, strict=True):
            if ours.shape != other.shape:
                other = models.pulled_back(other, taps, size)
            _assert_close(ours, other, title)


def _assert_close(actual, expected, title, tolerance=TOLERANCE):
    worst, scale = np.abs(actual - expected).max(), np.abs(expected).max()
    if not worst <= tolerance * scale:
        raise AssertionError(f"{title}: the competitors differ by {worst:.2g} of {scale:.2g}")


def run_layers(rounds):
    """Single layers: forward, and the gradient with respect to the images and the kernel."""
    figures = {}
    for title, (competitors, image_shape, kernel_shape) in single_layers.races().items():
        rng = np.random.default_rng(0)
        x = ops.convert_to_tensor(rng.normal(size=image_shape).astype("float32"))
        scale = np.prod(kernel_shape[:3]) ** -0.5
        w = ops.convert_to_tensor((scale * rng.normal(size=kernel_shape)).astype("float32"))
        steps = (("forward", compiled, TOLERANCE), ("gradient", gradient, GRADIENT_TOLERANCE))
        for step, wrap, tolerance in steps:
            functions = {name: wrap(function) for name, function in competitors.items()}
            results = {
                name: _arrays(function(x, w))
                for name, function in functions.items()
                if not name.startswith(single_layers.INCOMPARABLE)
            }
            for result in results.values():
                for a, b in zip(result, results["ours"], strict=True):
                    _assert_close(b, a, title, tolerance)
            calls = {name: _call(function, x, w) for name, function in functions.items()}
            figures[f"{title}, {step}"] = race(calls, rounds)
            _show(f"{title}, {step}", figures[f"{title}, {step}"])
    return figures


def run_compiled(rounds):
    """`ResizeConv2D` under XLA or Inductor, after another image size."""
    rng = np.random.default_rng(0)
    before, x = (
        ops.convert_to_tensor(rng.normal(size=(8, side, side, 128)).astype("float32"))
        for side in (28, 32)
    )
    w = ops.convert_to_tensor(rng.normal(size=(3, 3, 128, 64)).astype("float32"))
    functions = {
        "ours": compiler(single_layers.resize_conv2d(2, 3)),
        "UpSampling2D + pad + Conv2D": compiler(single_layers.plain(2, 3)),
        "Conv2DTranspose(4, 2)": compiler(single_layers.composite(2, 3)),
    }
    for function in functions.values():
        finish(function(before, w))
    title = "ResizeConv2D size=2 kernel_size=3, 32x32x128, batch 8, compiled"
    times = race({name: _call(function, x, w) for name, function in functions.items()}, rounds)
    _show(title, times)
    return {title: times}


def run_regret(rounds):
    """What the choice of the form loses, on drawn shapes."""
    return _drawn(regret.run(seed=1, count=40, rounds=rounds))


def run_even(rounds):
    """What even phases cost, on drawn shapes."""
    return _drawn(even.run(seed=1, count=40, rounds=rounds))


def _drawn(found):
    print(json.dumps(found["ratios"], indent=1))
    return found


def _call(function, x, w):
    return lambda: function(x, w)


def _arrays(result):
    tensors = result if isinstance(result, (list, tuple)) else [result]
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def run_memory(rounds):
    """Peak memory of a training step of the DCGAN decoder at batch 128."""
    found = memory.peaks("dcgan", ["resize_conv", "plain", "transposed"], 128)
    named = {
        "ours": found["resize_conv"],
        "UpSampling2D + pad + Conv2D": found["plain"],
        "Conv2DTranspose(4, 2)": found["transposed"],
    }
    _show("dcgan, kernel_size=3, batch 128, training: memory", named, "MiB")
    return named


def run_limit(rounds):
    """How near the forms are to what the machine can multiply: the dense convolution is the mark.

    Multiplications a second of a 3x3 convolution of the small image, and what each form of the
    layer would need at that rate.
    """
    figures = {}
    for n, side, channels, filters in ((32, 8, 256, 128), (8, 32, 128, 64), (8, 64, 64, 32)):
        rng = np.random.default_rng(0)
        x = ops.convert_to_tensor(rng.normal(size=(n, side, side, channels)).astype("float32"))
        w = ops.convert_to_tensor(rng.normal(size=(3, 3, channels, filters)).astype("float32"))
        dense = ops.convert_to_tensor(
            rng.normal(size=(3, 3, channels, 4 * filters)).astype("float32")
        )
        size = ((2, 2), "nearest", "reflect", 1, "channels_last")
        functions = {
            "dense": compiled(lambda x, w: backend.conv2d(x, w, (1, 1), 1, "channels_last")),
            "plain": compiled(
                lambda x, w, s=size: resize_conv.plain(x, w, None, s[0], None, *s[1:])
            ),
            "transposed": compiled(
                lambda x, w, s=size: resize_conv.transposed(x, w, None, s[0], s[2], s[4])
            ),
            "products": compiled(lambda x, w, s=size: resize_conv.products(x, w, None, *s)),
        }
        calls = {
            name: _call(function, x, dense if name == "dense" else w)
            for name, function in functions.items()
        }
        times = race(calls, rounds)
        per_pixel = n * side**2 * channels * filters
        counts = {"plain": 36 * per_pixel, "transposed": 16 * per_pixel, "products": 9 * per_pixel}
        rate = 36 * n * (side - 2) ** 2 * channels * filters / times.pop("dense")  # a millisecond
        title = f"size=2 kernel_size=3, {side}x{side}x{channels}, batch {n}"
        figures[title] = {
            "multiplications per second of a dense convolution, 1e9": rate / 1e6,
            **{form: {"ms": ms, "limit ms": counts[form] / rate} for form, ms in times.items()},
        }
        print(f"\n{title}: a dense convolution makes {rate / 1e6:.0f}e9 multiplications a second")
        for form, ms in times.items():
            limit = counts[form] / rate
            print(f"    {form:12s} {ms:8.2f} ms   limit {limit:8.2f} ms   {limit / ms:4.0%} of it")
    return figures


def _show(title, values, unit="ms"):
    ours = values["ours"]
    print(f"\n{title}", flush=True)
    for name, value in values.items():
        print(f"    {name:30s} {value:9.2f} {unit}   {value / ours:6.2f} x ours", flush=True)


if __name__ == "__main__":
    main()
