"""Fast neural style transfer, and two grids: of the up-sampling, and of the loss network.

Trains one feed-forward style network seven times and draws the results next to each other:

- `transposed`: up-sampling with `Conv2DTranspose`, which draws a grid of period 4.
- `strided-loss`: `ResizeConv2D` instead. The loss network's strides still weigh the pixels of its
  input unevenly, so that its gradient has a grid.
- `even`, `even4`, `even4-ramp`: a transposed convolution with even phases, of 3 taps, of 4, and of
  4 with order 1.
- `resize`: the loss network sees crops at random offsets, so that each pixel gets each weight.
- `antialiased-loss`: no random crops, but a loss network that blurs before it subsamples.

The grid in the gradient goes with either cure. In the results most goes with the transposed
convolution; little is left, of which the edges of repeated pixels have their part.

    KERAS_BACKEND=jax python examples/style_transfer.py
    KERAS_BACKEND=jax python examples/style_transfer.py --networks resize --steps 2000 --devices 2
    KERAS_BACKEND=jax python examples/style_transfer.py --apply style_transfer/resize.keras me.jpg

A saved model maps RGB images, 0..255, of shape `(N, H, W, 3)` to images of the same kind and size,
on every backend. `H` and `W` must be multiples of 4; `restyle` takes care of that for any photo.

Sources:
    Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution, ECCV 2016. https://arxiv.org/abs/1603.08155
    Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016 (both grids).
    https://distill.pub/2016/deconv-checkerboard
"""

import time
from pathlib import Path

from common import program

with program.imports("style_transfer"):
    import keras
    import numpy as np
    from keras import layers, ops

    from common import data, devices, features, pictures, training
    from keras_cnnfix import EvenConv2DTranspose, Padding2D, ResizeConv2D
    from keras_cnnfix.diagnostics import checkerboard_score, input_gradient


def transposed(filters):
    return layers.Conv2DTranspose(filters, 3, strides=2, padding="same")


def even(taps, order=0):
    return lambda filters: EvenConv2DTranspose(filters, taps, 2, padding="same", order=order)


def resized(filters):
    return ResizeConv2D(filters, 3, size=2)


NETWORKS = {  # The up-sampling, the loss network, and whether it sees crops at random offsets.
    "transposed": (transposed, "strided", True),
    "even": (even(3), "strided", True),
    "even4": (even(4), "strided", True),
    "even4-ramp": (even(4, order=1), "strided", True),
    "strided-loss": (resized, "strided", False),
    "resize": (resized, "strided", True),
    "antialiased-loss": (resized, "antialiased", False),
}
FACTOR = 4  # Two up-samplings by 2.
LEAST = 16  # pixels: smaller pictures leave nothing to mirror in the middle of the network.
SHIFT = 8  # pixels: the product of the loss network's strides.
BATCH = 4
STYLE_WEIGHT = 5.0


def style_network(upsample, width=16, blocks=3):
    """Builds the network of Johnson et al.; `upsample(filters)` makes an up-sampling layer."""

    def conv(x, filters, kernel_size, strides=1):
        x = Padding2D(kernel_size // 2, mode="reflect")(x)
        return layers.Conv2D(filters, kernel_size, strides)(x)

    def norm(x):
        return layers.GroupNormalization(groups=-1)(x)  # A group per channel: instance norm.

    image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters, kernel_size, strides in ((width, 9, 1), (2 * width, 3, 2), (4 * width, 3, 2)):
        x = layers.ReLU()(norm(conv(x, filters, kernel_size, strides)))
    for _ in range(blocks):
        y = layers.ReLU()(norm(conv(x, 4 * width, 3)))
        x = layers.Add()([x, norm(conv(y, 4 * width, 3))])
    for filters in (2 * width, width):
        x = layers.ReLU()(norm(upsample(filters)(x)))
    x = layers.Activation("sigmoid")(conv(x, 3, 9))
    return keras.Model(image, layers.Rescaling(255.0)(x))


class PerceptualLoss(layers.Layer):
    """Adds the content and the style loss of `[photo, result]`, and passes `result` on.

    Content is the loss network's last map but one; style is the Gram matrix of every map.
    """

    def __init__(self, network, style, jitter):
        super().__init__()
        self.network, self.offsets = network, SHIFT if jitter else 1
        self.grams = [features.gram(maps) for maps in network(style[None].astype("float32"))]
        self.seed_generator = keras.random.SeedGenerator(0)

    def crop(self, images):
        y, x = ops.unstack(keras.random.randint((2,), 0, self.offsets, seed=self.seed_generator))
        n, height, width, channels = ops.shape(images)
        return ops.slice(images, (0, y, x, 0), (n, height - SHIFT, width - SHIFT, channels))

    def call(self, inputs):
        maps = self.network(self.crop(ops.concatenate(inputs)))
        photo, result = ops.split(maps[-2], 2)
        # Image by image: a mean over the batch stays the same when devices share it.
        error, energy = (ops.mean(ops.square(x), (1, 2, 3)) for x in (result - photo, photo))
        self.add_loss(ops.mean(error / energy))
        for of_both, target in zip(maps, self.grams, strict=True):
            error = ops.mean(ops.square(features.gram(ops.split(of_both, 2)[1]) - target))
            self.add_loss(STYLE_WEIGHT / len(maps) * error / ops.mean(ops.square(target)))
        return inputs[1]

    def compute_output_shape(self, input_shapes):
        return input_shapes[1]


def build_trainer(upsample, loss_network, style, jitter, args):
    """Returns a compiled model that trains on photos `(N, size, size, 3)`, and its network."""
    keras.utils.set_random_seed(args.seed)
    network = style_network(upsample)
    photo = keras.Input((args.size, args.size, 3))
    trainer = keras.Model(
        photo, PerceptualLoss(loss_network, style, jitter)([photo, network(photo)])
    )
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, args.steps)))
    return trainer, network


def crops(photos, size, rng):
    """Returns a batch of random crops of photos, float32, 0..255."""
    cut = [data.crop(photos[rng.integers(len(photos))], size, rng) for _ in range(BATCH)]
    return np.stack(cut).astype("float32")


def restyle(network, photo):
    """Restyles a photo `(H, W, 3)`, uint8, of any size from 16 pixels up."""
    height, width = photo.shape[:2]
    padded = np.pad(photo, ((0, -height % FACTOR), (0, -width % FACTOR), (0, 0)), mode="reflect")
    result = devices.predict(network, padded[None].astype("float32"))[0, :height, :width]
    return result.round().astype("uint8")


def gradient_grids(loss_networks, photos, args):
    """Scores the grid that each way to ask a loss network leaves in its gradient, and draws it.

    Returns:
        A dict from ways to scores of period 2 of the size of the gradient, of half the squares of
        all maps, summed over colours; and one from ways to pictures of it, in the middle of the
        crops, and their mean.
    """
    images = crops(photos, args.size, np.random.default_rng(args.seed))
    strided = loss_networks["strided"]

    def jittered(x):  # By 0 or 1 pixel, which is what a stride of 2 asks for.
        side = x.shape[1] - 1
        offsets = [(top, left) for top in (0, 1) for left in (0, 1)]
        return [strided(x[:, t : t + side, n : n + side]) for t, n in offsets]

    ways = {"strided": strided, "jitter": jittered}
    if "antialiased" in loss_networks:
        ways["anti-aliased"] = loss_networks["antialiased"]
    scores, drawn = {}, {}
    for name, way in ways.items():
        sizes = np.abs(input_gradient(way, images)).sum(-1, keepdims=True)
        scores[name] = checkerboard_score(sizes, 2, border=args.size // 8)
        middle = slice(args.size // 2 - 12, args.size // 2 + 12)
        size = sizes.mean(0)[middle, middle, 0]
        grey = (255 * (size / np.quantile(size, 0.98)).clip(0, 1)).astype("uint8")
        drawn[name] = pictures.enlarge(grey[..., None].repeat(3, axis=-1), 8)
    return scores, drawn


def compare(content, style, args):
    """Trains the networks, writes models and picture, prints and returns the figures."""
    loss_networks = {"strided": features.squeezenet()}
    if args.features == "vgg16":
        loss_networks["strided"] = features.vgg16()
    else:
        loss_networks["antialiased"] = features.squeezenet(antialias=True)
    shipped = data.photographs()
    photos = [shipped[p] for p in ("astronaut", "chelsea", "coffee", "rocket", "motorcycle")]
    scores, gradients = gradient_grids(loss_networks, photos, args)
    side = min(64, min(content.shape[:2]) // FACTOR * FACTOR)
    flat = pictures.flattest_window(content, side)
    zoom = max(1, round(content.shape[1] / side / 2))
    figures: dict = {"gradient": {name: score.share for name, score in scores.items()}}
    figures |= {"share": {}, "excess": {}, "steps": {}, "seconds": {}, "models": {}}
    full, enlarged = [], []
    rows = [[f"gradient, {name}", s.share, s.excess, ""] for name, s in scores.items()]
    rows.append(["content", *score(content[flat]), ""])
    for name in args.networks:
        upsample, kind, jitter = NETWORKS[name]
        print(f"Training {name}:")
        trainer, network = build_trainer(upsample, loss_networks[kind], style, jitter, args)
        start = time.perf_counter()
        done = training.fit(
            trainer, lambda rng: (crops(photos, args.size, rng),), args.steps, args, name
        )
        figures["steps"][name], figures["seconds"][name] = done, time.perf_counter() - start
        figures["models"][name] = str(args.out / f"{name}.keras")
        if devices.is_first():
            network.save(figures["models"][name])
        result = restyle(network, content)
        figures["share"][name], figures["excess"][name] = score(result[flat])
        rows.append([name, *score(result[flat]), figures["seconds"][name]])
        full.append((name, result))
        enlarged.append((f"{name}, x{zoom}", pictures.enlarge(result[flat], zoom)))
        if done < args.steps:
            print(f"Stopped after {done} of {args.steps} steps. What was trained so far is kept.")
            break
    else:
        training.finish(args)
    title = f"Grids: of period 2 in gradients, of 4 in a flat region of {side} x {side} pixels"
    program.table(title, ["", "share of the energy", "excess, dB", "seconds"], rows)
    figures["picture"] = str(args.out / "style_transfer.png")
    zoomed = [(f"gradient, {name}", drawn) for name, drawn in gradients.items()]
    sheet = [[("content", content), ("style", style)], full[:2], full[2:], enlarged, zoomed]
    pictures.write(figures["picture"], pictures.sheet([row for row in sheet if row]))
    print(f"Wrote {figures['picture']} and {', '.join(figures['models'].values())}.")
    return figures


def score(picture):
    """Returns the share and the excess (dB) of the grid of two up-samplings by 2."""
    found = checkerboard_score(picture, FACTOR)
    return found.share, found.excess


def parse(argv):
    parser = program.parser("style_transfer", __doc__)
    add = parser.add_argument
    add("--content", help="photo to restyle (default: a rocket, from scikit-image)")
    add("--style", help="picture with the style (default: assets/swirl.png)")
    add("--steps", type=program.at_least(1), default=300, help="training steps (%(default)s)")
    add("--size", type=int, default=128, help="side of the training crops, pixels (%(default)s)")
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    add("--features", choices=["squeezenet", "vgg16"], default="squeezenet", help="(%(default)s)")
    add("--apply", nargs=2, metavar=("MODEL", "PHOTO"), help="restyle a photo, train nothing")
    devices.add_option(parser)
    args = parser.parse_args(argv)
    if args.features == "vgg16":  # There is no anti-aliased one.
        args.networks = [name for name in args.networks if name != "antialiased-loss"]
    if args.quick:
        args.steps, args.size, args.networks = 6, 64, ["transposed", "resize"]
    if args.size % FACTOR or not 32 <= args.size <= 300:
        parser.error(f"--size must be a multiple of 4 from 32 to 300. Received: {args.size}.")
    return args


def load(path):
    """Loads a model that this program has saved, with whichever backend."""
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises ValueError, TypeError, KeyError and more.
        reason = str(error).split(". ")[0]
        raise program.InputError(f"{path} cannot be loaded as a .keras model: {reason}") from error


def main(argv=None):
    """Runs the program; returns its figures, or with `--apply` the picture's path."""
    args = parse(argv)
    with program.one_line_errors("style_transfer"):
        args.out.mkdir(parents=True, exist_ok=True)
        if args.apply:
            model, photo = args.apply
            return apply(model, photo, args.out)
        devices.check(args.devices, BATCH)
        figures = devices.in_processes(main, argv, args.devices)
        if figures is not None:
            return figures
        swirl = Path(__file__).parent / "assets" / "swirl.png"
        style = pictures.read(args.style or swirl, LEAST)
        own = pictures.read(args.content, LEAST) if args.content else None
        content = data.photographs()["rocket"] if own is None else own
        with devices.used(args.devices):
            return compare(content, style, args)


def apply(model, photo, out):
    """Restyles a photo with a saved model."""
    network, original = load(model), pictures.read(photo, LEAST)
    picture = out / f"{Path(photo).stem}_{Path(model).stem}.png"
    pictures.write(picture, restyle(network, original))
    print(f"Wrote {picture}.")
    return {"picture": str(picture)}


if __name__ == "__main__":
    main()
