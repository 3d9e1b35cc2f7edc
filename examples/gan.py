"""Generators that draw checkerboards from the start, and generators that do not.

Builds DCGAN generators that differ in their four up-sampling layers alone, measures the grid in
what they draw at random initialisation, as the first figure of Odena et al., then trains each for
the same number of steps, and measures it in the first steps and at the end:

    KERAS_BACKEND=jax python examples/gan.py
    KERAS_BACKEND=jax python examples/gan.py --upsampling transposed4 resize --data mnist
    KERAS_BACKEND=jax python examples/gan.py --data folder/with/pictures --steps 20000

A grid at the start is no proof of one at the end: the data have none, and training can remove it.
`resize` enlarges by repeating pixels and draws blocks, whose edges have some energy of their own on
the lattice, more in the first steps than at the start; `resize-bilinear` has next to none. `even4`
is a transposed convolution of 4 taps with even phases: at its price, without a grid on flats.

The default data, 74 yellow faces of Twemoji, are what networks so small learn in 1,500 steps. The
grid at the start needs no particular network: with batch, layer, instance or no norm it was there,
too, and about a third weaker with a leaky ReLU.

Sources:
    Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
    https://distill.pub/2016/deconv-checkerboard
    Radford, Metz, Chintala, DCGAN, 2015. https://arxiv.org/abs/1511.06434
    Lim, Ye, Geometric GAN (the hinge loss), 2017. https://arxiv.org/abs/1705.02894
    Miyato et al., Spectral Normalization for GANs, 2018. https://arxiv.org/abs/1802.05957
    Karras et al., Progressive Growing of GANs (pixel norm, deviation in
    groups, averaged generator), 2017. https://arxiv.org/abs/1710.10196
    Binkowski et al., Demystifying MMD GANs (the kernel distance), 2018.
    https://arxiv.org/abs/1801.01401
"""

import time

from common import program

with program.imports("gan"):
    import keras
    import numpy as np
    from keras import layers, ops

    from common import data, devices, features, pictures, training
    from keras_cnnfix import EvenConv2DTranspose, ResizeConv2D, SubPixelConv
    from keras_cnnfix.diagnostics import checkerboard_score


def transposed(layer, taps, **settings):
    return lambda filters: layer(filters, taps, 2, padding="same", **settings)


UPSAMPLING = {
    **{f"transposed{taps}": transposed(layers.Conv2DTranspose, taps) for taps in (3, 4, 5, 6)},
    **{f"even{taps}": transposed(EvenConv2DTranspose, taps) for taps in (3, 4, 5, 6)},
    "even4-ramp": transposed(EvenConv2DTranspose, 4, order=1),
    "subpixel": lambda filters: SubPixelConv(filters, kernel_initializer="glorot_uniform"),
    "subpixel-icnr": lambda filters: SubPixelConv(filters),
    "resize": lambda filters: ResizeConv2D(filters),
    "resize-bilinear": lambda filters: ResizeConv2D(filters, interpolation="bilinear"),
}
TRAINED = [name for name in UPSAMPLING if name[-1] not in "56" and "ramp" not in name]
LATENTS = 64
BATCH = 16
GROUP = 4  # images of a batch that the discriminator sees together
FIRST_STEPS = 10
BORDER = 4  # pixels on each side, where padding with zeros draws something of its own.
FACE_CODES = (0x1F600, 0x1F637), (0x1F641, 0x1F644), (0x1F910, 0x1F92F), (0x1F970, 0x1F97A)
FACE_YELLOW = (255, 204, 77)


class UnitSpectralNorm(keras.constraints.Constraint):
    """Divides a kernel, as a matrix `(inputs, outputs)`, by its largest singular value.

    Miyato et al. divide in every call and keep the singular vector as a state. A projection after
    every update needs no state, and so nothing to keep in step between devices or checkpoints.
    """

    def __call__(self, kernel):
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        power = ops.matmul(ops.transpose(matrix), matrix)
        # Squared again and again it keeps its largest eigenvalue's direction: 64 power iterations.
        for _ in range(6):
            power = power / ops.max(ops.abs(power))
            power = ops.matmul(power, power)
        vector = ops.sum(power, axis=1, keepdims=True)
        vector = vector / ops.norm(vector)
        return kernel / ops.norm(ops.matmul(matrix, vector))


def generator_network(upsample, size, width):
    """Builds a generator: latents `(N, 64)` to RGB images `(N, size, size, 3)`, -1 to 1.

    `upsample(filters)` makes a layer that doubles height and width; `size` is 4 times a power of 2.
    """
    stages = int(np.log2(size // 4))
    filters = [width * 2**n for n in reversed(range(stages))]
    latents = keras.Input((LATENTS,))
    x = layers.Reshape((4, 4, filters[0]))(layers.Dense(16 * filters[0])(latents))
    for n in filters[1:]:
        # Pixel norm: unlike batch norm it is the same on one device and on many.
        x = upsample(n)(layers.ReLU()(layers.RMSNormalization()(x)))
    x = upsample(3)(layers.ReLU()(layers.RMSNormalization()(x)))
    return keras.Model(latents, layers.Activation("tanh")(x))


def discriminator_network(size, width):
    """Builds a discriminator: images `(N, size, size, 3)`, -1 to 1, to `(N, 1)`, high for real."""

    # An orthogonal kernel has the spectral norm 1 to begin with.
    normalised = {"kernel_initializer": "orthogonal", "kernel_constraint": UnitSpectralNorm()}
    x = image = keras.Input((size, size, 3))
    for n in range(int(np.log2(size // 4))):
        x = layers.Conv2D(width * 2**n, 4, 2, padding="same", **normalised)(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Flatten()(GroupDeviation()(x))
    return keras.Model(image, layers.Dense(1, **normalised)(x))


class GroupDeviation(layers.Layer):
    """Appends a map: how much the images of each group of 4 differ, one number a group.

    A generator that draws the same for all latents is found out by it (Karras et al.). `(N, H, W,
    C)` to `(N, H, W, C + 1)`, `N` a multiple of 4. Groups, not the batch: they stay the same when
    the batch is split over devices.
    """

    def call(self, inputs):
        n, height, width, channels = ops.shape(inputs)
        groups = ops.reshape(inputs, (-1, GROUP, height, width, channels))
        deviation = ops.sqrt(ops.var(groups, axis=1) + 1e-8)
        deviation = ops.repeat(ops.mean(deviation, axis=(1, 2, 3)), GROUP)
        maps = ops.broadcast_to(deviation[:, None, None, None], (n, height, width, 1))
        return ops.concatenate([inputs, maps], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)


class Adversaries(layers.Layer):
    """Adds the hinge losses of both networks, `[images, latents]` to the generated images.

        discriminator: mean(relu(1 - D(images))) + mean(relu(1 + D(G(latents))))
        generator:     -mean(D(G(latents)))

    Each loss reaches the weights of its own network only, so that one optimizer trains both.
    """

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def call(self, inputs):
        images, latents = inputs
        fakes = self.generator(latents)
        real, fake = (self.discriminator(x) for x in (images, ops.stop_gradient(fakes)))
        self.add_loss(ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake)))
        frozen = [ops.stop_gradient(v.value) for v in self.discriminator.trainable_variables]
        rest = self.discriminator.non_trainable_variables
        self.add_loss(-ops.mean(self.discriminator.stateless_call(frozen, rest, fakes)[0]))
        return fakes

    def compute_output_shape(self, input_shapes):
        return input_shapes[0]


def build_trainer(name, args, average=True):
    """Returns a compiled model that trains on `(images, latents)`, and its generator.

    With `average`, the generator's weights become their moving average at the end of `fit`.
    """
    keras.utils.set_random_seed(args.seed)
    generator = generator_network(UPSAMPLING[name], args.size, args.width)
    adversaries = Adversaries(generator, discriminator_network(args.size, args.width))
    inputs = [keras.Input((args.size, args.size, 3)), keras.Input((LATENTS,))]
    trainer = keras.Model(inputs, adversaries(inputs))
    adam = keras.optimizers.Adam(1e-3, 0.0, 0.99, use_ema=average, ema_momentum=0.995)
    trainer.compile(adam)
    return trainer, generator


def load(args):
    """Returns the pictures to learn from: `(N, size, size, 3)`, float32, -1 to 1."""
    if args.data == "mnist":
        digits = np.pad(255 - data.digits(args.seed)[0], ((0, 0), (2, 2), (2, 2)), "edge")
        found = [data.resized(digit, args.size)[..., None].repeat(3, -1) for digit in digits]
    elif args.data in ("faces", "emoji"):
        emoji = data.emoji(args.size)
        found = [v for k, v in emoji.items() if args.data == "emoji" or is_yellow_face(k, v)]
    else:
        found = list(data.folder(args.data, args.size).values())
    return np.stack(found).astype("float32") / 127.5 - 1


def is_yellow_face(code, picture):
    """Says whether an emoji is a face by its code point, and mostly yellow by its pixels."""
    yellow = np.abs(picture.astype(int) - FACE_YELLOW).max(-1) < 16
    is_face = "-" not in code and any(a <= int(code, 16) <= b for a, b in FACE_CODES)
    return is_face and yellow.mean() > 0.45


def latents_of(rng, count):
    return rng.normal(size=(count, LATENTS)).astype("float32")


def share(images):
    """Returns the share of the spectral energy of images on the lattice of period 2, 0 to 1."""
    return checkerboard_score(images, 2, border=BORDER).share


def flat_share(images):
    """The same in the flattest quarter of all tiles of a quarter of the side, 0 to 1."""
    inner = images[:, BORDER:-BORDER, BORDER:-BORDER]
    side = inner.shape[1] // 4
    tiles = inner[:, : 4 * side, : 4 * side].reshape(-1, 4, side, 4, side, 3).swapaxes(2, 3)
    tiles = tiles.reshape(-1, side, side, 3)
    deviations = tiles.std((1, 2)).mean(-1)
    return checkerboard_score(tiles[deviations <= np.quantile(deviations, 0.25)], 2).share


def at_start(name, args, latents):
    """Returns the mean share over random initialisations, and images of the first."""
    network, drawn = generator_network(UPSAMPLING[name], args.size, args.width), []
    for n in range(args.draws):
        keras.utils.set_random_seed(args.seed + n)
        initial = generator_network(UPSAMPLING[name], args.size, args.width)
        network.set_weights(initial.get_weights())  # So that `predict` compiles only once.
        drawn.append(devices.predict(network, latents))
    return float(np.mean([share(images) for images in drawn])), drawn[0]


def kernel_distance(x, y):
    """Returns the unbiased squared MMD of features `(n, d)` and `(m, d)`; about 0 if alike.

    The kernel is (x.y / d + 1)^3. Of SqueezeNet's features it says which of two generators is
    nearer to the data `x`, whose features are scaled to a mean square of 1; it is not comparable
    with FID or KID, which take Inception's.
    """

    x, y = (found / np.sqrt(np.square(x).mean()) for found in (x, y))

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_pairs(a):
        n = len(a)
        return (kernel(a, a).sum() - np.trace(kernel(a, a))) / (n * (n - 1))

    return float(mean_of_pairs(x) + mean_of_pairs(y) - 2 * kernel(x, y).mean())


def train(name, args, images, latents, figures):
    """Trains one generator, adds its figures, and returns what it draws, -1 to 1."""

    def make_batch(rng):
        return ((images[rng.integers(len(images), size=BATCH)], latents_of(rng, BATCH)),)

    print(f"Training with {name} up-sampling:")
    start = time.perf_counter()
    # The average lags behind: after so few steps it is still the random initialisation.
    trainer, generator = build_trainer(name, args, average=False)
    done = training.fit(trainer, make_batch, FIRST_STEPS, args, f"{name}-first")
    figures["first_steps"][name] = share(devices.predict(generator, latents))
    if args.steps > FIRST_STEPS == done:
        trainer, generator = build_trainer(name, args)
        done = training.fit(trainer, make_batch, args.steps, args, name)
    samples = devices.predict(generator, latents)
    figures["steps"][name], figures["seconds"][name] = done, time.perf_counter() - start
    figures["trained"][name], figures["flat"][name] = share(samples), flat_share(samples)
    figures["models"][name] = str(args.out / f"{name}.keras")
    if devices.is_first():
        generator.save(figures["models"][name])
    return samples


def picture(images, columns, factor):
    """Lays images -1 to 1 out in a grid of 8-bit pixels."""
    pixels = ((images + 1) * 127.5).round().astype("uint8")
    return pictures.enlarge(pictures.grid(pixels, columns), factor)


def compare(args):
    """Measures and trains the generators, writes pictures and models, returns the figures."""
    images, rng = load(args), np.random.default_rng(args.seed)
    latents, some = latents_of(rng, args.samples), rng.permutation(images)[: args.samples]
    figures: dict = {"data": share(some), "start": {}, "first_steps": {}, "trained": {}}
    figures["flat"] = {}
    figures |= {"kernel_distance": {}, "steps": {}, "seconds": {}, "models": {}, "pictures": []}
    network = features.squeezenet(("fire5",))

    def embedded(images):
        return devices.predict(network, (images + 1) * 127.5).astype("float64").mean((1, 2))

    at_first, in_the_end = [], [[("the data", picture(some[:32], 16, 1))]]
    for name in UPSAMPLING:
        figures["start"][name], drawn = at_start(name, args, latents[:16])
        caption = f"{name}: {figures['start'][name]:.2%} of the energy on the lattice"
        at_first.append([(caption, picture(drawn[:8] / np.abs(drawn[:8]).max(), 8, 2))])
    for name in args.upsampling:
        samples = train(name, args, images, latents, figures)
        figures["kernel_distance"][name] = kernel_distance(embedded(some), embedded(samples))
        caption = f"{name}, {figures['steps'][name]} steps: {figures['trained'][name]:.2%}"
        in_the_end.append([(caption, picture(samples[:32], 16, 1))])
        if figures["steps"][name] < args.steps:
            print(f"Stopped after {figures['steps'][name]} of {args.steps} steps.")
            break
    for file, rows in (("start.png", at_first), ("trained.png", in_the_end)):
        figures["pictures"].append(str(args.out / file))
        pictures.write(figures["pictures"][-1], pictures.sheet(rows))
    return figures


def report(figures, args):
    columns = ["start", "first_steps", "trained", "flat", "kernel_distance", "seconds"]
    rows = [["(the data)", "", "", figures["data"], "", "", ""]]
    rows += [[name, *(figures[c].get(name, "") for c in columns)] for name in UPSAMPLING]
    titles = ["up-sampling", "at the start", f"after {FIRST_STEPS} steps", f"after {args.steps}"]
    program.table(
        "Share of the spectral energy on the lattice of period 2; distance of SqueezeNet features",
        [*titles, "its flattest quarter", "distance (not FID or KID)", "seconds"],
        rows,
    )
    print(f"Wrote {', '.join([*figures['pictures'], *figures['models'].values()])}.")


def parse(argv):
    parser = program.parser("gan", __doc__)
    add = parser.add_argument
    add("--data", default="faces", help="faces, emoji, mnist, or a folder (%(default)s)")
    add(
        "--upsampling",
        nargs="+",
        choices=UPSAMPLING,
        default=TRAINED,
        metavar="NAME",
        help=f"generators to train, out of {', '.join(UPSAMPLING)} (%(default)s)",
    )
    add(
        "--steps",
        type=program.at_least(FIRST_STEPS),
        default=1500,
        help="of training (%(default)s)",
    )
    add("--size", type=int, choices=[32, 64, 128], default=64, help="pixels a side (%(default)s)")
    add("--width", type=program.at_least(1), default=16, help="of the networks (%(default)s)")
    add("--samples", type=program.at_least(32), default=256, help="to measure (%(default)s)")
    add("--draws", type=program.at_least(1), default=16, help="of weights to start (%(default)s)")
    devices.add_option(parser)
    args = parser.parse_args(argv)
    if args.quick:
        args.steps, args.width, args.samples, args.draws = FIRST_STEPS, 8, 32, 2
        args.upsampling = ["transposed4", "resize-bilinear"]
    return args


def main(argv=None):
    """Runs the program; returns its figures."""
    args = parse(argv)
    with program.one_line_errors("gan"):
        devices.check(args.devices, BATCH // GROUP)
        figures = devices.in_processes(main, argv, args.devices)
        if figures is not None:
            return figures
        args.out.mkdir(parents=True, exist_ok=True)
        with devices.used(args.devices):
            figures = compare(args)
        if figures["steps"].get(args.upsampling[-1]) == args.steps:
            training.finish(args)
    report(figures, args)
    return figures


if __name__ == "__main__":
    main()
