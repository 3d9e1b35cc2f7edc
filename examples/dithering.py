"""Halftoning photographs with a convolutional network, with and without a noise incentive block.

A halftone has only black and white pixels, and on average the grey of the photograph. Trains one
halftoning network twice, with `NIB` in front and without, and compares what they make of held-out
photographs and of flat grey, next to three dithers that need no training:

    KERAS_BACKEND=jax python examples/dithering.py
    KERAS_BACKEND=jax python examples/dithering.py --photo me.jpg
    KERAS_BACKEND=jax python examples/dithering.py --reversible

Without noise every pixel of a flat field sees the same, and so all become black or all white: no
training can mend that. Noise breaks the tie. The network then learns where dots belong, but not so
well as the old dithers know: Floyd and Steinberg's, and void and cluster, remain the better ones. A
network can do more, however: with `--reversible` it hides the colours of the photograph in the
arrangement of the dots, and a second network restores them.

Networks map RGB photographs, 0..1, `(N, H, W, 3)`, to halftones `(N, H, W, 1)` of zeros and ones.
What is held against the photograph is its luminance, as it is stored (gamma-coded).

Low frequencies are those below half of a dither's principal frequency, which is
`min(sqrt(g), sqrt(1 - g), 1/2)` cycles a pixel for the grey level `g`: the inverse of the distance
of its dots, or of its holes. A good dither has little power there, which is what the eye sees.

Sources:
    Xia et al. 2020, https://arxiv.org/abs/2012.12109; Xia et al., Deep Halftoning with Reversible
    Binary Pattern, ICCV 2021 (noise incentive block, reversible halftones)
    Bengio, Leonard, Courville 2013, https://arxiv.org/abs/1308.3432 (straight-through gradients)
    Analoui, Allebach, Model-based halftoning using direct binary search, 1992 (cost of a flip)
    Lau, Arce, Modern Digital Halftoning, 2001 (principal frequency)
"""

import contextlib
import functools
import time

from common import program

with program.imports("dithering"):
    import keras
    import numpy as np
    from keras import layers, ops
    from PIL import Image
    from skimage.metrics import peak_signal_noise_ratio

    from common import data, pictures, training
    from keras_cnnfix import NIB, AdaptiveAntiAlias, Padding2D, ResizeConv2D
    from keras_cnnfix.diagnostics import constant_response

LUMA = np.array([0.299, 0.587, 0.114], "float32")  # Rec. 601
LEVELS = tuple(np.arange(1, 10) / 10)
NETWORKS = ("NIB", "no NIB")
HELD_OUT = ("chelsea", "coffee", "flower")
SIZE = (288, 432)  # pixels, of what is taken from their middle
SIDE = 32  # pixels, of a training crop
WINDOW = 32  # pixels, over which the mean of a halftone must be the photograph's
QUICK_STEPS = 5
FLAT = 192  # pixels a side, of the fields of one grey
LEAST = 64  # pixels a side of a photograph
SIGMAS = {0.8: 1.0, 1.8: 2.0}  # pixels: weight, of the two Gaussians that stand for the eye
PEAK_WEIGHT = 0.01
COLOUR_WEIGHT = 200.0


def conv(x, filters, kernel_size=3):
    """A convolution that mirrors the border: zeros would tell it from the middle."""
    return layers.Conv2D(filters, kernel_size)(Padding2D(kernel_size // 2)(x))


def residual(x, filters):
    y = conv(layers.ReLU()(conv(x, filters)), filters)
    return layers.ReLU()(layers.Add()([x, y]))


def halftoner(noise, width=16, blocks=3):
    """Builds the halftoning network: RGB `(N, H, W, 3)`, 0..1, to zeros and ones `(N, H, W, 1)`."""
    photo = keras.Input((None, None, 3))
    x = layers.Rescaling(2.0, offset=-1.0)(photo)  # Black and white are equally far from 0.
    x = NIB(width, stddev=0.6, activation="relu")(x) if noise else layers.ReLU()(conv(x, width))
    for _ in range(blocks):
        x = residual(x, width)
    return keras.Model(photo, Threshold()(layers.Activation("sigmoid")(conv(x, 1))))


def restorer(width=32):
    """Builds the network that restores `(N, H, W, 3)` from `(N, H, W, 1)`; `H`, `W` are even."""
    halftone = keras.Input((None, None, 1))
    fine = layers.ReLU()(conv(halftone, width // 2, 5))
    x = layers.ReLU()(conv(AdaptiveAntiAlias()(fine), width))
    x = residual(residual(x, width), width)
    x = layers.Concatenate()([fine, ResizeConv2D(width // 2, activation="relu")(x)])
    return keras.Model(halftone, layers.Activation("sigmoid")(conv(x, 3)))


@keras.saving.register_keras_serializable("dithering")
class Threshold(layers.Layer):
    """Makes ones of what is above 1/2, zeros of the rest, and hands the gradient straight through.

    Shapes and dtype stay as they are.
    """

    def call(self, inputs):
        binary = ops.cast(inputs > 0.5, inputs.dtype)
        return binary + (inputs - ops.stop_gradient(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape


def gaussian_blur(side, sigma):
    """Returns the matrix `(side, side)` that blurs a line of pixels, with mirrored ends."""
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    lines = np.pad(np.eye(side), ((0, 0), (reach, reach)), mode="reflect")
    return np.stack([np.convolve(line, taps / taps.sum(), "valid") for line in lines], axis=1)


class HalftoneCost(layers.Layer):
    """Adds the cost of `[photo, halftone]` to the loss, and passes the halftone on.

    With the luminance `y`, the halftone `h`, and two Gaussians `G` for the eye, of which a single
    pixel has the energy `a` = sum(G^2), the cost is the weighted sum of

        c = mean((G * (h - y))^2) / a

    Its slope is what a small change of a pixel costs, by its size. But a pixel flips as a whole,
    and that costs another `a`, since `c` is quadratic: to be white and not black costs
    `slope + a (1 - 2 h)`. The term `flips` has the value 0, and adds this to the gradient.

    The eye does not mind fine stripes, or a fine checkerboard; we do. Whatever repeats is a peak of
    the spectrum, and the mean square of the power is what makes peaks cost more than they bring.
    """

    def build(self, input_shapes):
        side = input_shapes[0][1]
        self.blurs = [(gaussian_blur(side, sigma), weight) for sigma, weight in SIGMAS.items()]

    def call(self, inputs):
        photo, halftone = inputs
        h = halftone[..., 0]
        error = h - ops.sum(photo * ops.convert_to_tensor(LUMA, photo.dtype), -1)
        binary = ops.stop_gradient(h)
        flips = ops.mean((1 - 2 * binary) * (h - binary))
        for blur, weight in self.blurs:
            energy = float(np.square(blur[:, len(blur) // 2]).sum() ** 2)
            along = ops.convert_to_tensor(blur, h.dtype)
            seen = ops.matmul(ops.matmul(along, error), ops.transpose(along))
            self.add_loss(weight * (ops.mean(ops.square(seen)) / energy + flips))
        spectrum = ops.fft2((error, ops.zeros_like(error)))
        power = sum(ops.square(part) for part in spectrum) / len(self.blurs[0][0]) ** 2
        # White noise in black and white has at most the power 1/4.
        self.add_loss(PEAK_WEIGHT * ops.mean(ops.square(4 * power)))
        return halftone

    def compute_output_shape(self, input_shapes):
        return input_shapes[1]


def middle(photo, size):
    """Cuts `size` (height, width) out of the middle."""
    y, x = ((have - wanted) // 2 for have, wanted in zip(photo.shape, size, strict=False))
    return photo[y : y + size[0], x : x + size[1]]


def crops(photos, rng):
    """Draws one training batch: 4 crops of photographs, and 4 fields of one colour each."""
    names = rng.choice(list(photos), 4)
    some = [data.crop(photos[name], SIDE, rng) for name in names]
    # More of the darkest and lightest: few dots cost little, and would be learned last.
    greys = np.sin(np.pi / 2 * rng.random((4, 1, 1, 1))) ** 2
    colours = greys + rng.normal(0, 0.2, (4, 1, 1, 3)) * rng.integers(2, size=(4, 1, 1, 1))
    flat = np.broadcast_to(colours.clip(0, 1), (4, SIDE, SIDE, 3))
    return np.concatenate([np.stack(some) / 255, flat]).astype("float32")


class Stopped(Exception):
    """Ctrl-C has ended a training; what was trained so far is used."""


def train(network, restore, photos, args, figures, name):
    """Trains the halftoning network, and with it `restore`, if there is one; notes what it took."""
    photo = keras.Input((SIDE, SIDE, 3))
    halftone = HalftoneCost()([photo, network(photo)])
    trainer = keras.Model(photo, restore(halftone) if restore else halftone)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, args.steps))
    if restore:
        trainer.compile(optimizer, "mse", loss_weights=COLOUR_WEIGHT)
    else:
        trainer.compile(optimizer)
    label = f"{'restore' if restore else 'halftone'} {name}"
    print(f"Training: {label}")
    start = time.perf_counter()
    copies = 2 if restore else 1  # What is to be restored is the input itself.
    done = training.fit(
        trainer, lambda rng: (crops(photos, rng),) * copies, args.steps, args, label
    )
    figures["steps"][label], figures["seconds"][label] = done, time.perf_counter() - start
    for kind, model in (("halftone", network), ("restore", restore)):
        if model is not None:
            path = args.out / f"{kind} {name}.keras".replace(" ", "_")
            model.save(path)
            figures["models"][f"{kind} {name}"] = str(path)
    if done < args.steps:
        print(f"Stopped after {done} of {args.steps} steps. What was trained so far is kept.")
        raise Stopped


def floyd_steinberg(images):
    """Diffuses the error of each pixel to the next: Pillow's own dither."""
    grey = [Image.fromarray(np.uint8(255 * image @ LUMA + 0.5)) for image in images]
    return np.stack([np.asarray(g.convert("1"), "float32")[..., None] for g in grey])


def threshold(images, tile):
    """Compares each pixel with the noise of a repeated tile `(T, T)`, made even first."""
    even = (tile.ravel().argsort().argsort().reshape(tile.shape) + 0.5) / tile.size
    rows, columns = (np.arange(n) % len(tile) for n in images.shape[1:3])
    return (images @ LUMA > even[rows][:, columns]).astype("float32")[..., None]


def blue_tile(images):
    """Thresholds with `NIB`'s own tile of blue noise, which has the spectrum, but not the dots."""
    empty = np.zeros((1, 64, 64, 1), "float32")
    noise = NIB(distribution="blue", fixed=True, tile_size=64, seed=0)(empty)
    return threshold(images, ops.convert_to_numpy(noise)[0, ..., 0])


@functools.cache
def void_and_cluster_tile(side=64, sigma=1.9):
    """Returns the order in which the pixels of a tile get white: always the largest void next."""
    distance = np.square(np.minimum(np.arange(side), side - np.arange(side)))
    dot = np.exp(-np.add.outer(distance, distance) / (2 * sigma**2))
    crowd = np.random.default_rng(0).random((side, side)) * 1e-3
    order = np.empty((side, side))
    for rank in range(side**2):
        y, x = divmod(int(crowd.argmin()), side)
        order[y, x] = rank
        crowd += np.roll(dot, (y, x), (0, 1))
        crowd[y, x] = np.inf
    return order


def void_and_cluster(images):
    """Thresholds with a tile whose dots keep apart at every level (Ulichney 1993, shortened)."""
    return threshold(images, void_and_cluster_tile())


def low_frequency(halftone, level):
    """Returns the power at low frequencies of a flat grey's halftone `(H, W)`, by white noise's.

    The mean over all frequencies above 0 and below half of the principal one, see above; white
    noise has `level * (1 - level)` at each. 1 for independent pixels, 0 for pixels all alike.
    """
    power = np.square(np.abs(np.fft.fft2(halftone - halftone.mean()))) / halftone.size
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, halftone.shape), indexing="ij"))
    principal = min(level**0.5, (1 - level) ** 0.5, 0.5)
    low = (frequency > 0) & (frequency < principal / 2)
    return float(power[low].mean() / (level * (1 - level)))


def window_error(halftone, luminance):
    """Returns by how much the mean of a window differs, on average over all windows, 0..1."""
    sums = np.pad((halftone - luminance).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = WINDOW
    windows = sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]
    return float(np.abs(windows).mean() / n**2)


def measure(dither, photos):
    """Returns the figures of a dither, `(N, H, W, 3)` to `(N, H, W, 1)`, and its halftones."""
    flat = constant_response(dither, (FLAT, FLAT, 3), LEVELS)
    outputs = flat.outputs[..., 0]
    halftones = dither(photos)[..., 0]
    values = np.unique(np.concatenate([outputs.ravel(), halftones.ravel()]))
    pairs = list(zip(outputs, LEVELS, strict=True))
    errors = [window_error(h, p @ LUMA) for h, p in zip(halftones, photos, strict=True)]
    figures = {
        "binary": bool(np.isin(values, (0, 1)).all()),
        "level_error": [abs(float(h.mean()) - level) for h, level in pairs],
        "window_error": float(np.mean(errors)),
        "low_frequency": [low_frequency(h, level) for h, level in pairs[1:8]],
        "spatial_std": flat.spatial_std.tolist(),
    }
    return figures, outputs, halftones


def chroma(photo):
    """Returns red and blue without the luminance: `(H, W, 3)` to `(H, W, 2)`, -1..1."""
    return photo[..., ::2] - (photo @ LUMA)[..., None]


def psnr(results, photos):
    """Returns the mean PSNR of photographs 0..1, in dB: in RGB, and of their chroma alone."""
    pairs = list(zip(photos, results, strict=True))
    rgb = [peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs]
    colour = [peak_signal_noise_ratio(*map(chroma, pair), data_range=1) for pair in pairs]
    return {"rgb": float(np.mean(rgb)), "chroma": float(np.mean(colour))}


def as_picture(image):
    """Turns `(H, W)` or `(H, W, 3)`, 0..1, into something to look at: uint8, RGB."""
    rgb = image if image.ndim == 3 else image[..., None].repeat(3, axis=-1)
    return np.uint8(rgb.clip(0, 1) * 255 + 0.5)


def show(figures, names):
    """Prints how good the dithers are."""
    rows = []
    for name in names:
        f = figures[name]
        flat = max(f["spatial_std"]) < 0.01
        power = "nothing there" if flat else f"{max(f['low_frequency']):.3f}"
        level, window = f"{max(f['level_error']):.2%}", f"{f['window_error']:.2%}"
        rows.append([name, level, window, power, min(f["spatial_std"])])
    columns = ["worst level error", f"error of {WINDOW}-pixel windows", "worst low-frequency power"]
    print("Levels 0.1 to 0.9; power at 0.2 to 0.8, white noise has 1; held-out photographs.")
    program.table("Halftones", ["dither", *columns, "least deviation on a flat"], rows)


def draw(figures, photo, flats, halftones, args):
    """Writes the halftones of one photograph, and flat patches of each dither enlarged."""
    panels = [("photograph", as_picture(photo @ LUMA))]
    panels += [(name, as_picture(images[0])) for name, images in halftones.items()]
    rows = [panels[n : n + 3] for n in range(0, len(panels), 3)]
    for name in flats:
        patches = [as_picture(flat[100:144, 100:144]) for flat in flats[name][::2]]
        captions = [f"{name}, {level:.1f}" for level in LEVELS[::2]]
        enlarged = [pictures.enlarge(patch, 5) for patch in patches]
        rows.append(list(zip(captions, enlarged, strict=True)))
    figures["pictures"] = [str(args.out / "dithering.png")]
    pictures.write(figures["pictures"][0], pictures.sheet(rows))
    print(f"Wrote {figures['pictures'][0]} and {', '.join(figures['models'].values())}.")


def restored_colours(seen, halftones, restorers, args, figures):
    """Restores the photographs from their halftones; tells how near they are, and draws one."""
    results = {
        name: restore.predict_on_batch(halftones[name][..., None])
        for name, restore in restorers.items()
    }
    results["luminance"] = (seen @ LUMA)[..., None].repeat(3, axis=-1)
    figures["psnr"] = {name: psnr(images, seen) for name, images in results.items()}
    captions = {
        "reversible": "restored from a halftone that hides the colours",
        "NIB": "guessed from a halftone that does not",
        "luminance": "the photograph's own luminance",
    }
    rows = [[captions[name], *f.values()] for name, f in figures["psnr"].items()]
    program.table("Colours of held-out photographs", ["", "PSNR, dB", "of the chroma"], rows)
    panels = [
        ("photograph", seen[0]),
        ("halftone that hides the colours", halftones["reversible"][0]),
    ]
    panels += [(captions[name], images[0]) for name, images in results.items()]
    panels = [(caption, as_picture(image)) for caption, image in panels]
    figures["pictures"].append(str(args.out / "reversible.png"))
    pictures.write(figures["pictures"][-1], pictures.sheet([panels[:3], panels[3:]]))


def compare(args, own):
    """Trains the networks, writes models and pictures, prints and returns the figures."""
    shipped = data.photographs()
    photos = {name: photo for name, photo in shipped.items() if name not in HELD_OUT}
    held_out = [middle(shipped[name], SIZE) for name in HELD_OUT] if own is None else [own]
    seen = np.asarray(held_out, "float32") / 255
    figures: dict = {"steps": {}, "seconds": {}, "models": {}}
    networks: dict = {}
    restorers: dict = {}
    with contextlib.suppress(Stopped):
        for name in args.networks:
            keras.utils.set_random_seed(args.seed)
            networks[name] = halftoner(noise=name == "NIB")
            train(networks[name], None, photos, args, figures, name)
        if args.reversible:
            networks["reversible"] = halftoner(noise=True)
            networks["reversible"].set_weights(networks["NIB"].get_weights())
            for name in ("reversible", "NIB"):
                networks[name].trainable = name == "reversible"
                keras.utils.set_random_seed(args.seed)
                restorers[name] = restorer()
                train(networks[name], restorers[name], photos, args, figures, name)
        training.finish(args)
    dithers = {name: network.predict_on_batch for name, network in networks.items()}
    dithers |= {"Floyd-Steinberg": floyd_steinberg, "void and cluster": void_and_cluster}
    dithers["blue tile of NIB"] = blue_tile
    flats, halftones = {}, {}
    for name, dither in dithers.items():
        figures[name], flats[name], halftones[name] = measure(dither, seen)
    show(figures, list(dithers))
    draw(figures, seen[0], flats, halftones, args)
    if restorers:
        restored_colours(seen, halftones, restorers, args, figures)
    return figures


def parse(argv):
    parser = program.parser("dithering", __doc__)
    add = parser.add_argument
    steps = program.at_least(1)
    add("--photo", help="picture to halftone and to measure (default: held-out photographs)")
    add("--steps", type=steps, default=2500, help="training steps of each network (%(default)s)")
    add("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="(both)")
    add("--reversible", action="store_true", help="hide the colours, too, and restore them")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps = QUICK_STEPS
    if args.reversible:
        args.networks = NETWORKS  # It starts from what has learned to halftone.
    return args


def main(argv=None):
    """Runs the program; returns its figures."""
    args = parse(argv)
    with program.one_line_errors("dithering"):
        args.out.mkdir(parents=True, exist_ok=True)
        own = pictures.read(args.photo, LEAST) if args.photo else None
        if own is not None:  # The restoring network halves the sides.
            own = middle(own, [side // 2 * 2 for side in own.shape[:2]])
        return compare(args, own)


if __name__ == "__main__":
    main()
