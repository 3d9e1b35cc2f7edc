"""Frozen ImageNet networks whose feature maps say how alike two pictures look.

`squeezenet` has its weights next to it (see `../assets/NOTICE.md`) and costs about a thirtieth of
`vgg16`, which downloads them.
"""

import functools
from pathlib import Path

import keras
import numpy as np
from keras import ops

from common.program import InputError
from keras_cnnfix import BlurPool2D, MaxBlurPool2D

WEIGHTS = Path(__file__).parents[1] / "assets" / "squeezenet_v1_1_to_fire5_float16.npz"
RGB_MEAN = (122.679, 116.669, 104.006)


def squeezenet(names=("conv1", "fire2", "fire3", "fire4", "fire5"), antialias=False):
    """Builds SqueezeNet v1.1 up to `fire5`: RGB images, 0..255, to one feature map per name.

    Args:
        names: Out of "conv1" and "fire2" to "fire5", in the order in which the maps are wanted.
        antialias: Blur before every subsampling, with the same weights: strides weigh the pixels
            unevenly, which draws a grid into the gradient with respect to the images.

    Returns:
        A frozen `keras.Model` from `(N, H, W, 3)`, any size from 16 pixels up, to a list of
        `(N, h, w, c)`. The strides are 2 for "conv1", 4 for "fire2" and "fire3", 8 for the rest.

    Source:
        Iandola et al., SqueezeNet, 2016. https://arxiv.org/abs/1602.07360
    """
    with np.load(WEIGHTS) as stored:
        weights = {name: array.astype("float32") for name, array in stored.items()}
    # The stored network reads BGR.
    weights["conv1/w"] = weights["conv1/w"][:, :, ::-1]

    def conv(x, name, strides=1):
        kernel, bias = weights[f"{name}/w"], weights[f"{name}/b"]
        # Drawing weights that are overwritten would take seconds (JAX 0.10).
        layer = keras.layers.Conv2D(
            len(bias),
            kernel.shape[0],
            strides,
            padding="same",
            activation="relu",
            kernel_initializer="zeros",
        )
        y = layer(x)
        layer.set_weights([kernel, bias])
        return y

    def fire(x, name):
        x = conv(x, f"{name}/squeeze1x1")
        expanded = [conv(x, f"{name}/expand1x1"), conv(x, f"{name}/expand3x3")]
        return keras.layers.Concatenate()(expanded)

    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling([1.0, 1.0, 1.0], offset=[-mean for mean in RGB_MEAN])(image)
    if antialias:
        maps = {"conv1": BlurPool2D(4, strides=2)(conv(x, "conv1"))}
        pool = functools.partial(MaxBlurPool2D, pool_size=3, kernel_size=4, strides=2)
    else:
        maps = {"conv1": conv(x, "conv1", strides=2)}
        pool = functools.partial(keras.layers.MaxPooling2D, 3, 2)
    x = pool()(maps["conv1"])
    maps["fire2"] = fire(x, "fire2")
    maps["fire3"] = fire(maps["fire2"], "fire3")
    x = pool()(maps["fire3"])
    maps["fire4"] = fire(x, "fire4")
    maps["fire5"] = fire(maps["fire4"], "fire5")
    network = keras.Model(image, [maps[name] for name in names], name="squeezenet")
    network.trainable = False
    return network


def vgg16(names=("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")):
    """Builds VGG16 up to `block4`: RGB images, 0..255, to one feature map per name.

    Args:
        names: Names of its layers, in the order in which the maps are wanted.

    Returns:
        A frozen `keras.Model` from `(N, H, W, 3)` to a list of `(N, h, w, c)`. The stride is 1
        for "block1" and doubles from block to block.

    Raises:
        InputError: The weights cannot be downloaded.

    Source:
        Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
        2014. https://arxiv.org/abs/1409.1556
    """
    try:
        full = keras.applications.VGG16(include_top=False, weights="imagenet")
    except Exception as error:  # Keras passes on whatever the download raised.
        raise InputError(
            f"the ImageNet weights of VGG16 cannot be downloaded ({error}). "
            "Take SqueezeNet, which is embedded."
        ) from error
    maps = keras.Model(full.input, [full.get_layer(name).output for name in names])
    image = keras.Input((None, None, 3))
    network = keras.Model(image, maps(keras.applications.vgg16.preprocess_input(image)))
    network.trainable = False
    return network


def gram(maps):
    """Returns how strongly each two channels fire together: `(N, H, W, C)` to `(N, C, C)`."""
    _, height, width, channels = maps.shape
    maps = ops.reshape(maps, (-1, height * width, channels))
    return ops.matmul(ops.transpose(maps, (0, 2, 1)), maps) / (height * width)
