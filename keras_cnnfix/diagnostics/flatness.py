"""What a model makes of constant inputs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import answering, without_border
from keras_cnnfix.ops import layout
from keras_cnnfix.typing import AnyModel, Array, DataFormat, Shape

UNKNOWN_SIDE = 64  # pixels, for a model that takes any size


@dataclass(frozen=True)
class ConstantResponse:
    """What `constant_response` saw, one entry a level.

    Attributes:
        levels: The constants that were put in.
        energy: Share of the output's energy outside DC (frequency 0), 0 to 1.
        spatial_std: Standard deviation over the pixels, root mean square over the channels, in
            the output's unit.
        outputs: The outputs themselves, `(levels, H, W, C)`.
    """

    levels: tuple[float, ...]
    energy: Array
    spatial_std: Array
    outputs: Array


def constant_response(
    model: AnyModel,
    shape: tuple[int, int, int] | None = None,
    levels: Iterable[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    border: int = 0,
    data_format: DataFormat | None = None,
) -> ConstantResponse:
    """Shows what a model makes of constant images.

    Two opposite faults show here. An up-sampler should answer a constant with a constant: the
    energy outside DC is its checkerboard (and its border, see `border`). A generator that must
    texture or dither a flat region should not: without a noise input (`NIB`) a convolutional
    network can only answer with a constant, and its spatial deviation is 0.

    Args:
        model: A Keras model, a torch module or a function, from a batch of images to a batch of
            images; asked as `shift_consistency` asks.
        shape: Shape of one input, `(H, W, C)`, or `(C, H, W)` with `"channels_first"`. None for
            the model's own, with 64 for an unknown side.
        levels: The constants, in the input's unit.
        border: Pixels to cut from each side of the output.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `ConstantResponse`.

    Raises:
        ValueError: The shape is unknown, or the output is no image.

    Source:
        Energy outside DC as a test of flat regions, and flatness degradation: Xia et al., Deep
        Halftoning with Reversible Binary Pattern, 2021; https://arxiv.org/abs/2012.12109.

    Example:
        >>> upsampling = keras.layers.Conv2DTranspose(1, 3, strides=2, use_bias=False)
        >>> model = keras.Sequential([keras.Input((None, None, 1)), upsampling])
        >>> upsampling.set_weights([np.ones((3, 3, 1, 1))])
        >>> constant_response(model, (16, 16, 1), levels=[1.0], border=2).energy.round(2)
        array([0.19])
    """
    owner = "constant_response"
    data_format = checks.data_format(owner, data_format)
    levels = tuple(float(level) for level in levels)
    if not levels:
        raise ValueError(f"{owner}: `levels` must hold one number or more. Received: none.")
    shape = input_shape(owner, model, shape)
    images = np.stack([np.full(shape, level, "float32") for level in levels])
    images = np.transpose(
        images, (0, *layout.spatial_axes(data_format), layout.channel_axis(data_format))
    )
    outputs = answering(owner, model, len(levels), data_format)(images)
    checks.image_batch(owner, outputs.shape, "outputs")
    outputs = without_border(owner, outputs, border)
    exact = outputs.astype("float64")
    variance = exact.var((1, 2)).mean(-1)
    energy = np.square(exact).mean((1, 2, 3))
    share = np.divide(variance, energy, out=np.zeros_like(energy), where=energy > 0)
    return ConstantResponse(levels, share, np.sqrt(variance), outputs)


def input_shape(owner: str, model: AnyModel, shape: Shape | None) -> Shape:
    """`shape` of one input, or where it is None the model's own, 64 for an unknown side."""
    if shape is None:
        known = getattr(model, "input_shape", None)
        if not isinstance(known, tuple) or len(known) != 4:
            raise ValueError(
                f"{owner}: `shape` must be given where the model has not one input of rank 4. "
                f"Received: shape=None, model.input_shape={known!r}."
            )
        shape = tuple(UNKNOWN_SIDE if side is None else side for side in known[1:])
    return checks.image_batch(owner, (1, *shape), "shape")[1:]
