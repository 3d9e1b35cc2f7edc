"""What `implementation="auto"` loses by its choice, on shapes that nothing was fitted to.

    python -m benchmarks --parts regret

Shapes are drawn at random. The time of the form that `auto` takes is divided by that of the fastest
form that exists, and by that of `Conv2DTranspose`; the time of the formula as it is written is
divided by it.
"""

import statistics
from fractions import Fraction

import numpy as np
from keras import ops

from benchmarks.single_layers import composite, plain
from benchmarks.timing import race_steps
from keras_cnnfix.ops import resize_conv

MOST_MULTIPLICATIONS = 1.5e9  # of the transposed convolution: about a tenth of a second
MOST_NUMBERS = 4e7  # of the resized image


def cases(seed, count):
    """Yields `count` drawn cases: batch, side, channels, filters, taps, size, border, format."""
    rng = np.random.default_rng(seed)
    while count:
        batch, side = int(rng.choice([1, 2, 4, 16, 32])), int(rng.integers(8, 129))
        channels = int(rng.choice([32, 48, 64, 96, 128, 192, 256, 384, 512]))
        filters = int(channels * rng.choice([0.5, 1]))
        taps, size = int(rng.choice([3, 5, 7])), int(rng.choice([2, 3, 4]))
        padding = str(rng.choice(["reflect", "zeros"]))
        data_format = str(rng.choice(["channels_last", "channels_first"]))
        pixels = batch * side**2
        multiplications = pixels * channels * filters * (taps + size - 1) ** 2
        if multiplications < MOST_MULTIPLICATIONS and pixels * size**2 * channels < MOST_NUMBERS:
            count -= 1
            yield batch, side, channels, filters, taps, size, padding, data_format


def forms(taps, size, padding, data_format):
    """The forms of the layer, and `Conv2DTranspose`, as functions of images and a kernel."""
    factors, settings = (size, size), (padding, 1, data_format)
    return {
        "plain": lambda x, w: resize_conv.plain(
            x, w, None, (Fraction(size),) * 2, None, "nearest", *settings
        ),
        "products": lambda x, w: resize_conv.products(x, w, None, factors, "nearest", *settings),
        "transposed": lambda x, w: resize_conv.transposed(
            x, w, None, factors, padding, data_format
        ),
        "UpSampling2D + pad + Conv2D": plain(size, taps, padding, data_format),
        "Conv2DTranspose": composite(size, taps, data_format),
    }


def run(seed, count, rounds):
    """Times every case. Returns the times, and by step the ratios."""
    figures = []
    for case in cases(seed, count):
        batch, side, channels, filters, taps, size, padding, data_format = case
        rng = np.random.default_rng(0)
        shape = (batch, side, side, channels)
        if data_format == "channels_first":
            shape = (batch, channels, side, side)
        kernel_shape = (taps, taps, channels, filters)
        x, w = (
            ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
            for shape in (shape, kernel_shape)
        )
        functions = forms(taps, size, padding, data_format)
        chosen = resize_conv.fastest_form(
            "auto", (batch, side, side), kernel_shape, (size, size), "nearest", padding, 1
        )
        row = {"case": case, "auto": chosen, **race_steps(functions, x, w, rounds)}
        figures.append(row)
        print(row, flush=True)
    return {
        "cases": figures,
        "ratios": {step: ratios(figures, step) for step in ("forward", "gradient")},
    }


def ratios(figures, step):
    """Median and worst over the cases, of `step`."""
    found: dict[str, list[float]] = {
        "auto over the best form": [],
        "auto over Conv2DTranspose": [],
        "plain over auto": [],
    }
    for row in figures:
        times = row[step]
        auto = times[row["auto"]]
        best = min(times[form] for form in ("plain", "products", "transposed") if form in times)
        found["auto over the best form"].append(auto / best)
        found["auto over Conv2DTranspose"].append(auto / times["Conv2DTranspose"])
        found["plain over auto"].append(times["UpSampling2D + pad + Conv2D"] / auto)
    return {
        name: {
            "median": statistics.median(values),
            "worst": min(values) if name.startswith("plain") else max(values),
        }
        for name, values in found.items()
    }
