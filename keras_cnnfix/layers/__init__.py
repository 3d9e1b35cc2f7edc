"""The Keras layers of the package."""

from keras_cnnfix.layers.adaptive_anti_alias import AdaptiveAntiAlias
from keras_cnnfix.layers.blur_pool2d import BlurPool2D
from keras_cnnfix.layers.even_conv2d_transpose import EvenConv2DTranspose
from keras_cnnfix.layers.max_blur_pool2d import MaxBlurPool2D
from keras_cnnfix.layers.nib import NIB
from keras_cnnfix.layers.padding2d import Padding2D
from keras_cnnfix.layers.resize_conv2d import ResizeConv2D
from keras_cnnfix.layers.subpixel_conv import SubPixelConv

__all__ = [
    "NIB",
    "AdaptiveAntiAlias",
    "BlurPool2D",
    "EvenConv2DTranspose",
    "MaxBlurPool2D",
    "Padding2D",
    "ResizeConv2D",
    "SubPixelConv",
]
