"""Autoencoders whose decoders differ in their up-sampling alone, and what each makes of flats.

Trains a small autoencoder of handwritten digits with each up-sampling for the same number of steps,
then measures the error on digits that it has not seen, and which share of the decoder's answer to
constant codes is a grid:

    KERAS_BACKEND=jax python examples/autoencoder.py
    KERAS_BACKEND=jax python examples/autoencoder.py --upsampling transposed3 even3 --steps 3000

Sources:
    Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
    https://distill.pub/2016/deconv-checkerboard
    Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658 (even phases)
"""

import time

from common import program

with program.imports("autoencoder"):
    import keras
    import numpy as np
    from keras import layers

    from common import data, training
    from keras_cnnfix import EvenConv2DTranspose, ResizeConv2D
    from keras_cnnfix.diagnostics import constant_response

UPSAMPLING = {
    "transposed3": lambda filters: layers.Conv2DTranspose(filters, 3, 2, "same"),
    "even3": lambda filters: EvenConv2DTranspose(filters, 3, 2, "same"),
    "transposed4": lambda filters: layers.Conv2DTranspose(filters, 4, 2, "same"),
    "even4": lambda filters: EvenConv2DTranspose(filters, 4, 2, "same"),
    "even4-ramp": lambda filters: EvenConv2DTranspose(filters, 4, 2, "same", order=1),
    "resize": lambda filters: ResizeConv2D(filters),
}
BATCH = 32
HELD_OUT = 500  # digits


def autoencoder(name):
    """Builds an autoencoder of digits `(N, H, W, 1)`, 0..1, and its decoder; sides divide by 4."""
    x = image = keras.Input((None, None, 1))
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    encoder = keras.Model(image, layers.Conv2D(4, 3, padding="same")(x))
    x = code = keras.Input((None, None, 4))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.ReLU()(UPSAMPLING[name](16)(x))
    decoder = keras.Model(code, UPSAMPLING[name](1)(x))
    return keras.Model(image, decoder(encoder(image))), decoder


def compare(args):
    """Trains every autoencoder, prints the table, writes the models, returns the figures."""
    digits = data.digits(args.seed)[0][..., None].astype("float32") / 255
    known, unseen = digits[:-HELD_OUT], digits[-HELD_OUT:]
    figures: dict = {}
    for name in args.upsampling:
        print(f"Training with {name}:")
        keras.utils.set_random_seed(args.seed)
        network, decoder = autoencoder(name)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, args.steps)
        network.compile(keras.optimizers.Adam(rate), "mse")

        def make_batch(rng):
            batch = known[rng.integers(len(known), size=BATCH)]
            return batch, batch

        start = time.perf_counter()
        done = training.fit(network, make_batch, args.steps, args, name)
        results = network.predict(unseen, verbose=0)
        # Codes of the size that digits have: zero, and two of each sign.
        flats = constant_response(decoder, (16, 16, 4), (-2, -1, 0, 1, 2), border=12)
        figures[name] = {
            "error": float(np.square(results - unseen).mean()),
            "flats": float(flats.energy.mean()),
            "steps": done,
            "seconds": time.perf_counter() - start,
        }
        network.save(args.out / f"{name}.keras")
        if done < args.steps:
            break
    else:
        training.finish(args)
    program.table(
        f"{HELD_OUT} digits, and constant codes",
        ["up-sampling", "squared error", "answer to constants that is no constant", "seconds"],
        [
            [name, f"{row['error']:.5f}", f"{row['flats']:.4%}", f"{row['seconds']:.0f}"]
            for name, row in figures.items()
        ],
    )
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("autoencoder", __doc__)
    add = parser.add_argument
    add("--steps", type=program.at_least(1), default=1500, help="of training (%(default)s)")
    add("--upsampling", nargs="+", choices=UPSAMPLING, default=list(UPSAMPLING), metavar="NAME")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.upsampling = 20, ["transposed3", "even3"]
    with program.one_line_errors("autoencoder"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
