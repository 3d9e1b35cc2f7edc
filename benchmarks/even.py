"""What even phases cost: `EvenConv2DTranspose` against `Conv2DTranspose`, on drawn shapes.

    python -m benchmarks --parts even

And against `ResizeConv2D` with as many taps, which has as many multiplications by the products.
"""

import statistics
from fractions import Fraction

import numpy as np
from keras import ops

from benchmarks.timing import race_steps
from keras_cnnfix.ops.conv_transpose import conv_transpose2d, crops_of
from keras_cnnfix.ops.even import even
from keras_cnnfix.ops.resize_conv import resize_conv2d
from keras_cnnfix.typing import DataFormat

MOST_MULTIPLICATIONS = 1e9


def cases(seed, count):
    """Yields `count` drawn cases: batch, side, channels, filters, taps, stride."""
    rng = np.random.default_rng(seed)
    while count:
        batch, side = int(rng.choice([1, 2, 4, 16, 32])), int(rng.integers(8, 129))
        channels = int(rng.choice([32, 48, 64, 96, 128, 192, 256, 384, 512]))
        filters = int(channels * rng.choice([0.5, 1]))
        taps, stride = int(rng.choice([3, 4, 5])), int(rng.choice([2, 3, 4]))
        multiplications = batch * side**2 * channels * filters * taps**2
        if taps >= stride and multiplications < MOST_MULTIPLICATIONS:
            count -= 1
            yield batch, side, channels, filters, taps, stride


def forms(taps, stride):
    """The competitors, as functions of images and a kernel (taps, taps, filters, C)."""
    strides, size = (stride, stride), (Fraction(stride),) * 2
    crops = crops_of((taps, taps), strides, "same", None)
    last: DataFormat = "channels_last"
    return {
        "ours": lambda x, w: conv_transpose2d(
            x, even(w, strides), None, strides, crops, "zeros", last
        ),
        "Conv2DTranspose": lambda x, w: ops.conv_transpose(x, w, strides, "same", data_format=last),
        "ResizeConv2D": lambda x, w: resize_conv2d(
            x, ops.swapaxes(w, 2, 3), None, size, None, "nearest", "zeros", 1, "auto", last
        ),
    }


def run(seed, count, rounds):
    """Times every case. Returns the times, and by step the ratios' median and worst."""
    figures = []
    for case in cases(seed, count):
        batch, side, channels, filters, taps, stride = case
        rng = np.random.default_rng(0)
        x, w = (
            ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
            for shape in ((batch, side, side, channels), (taps, taps, filters, channels))
        )
        row = {"case": case, **race_steps(forms(taps, stride), x, w, rounds)}
        figures.append(row)
        print(row, flush=True)
    return {
        "cases": figures,
        "ratios": {step: _ratios(figures, step) for step in ("forward", "gradient")},
    }


def _ratios(figures, step):
    found = {}
    for other in ("Conv2DTranspose", "ResizeConv2D"):
        values = [row[step]["ours"] / row[step][other] for row in figures]
        found[f"even over {other}"] = {"median": statistics.median(values), "worst": max(values)}
    return found
