"""Keras 3 layers that remove the classic artifacts of convolutional networks.

Checkerboards, aliasing and flatness degradation; on TensorFlow, JAX and PyTorch.
"""

from keras_cnnfix import diagnostics, initializers, rules
from keras_cnnfix.constraints import EvenPhases
from keras_cnnfix.diagnosis import Diagnosis, diagnose
from keras_cnnfix.files import load_model
from keras_cnnfix.initializers import ICNR
from keras_cnnfix.layers import (
    NIB,
    AdaptiveAntiAlias,
    BlurPool2D,
    EvenConv2DTranspose,
    MaxBlurPool2D,
    Padding2D,
    ResizeConv2D,
    SubPixelConv,
)
from keras_cnnfix.repair import FixReport, distill, fix

__version__ = "0.1.0"

__all__ = [
    "ICNR",
    "NIB",
    "AdaptiveAntiAlias",
    "BlurPool2D",
    "Diagnosis",
    "EvenConv2DTranspose",
    "EvenPhases",
    "FixReport",
    "MaxBlurPool2D",
    "Padding2D",
    "ResizeConv2D",
    "SubPixelConv",
    "diagnose",
    "diagnostics",
    "distill",
    "fix",
    "initializers",
    "load_model",
    "rules",
]
