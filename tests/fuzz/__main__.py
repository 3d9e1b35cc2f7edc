"""Tries thousands of configurations of each layer, on the backend that Keras is told to use.

    make fuzz                                        # 2,000 a layer on every backend
    KERAS_BACKEND=jax PYTHONPATH=tests python -m fuzz --only NIB --examples 500 --seed 3

They are drawn a hundred at a time, each hundred from a seed of its own. What was done is written to
`--state`, and a second call with the same seed goes on where the first one stopped.
"""

import argparse
import json
import sys
from pathlib import Path

import hypothesis
import keras
from hypothesis import HealthCheck, Phase

from fuzz.configurations import LAYERS, configurations
from fuzz.properties import holds

HUNDRED = 100
# Failures are made small, and the first of them is enough of a hundred.
HOW = hypothesis.settings(
    max_examples=HUNDRED,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000, help="a layer (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="LAYER", help="layers; all if not given")
    parser.add_argument("--state", type=Path, help="default: out/fuzz-<backend>.json")
    args = parser.parse_args()
    backend = keras.backend.backend()
    path = args.state or Path("out") / f"fuzz-{backend}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = json.loads(path.read_text()) if path.exists() else {}
    if state.get("seed") != args.seed:
        state = {"seed": args.seed}
    failed = 0
    for layer in LAYERS:
        name = layer.__name__
        if args.only and name not in args.only:
            continue
        done = state.setdefault(name, {"tried": 0, "failed": []})
        while done["tried"] < args.examples:
            if error := failure(layer, args.seed * 10**6 + done["tried"]):
                done["failed"].append(error)
                print(f"{name}: {error}", flush=True)
            done["tried"] += HUNDRED
            path.write_text(json.dumps(state, indent=1))
            keras.backend.clear_session()
        failed += len(done["failed"])
        print(
            f"{backend}: {name}: {done['tried']} tried, {len(done['failed'])} failures", flush=True
        )
    sys.exit(bool(failed))


def failure(layer, seed):
    """What breaks for one of the hundred configurations of `layer` from `seed`, or None."""
    test = hypothesis.seed(seed)(HOW(hypothesis.given(configurations(layer))(holds)))
    try:
        test()
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"seed {seed}: {type(error).__name__}: {error}\n{notes}"
    return None


if __name__ == "__main__":
    main()
