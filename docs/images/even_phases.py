"""Draws `even_phases.png`: python docs/images/even_phases.py (needs the extra `plot`)."""

from pathlib import Path

import keras
import matplotlib
import numpy as np

from keras_cnnfix.ops.even import even

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TAPS, STRIDE, COLOURS = 6, 2, ("#4477aa", "#ee6677")
N = 12


def transposed(x, w):
    y = np.zeros((len(x) - 1) * STRIDE + TAPS)
    for m, value in enumerate(x):
        y[STRIDE * m : STRIDE * m + TAPS] += value * w
    return y[TAPS:-TAPS]


def main():
    drawn = np.random.default_rng(4).normal(0.4, 0.5, TAPS).astype("float32")
    kernels = {"as drawn": drawn}
    for order in (0, 1):
        kernel = even(drawn[:, None, None, None], (STRIDE, 1), order=order)
        kernels[f"even, order {order}"] = keras.ops.convert_to_numpy(kernel).ravel()
    inputs = {
        "a constant": np.ones(N),
        "a ramp": np.arange(N) / N,
        "an edge": (np.arange(N) >= N // 2).astype(float),
    }
    figure, axes = plt.subplots(
        3, 4, figsize=(11, 6), sharex="col", sharey="col", layout="constrained"
    )
    for row, (name, w) in zip(axes, kernels.items(), strict=True):
        colours = [COLOURS[t % STRIDE] for t in range(TAPS)]
        row[0].bar(range(TAPS), w, color=colours)
        row[0].axhline(0, color="black", linewidth=0.8)
        sums = " and ".join(f"{w[r::STRIDE].sum():.2f}" for r in range(STRIDE))
        row[0].set_title(f"{name}: sums {sums}", fontsize=9)
        for ax, (what, x) in zip(row[1:], inputs.items(), strict=True):
            y = transposed(x, w)
            pixels = np.arange(len(y))
            ax.plot(pixels, y, color="#bbbbbb", zorder=0)
            ax.scatter(pixels, y, c=[COLOURS[i % STRIDE] for i in pixels], s=14)
            ax.set_title(f"answer to {what}", fontsize=9)
    for ax, label in zip(axes[-1], ["tap", *["pixel of the result"] * 3], strict=True):
        ax.set_xlabel(label)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
