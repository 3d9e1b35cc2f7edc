"""Small networks as people write them, for `fix` and `diagnose`."""

import keras
import numpy as np
from keras import layers, ops

from keras_cnnfix import graph


def pix2pix(size=32, channels=3):
    """A U-Net with strided convolutions down and transposed ones up (Isola et al., 2017)."""
    x = inputs = keras.Input((size, size, channels))
    skips = []
    for filters in (8, 16, 24):
        x = layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.LeakyReLU(0.2)(x)
        skips.append(x)
    for filters, skip in zip((16, 8), skips[-2::-1], strict=True):
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Concatenate()([x, skip])
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(x)
    return keras.Model(inputs, x, name="pix2pix")


def dcgan(latent=16):
    """A generator from a vector, transposed convolutions of 5 taps (Radford et al., 2016)."""
    return keras.Sequential(
        [
            keras.Input((latent,)),
            layers.Dense(4 * 4 * 16),
            layers.Reshape((4, 4, 16)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(8, 5, strides=2, padding="same"),
            layers.ReLU(),
            layers.Conv2DTranspose(4, 5, strides=2, padding="same"),
            layers.ReLU(),
            layers.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh"),
        ],
        name="dcgan",
    )


def style_decoder():
    """Nearest and bilinear up-sampling, each before a convolution, and a skip of images."""
    x = inputs = keras.Input((4, 4, 16))
    image = layers.Conv2D(3, 1)(x)
    for filters, interpolation in ((12, "nearest"), (8, "bilinear")):
        x = layers.UpSampling2D(2, interpolation=interpolation)(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="leaky_relu")(x)
        image = layers.UpSampling2D(2, interpolation="bilinear")(image)
        image = image + layers.Conv2D(3, 1)(x)
    return keras.Model(inputs, image, name="style_decoder")


def super_resolution(order="dcr"):
    """A convolution and a pixel shuffle at the end, of any size (Shi et al., 2016)."""
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(12, 3, padding="same")(x)
    if order == "dcr":
        x = ops.depth_to_space(x, 2, data_format="channels_last")
    else:
        x = PixelShuffle(2)(x)
    return keras.Model(inputs, x, name="super_resolution")


class PixelShuffle(layers.Layer):
    """As `torch.nn.PixelShuffle` orders the channels."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        _, height, width, channels = ops.shape(x)
        r = self.factor
        x = ops.reshape(x, (-1, height, width, channels // r**2, r, r))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
        return ops.reshape(x, (-1, height * r, width * r, channels // r**2))

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        sides = [None if n is None else n * self.factor for n in (height, width)]
        return (batch, *sides, channels // self.factor**2)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def classifier(size=28):
    """Max and average pooling and strides, a dense layer at the end."""
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(12, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ],
        name="classifier",
    )


def everything():
    """Models in a model, a shared one and a shared layer, operations, two inputs and outputs."""
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((16, 16, 3), name="right")
    inner = keras.Input((16, 16, 3))
    y = layers.UpSampling2D(2, name="up")(inner)
    y = layers.Conv2D(4, 3, padding="same", name="smooth")(y)
    block = keras.Model(inner, layers.Conv2D(3, 2, strides=2, name="down")(y), name="block")
    tail = keras.Sequential(
        [layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="grow"), layers.ReLU()],
        name="tail",
    )
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    up = layers.UpSampling2D(2, name="shared_up")
    one, other = shared(up(block(left))), shared(up(block(right)))
    joined = ops.concatenate([one, other * 0.5], axis=-1) + 1.0
    scores = layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(joined))
    return keras.Model(
        {"left": left, "right": right}, {"image": tail(joined), "scores": scores}, name="everything"
    )


def filled(model, seed=0):
    """`model` with random weights: a fresh bias is 0, a fresh normalization does nothing."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.3, weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            values = 1 + np.abs(values)
        weight.assign(values.astype("float32"))
    return model


def inputs_of(model, seed=0, sides=(16, 18)):
    """Random inputs, in the structure in which the model takes them."""
    rng = np.random.default_rng(seed)

    def one(tensor):
        unknown = iter(sides)
        shape = [next(unknown) if n is None else n for n in tensor.shape[1:]]
        return rng.normal(size=(2, *shape)).astype("float32")

    return keras.tree.map_structure(one, graph.structure(model)[0])


def outputs_of(model, x):
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]
