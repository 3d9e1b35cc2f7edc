"""Fast neural style transfer, with and without a checkerboard.

Trains one feed-forward style network twice, up-sampling with `Conv2DTranspose` and with
`ResizeConv2D`, everything else equal, and draws both results next to each other:

    KERAS_BACKEND=jax python examples/style_transfer.py
    KERAS_BACKEND=jax python examples/style_transfer.py --apply style_transfer/resize.keras me.jpg

A saved model maps RGB images, 0..255, of shape `(N, H, W, 3)` to images of the same kind and size,
on every backend. `H` and `W` must be multiples of 4; `restyle` takes care of that for any photo.

Source: Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer and
Super-Resolution, ECCV 2016. https://arxiv.org/abs/1603.08155
"""

import argparse
import time
from pathlib import Path

from common import program

with program.imports("style_transfer"):
    import keras
    import numpy as np
    from common import data, features, pictures, training
    from keras import layers, ops

    from keras_cnnfix import Padding2D, ResizeConv2D

UPSAMPLING = {
    "transposed": lambda filters: layers.Conv2DTranspose(filters, 3, strides=2, padding="same"),
    "resize": lambda filters: ResizeConv2D(filters, 3, size=2),
}
FACTOR = 4  # Two up-samplings by 2.
LEAST = 16  # pixels: smaller pictures leave nothing to mirror in the middle of the network.
SHIFT = 8  # pixels: the product of the loss network's strides.
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


def gram(maps):
    """Returns how strongly each two channels fire together: `(N, H, W, C)` to `(N, C, C)`."""
    _, height, width, channels = maps.shape
    maps = ops.reshape(maps, (-1, height * width, channels))
    return ops.matmul(ops.transpose(maps, (0, 2, 1)), maps) / (height * width)


class PerceptualLoss(layers.Layer):
    """Adds the content and the style loss of `[photo, result]`, and passes `result` on.

    Content is the loss network's last map but one; style is the Gram matrix of every map.
    """

    def __init__(self, network, style):
        super().__init__()
        self.network = network
        self.grams = [gram(maps) for maps in network(style[None])]
        self.seed_generator = keras.random.SeedGenerator()

    def crop(self, images):
        # Strides weight the loss network's input pixels unevenly, which draws a grid of its own
        # into the gradients. Cropped at random, each pixel gets each weight in turn.
        y, x = ops.unstack(keras.random.randint((2,), 0, SHIFT, seed=self.seed_generator))
        n, height, width, channels = ops.shape(images)
        return ops.slice(images, (0, y, x, 0), (n, height - SHIFT, width - SHIFT, channels))

    def call(self, inputs):
        maps = self.network(self.crop(ops.concatenate(inputs)))
        photo, result = ops.split(maps[-2], 2)
        self.add_loss(ops.mean(ops.square(result - photo)) / ops.mean(ops.square(photo)))
        for of_both, target in zip(maps, self.grams, strict=True):
            error = ops.mean(ops.square(gram(ops.split(of_both, 2)[1]) - target))
            self.add_loss(STYLE_WEIGHT / len(maps) * error / ops.mean(ops.square(target)))
        return inputs[1]

    def compute_output_shape(self, input_shapes):
        return input_shapes[1]


def train(network, loss_network, style, args, name):
    """Trains `network` in place; returns the number of steps done before the end or Ctrl-C."""
    shipped = data.photographs()
    photos = [shipped[p] for p in ("astronaut", "chelsea", "coffee", "rocket", "motorcycle")]

    def batch(rng):
        cut = [data.crop(photos[rng.integers(len(photos))], args.size, rng) for _ in range(4)]
        return (np.stack(cut).astype("float32"),)

    photo = keras.Input((args.size, args.size, 3))
    result = PerceptualLoss(loss_network, style)([photo, network(photo)])
    trainer = keras.Model(photo, result)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, args.steps)
    trainer.compile(keras.optimizers.Adam(rate))
    return training.fit(trainer, batch, args.steps, args, name)


def restyle(network, photo):
    """Restyles a photo `(H, W, 3)`, uint8, of any size from 16 pixels up."""
    height, width = photo.shape[:2]
    padded = np.pad(photo, ((0, -height % FACTOR), (0, -width % FACTOR), (0, 0)), mode="reflect")
    result = network.predict(padded[None].astype("float32"), verbose=0)[0, :height, :width]
    return result.round().astype("uint8")


def grid_share(picture):
    """Returns the share of spectral energy, without the mean, at the up-sampling frequencies.

    Whatever repeats with the lattice of two up-samplings by 2 lies in the bins (k H/4, l W/4) of
    the luminance's Fourier transform, and hardly anything else does. `H` and `W` are multiples
    of 4.
    """
    energy = np.abs(np.fft.fft2(pictures.luminance(picture))) ** 2
    energy[0, 0] = 0
    height, width = energy.shape
    peaks = energy[:: height // FACTOR, :: width // FACTOR]
    return float(peaks.sum() / max(energy.sum(), 1.0))  # One colour all over has no energy.


def compare(content, style, loss_network, args):
    """Trains the networks, writes models and picture, prints and returns the figures."""
    side = min(64, min(content.shape[:2]) // FACTOR * FACTOR)
    flat = pictures.flattest_window(content, side)
    zoom = max(1, content.shape[1] // side)
    figures: dict = {"steps": {}, "seconds": {}, "models": {}}
    full, enlarged = [], []
    for name in UPSAMPLING if args.upsampling == "both" else [args.upsampling]:
        print(f"Training with {name} up-sampling:")
        keras.utils.set_random_seed(args.seed)
        network = style_network(UPSAMPLING[name])
        start = time.perf_counter()
        done = train(network, loss_network, style, args, name)
        figures["steps"][name], figures["seconds"][name] = done, time.perf_counter() - start
        figures["models"][name] = str(args.out / f"{name}.keras")
        network.save(figures["models"][name])
        result = restyle(network, content)
        figures[name] = grid_share(result[flat])
        full.append((name, result))
        enlarged.append((f"{name}, flat region x{zoom}", pictures.enlarge(result[flat], zoom)))
        if done < args.steps:
            print(f"Stopped after {done} of {args.steps} steps. What was trained so far is kept.")
            break
    print(f"Energy at the up-sampling frequencies, in a flat region of {side} x {side} pixels:")
    print(f"  content     {grid_share(content[flat]):7.2%}")
    for name, _ in full:
        print(f"  {name:11} {figures[name]:7.2%}")
    figures["picture"] = str(args.out / "style_transfer.png")
    rows = [[("content", content), ("style", style)], full, enlarged]
    pictures.write(figures["picture"], pictures.sheet(rows))
    print(f"Wrote {figures['picture']} and {', '.join(figures['models'].values())}.")
    return figures


def parse(argv):
    parser = argparse.ArgumentParser(prog="style_transfer", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--content", help="photo to restyle (default: a rocket, from scikit-image)")
    add("--style", help="picture with the style (default: assets/swirl.png)")
    add("--steps", type=int, default=300, help="training steps (%(default)s)")
    add("--size", type=int, default=128, help="side of the training crops, pixels (%(default)s)")
    add("--out", type=Path, default="style_transfer", help="folder for the results (%(default)s)")
    add("--upsampling", choices=["both", *UPSAMPLING], default="both", help="(%(default)s)")
    add("--features", choices=["squeezenet", "vgg16"], default="squeezenet", help="(%(default)s)")
    add("--seed", type=int, default=0, help="of weights and crops (%(default)s)")
    add("--quick", action="store_true", help="6 steps at 64 pixels, only to see it run")
    add("--apply", nargs=2, metavar=("MODEL", "PHOTO"), help="restyle a photo, train nothing")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.size = 6, 64
    if args.steps < 1 or args.seed < 0:
        parser.error("--steps must be at least 1, and --seed at least 0.")
    if args.size % FACTOR or not 32 <= args.size <= 300:
        parser.error(f"--size must be a multiple of 4 from 32 to 300. Received: {args.size}.")
    return args


def load(path):
    """Loads a model that this program has saved, with whichever backend."""
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises ValueError, TypeError, KeyError and more.
        reason = str(error).split(". ")[0]
        raise ValueError(f"{path} cannot be loaded as a .keras model: {reason}") from error


def main(argv=None):
    """Runs the program; returns its figures, or with `--apply` the picture's path."""
    args = parse(argv)
    try:  # Whatever can be wrong with the inputs shows before the training.
        args.out.mkdir(parents=True, exist_ok=True)
        if args.apply:
            network, photo = load(args.apply[0]), pictures.read(args.apply[1], LEAST)
        else:
            content = (
                pictures.read(args.content, LEAST) if args.content else data.photographs()["rocket"]
            )
            swirl = Path(__file__).parent / "assets" / "swirl.png"
            style = pictures.read(args.style or swirl, LEAST)
            loss_network = getattr(features, args.features)()
    except (OSError, ValueError) as error:
        raise SystemExit(f"style_transfer: {error}") from error
    if not args.apply:
        return compare(content, style, loss_network, args)
    model, original = map(Path, args.apply)
    picture = args.out / f"{original.stem}_{model.stem}.png"
    pictures.write(picture, restyle(network, photo))
    print(f"Wrote {picture}.")
    return {"picture": str(picture)}


if __name__ == "__main__":
    main()
