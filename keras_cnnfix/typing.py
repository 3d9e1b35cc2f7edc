"""Names for what the package takes and gives.

Keras has no types of its own: a type checker knows nothing of a tensor, a layer or a model.
"""

import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, TypeAlias, TypedDict

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
# Of the backend, symbolic, or a NumPy array.
Tensor: TypeAlias = Any
# What a model takes: a tensor, a structure of these or, where so documented, what gives batches.
Images: TypeAlias = Any
# What answers a batch: a Keras model, a torch module, or a function.
AnyModel: TypeAlias = Callable[..., Any]
Config: TypeAlias = dict[str, Any]
DType: TypeAlias = Any
FilePath: TypeAlias = str | os.PathLike[str]

# One number for each spatial axis; where it is a size, None or a scalar tensor if unknown.
Ints: TypeAlias = tuple[int, ...]
Sizes: TypeAlias = tuple[Any, ...]
Shape: TypeAlias = tuple[Any, ...]
# Before and after, for each spatial axis.
Pads: TypeAlias = tuple[tuple[int, ...], ...]

IntOrPair: TypeAlias = int | tuple[int, int]
Scale: TypeAlias = int | float | str | Fraction
ScaleOrPair: TypeAlias = Scale | tuple[Scale, Scale]
PadsOrInt: TypeAlias = IntOrPair | tuple[tuple[int, int], tuple[int, int]]

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
Padding: TypeAlias = Literal["reflect", "symmetric", "edge", "wrap", "zeros"]
KerasPadding: TypeAlias = Literal["valid", "same"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]
Implementation: TypeAlias = Literal["auto", "plain", "polyphase"]
ChannelOrder: TypeAlias = Literal["dcr", "crd"]
Normalization: TypeAlias = Literal["group", "joint"]
NoiseMode: TypeAlias = Literal["symmetric", "concat"]
Artifact: TypeAlias = Literal["checkerboard", "aliasing", "border"]
Severity: TypeAlias = Literal["artifact", "risk"]
Distribution: TypeAlias = Literal["normal", "uniform", "blue"]
# What `fix` and `diagnose` look for, by group and by name.
RuleName: TypeAlias = Literal[
    "exact",
    "upsampling",
    "downsampling",
    "all",
    "resize",
    "subpixel",
    "smooth",
    "icnr",
    "adaptive",
    "resize_conv",
    "even_subpixel_conv",
    "subpixel_conv",
    "even_subpixel_layer",
    "even_transposed_conv",
    "max_pooling",
    "average_pooling",
    "strided_conv",
    "reflect",
]

# What Keras reads as one: its name, its config, or the object itself.
Activation: TypeAlias = str | Config | Callable[..., Any] | None
Initializer: TypeAlias = str | Config | Callable[..., Any] | Array | None
Regularizer: TypeAlias = str | Config | Callable[..., Any] | None
Constraint: TypeAlias = str | Config | Callable[..., Any] | None


class LayerSettings(TypedDict, total=False):
    """What a layer of the package hands on to `keras.Layer`."""

    name: str | None
    dtype: DType
    trainable: bool
    autocast: bool


class PlainLayerSettings(LayerSettings, total=False):
    """The same of a layer that does not name this argument itself."""

    activity_regularizer: Regularizer
