"""What is left of an up-sampler's grid where the input is not flat."""

from dataclasses import dataclass

import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import answering, without_border
from keras_cnnfix.diagnostics.flatness import input_shape
from keras_cnnfix.ops import layout
from keras_cnnfix.typing import AnyModel, Array, DataFormat


@dataclass(frozen=True)
class GridResponse:
    """What `grid_response` saw: shares of the answer's energy that are a grid, from 0 to 1.

    Attributes:
        constant: Of the answer to an image of ones, what is not constant.
        ramp: Of the variance of the answer to ramps, what is not on the plane that fits it best.
        edge: Of the variance of the answer to straight edges, what varies along the edge.
    """

    constant: float
    ramp: float
    edge: float


def grid_response(
    model: AnyModel,
    shape: tuple[int, int, int] | None = None,
    border: int = 0,
    data_format: DataFormat | None = None,
) -> GridResponse:
    """Shows what is left of a grid on flats, on ramps and at edges.

    Along an edge the input does not change, so what changes along it in the answer is a grid;
    a linear up-sampler without one answers a ramp with a ramp. Ramps and edges, from 0 to 1,
    stand upright and lie; both count alike. Kernels with even phases have no grid on flats,
    of order 1 none on ramps, nor, of two taps a phase, along such edges.

    Args:
        model: A Keras model, a torch module or a function, from a batch of images to a batch of
            images, as `constant_response` takes it: an up-sampling layer in a model, or a decoder.
        shape: Shape of one input, `(H, W, C)`, or `(C, H, W)` with `"channels_first"`. None for
            the model's own, with 64 for an unknown side.
        border: Pixels to cut from each side of the output.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `GridResponse`.

    Raises:
        ValueError: The shape is unknown, or the output is no image.

    Source:
        Constants as a test: Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658.

    Example:
        >>> upsampling = keras.layers.UpSampling2D(2, interpolation="bilinear")
        >>> model = keras.Sequential([keras.Input((None, None, 1)), upsampling])
        >>> response = grid_response(model, (16, 16, 1), border=2)
        >>> max(response.constant, response.ramp, response.edge) < 1e-10
        True
    """
    owner = "grid_response"
    data_format = checks.data_format(owner, data_format)
    shape = input_shape(owner, model, shape)
    height, width = layout.spatial_size((None, *shape), data_format)
    channels = shape[layout.channel_axis(data_format) - 1]
    down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    probes = [np.ones((1, 1)), down, right, down > 0.5, right > 0.5]
    images = np.stack([np.broadcast_to(probe, (height, width)) for probe in probes])
    images = np.repeat(images[..., None].astype("float32"), channels, axis=-1)
    outputs = answering(owner, model, len(images), data_format)(images)
    checks.image_batch(owner, outputs.shape, "outputs")
    constant, *ramps_and_edges = without_border(owner, outputs, border).astype("float64")
    ramps, edges = ramps_and_edges[:2], ramps_and_edges[2:]
    return GridResponse(
        constant=_share(constant - constant.mean((0, 1)), constant),
        ramp=float(np.mean([_share(_off_plane(y), y - y.mean((0, 1))) for y in ramps])),
        edge=float(
            np.mean(
                [
                    _share(y - y.mean(along, keepdims=True), y - y.mean((0, 1)))
                    for along, y in zip((1, 0), edges, strict=True)
                ]
            )
        ),
    )


def _off_plane(image: Array) -> Array:
    """What is left of each channel of (H, W, C) without the plane that fits it best."""
    height, width, channels = image.shape
    y, x = np.indices((height, width)).reshape(2, -1)
    planes = np.stack([np.ones_like(y), y, x], axis=-1).astype("float64")
    values = image.reshape(-1, channels)
    fitted, *_ = np.linalg.lstsq(planes, values, rcond=None)
    return values - planes @ fitted


def _share(part: Array, whole: Array) -> float:
    energy = np.square(whole).sum()
    return float(np.square(part).sum() / energy) if energy else 0.0
