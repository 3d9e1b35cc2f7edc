"""Super-resolution with a sub-pixel convolution, and where its checkerboard comes from.

Trains one small network (ESPCN) that enlarges photographs, with seven ends that differ in nothing
but how they go from the low to the high resolution, and measures on photographs it has not seen:

    KERAS_BACKEND=jax python examples/super_resolution.py
    KERAS_BACKEND=jax python examples/super_resolution.py --factor 2

A sub-pixel convolution draws each pixel of a block with a kernel of its own. Drawn at random, those
kernels disagree, and a grid lies over everything until training has taught them to agree; with ICNR
they start equal. A box filter (`smooth`) forbids the grid, whatever they learn; even phases forbid
it on flats, without a blur.

Networks see the luminance, 0..1, `(N, H, W, 1)`, and return it enlarged. Nothing is added to a
bicubic enlargement: all that is in the result, the network has drawn.

Sources:
    Shi et al. 2016, https://arxiv.org/abs/1609.05158 (ESPCN)
    Aitken et al. 2017, https://arxiv.org/abs/1707.02937 (ICNR)
    Sugawara, Shiota, Kiya 2018, https://arxiv.org/abs/1806.02658 (smooth)
    Odena et al. 2016, https://distill.pub/2016/deconv-checkerboard (resize-convolution)
"""

import time

from common import program

with program.imports("super_resolution"):
    import keras
    import numpy as np
    from keras import layers
    from PIL import Image
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from common import data, pictures, training
    from keras_cnnfix import EvenConv2DTranspose, Padding2D, ResizeConv2D, SubPixelConv
    from keras_cnnfix.diagnostics import checkerboard_score

ENDS = {
    "sub-pixel, random": lambda f: SubPixelConv(1, 3, f, kernel_initializer="glorot_uniform"),
    "sub-pixel, ICNR": lambda f: SubPixelConv(1, 3, f),
    "sub-pixel, smooth": lambda f: SubPixelConv(1, 3, f, smooth=True),
    "sub-pixel, even": lambda f: SubPixelConv(1, 3, f, even=True),
    "transposed": lambda f: layers.Conv2DTranspose(1, 3 * f, f, "same"),
    "transposed, even": lambda f: EvenConv2DTranspose(1, 3 * f, f, "same"),
    # Just as wide as to see the same 3 x 3 pixels of the low resolution.
    "resize": lambda f: ResizeConv2D(1, 2 * f + 1, f),
}
TRAINING = ("astronaut", "china", "motorcycle", "rocket")
HELD_OUT = ("chelsea", "coffee", "flower")
HELD_OUT_SIZE = (288, 432)  # pixels, cut out of the middle; divisible by every factor
SHOWN = np.s_[66:150, 120:204]  # of the first of these: an eye
SIDE = 24  # of a training crop, pixels of the low resolution
BATCH = 16
EARLY = 20  # steps after which a first look is taken


def espcn(end, factor):
    """Builds the network of Shi et al.: luminance `(N, H, W, 1)` to `(N, f * H, f * W, 1)`."""
    x = image = keras.Input((None, None, 1))
    for filters, kernel_size in ((64, 5), (32, 3)):
        x = Padding2D(kernel_size // 2)(x)
        x = layers.Conv2D(filters, kernel_size, activation="relu")(x)
    return keras.Model(image, ENDS[end](factor)(x))


def resized(luminance, size):
    """Resizes luminance `(H, W)`, 0..255, to `size` by bicubic interpolation, without aliasing."""
    image = Image.fromarray(luminance.astype("float32"))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)).round().clip(0, 255)


def pair(photograph, factor):
    """Returns a photograph's luminance and the same `factor` times smaller, both 0..255."""
    height, width = (side // factor * factor for side in photograph.shape[:2])
    high = pictures.luminance(photograph[:height, :width]).round()
    return high, resized(high, (height // factor, width // factor))


def middle(photograph):
    y, x = ((n - m) // 2 for n, m in zip(photograph.shape, HELD_OUT_SIZE, strict=False))
    return photograph[y : y + HELD_OUT_SIZE[0], x : x + HELD_OUT_SIZE[1]]


def as_input(images):
    """Turns luminances `(H, W)`, 0..255, into a batch `(N, H, W, 1)`, float32, 0..1."""
    return np.stack(images)[..., None].astype("float32") / 255


def crops(pairs, factor, rng):
    """Draws one training batch: crops of the low resolution, and what they should become."""
    batch = []
    for _ in range(BATCH):
        high, low = pairs[rng.integers(len(pairs))]
        y, x = (rng.integers(side - SIDE + 1) for side in low.shape)
        whole = high[y * factor : (y + SIDE) * factor, x * factor : (x + SIDE) * factor]
        batch.append((low[y : y + SIDE, x : x + SIDE], whole))
    return tuple(as_input(images) for images in zip(*batch, strict=True))


def grid_share(images, factor):
    """Returns the share of the spectral energy, 0..1, at the frequencies of a grid of `factor`."""
    return float(checkerboard_score(images[..., None], period=factor).share)


def measured(high, results, factor):
    """Returns mean PSNR in dB and mean SSIM of luminances 0..255, without borders, and the grid."""
    inner = np.s_[factor:-factor, factor:-factor]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    both = [(a[inner], b.round().clip(0, 255)[inner]) for a, b in zip(high, results, strict=True)]
    ssim = [structural_similarity(*one, data_range=255, **gaussian) for one in both]
    return {
        "psnr": float(np.mean([peak_signal_noise_ratio(*one, data_range=255) for one in both])),
        "ssim": float(np.mean(ssim)),
        "grid": grid_share(results, factor),
    }


def shown(luminance, stretch=False):
    """Cuts out and enlarges what the picture shows, if wanted stretched to black and white."""
    cut = luminance[SHOWN]
    if stretch:
        cut = (cut - cut.min()) / np.ptp(cut).clip(1e-6) * 255
    rgb = np.repeat(cut.round().clip(0, 255).astype("uint8")[..., None], 3, axis=-1)
    return pictures.enlarge(rgb, 3)


def print_table(figures, moments, factor):
    rows = []
    for name, of_one in figures.items():
        grids = of_one if name in ENDS else {"trained": of_one}
        last = grids.get("trained", {})
        quality = [f"{last['psnr']:.2f}", f"{last['ssim']:.4f}"] if "psnr" in last else ["", ""]
        shares = [f"{grids[m]['grid']:.4%}" if m in grids else "" for m in moments]
        rows.append([name, *quality, *shares, str(of_one.get("parameters", ""))])
    columns = ["", "PSNR, dB", "SSIM", *(f"grid, {m}" for m in moments), "parameters"]
    program.table(f"Enlarged {factor} times: {', '.join(HELD_OUT)}", columns, rows)


def compare(args):
    """Trains every end, prints the table, writes the picture and the models."""
    photographs, factor = data.photographs(), args.factor
    pairs = [pair(photographs[name], factor) for name in TRAINING]
    held_out = [pair(middle(photographs[name]), factor) for name in HELD_OUT]
    high, low = (np.stack(images) for images in zip(*held_out, strict=True))
    bicubic = np.stack([resized(image, high.shape[1:]) for image in low])
    figures: dict = {
        "original": {"grid": grid_share(high, factor)},
        "bicubic": measured(high, bicubic, factor),
    }
    first = {"low resolution": pictures.enlarge(low[0], factor), "bicubic": bicubic[0]}
    rows = [[(name, shown(image)) for name, image in (first | {"original": high[0]}).items()]]
    moments = {"start": 0, f"{EARLY} steps": EARLY, "trained": args.steps}
    rows += [[] for _ in moments]
    for end in args.ends:
        print(f"Training with {end}:")
        keras.utils.set_random_seed(args.seed)
        network, done, begin = espcn(end, factor), 0, time.perf_counter()
        rate = keras.optimizers.schedules.CosineDecay(2e-3, args.steps)
        network.compile(keras.optimizers.Adam(rate), "mse")
        figures[end] = {"parameters": network.count_params()}
        for row, (moment, steps) in zip(rows[1:], moments.items(), strict=True):
            if steps > done:
                name = f"{end}, {moment}"
                make_batch = lambda rng: crops(pairs, factor, rng)  # noqa: E731
                done = training.fit(network, make_batch, steps - done, args, name)
            results = network.predict(as_input(low), verbose=0)[..., 0] * 255.0
            figures[end][moment] = measured(high, results, factor)
            row.append((f"{end}, {moment}", shown(results[0], stretch=not steps)))
            if done < steps:
                break
        figures[end] |= {"steps": done, "seconds": time.perf_counter() - begin}
        network.save(args.out / f"{end.replace(', ', '_')}.keras")
        if done < args.steps:
            print(f"Stopped after {done} of {args.steps} steps. What was trained so far is kept.")
            break
    else:
        training.finish(args)
    print_table(figures, moments, factor)
    figures["picture"] = str(args.out / "super_resolution.png")
    pictures.write(figures["picture"], pictures.sheet([row for row in rows if row]))
    print(f"Wrote {figures['picture']}.")
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("super_resolution", __doc__)
    add = parser.add_argument
    add("--factor", type=int, choices=[2, 3, 4], default=3, help="of enlarging (%(default)s)")
    add("--steps", type=program.at_least(EARLY), default=1500, help="of training (%(default)s)")
    add("--ends", nargs="+", choices=ENDS, default=list(ENDS), help="to compare (all)")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps = EARLY
    with program.one_line_errors("super_resolution"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
