"""Does a segmentation hold still when the image moves by a few pixels?

Trains one encoder-decoder to find handwritten digits on photographs, and swaps nothing but its
down-sampling: a plain stride, a blur in front of it, and a blur that the network predicts for each
position. Measures on digits and photographs that it has not seen how right it is (mIoU), and how
often a pixel keeps its class when everything is moved (mASSC):

    KERAS_BACKEND=jax python examples/segmentation.py
    KERAS_BACKEND=jax python examples/segmentation.py --plain max

19 pixels of 20 are background. A network that sees nothing else is nearly perfectly consistent:
mASSC counts only from an mIoU of 0.5 up.

Sources:
    Zou et al., Delving Deeper into Anti-aliasing in ConvNets, BMVC 2020.
    https://arxiv.org/abs/2008.09604 (adaptive, mASSC)
    Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    https://arxiv.org/abs/1904.11486 (blur)
    Ronneberger, Fischer, Brox, U-Net, MICCAI 2015. https://arxiv.org/abs/1505.04597
"""

import argparse
import time

from common import program

with program.imports("segmentation"):
    import keras
    import matplotlib
    import numpy as np
    from keras import layers
    from sklearn.metrics import jaccard_score

    from common import data, pictures, training
    from keras_cnnfix import AdaptiveAntiAlias, BlurPool2D, ResizeConv2D
    from keras_cnnfix.diagnostics import segmentation_shift_consistency

NETWORKS = {  # name: stride of the convolutions, what follows them
    "strided": (2, None),
    "max": (1, lambda: layers.MaxPooling2D(2)),
    "blur": (1, lambda: BlurPool2D(3)),
    "adaptive": (1, lambda: AdaptiveAntiAlias(3, groups=2)),
}
TRAINING = ("astronaut", "chelsea", "flower", "motorcycle")
HELD_OUT = ("china", "coffee", "rocket")
CLASSES = 11  # The background, and ten digits.
SIDE, MAX_SHIFT, DIGIT = 64, 8, 28  # pixels
BATCH, DIGIT_WEIGHT = 16, 6.0
LEAST_MIOU = 0.5
_TEN = matplotlib.colormaps["tab10"](np.arange(10), bytes=True)[:, :3]
COLOURS = np.concatenate([np.zeros((1, 3), "uint8"), _TEN])  # The background is black.


def segmenter(strides, pooling, channels=(8, 16, 32, 64)):
    """Maps images `(N, H, W, 3)`, 0..255, to scores `(N, H, W, 11)`; 8 divides `H` and `W`.

    A U-Net without its finest shortcut: all that it sees has been down-sampled at least once.
    """

    def block(x, make):
        # Keras's momentum of 0.99 would lag behind so short a training.
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(make(x)))

    def conv(x, filters, strides=1):
        return block(x, layers.Conv2D(filters, 3, strides, padding="same", use_bias=False))

    x = image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    *stages, deepest = channels
    shortcuts = []
    for filters in stages:
        x = conv(x, filters, strides)
        x = pooling()(x) if pooling else x
        shortcuts.append(x)
    x = conv(conv(x, deepest), deepest)
    for filters, shortcut in zip(stages[:0:-1], shortcuts[-2::-1], strict=True):
        x = block(x, ResizeConv2D(filters, 3, use_bias=False))
        x = conv(layers.Concatenate()([x, shortcut]), filters)
    return keras.Model(image, ResizeConv2D(CLASSES, 3)(x))


def scene(rng, side, digits, labels, photos):
    """Pastes up to six light digits on a darkened photograph.

    Returns the image `(side, side, 3)`, float32, 0..255, and its classes `(side, side)`, uint8.
    """
    image = data.crop(photos[rng.integers(len(photos))], side, rng) * np.float32(0.6)
    classes = np.zeros((side, side), "uint8")
    taken = np.zeros((side, side), bool)
    for _ in range(6):
        n = rng.integers(len(digits))
        y, x = rng.integers(side - DIGIT + 1, size=2)
        ink = taken[
            y + 4 : y + DIGIT - 4, x + 4 : x + DIGIT - 4
        ]  # MNIST leaves 4 pixels of margin.
        if ink.any():
            continue
        ink[:] = True
        window = np.s_[y : y + DIGIT, x : x + DIGIT]
        cover = digits[n][..., None] / np.float32(255)
        image[window] += cover * (rng.uniform(200, 255, 3) - image[window])
        classes[window][digits[n] > 127] = labels[n] + 1
    return image, classes


def scenes(rng, count, side, digits, labels, photos):
    """Returns `count` scenes: `(N, side, side, 3)`, and their classes `(N, side, side)`."""
    made = (scene(rng, side, digits, labels, photos) for _ in range(count))
    images, classes = zip(*made, strict=True)
    return np.stack(images), np.stack(classes)


def train(name, material, args):
    """Returns a trained network, and whether the training reached its end."""
    keras.utils.set_random_seed(args.seed)
    model = segmenter(*NETWORKS[name])
    rate = keras.optimizers.schedules.CosineDecay(4e-3, args.steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)

    def batch(rng):
        images, classes = scenes(rng, BATCH, SIDE, *material)
        # With equal weights the network takes long to leave the background.
        return images, classes, np.where(classes > 0, DIGIT_WEIGHT, 1.0).astype("float32")

    print(f"Training {name}, seed {args.seed}:")
    return model, training.fit(model, batch, args.steps, args, name) == args.steps


def predicted(model, images):
    """Returns the most likely class of each pixel, `(N, H, W)`."""
    return model.predict(images, batch_size=25, verbose=0).argmax(-1)


def measure(model, images, classes):
    """Returns mIoU and mASSC. Of scenes of 72 x 72 pixels, the network sees 64 x 64."""
    inner = slice(MAX_SHIFT // 2, MAX_SHIFT // 2 + SIDE)
    truth, answers = classes[:, inner, inner], predicted(model, images[:, inner, inner])
    # Over all pixels at once, as is usual, not scene by scene.
    miou = jaccard_score(truth.ravel(), answers.ravel(), average="macro")
    massc = segmentation_shift_consistency(model, images, MAX_SHIFT, trials=3, batch_size=25)
    return {"miou": float(miou), "massc": massc}


def draw(models, images, classes, path, shift=(3, 5)):
    """Draws scenes, truth, each network's answers at two places, and where the two differ."""
    (y, x), factor = shift, 2

    def panel(pixels):
        return pictures.enlarge(np.concatenate(list(pixels), axis=1), factor)

    shown = np.s_[:, y:SIDE, x:SIDE]
    rows = [
        [
            ("scenes", panel(images[shown].round().astype("uint8"))),
            ("truth", panel(COLOURS[classes[shown]])),
        ]
    ]
    for name, model in models.items():
        here = predicted(model, images[:, :SIDE, :SIDE])[shown]
        moved = predicted(model, images[:, y : y + SIDE, x : x + SIDE])[:, : SIDE - y, : SIDE - x]
        differs = np.repeat((here != moved)[..., None], 3, axis=-1) * np.uint8(255)
        caption = f"different: {np.mean(here != moved):.1%}"
        moved_by = f"moved by {y} and {x} pixels"
        rows.append(
            [
                (name, panel(COLOURS[here])),
                (moved_by, panel(COLOURS[moved])),
                (caption, panel(differs)),
            ]
        )
    pictures.write(path, pictures.sheet(rows))


def report(figures):
    """Adds means, deviations and `counts` to the figures of each network; prints the table."""
    rows = []
    for name, row in figures.items():
        for key in ("miou", "massc"):
            row[key] = float(np.mean(row[f"{key}_seeds"]))
            row[f"{key}_spread"] = float(np.std(row[f"{key}_seeds"]))
        row["counts"] = min(row["miou_seeds"]) >= LEAST_MIOU
        miou, massc = (f"{row[k]:.2%} ± {row[f'{k}_spread']:.2%}" for k in ("miou", "massc"))
        cells = [miou, massc if row["counts"] else f"({massc})"]
        rows.append([name, str(row["parameters"]), *cells, f"{row['seconds']:.0f}"])
    columns = ["down-sampling", "weights", "mIoU", "mASSC", "seconds"]
    program.table("Held-out digits and photographs, mean ± deviation over seeds", columns, rows)
    if not all(row["counts"] for row in figures.values()):
        print(f"(In brackets: does not count, mIoU below {LEAST_MIOU}.)")


def compare(args):
    """Trains and measures every network with every seed; returns the figures."""
    digits, labels = data.digits(args.seed)
    photos = data.photographs()
    material = digits[1000:], labels[1000:], [photos[name] for name in TRAINING]
    held_out = digits[:1000], labels[:1000], [photos[name] for name in HELD_OUT]
    rng = np.random.default_rng(args.seed)
    images, classes = scenes(rng, args.scenes, SIDE + MAX_SHIFT, *held_out)
    runs = [argparse.Namespace(**{**vars(args), "seed": args.seed + n}) for n in range(args.seeds)]
    figures: dict = {}
    models: dict = {}
    complete = True
    for run in runs:
        for name in (args.plain, "blur", "adaptive") if complete else ():
            start = time.perf_counter()
            model, complete = train(name, material, run)
            if name in figures and not complete:
                break  # Half a training must not spoil the mean of whole ones.
            models.setdefault(name, model)
            row = figures.setdefault(name, {"seconds": 0.0, "miou_seeds": [], "massc_seeds": []})
            row["parameters"] = model.count_params()
            row["seconds"] += time.perf_counter() - start
            for key, value in measure(model, images, classes).items():
                row[f"{key}_seeds"].append(value)
            if not complete:
                break
    report(figures)
    if not complete:
        print("Stopped: of the seeds, those that were done count, or else what was trained so far.")
    picture = args.out / "segmentation.png"
    draw(models, images[:3], classes[:3], picture)
    print(f"Wrote {picture}.")
    for run in runs if complete else ():
        training.finish(run)
    return {"networks": figures, "complete": complete, "picture": str(picture)}


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("segmentation", __doc__)
    add = parser.add_argument
    add("--plain", choices=["strided", "max"], default="strided", help="baseline (%(default)s)")
    add("--seeds", type=program.at_least(1), help="trainings of each network (default: 3)")
    add("--steps", type=program.at_least(1), help="of each training (default: 800)")
    args = parser.parse_args(argv)
    args.seeds = args.seeds or (1 if args.quick else 3)
    args.steps = args.steps or (3 if args.quick else 800)
    args.scenes = 6 if args.quick else 300
    with program.one_line_errors("segmentation"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
