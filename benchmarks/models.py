"""The decoders that are compared: the same network with each way to up-sample."""

import keras
import numpy as np
from keras import layers, ops

import keras_cnnfix as kc

# Shapes of real decoders: height and width of the input, and the channels of each stage.
STAGES = {
    "dcgan": (8, [256, 128, 64, 32]),
    "style transfer": (64, [128, 64, 32]),
    "style transfer in one step": (64, [128, 32]),
    "latent decoder": (16, [512, 256, 128, 128]),
}


@keras.saving.register_keras_serializable("keras_cnnfix_benchmarks")
class ReflectPadding(layers.Layer):
    """The border of a `kernel_size` convolution, as users write it today."""

    def __init__(self, kernel_size, **kwargs):
        super().__init__(**kwargs)
        self.sides = ((kernel_size - 1) // 2, kernel_size // 2)

    def call(self, inputs):
        return ops.pad(inputs, ((0, 0), self.sides, self.sides, (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        return n, height + sum(self.sides), width + sum(self.sides), channels


def resize_conv(filters, kernel_size, size, padding="reflect"):
    return [kc.ResizeConv2D(filters, kernel_size, size, padding=padding)]


def plain(filters, kernel_size, size):
    return [
        layers.UpSampling2D(size),
        ReflectPadding(kernel_size),
        layers.Conv2D(filters, kernel_size),
    ]


def transposed(filters, kernel_size, size):
    return [layers.Conv2DTranspose(filters, kernel_size + size - 1, size, padding="same")]


def decoder(
    stages,
    upsampling,
    kernel_size=3,
    size=2,
    batch_norm=False,
    activation="relu",
    **settings,
):
    """A model of one `upsampling` a stage, each followed by an activation."""
    side, (channels, *filters) = stages
    steps = [keras.Input((side, side, channels))]
    for n in filters:
        steps += upsampling(n, kernel_size, size, **settings)
        steps += [layers.BatchNormalization()] if batch_norm else []
        steps += [layers.Activation(activation)]
    return keras.Sequential(steps)


def composite_kernel(kernel, size):
    """The kernel of the transposed convolution that equals a nearest resize and a convolution with
    `kernel` (k, k, C, F), with zeros as the border: (k + size - 1, k + size - 1, F, C).
    """
    box = _box(kernel.shape[0], size)
    return np.einsum("at,bu,tucf->abfc", box, box, kernel)


def pulled_back(gradient, taps, size):
    """The gradient with respect to the kernel, from the one with respect to the composite."""
    box = _box(taps, size)
    return np.einsum("at,bu,abfc->tucf", box, box, gradient)


def _box(taps, size):
    box = np.zeros((taps + size - 1, taps), "float32")
    for t in range(taps):
        box[taps - 1 - t : taps - 1 - t + size, t] = 1
    return box
