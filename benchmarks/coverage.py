"""What `fix` finds in well-known networks: the table of docs/coverage.md.

    python -m benchmarks.coverage [FOLDER] --save FIXED
    KERAS_BACKEND=... python -m benchmarks.coverage --load FIXED

Networks of `keras.applications` with random weights, the small ones of the tests, and the `.keras`
files of a folder. Each is fixed with every group of rules; what is asserted on the way: exact rules
change the answers by less than 1e-5 of their largest, nothing fails, what is fixed with all rules
trains a step, and answers on another backend as it did where it was saved.
"""

import argparse
import collections
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_cnnfix import diagnose, fix, graph
from keras_cnnfix.rules import GROUPS, RULES

APPLICATIONS = (
    "ResNet50",
    "ResNet50V2",
    "MobileNetV2",
    "MobileNetV3Small",
    "EfficientNetV2B0",
    "DenseNet121",
    "InceptionV3",
    "VGG16",
    "Xception",
)


def networks(folder=None):
    """Yields names, and functions that make the network or load it."""
    for name in APPLICATIONS:
        yield name, lambda name=name: getattr(keras.applications, name)(weights=None)
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import networks as small

    for name in ("pix2pix", "dcgan", "style_decoder", "super_resolution", "everything"):
        yield name, lambda name=name: small.filled(getattr(small, name)())
    for path in sorted(Path(folder).glob("*.keras")) if folder else ():
        yield path.stem, lambda path=path: keras.saving.load_model(path, compile=False)


def random_inputs(model, batch=1, side=64):
    """Random inputs in the structure that a model takes, from 0 to 1."""
    rng = np.random.default_rng(0)

    def one(tensor):
        shape = [side if n is None else n for n in tensor.shape[1:]]
        return rng.random((batch, *shape)).astype("float32")

    return keras.tree.map_structure(one, graph.structure(model)[0])


def covered(model, saved):
    """By rule, how many parts are changed, and how many left for which reason; and how many
    artifacts and risks `diagnose` finds.

    Args:
        saved: Path without a suffix, to save the model to that all rules make; or None.

    Raises:
        RuntimeError: A rule fails, or what is exact changes the answers.
    """
    x = random_inputs(model)
    before = keras.tree.flatten(model.predict_on_batch(x))
    changed: collections.Counter = collections.Counter()
    left: dict = collections.defaultdict(collections.Counter)
    for group in GROUPS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fix: no rule matches")
            fixed, report = fix(model, rules=group)
        if report.failed:
            raise RuntimeError(f"{model.name}, {group}: {report.failed}")
        after = keras.tree.flatten(fixed.predict_on_batch(x))
        for old, new in zip(before, after, strict=True):
            if old.shape != new.shape or not np.isfinite(new).all():
                raise RuntimeError(f"{model.name}, {group}: {old.shape} became {new.shape}")
            if group == "exact" and np.abs(new - old).max() > 1e-5 * np.abs(old).max():
                raise RuntimeError(f"{model.name}: exact rules change {np.abs(new - old).max()}")
        if group == "exact":
            exact = collections.Counter(change.rule for change in report.changed)
    if saved is not None:
        fixed.save(saved.with_suffix(".keras"))
        np.savez(saved.with_suffix(".npz"), *keras.tree.flatten(x), *after)
    fixed.compile("sgd", ["mse"] * len(after))
    loss = fixed.train_on_batch(x, [0.5 * y for y in after])
    if not np.isfinite(loss).all():
        raise RuntimeError(f"{model.name}: a step of training has the loss {loss}")
    changed.update(change.rule for change in report.changed)
    for rule, count in exact.items():
        changed[rule] = max(changed[rule], count)
    for part in report.left:
        left[part.rule or "its own code"][part.reason] += 1
    found = collections.Counter(finding.severity for finding in diagnose(model).findings)
    return changed, left, found


def compare(folder):
    """Answers of the networks of a folder, and those that they gave where they were saved.

    Raises:
        RuntimeError: They differ by more than 1e-4 of the largest.
    """
    for path in sorted(folder.glob("*.keras")):
        model = keras.saving.load_model(path)
        with np.load(path.with_suffix(".npz")) as file:
            arrays = [file[name] for name in file.files]
        count = len(model.inputs)
        x = keras.tree.pack_sequence_as(graph.structure(model)[0], arrays[:count])
        answers = keras.tree.flatten(model.predict_on_batch(x))
        pairs = zip(arrays[count:], answers, strict=True)
        change = max(float(np.abs(new - old).max() / np.abs(old).max()) for old, new in pairs)
        print(f"{path.stem}: {change:.1e}", flush=True)
        if not change < 1e-4:
            raise RuntimeError(f"{path.stem}: {change} of its largest answer")
        keras.utils.clear_session()


def table(folder=None, saved=None):
    """The table as Markdown."""
    names = [rule.name for rule in RULES if rule.name in GROUPS["all"]]
    lines = [
        "| network | " + " | ".join(f"`{name}`" for name in names) + " | artifacts, risks | left |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for name, make in networks(folder):
        changed, left, found = covered(make(), saved and saved / name)
        reasons = "; ".join(
            f"`{rule}`: {count} x {reason}"
            for rule, of_rule in left.items()
            for reason, count in of_rule.items()
        )
        cells = [str(changed[rule] or "") for rule in names]
        lines.append(
            f"| {name} | "
            + " | ".join([*cells, f"{found['artifact']}, {found['risk']}", reasons])
            + " |"
        )
        print(lines[-1], flush=True)
        keras.utils.clear_session()
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="of .keras files, tried besides")
    parser.add_argument("--save", type=Path, metavar="FIXED", help="where to save what is made")
    parser.add_argument("--load", type=Path, metavar="FIXED", help="compare what was saved there")
    options = parser.parse_args()
    if options.load:
        compare(options.load)
    else:
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
        print(table(options.folder, options.save))
