"""Textures from flat label maps, with and without noise.

A label map says what is where and is flat within a region; so is whatever a convolution makes of
it. One small generator is trained twice to paint brick, grass and gravel, once with `NIB` at each
scale and once with plain convolutions in its place, everything else equal:

    KERAS_BACKEND=jax python examples/semantic_synthesis.py

The loss compares Gram matrices of feature maps, less the texture's mean features. The generator is
fully convolutional and learns on maps of one label; what is measured are windows within the regions
of a map with all three and curved borders, which it has not seen.

A Gram distance as small as a photograph's own is no proof of likeness. After 400 steps brick has
its long joints, but hardly any cross joints, and gravel is rough without having stones.

A saved model maps one-hot labels `(N, H, W, 3)` to grey pictures `(N, H, W, 1)`, 0..255. `H` and
`W` must be multiples of 8.

Sources:
    Xia et al. 2020, https://arxiv.org/abs/2012.12109 (NIB; flatness degradation)
    Ulyanov et al. 2016, https://arxiv.org/abs/1603.03417 (texture networks)
    Gatys et al. 2015, https://arxiv.org/abs/1505.07376 (Gram matrices)
    Novak, Nikulin 2016, https://arxiv.org/abs/1605.04603 (the mean features subtracted)
    Park et al. 2019, https://arxiv.org/abs/1903.07291 (the label map at every scale)
"""

import time

from common import program

with program.imports("semantic_synthesis"):
    import keras
    import numpy as np
    from common import data, features, pictures, training
    from keras import layers, ops
    from PIL import Image

    from keras_cnnfix import NIB, Padding2D, ResizeConv2D
    from style_transfer import gram

FIRST = {
    "without": lambda filters: conv(filters),
    # A noise map for each label, as strong as the labels are.
    "with NIB": lambda filters: NIB(filters, noise_channels=None, stddev=1.0),
}
SHRINK = 3  # of the textures, so that a crop holds 7 x 2 bricks, not 2 x 1
WIDTHS = (64, 48, 32, 16)  # channels, from the coarsest scale, 1/8, to the finest, 1/1
QUICK = (32, 16)
SIDE = 96  # pixels, of training pictures and of measured windows
MAP_SIDE = 320  # pixels, of the label map that is measured
BATCHES = 8  # pictures of each label over which figures are averaged


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


def loss_network():
    """Returns a model from grey pictures, 0..255, to the feature maps of SqueezeNet."""
    picture = keras.Input((None, None, 1))
    return keras.Model(picture, features.squeezenet()(layers.Concatenate()([picture] * 3)))


class TextureLoss(layers.Layer):
    """Adds how far pictures, one of each label, are from the textures, and passes them on."""

    def __init__(self, network, textures):
        super().__init__()
        self.network = network
        # In NumPy: JAX would compile each of these operations on its own.
        maps = network.predict(textures[..., None].astype("float32"), verbose=0)
        self.means = [m.mean(axis=(1, 2), keepdims=True) for m in maps]
        self.grams = [np.einsum("nhwc,nhwd->ncd", m, m) / (m.shape[1] * m.shape[2]) for m in maps]

    def distances(self, maps, centred=False):
        """Returns Frobenius distances of Gram matrices, relative to the textures' own norm.

        Args:
            maps: Feature maps `(3, h, w, C)`, a picture of each label, in order.
            centred: Whether the textures' mean features are subtracted first. The mean makes up
                most of a Gram matrix, and says little about shapes.

        Returns:
            A tensor `(3,)`: 0 for equal textures, about 1 for a flat picture; mean over the maps.
        """
        relative = []
        for of_one, mean, target in zip(maps, self.means, self.grams, strict=True):
            if centred:
                of_one = of_one - ops.convert_to_tensor(mean)
                target = target - mean[:, 0].swapaxes(1, 2) @ mean[:, 0]
            norm = np.square(target).sum(axis=(1, 2))
            error = ops.square(gram(of_one) - ops.convert_to_tensor(target))
            error = ops.sum(error, axis=(1, 2)) / ops.convert_to_tensor(norm)
            relative.append(ops.sqrt(error + 1e-8))
        return ops.mean(ops.stack(relative), axis=0)

    def call(self, images):
        self.add_loss(ops.mean(self.distances(self.network(images), centred=True)))
        return images

    def compute_output_shape(self, input_shape):
        return input_shape


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
    corners = ((end // 2, end // 2), (8, 8), (end - 8, end - 8))
    return np.stack([image[y : y + side, x : x + side] for y, x in corners])


def train(network, loss, args, name):
    """Trains `network` in place; returns the number of steps done before the end or Ctrl-C."""
    flat = one_hot(np.broadcast_to(np.arange(3)[:, None, None], (3, SIDE, SIDE)))
    labels = keras.Input((SIDE, SIDE, 3))
    trainer = keras.Model(labels, loss(network(labels)))
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, args.steps)))
    return training.fit(trainer, lambda rng: (flat,), args.steps, args, name)


def figures_of(images, loss, names):
    """Returns Gram distances and contrasts of `(N, 3, SIDE, SIDE)`, one picture of each label."""
    distances, centred, contrasts = [], [], []
    for image in images:
        maps = loss.network.predict(image[..., None].astype("float32"), verbose=0)
        maps = [ops.convert_to_tensor(of_one) for of_one in maps]
        distances.append(ops.convert_to_numpy(loss.distances(maps)))
        centred.append(ops.convert_to_numpy(loss.distances(maps, centred=True)))
        contrasts.append(image.std(axis=(1, 2)))
    distance, contrast = np.mean(distances, axis=0), np.mean(contrasts, axis=0)
    return {
        "gram distance": dict(zip(names, map(float, distance), strict=True)),
        "contrast": dict(zip(names, map(float, contrast), strict=True)),
        "mean gram distance": float(distance.mean()),
        "mean centred gram distance": float(np.mean(centred)),
    }


def compare(args):
    """Trains both generators, prints the table, writes the picture and the models."""
    textures = {}
    for name, texture in data.textures().items():
        size = [side // SHRINK for side in texture.shape[::-1]]
        textures[name] = np.asarray(Image.fromarray(texture).resize(size, Image.Resampling.LANCZOS))
    names = list(textures)
    measure = loss_network(), np.stack(list(textures.values()))
    loss = TextureLoss(*measure)
    rng = np.random.default_rng(args.seed)
    crops = [[data.crop(t, SIDE, rng) for t in textures.values()] for _ in range(BATCHES)]
    figures: dict = {"crops of the photographs": figures_of(np.array(crops, float), loss, names)}
    labels = label_map()
    panels = [("label map", (labels * 100).astype("uint8"))]
    for name, first in FIRST.items():
        print(f"Training {name}:")
        keras.utils.set_random_seed(args.seed)
        network, begin = generator(first, QUICK if args.quick else WIDTHS), time.perf_counter()
        done = train(network, TextureLoss(*measure), args, name)
        painted = np.stack(
            [network.predict(one_hot(labels)[None], verbose=0)[0, ..., 0] for _ in range(BATCHES)]
        )
        figures[name] = figures_of([windows(picture) for picture in painted], loss, names) | {
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
    program.table(
        f"In regions of {SIDE} x {SIDE} pixels: Gram distance (contrast, grey levels)",
        ["", *names, "mean", "centred"],
        [
            [
                row,
                *(f"{of['gram distance'][n]:.3f} ({of['contrast'][n]:.1f})" for n in names),
                of["mean gram distance"],
                of["mean centred gram distance"],
            ]
            for row, of in figures.items()
        ],
    )
    rows = [panels, list(textures.items())]
    rows = [[(caption, np.repeat(p[..., None], 3, axis=-1)) for caption, p in row] for row in rows]
    figures["picture"] = str(args.out / "semantic_synthesis.png")
    pictures.write(figures["picture"], pictures.sheet(rows))
    print(f"Wrote {figures['picture']}.")
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    parser = program.parser("semantic_synthesis", __doc__)
    parser.add_argument(
        "--steps", type=program.at_least(1), default=400, help="of training (%(default)s)"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.steps = 30
    with program.one_line_errors("semantic_synthesis"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
