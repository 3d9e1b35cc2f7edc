"""How much faster trained models become by `fix(model)`, whose rules change no answer.

    python -m benchmarks.repaired FOLDER [--batch 4] [--side 64]

For every `.keras` file of the folder in which a part is replaced: the time of `predict_on_batch`
before and after, called in turns, and by how much the answers differ, of the largest.
"""

import argparse
import functools
import warnings
from pathlib import Path

import keras
import numpy as np

from benchmarks.coverage import random_inputs
from benchmarks.timing import race
from keras_cnnfix import fix


def run(folder, batch, side):
    """Yields a row a model: name, parts, milliseconds before and after, largest difference."""
    for path in sorted(Path(folder).glob("*.keras")):
        model = keras.saving.load_model(path, compile=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fixed, report = fix(model)
        if report.changed:
            x = random_inputs(model, batch, side)
            calls = {
                name: functools.partial(network.predict_on_batch, x)
                for name, network in (("before", model), ("after", fixed))
            }
            before, after = (keras.tree.flatten(call())[0] for call in calls.values())
            difference = np.abs(after - before).max() / np.abs(before).max()
            yield path.stem, len(report.changed), race(calls), float(difference)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=64, help="of inputs of unknown size")
    options = parser.parse_args()
    print("| model | parts | before | after | faster | largest difference |")
    print("|---|---|---|---|---|---|")
    for name, parts, times, difference in run(options.folder, options.batch, options.side):
        before, after = times["before"], times["after"]
        print(
            f"| {name} | {parts} | {before:.1f} ms | {after:.1f} ms | {before / after:.2f} x "
            f"| {difference:.0e} |",
            flush=True,
        )
