"""Super-resolution with a sub-pixel convolution, and where its checkerboard comes from.

Trains one small network (ESPCN) that enlarges photographs, with four ends that differ in nothing
but how they go from the low to the high resolution, and measures on photographs it has not seen:

    KERAS_BACKEND=jax python examples/super_resolution.py
    KERAS_BACKEND=jax python examples/super_resolution.py --factor 2

A sub-pixel convolution draws each pixel of a block with a kernel of its own. Drawn at random, those
kernels disagree, and a grid lies over everything until training has taught them to agree; with ICNR
they start equal. A box filter (`smooth`) forbids the grid, whatever they learn.

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
    from common import data, pictures, training
    from keras import layers
    from PIL import Image
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from keras_cnnfix import Padding2D, ResizeConv2D, SubPixelConv
    from keras_cnnfix.diagnostics import checkerboard_score

ENDS = {
    "sub-pixel, random": lambda f: SubPixelConv(1, 3, f, kernel_initializer="glorot_uniform"),
    "sub-pixel, ICNR": lambda f: SubPixelConv(1, 3, f),
    "sub-pixel, smooth": lambda f: SubPixelConv(1, 3, f, smooth=True),
    # Just as wide as to see the same 3 x 3 pixels of the low resolution.
    "resize": lambda f: ResizeConv2D(1, 2 * f + 1, f),
}
TRAINING = ("astronaut", "china", "motorcycle", "rocket")
HELD_OUT = ("chelsea", "coffee", "flower")
HELD_OUT_SIZE = (288, 432)  # pixels; divisible by every factor
SIDE = 24  # of a training crop, pixels of the low resolution
BATCH = 16
RATE = 2e-3
EARLY = 20  # steps after which a first look is taken
CROP = np.s_[66:150, 120:204]  # of the first held-out photograph: an eye


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
    """Cuts `HELD_OUT_SIZE` out of the middle."""
    sides = zip(photograph.shape, HELD_OUT_SIZE, strict=False)
    y, x = ((have - wanted) // 2 for have, wanted in sides)
    return photograph[y : y + HELD_OUT_SIZE[0], x : x + HELD_OUT_SIZE[1]]


def crops(pairs, factor, rng):
    """Draws one training batch: crops of the low resolution, and what they should become."""
    batch = []
    for _ in range(BATCH):
        high, low = pairs[rng.integers(len(pairs))]
        y, x = (rng.integers(side - SIDE + 1) for side in low.shape)
        whole = high[y * factor : (y + SIDE) * factor, x * factor : (x + SIDE) * factor]
        batch.append((low[y : y + SIDE, x : x + SIDE], whole))
    return tuple(as_input(images) for images in zip(*batch, strict=True))


def as_input(images):
    """Turns luminances `(H, W)`, 0..255, into a batch `(N, H, W, 1)`, float32, 0..1."""
    return np.stack(images)[..., None].astype("float32") / 255


def as_picture(luminance):
    """Turns luminance, 0..255, into something to look at: uint8, RGB."""
    return np.repeat(luminance.round().clip(0, 255).astype("uint8")[..., None], 3, axis=-1)


def quality(high, results, factor):
    """Returns mean PSNR in dB and mean SSIM of luminances 0..255, `factor` border pixels cut."""
    inner = np.s_[factor:-factor, factor:-factor]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    psnr, ssim = [], []
    for truth, result in zip(high, results, strict=True):
        both = truth[inner], result.round().clip(0, 255)[inner]
        psnr.append(peak_signal_noise_ratio(*both, data_range=255))
        ssim.append(structural_similarity(*both, data_range=255, **gaussian))
    return float(np.mean(psnr)), float(np.mean(ssim))


def grid_share(results, factor):
    """Returns the share of spectral energy, 0..1, at the frequencies of a grid of `factor`."""
    return float(checkerboard_score(np.asarray(results)[..., None], period=factor).share)


def trained(end, steps, pairs, args):
    """Builds the network from the seed and trains it for `steps`; returns it and what was done."""
    keras.utils.set_random_seed(args.seed)
    network = espcn(end, args.factor)
    rate = keras.optimizers.schedules.CosineDecay(RATE, args.steps)
    network.compile(keras.optimizers.Adam(rate), "mse")
    if not steps:
        return network, 0
    return network, training.fit(
        network, lambda rng: crops(pairs, args.factor, rng), steps, args, f"{end}, {steps} steps"
    )


def look(network, low, high, factor):
    """Enlarges the held-out photographs; returns the results, 0..255, and their figures."""
    results = network.predict(as_input(low), verbose=0)[..., 0] * 255.0
    psnr, ssim = quality(high, results, factor)
    return results, {"psnr": psnr, "ssim": ssim, "grid": grid_share(results, factor)}


def compare(args):
    """Trains every end, prints the table, writes the picture and the models."""
    photographs, factor = data.photographs(), args.factor
    pairs = [pair(photographs[name], factor) for name in TRAINING]
    held_out = [pair(middle(photographs[name]), factor) for name in HELD_OUT]
    high, low = (np.stack(images) for images in zip(*held_out, strict=True))
    moments = {"start": 0, f"{EARLY} steps": EARLY, "trained": args.steps}
    bicubic = np.stack([resized(image, high.shape[1:]) for image in low])
    psnr, ssim = quality(high, bicubic, factor)
    figures: dict = {
        "held out": {"grid": grid_share(high, factor)},
        "bicubic": {"psnr": psnr, "ssim": ssim, "grid": grid_share(bicubic, factor)},
    }
    panels: dict = {moment: [] for moment in moments}
    for end in args.ends:
        print(f"Training with {end}:")
        begin, of_end = time.perf_counter(), {}
        for moment, steps in moments.items():
            network, done = trained(end, steps, pairs, args)
            results, of_end[moment] = look(network, low, high, factor)
            panels[moment].append((f"{end}, {moment}", shown(results[0], moment)))
            if done < steps:
                break
        of_end |= {"parameters": network.count_params(), "seconds": time.perf_counter() - begin}
        figures[end] = of_end
        if done < steps:
            print(f"Stopped after {done} of {steps} steps. What was trained so far is kept.")
            break
        network.save(args.out / f"{end.replace(', ', '_')}.keras")
    else:
        training.finish(args)
    report(figures, list(moments), args)
    nearest = pictures.enlarge(low[0], factor)
    first = [("low resolution", nearest), ("bicubic", bicubic[0]), ("original", high[0])]
    rows = [[(caption, shown(image)) for caption, image in first], *panels.values()]
    figures["picture"] = str(args.out / "super_resolution.png")
    pictures.write(figures["picture"], pictures.sheet([row for row in rows if row]))
    print(f"Wrote {figures['picture']}.")
    return figures


def shown(luminance, moment="trained"):
    """Cuts out and enlarges what the picture shows; a start is stretched to black and white."""
    cut = luminance[CROP]
    if moment == "start":
        cut = (cut - cut.min()) / np.ptp(cut).clip(1e-6) * 255
    return pictures.enlarge(as_picture(cut), 3)


def report(figures, moments, args):
    """Prints what came out, as a table."""
    rows = []
    for name, of_one in figures.items():
        last = of_one.get("trained", of_one)
        quality_cells = [
            f"{last[key]:.{digits}f}" if key in last else ""
            for key, digits in (("psnr", 2), ("ssim", 4))
        ]
        grids = [of_one.get(moment) for moment in moments]
        if name not in ENDS:
            grids = [None, None, of_one]
        cells = [f"{grid['grid']:.3%}" if grid else "" for grid in grids]
        rows.append([name, *quality_cells, *cells, str(of_one.get("parameters", ""))])
    columns = ["", "PSNR, dB", "SSIM", *(f"grid, {moment}" for moment in moments), "parameters"]
    program.table(f"Enlarged {args.factor} times: {', '.join(HELD_OUT)}", columns, rows)


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
