"""Textures from flat label maps, with and without noise.

A label map says what is where and is flat within a region; so is whatever a convolution makes of
it. One small generator is trained twice to paint brick, grass and gravel, once with `NIB` at each
scale and once with plain convolutions in its place, everything else equal:

    KERAS_BACKEND=jax python examples/semantic_synthesis.py

The loss compares Gram matrices of feature maps, and of pixels and their neighbours. The generator
is fully convolutional and learns on maps of one label; what is measured are windows within the
regions of a map with all three and curved borders, which it has not seen.

A Gram distance as small as a photograph's own is no proof of likeness. After 400 steps bricks have
their long joints, and fine hatching in place of most cross joints; grass and gravel differ in grain
and contrast as they should, but there are no blades, and hardly any stones.

A saved model maps one-hot labels `(N, H, W, 3)` to grey pictures `(N, H, W, 1)`, 0..255. `H` and
`W` must be multiples of 8.

Sources:
    Xia et al. 2020, https://arxiv.org/abs/2012.12109 (NIB; flatness degradation)
    Ulyanov et al. 2016, https://arxiv.org/abs/1603.03417 (texture networks)
    Gatys et al. 2015, https://arxiv.org/abs/1505.07376 (Gram matrices)
    Novak, Nikulin 2016, https://arxiv.org/abs/1605.04603 (the mean features subtracted)
    Berger, Memisevic 2016, https://arxiv.org/abs/1606.01286 (correlations between neighbours)
    Park et al. 2019, https://arxiv.org/abs/1903.07291 (the label map at every scale)
"""

import time

from common import program

with program.imports("semantic_synthesis"):
    import keras
    import numpy as np
    from keras import layers, ops
    from PIL import Image

    from common import data, features, pictures, training
    from keras_cnnfix import NIB, Padding2D, ResizeConv2D

FIRST = {
    "without": lambda filters: conv(filters),
    # A noise map for each label, as strong as the labels are.
    "with NIB": lambda filters: NIB(filters, noise_channels=None, stddev=1.0),
}
SHRINK = 3  # of the textures, so that a crop holds 7 x 2 bricks, not 2 x 1
WIDTHS = (64, 48, 32, 16)  # channels, from the coarsest scale, 1/8, to the finest, 1/1
QUICK = (32, 16)
SIDE = 96  # pixels, of training pictures and of measured windows
SHIFT = 8  # pixels: the product of the loss network's strides.
OFFSETS = (0, 1, 2, 4, 8, 16)  # pixels, of the neighbours that are compared with a pixel
REACH = 17  # pixels, more than the largest offset: a slice must not end at 0.
MAP_SIDE = 320  # pixels, of the label map that is measured


def conv(filters):
    """Returns a convolution that draws no border: mirrored, a flat map stays flat."""
    return keras.Sequential([Padding2D(1), layers.Conv2D(filters, 3)])


def generator(first, widths=WIDTHS):
    """Builds the network, coarse to fine; `first(filters)` makes what reads the label map."""

    def settle(x):
        return layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.9)(x))

    labels = keras.Input((None, None, 3))
    x = None
    for n, filters in enumerate(widths):
        shrink = 2 ** (len(widths) - 1 - n)
        y = layers.AveragePooling2D(shrink)(labels) if shrink > 1 else labels
        y = settle(first(filters)(y))
        x = y if x is None else layers.Add()([y, settle(ResizeConv2D(filters)(x))])
        for _ in range(2 if shrink > 1 else 1):  # A convolution at full size costs the most.
            x = settle(conv(filters)(x))
    x = layers.Activation("sigmoid")(conv(1)(x))
    return keras.Model(labels, layers.Rescaling(255.0)(x))


def feature_network():
    """Returns a model from grey pictures `(N, H, W, 1)`, 0..255, to a list of feature maps.

    The first has each pixel's neighbours as channels: its Gram matrix is the autocorrelation, up
    to 16 pixels far. The others are SqueezeNet's.
    """
    picture = keras.Input((None, None, 1))
    near = [picture[:, y : y - REACH, x : x - REACH] for y in OFFSETS for x in OFFSETS]
    rgb = layers.Concatenate()([picture] * 3)
    return keras.Model(picture, [layers.Concatenate()(near), *features.squeezenet()(rgb)])


class TextureLoss(layers.Layer):
    """Adds how far pictures, one of each label, are from the textures `(3, H, W)`, 0..255.

    Gram matrices are compared, as they are and less the texture's mean features: these make up
    most of a matrix and say little about shapes, but without them flat pictures are a saddle point.

    Shapes:
        input:  (3, H, W, 1), in the order of the textures
        output: (3, 2): both distances, mean over SqueezeNet's maps, relative to the texture's
            own norm. 0 for equal textures; a flat picture has about 1 in the first.
    """

    def __init__(self, textures):
        super().__init__()
        self.network = feature_network()
        self.seed_generator = keras.random.SeedGenerator()
        maps = self.network.predict(textures[..., None].astype("float32"), verbose=0)
        # In NumPy: JAX would compile each of these operations on its own.
        self.means = [m.mean(axis=(1, 2), keepdims=True) for m in maps]
        self.grams = [np.einsum("nhwc,nhwd->ncd", m, m) / (m.shape[1] * m.shape[2]) for m in maps]

    def crop(self, images):
        # The loss network's strides would otherwise draw a lattice of their own.
        y, x = ops.unstack(keras.random.randint((2,), 0, SHIFT, seed=self.seed_generator))
        side = images.shape[1] - SHIFT
        return ops.slice(images, (0, y, x, 0), (3, side, side, 1))

    def call(self, images, training=False):
        maps = self.network(self.crop(images) if training else images)
        distances = []
        for of_one, mean, target in zip(maps, self.means, self.grams, strict=True):
            centred = of_one - ops.convert_to_tensor(mean), target - outer(mean)
            both = relative(of_one, target), relative(*centred)
            distances.append(ops.stack(both, axis=-1))
        self.add_loss(ops.mean(ops.stack(distances)))
        return ops.mean(ops.stack(distances[1:]), axis=0)

    def compute_output_shape(self, input_shape):
        return (3, 2)


def outer(means):
    """Returns the Gram matrix of constant maps, `(N, 1, 1, C)` to `(N, C, C)`."""
    return means[:, 0].swapaxes(1, 2) @ means[:, 0]


def relative(maps, target):
    """Returns the distance of Gram matrices in units of the target's norm: `(N,)`."""
    error = ops.sum(ops.square(features.gram(maps) - ops.convert_to_tensor(target)), axis=(1, 2))
    return ops.sqrt(error / ops.convert_to_tensor(np.square(target).sum(axis=(1, 2))) + 1e-8)


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


def label_map(side=MAP_SIDE):
    """Draws labels `(side, side)`: a disc of brick in front of grass and gravel."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    beside = np.where(x < 0.04 * np.sin(12 * y), 1, 2)
    return np.where(np.hypot(x, y) < 0.24, 0, beside)


def windows(image, side=SIDE):
    """Cuts the window within each region of `label_map` out of an image: `(3, side, side, ...)`."""
    end = len(image) - side
    corners = ((end // 2, end // 2), (0, 0), (end, end))
    return np.stack([image[y : y + side, x : x + side] for y, x in corners])


def train(network, loss, args, name):
    """Trains `network` in place; returns the number of steps done before the end or Ctrl-C."""
    side = SIDE // 2 if args.quick else SIDE
    flat = one_hot(np.broadcast_to(np.arange(3)[:, None, None], (3, side, side)))
    labels = keras.Input((side, side, 3), batch_size=3)
    trainer = keras.Model(labels, loss(network(labels)))
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, args.steps)))
    return training.fit(trainer, lambda rng: (flat,), args.steps, args, name)


def figures_of(images, measure, names):
    """Returns distances and contrasts of `(N, 3, SIDE, SIDE)`, 0..255, a picture of each label."""
    flat = np.reshape(images, (-1, SIDE, SIDE, 1)).astype("float32")
    distances = measure.predict(flat, batch_size=3, verbose=0).reshape(-1, 3, 2).mean(axis=0)
    contrasts = np.std(images, axis=(2, 3)).mean(axis=0)
    return {
        "gram distance": dict(zip(names, map(float, distances[:, 0]), strict=True)),
        "contrast": dict(zip(names, map(float, contrasts), strict=True)),
        "mean gram distance": float(distances[:, 0].mean()),
        "mean centred gram distance": float(distances[:, 1].mean()),
    }


def print_table(figures, names):
    rows = []
    for row, of in figures.items():
        cells = [f"{of['gram distance'][n]:.3f} ({of['contrast'][n]:.1f})" for n in names]
        rows.append([row, *cells, of["mean gram distance"], of["mean centred gram distance"]])
    title = f"In regions of {SIDE} x {SIDE} pixels: Gram distance (contrast, grey levels)"
    program.table(title, ["", *names, "mean", "centred"], rows)


def compare(args):
    """Trains both generators, prints the table, writes the picture and the models."""
    small = [Image.fromarray(t).reduce(SHRINK) for t in data.textures().values()]
    textures, names = np.stack([np.asarray(t) for t in small]), list(data.textures())
    loss, repeats = TextureLoss(textures), 2 if args.quick else 8
    picture = keras.Input((SIDE, SIDE, 1), batch_size=3)
    measure = keras.Model(picture, loss(picture))
    rng, labels = np.random.default_rng(args.seed), label_map()
    crops = [[data.crop(texture, SIDE, rng) for texture in textures] for _ in range(repeats)]
    figures: dict = {"crops of the photographs": figures_of(crops, measure, names)}
    panels = [("label map", (labels * 100).astype("uint8"))]
    for name, first in FIRST.items():
        print(f"Training {name}:")
        keras.utils.set_random_seed(args.seed)
        network, begin = generator(first, QUICK if args.quick else WIDTHS), time.perf_counter()
        done = train(network, loss, args, name)
        same = np.repeat(one_hot(labels)[None], repeats, axis=0)
        painted = network.predict(same, batch_size=1, verbose=0)[..., 0]
        figures[name] = figures_of([windows(p) for p in painted], measure, names) | {
            "steps": done,
            "seconds": time.perf_counter() - begin,
            "parameters": network.count_params(),
            "model": str(args.out / f"{name.replace(' ', '_')}.keras"),
        }
        network.save(figures[name]["model"])
        panels.append((name, painted[0].round().astype("uint8")))
        if done < args.steps:
            print(f"Stopped after {done} of {args.steps} steps. What was trained so far is kept.")
            break
    else:
        training.finish(args)
    print_table(figures, names)
    rows = [panels, list(zip(names, textures, strict=True))]
    rows = [[(caption, np.repeat(p[..., None], 3, axis=-1)) for caption, p in row] for row in rows]
    figures["picture"] = str(args.out / "semantic_synthesis.png")
    pictures.write(figures["picture"], pictures.sheet(rows))
    print(f"Wrote {figures['picture']}.")
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("semantic_synthesis", __doc__)
    at_least_1 = program.at_least(1)
    parser.add_argument("--steps", type=at_least_1, default=400, help="of training (%(default)s)")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps = 30
    with program.one_line_errors("semantic_synthesis"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
