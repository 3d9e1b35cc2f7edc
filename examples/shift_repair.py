"""Repairs a trained classifier that changes its mind when the image moves by a pixel.

Trains a classifier of handwritten digits with max pooling and strides; then `fix` puts a low-pass
before each, and the fixed one is trained for one more epoch. So is the old one, for comparison:

    KERAS_BACKEND=jax python examples/shift_repair.py
    KERAS_BACKEND=jax python examples/shift_repair.py --seed 1 --epochs 5

Sources:
    Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    https://arxiv.org/abs/1904.11486
"""

from common import program

with program.imports("shift_repair"):
    import keras
    from keras import layers

    from common import data
    from keras_cnnfix import fix
    from keras_cnnfix.diagnostics import shift_consistency

HELD_OUT = 1000  # digits
MAX_SHIFT = 4  # pixels


def classifier():
    """Two convolutions behind which pixels are left out, by a pooling and by strides."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, strides=2, padding="same"),
            # One epoch of few steps renews its statistics.
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def train(model, digits, labels, epochs, rate):
    """Trains a classifier, and returns it."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = epochs * -(-len(digits) // 32)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule), loss)
    model.fit(digits, labels, epochs=epochs, verbose=0)
    return model


def measured(model, digits, labels, seed):
    """Its accuracy, and how often it keeps its answer when the digit is rolled."""
    settings = {"max_shift": MAX_SHIFT, "wrap": True, "seed": seed}
    result = shift_consistency(model, digits, labels=labels, **settings)
    right = model.predict(digits, verbose=0).argmax(1) == labels
    return {"accuracy": float(right.mean()), "consistency": result.agreement}


def compare(args):
    """Trains, fixes, trains one more epoch; prints the table, writes the models."""
    digits, labels = data.digits(args.seed)
    digits = digits[..., None].astype("float32") / 255
    known, unseen = slice(args.first, -HELD_OUT), slice(-args.held_out, None)
    keras.utils.set_random_seed(args.seed)
    model = train(classifier(), digits[known], labels[known], args.epochs, 2e-3)
    fixed, report = fix(model, rules="downsampling")
    print(report)
    figures = {"as it was": measured(model, digits[unseen], labels[unseen], args.seed)}
    for name, network in {"one more epoch": model, "fixed, one more epoch": fixed}.items():
        train(network, digits[known], labels[known], 1, 8e-3)
        figures[name] = measured(network, digits[unseen], labels[unseen], args.seed)
    fixed.save(args.out / "fixed.keras")
    program.table(
        f"{args.held_out} digits that were not seen, rolled by up to {MAX_SHIFT} pixels",
        ["classifier", "accuracy", "consistency"],
        [
            [name, f"{row['accuracy']:.1%}", f"{row['consistency']:.1%}"]
            for name, row in figures.items()
        ],
    )
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("shift_repair", __doc__)
    parser.add_argument(
        "--epochs", type=program.at_least(1), default=5, help="of training (%(default)s)"
    )
    args = parser.parse_args(argv)
    args.first, args.held_out = 0, HELD_OUT
    if args.quick:
        args.epochs, args.first, args.held_out = 1, 2000, 200
    with program.one_line_errors("shift_repair"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
