"""Repairs a trained autoencoder: even phases for its checkerboard, distillation for what they cost.

Trains an autoencoder of handwritten digits with transposed convolutions, or takes a model of yours
of digits (N, 28, 28, 1) from 0 to 1; then `fix` makes its phases even, and `distill` teaches the
fixed one the old one's answers, without labels:

    KERAS_BACKEND=jax python examples/repair.py
    KERAS_BACKEND=jax python examples/repair.py --taps 3 4 5 --seed 1
    KERAS_BACKEND=jax python examples/repair.py --model autoencoder.keras

Sources:
    Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
    https://distill.pub/2016/deconv-checkerboard
    Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658 (even phases)
"""

from pathlib import Path
from typing import Any

from common import program

with program.imports("repair"):
    import keras
    import numpy as np
    from keras import layers

    from common import data, pictures
    from keras_cnnfix import distill, fix, load_model
    from keras_cnnfix.flats import answer_to_flats

HELD_OUT = 500  # digits


def autoencoder(taps):
    """Two strided convolutions, and as many transposed ones with a kernel of `taps` pixels."""
    x = image = keras.Input((28, 28, 1))
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(16, taps, 2, "same", activation="relu")(x)
    return keras.Model(image, layers.Conv2DTranspose(1, taps, 2, "same")(x))


def error(model, digits):
    """The mean squared error of what it makes of digits."""
    return float(np.square(model.predict(digits, verbose=0) - digits).mean())


def flats(model, digits):
    """What it makes of flat maps, of the codes of digits: the middle, without the border."""
    found: Any = answer_to_flats(model, digits[:8], "channels_last")
    answers, _ = found
    border = answers.shape[1] // 3
    return answers[:, border:-border, border:-border]


def grid(model, digits):
    """The energy of what is not flat in it."""
    return float(flats(model, digits).astype("float64").var((1, 2)).mean())


def repair(model, known, unseen, args):
    """Fixes and distills a model; returns the models by stage, and their figures."""
    fixed, report = fix(model, rules="upsampling")
    print(report)
    stages, figures = {"as it was": model, "fixed": fixed}, {}
    for name, stage in stages.items():
        figures[name] = {"error": error(stage, unseen), "grid": grid(stage, unseen)}
    distill(fixed, model, known, epochs=args.epochs, verbose=0)
    figures["distilled"] = {"error": error(fixed, unseen), "grid": grid(fixed, unseen)}
    return fixed, figures


def picture(models, unseen):
    """A row a model: what it makes of a flat map, stretched, and of three digits."""
    rows = []
    for model in models:
        middle = max(flats(model, unseen), key=np.var)[:28, :28]
        stretched = 0.5 + (middle - np.median(middle)) / max(float(np.ptp(middle)), 0.02)
        shown = [stretched, *model.predict(unseen[:3], verbose=0)]
        rows.append(np.concatenate(shown, axis=1))
    sheet = np.clip(np.concatenate(rows), 0, 1) * 255
    return pictures.enlarge(np.repeat(sheet.round().astype("uint8"), 3, axis=-1), 4)


def compare(args):
    """Trains, or loads; repairs; prints the table; writes models and picture; returns figures."""
    digits = data.digits(args.seed)[0][..., None].astype("float32") / 255
    known, unseen = digits[:-HELD_OUT], digits[-HELD_OUT:]
    figures = {}
    for taps in [None] if args.model else args.taps:
        name = args.model.stem if args.model else f"{taps} taps"
        if args.model:
            if not args.model.is_file():
                raise program.InputError(f"there is no file {args.model}")
            model = load_model(args.model, compile=False)
        else:
            keras.utils.set_random_seed(args.seed)
            model = autoencoder(taps)
            steps = args.training_epochs * -(-len(known) // 32)
            rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
            model.compile(keras.optimizers.Adam(rate), "mse")
            model.fit(known, known, epochs=args.training_epochs, verbose=0)
        fixed, figures[name] = repair(model, known, unseen, args)
        stem = name.replace(" ", "_")
        fixed.save(args.out / f"{stem}.keras")
        pictures.write(args.out / f"{stem}.png", picture([model, fixed], unseen))
    program.table(
        f"{HELD_OUT} digits that were not seen, and flat maps",
        ["model", "stage", "squared error", "energy of the grid"],
        [
            [name, stage, f"{row['error']:.5f}", f"{row['grid']:.1e}"]
            for name, stages in figures.items()
            for stage, row in stages.items()
        ],
    )
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("repair", __doc__)
    add = parser.add_argument
    add("--model", type=Path, help="an autoencoder of digits, in place of one that is trained")
    add("--taps", type=program.at_least(2), nargs="+", default=[3, 4], help="(%(default)s)")
    add("--training-epochs", type=program.at_least(1), default=10, help="(%(default)s)")
    add("--epochs", type=program.at_least(1), default=10, help="of distillation (%(default)s)")
    args = parser.parse_args(argv)
    if args.quick:
        args.taps, args.training_epochs, args.epochs = [3], 1, 1
    with program.one_line_errors("repair"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
