"""Down-sampling behind a low-pass, at the positions and of the size of what stood there."""

from typing import Any

import keras
import numpy as np

from keras_cnnfix.layers import BlurPool2D, Padding2D
from keras_cnnfix.ops import kernels, layout
from keras_cnnfix.rules.rule import Measure
from keras_cnnfix.typing import Array, DataFormat, Ints, Shape

# A mean over the stride's pixels lets 0.34 to 0.40 pass, BlurPool2D(5) at a stride of 2 0.03.
ALIASED = 0.3


def low_pass(layer: keras.Layer, shape: Shape, window: Ints) -> list[keras.Layer]:
    """Layers for what stands behind `layer` at stride 1 in place of its `strides`.

    Of every size of image they answer with the size of `layer`, and they sample where it did: at
    `s * i` for `"valid"`; for `"same"` as far behind as its window of `window` pixels was centred,
    for an unknown side as for a multiple of the stride. Twice the stride and a tap of blur.

    Args:
        layer: A layer of Keras with `strides`, `padding` and `data_format`.
        shape: Of the images that it takes.
        window: Pixels (height, width) that one of its answers sees.
    """
    axes = list(
        zip(layout.spatial_size(shape, layer.data_format), window, layer.strides, strict=True)
    )
    settings = {"data_format": layer.data_format, "dtype": layer.dtype_policy}
    ahead = [_ahead(*axis) if layer.padding == "same" else 0 for axis in axes]
    layers: list[keras.Layer] = []
    if any(ahead):
        # Of a known side as much is left as the steps need.
        added = [a if n is None else 0 for (n, _, _), a in zip(axes, ahead, strict=True)]
        if any(added):
            pads, name = tuple((0, n) for n in added), f"{layer.name}_end"
            layers.append(Padding2D(pads, mode="edge", name=name, **settings))  # type: ignore[arg-type]
        crops = tuple((n, 0) for n in ahead)
        layers.append(keras.layers.Cropping2D(crops, name=f"{layer.name}_shift", **settings))
    taps: Any = tuple(2 * s + 1 if s > 1 else 1 for s in layer.strides)
    sides = [n if layer.padding == "same" else n and n - k + 1 for n, k, _ in axes]
    # A side that is too short to be mirrored, or may be.
    short = any(n is None or n - a <= k // 2 for n, a, k in zip(sides, ahead, taps, strict=True))
    layers.append(
        BlurPool2D(
            taps,
            layer.strides,
            "edge" if short else "reflect",
            name=f"{layer.name}_blur",
            **settings,
        )
    )
    return layers


def samples_every_window(layer: keras.Layer, shape: Shape, window: Ints) -> bool:
    """Whether `layer` answers with as many pixels as steps fit into the image, and sees those
    that a window of `window` at stride 1, `"same"`, sees at every step: `MaxBlurPool2D` does.
    """
    for n, k, s in zip(
        layout.spatial_size(shape, layer.data_format), window, layer.strides, strict=True
    ):
        if layer.padding == "same":
            fits = _ahead(n, k, s) == 0
        else:
            fits = k <= 2 and n is not None and (n - k) // s == (n - 1) // s
        if not fits:
            return False
    return True


def covers(window: Ints, shape: Shape, data_format: DataFormat) -> bool:
    """Whether a window sees the whole image."""
    sizes = layout.spatial_size(shape, data_format)
    return all(n is not None and k >= n for n, k in zip(sizes, window, strict=True))


def aliased(taps: Array, strides: Ints) -> Measure:
    """The share of the power of white noise, filtered with `taps`, that lies beyond what is left
    of the frequencies at `strides`: it comes back as others.

    Args:
        taps: Array (height, width, pairs of channels).
        strides: Pair (height, width).
    """
    # The integral of the spectrum over these frequencies, pair of taps by pair of taps.
    rows = taps.reshape(taps.shape[0] * taps.shape[1], -1)
    products = rows @ rows.T
    kept = np.ones(products.shape)
    for place, stride in zip(np.indices(taps.shape[:2]).reshape(2, -1), strides, strict=True):
        kept *= np.sinc((place[:, None] - place) / stride) / stride
    power = np.trace(products)
    value = 1 - (products * kept).sum() / power if power else 0.0
    return Measure(
        float(value),
        ALIASED,
        "answer to white noise is aliased",
        "nearly as much as a mean over the pixels of a stride lets pass",
    )


def _ahead(n: int | None, window: int, stride: int) -> int:
    """By how many pixels a window with `"same"` lies ahead of that at stride 1."""
    n = max(window, stride) * stride if n is None else n
    padded = max((n - 1) // stride * stride + window - n, 0)
    return kernels.sides(window)[0] - padded // 2
