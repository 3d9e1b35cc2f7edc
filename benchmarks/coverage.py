"""What `fix` finds in well-known networks: the table of docs/coverage.md.

    python -m benchmarks.coverage [FOLDER]

Networks of `keras.applications` with random weights, the small ones of the tests, and the `.keras`
files of a folder. Each is fixed with every group of rules; what is asserted on the way: exact rules
change the answers by less than 1e-5 of their largest, and nothing fails.
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


def covered(model):
    """By rule, how many parts are changed, and how many left for which reason; and how many
    artifacts and risks `diagnose` finds.

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
    changed.update(change.rule for change in report.changed)
    for rule, count in exact.items():
        changed[rule] = max(changed[rule], count)
    for part in report.left:
        left[part.rule or "its own code"][part.reason] += 1
    found = collections.Counter(finding.severity for finding in diagnose(model).findings)
    return changed, left, found


def table(folder=None):
    """The table as Markdown."""
    names = [rule.name for rule in RULES if rule.name in GROUPS["all"]]
    lines = [
        "| network | " + " | ".join(f"`{name}`" for name in names) + " | artifacts, risks | left |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for name, make in networks(folder):
        changed, left, found = covered(make())
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
    print(table(parser.parse_args().folder))
