"""Does a classifier keep its answer when the image moves by a few pixels?

Trains one small network on handwritten digits, each pasted at a random place, and swaps nothing but
its down-sampling: strided convolution, max pooling, a blur in front of the stride, and a blur that
the network predicts for each position. Then asks about held-out digits twice, at two places:

    KERAS_BACKEND=jax python examples/shift_consistency.py
    KERAS_BACKEND=jax python examples/shift_consistency.py --seeds 1 --new-places

As the adaptive filters have weights of their own, there is also a blur network that is wider, with
as many weights. A network that gives one answer to everything is perfectly consistent: consistency
counts only from an accuracy of 0.8 up, and is also given for the pairs with a right answer.

Sources:
    Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    https://arxiv.org/abs/1904.11486 (blur, consistency)
    Zou et al., Delving Deeper into Anti-aliasing in ConvNets, BMVC 2020.
    https://arxiv.org/abs/2008.09604 (adaptive, consistency where at least one is right)
"""

import argparse
import time

from common import program

with program.imports("shift_consistency"):
    import keras
    import matplotlib  # noqa: F401  Only the last picture needs it: better missed at the start.
    import numpy as np
    from keras import layers

    from common import data, training
    from keras_cnnfix import AdaptiveAntiAlias, BlurPool2D
    from keras_cnnfix.diagnostics import (
        ShiftConsistency,
        plot_shift_consistency,
        shift_consistency,
    )

NARROW, WIDE = (8, 12, 16), (17, 25, 34)  # Channels of the three stages.
NETWORKS = {  # name: stride of the convolutions, what follows them, channels
    "strided convolution": (2, None, NARROW),
    "max pooling": (1, lambda: layers.MaxPooling2D(2), NARROW),
    "blur": (1, lambda: BlurPool2D(4), NARROW),
    "adaptive": (1, lambda: AdaptiveAntiAlias(4, groups=1), NARROW),
    "blur, wider": (1, lambda: BlurPool2D(4), WIDE),
}
LEAST_ACCURACY = 0.8
HELD_OUT = 1000  # digits
MARGIN = 6  # pixels of black around each digit of 28 x 28
MAX_SHIFT = 8  # pixels: leaves 32 x 32, which three strides divide, and 99.7 % of the ink.


def classifier(strides, pooling, channels):
    """Maps digits `(N, H, W, 1)`, 0..255, to the scores of ten classes `(N, 10)`."""
    x = image = keras.Input((None, None, 1))
    x = layers.Rescaling(1 / 255)(x)
    for filters in channels:
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        # Keras's momentum of 0.99 would lag behind so short a training.
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = pooling()(x) if pooling else x
    # The mean over all places forgets where they were: what still depends on it, the strides did.
    return keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def digits(seed):
    """Returns digits in the middle of `(N, 40, 40, 1)`, uint8, and their labels."""
    images, labels = data.digits(seed)
    around = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))
    return np.pad(images, around)[..., None], labels


def moved(images, places):
    """Cuts `(N, 32, 32, 1)`, float32, out of images; `places` `(N, 2)` are 0 to `MAX_SHIFT`."""
    side = images.shape[1] - MAX_SHIFT
    cuts = zip(images, places, strict=True)
    return np.stack([image[y : y + side, x : x + side] for image, (y, x) in cuts]).astype("float32")


def train(name, images, labels, args):
    """Returns a trained network, and whether the training reached its end."""
    keras.utils.set_random_seed(args.seed)
    model = classifier(*NETWORKS[name])
    size = 64 if args.digits == 4000 else 32  # Few digits make up for it by more steps.
    steps = args.epochs * len(images) // size
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    places = np.random.default_rng(args.seed).integers(0, MAX_SHIFT + 1, (len(images), 2))

    def batch(rng):
        chosen = rng.choice(len(images), size, replace=False)
        new = rng.integers(0, MAX_SHIFT + 1, (size, 2))
        where = new if args.new_places else places[chosen]
        return moved(images[chosen], where), labels[chosen]

    print(f"Training {name}, seed {args.seed}:")
    done = training.fit(model, batch, steps, args, name.replace(", ", "-").replace(" ", "-"))
    return model, done == steps


def summary(results, parameters=0, seconds=0.0):
    """Returns the mean figures of one network over its seeds, and their standard deviations.

    `counts` is whether its consistency says anything: whether every seed learned the digits.
    """
    figures = {"parameters": parameters, "seconds": seconds}
    for measure in ("accuracy", "agreement", "agreement_when_right"):
        values = [getattr(result, measure) for result in results]
        figures[measure], figures[f"{measure}_spread"] = (
            float(np.mean(values)),
            float(np.std(values)),
        )
        figures[f"{measure}_seeds"] = values
    figures["counts"] = bool(min(figures["accuracy_seeds"]) >= LEAST_ACCURACY)
    return figures


def pooled(results):
    """Joins the pairs of several `ShiftConsistency`, for one curve."""
    shifts, agree = ([getattr(r, name) for r in results] for name in ("shifts", "agree"))
    return ShiftConsistency(0.0, None, None, np.concatenate(shifts), np.concatenate(agree))


def report(figures):
    """Prints the table."""

    def cell(row, measure):
        told = f"{row[measure]:.3f} ± {row[f'{measure}_spread']:.3f}"
        return told if measure == "accuracy" or row["counts"] else f"({told})"

    measures = ("accuracy", "agreement", "agreement_when_right")
    rows = [
        [name, str(row["parameters"]), *(cell(row, m) for m in measures), f"{row['seconds']:.0f}"]
        for name, row in figures.items()
    ]
    columns = ["down-sampling", "weights", "accuracy", "consistency", "one right", "seconds"]
    program.table("Held-out digits at random places, mean ± deviation over seeds", columns, rows)
    if not all(row["counts"] for row in figures.values()):
        print(f"(In brackets: does not count, accuracy below {LEAST_ACCURACY}.)")


def compare(args):
    """Trains and measures every network with every seed; returns the figures."""
    images, labels = digits(args.seed)
    used, held_out = slice(HELD_OUT, HELD_OUT + args.digits), slice(80 if args.quick else HELD_OUT)
    results: dict = {name: [] for name in args.networks}
    cost: dict = dict.fromkeys(args.networks, (0, 0.0))
    runs = [argparse.Namespace(**{**vars(args), "seed": args.seed + n}) for n in range(args.seeds)]
    complete = True
    for run in runs:
        for name in args.networks if complete else ():
            start = time.perf_counter()
            model, complete = train(name, images[used], labels[used], run)
            if results[name] and not complete:
                break  # Half a training must not spoil the mean of whole ones.
            cost[name] = (model.count_params(), cost[name][1] + time.perf_counter() - start)
            test = images[held_out].astype("float32"), MAX_SHIFT, labels[held_out]
            results[name].append(shift_consistency(model, *test, batch_size=250, trials=3))
            if not complete:
                break
    results = {name: result for name, result in results.items() if result}
    figures: dict = {name: summary(result, *cost[name]) for name, result in results.items()}
    report(figures)
    if not complete:
        print("Stopped: of the seeds, those that were done count, or else what was trained so far.")
    picture = args.out / "shift_consistency.png"
    plot_shift_consistency({name: pooled(r) for name, r in results.items()}).savefig(
        picture, dpi=150
    )
    print(f"Wrote {picture}.")
    for run in runs if complete else ():
        training.finish(run)
    return {"networks": figures, "complete": complete, "picture": str(picture)}


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("shift_consistency", __doc__)
    add = parser.add_argument
    add("--seeds", type=program.at_least(1), help="trainings of each network (default: 3)")
    add("--epochs", type=program.at_least(1), help="passes over the digits (default: 16)")
    add("--digits", type=program.at_least(100), help="to train on, up to 4,000 (all)")
    add(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=list(NETWORKS),
        metavar="NAME",
        help=f"out of {', '.join(map(repr, NETWORKS))} (all)",
    )
    add("--new-places", action="store_true", help="move each digit anew whenever it is shown")
    args = parser.parse_args(argv)
    args.seeds = args.seeds or (1 if args.quick else 3)
    args.epochs = args.epochs or (1 if args.quick else 16)
    args.digits = min(args.digits or (320 if args.quick else 4000), 4000)
    with program.one_line_errors("shift_consistency"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
