"""What a graph answers where the maps that it up-samples are flat: of every model with a graph."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnnfix import graph
from keras_cnnfix.graph import Site
from keras_cnnfix.ops import layout
from keras_cnnfix.typing import Array, DataFormat, Images, Ints, Tensor

LEAST_SIDE = 24  # pixels: the border of smaller maps leaves no room in the middle
PLACES = ((0.5, 0.5), (0.3, 0.6), (0.6, 0.3), (0.4, 0.4))  # Shares of height and width.


@dataclass
class _Value:
    """A tensor on its way through the graph; `period` above 1: it is behind an up-sampling."""

    tensor: Tensor
    period: Ints = (1, 1)


@dataclass
class _Flattening:
    """Puts one pixel of a map everywhere, and enlarges maps all alike."""

    place: tuple[float, float]
    least: int
    data_format: DataFormat
    factor: int = 0  # Of the first map.

    def __call__(self, value: _Value) -> _Value:
        if max(value.period) > 1 or len(value.tensor.shape) != 4:
            return value
        axes = layout.spatial_axes(self.data_format)
        pixel, shape = value.tensor, list(value.tensor.shape)
        self.factor = self.factor or -(-self.least // min(shape[axis] for axis in axes))
        for axis, share in zip(axes, self.place, strict=True):
            pixel = ops.take(pixel, [int(share * shape[axis])], axis=axis)
            shape[axis] *= self.factor
        return _Value(ops.broadcast_to(pixel, shape))


def answer_to_flats(
    model: keras.Model, x: Images, data_format: DataFormat
) -> tuple[Array, Ints] | str:
    """Answers of a graph of which every map before the first up-sampling was made flat.

    Each map that goes into an up-sampling, or joins what comes out of one (a skip connection), is
    replaced by one of its pixels, everywhere, and enlarged: a constant has any size. What varies
    in the answer, away from the border, the up-sampling and what follows it have drawn.

    Args:
        model: A graph (`graph.is_graph`).
        x: What it takes: images, latents, or a structure of these.
        data_format: Of its maps.

    Returns:
        A pair of the answers, an array of images, for each of several pixels, and the period of
        its up-sampling (height, width); or in words why there is none.
    """
    x = keras.tree.flatten(x)
    reason = ""
    # A layer behind the up-sampling may take one size alone: then nothing is enlarged.
    for least in (LEAST_SIDE, 1):
        try:
            flattenings = [_Flattening(place, least, data_format) for place in PLACES]
            found: list[Any] = [_images(_asked(model, x, flat)) for flat in flattenings]
        except Exception as error:
            reason = f"its layers cannot be asked one by one ({type(error).__name__})"
            continue
        if None in found:
            return "no layer up-samples"
        return np.concatenate([answers for answers, _ in found]), found[0][1]
    return reason


def _images(values: Iterable[_Value]) -> tuple[Array, Ints] | None:
    """The largest images behind an up-sampling, as an array, and their period."""
    images = [v for v in values if max(v.period) > 1 and len(v.tensor.shape) == 4]
    if not images:
        return None
    largest = max(images, key=lambda v: np.prod(v.tensor.shape))
    return ops.convert_to_numpy(ops.cast(largest.tensor, "float32")), largest.period


def _asked(model: keras.Model, tensors: Iterable[Tensor], flat: _Flattening) -> list[_Value]:
    pairs = zip(model.inputs, tensors, strict=True)
    values = [_Value(ops.cast(tensor, symbol.dtype)) for symbol, tensor in pairs]
    return graph.walked(model, values, lambda site, taken: _answers(site, taken, flat))


def _answers(site: Site, taken: list[_Value], flat: _Flattening) -> list[_Value]:
    if any(max(value.period) > 1 for value in taken):
        taken = [flat(value) for value in taken]
    answers = _call(site, taken, flat)
    if max(answers[0].period) == 1 and _grows(taken, answers, flat.data_format) != (1, 1):
        taken = [flat(value) for value in taken]
        answers = _call(site, taken, flat)
        for value in answers:
            value.period = _grows(taken, answers, flat.data_format)
    elif max(answers[0].period) > 1 and not graph.is_graph(site.operation):
        ratio = _grows(taken, answers, flat.data_format)
        for value in answers:
            value.period = tuple(a * b for a, b in zip(value.period, ratio, strict=True))
    return answers


def _call(site: Site, taken: list[_Value], flat: _Flattening) -> list[_Value]:
    if graph.is_graph(site.operation):
        return graph.walked(site.operation, taken, lambda inner, x: _answers(inner, x, flat))
    answers = keras.tree.flatten(site(*(value.tensor for value in taken)))
    period = tuple(map(max, zip(*(value.period for value in taken), strict=True)))
    return [_Value(answer, period) for answer in answers]


def _grows(taken: list[_Value], answers: list[_Value], data_format: DataFormat) -> Ints:
    """By which whole factors (height, width) a call enlarges its maps."""
    if len(taken) != 1 or len(taken[0].tensor.shape) != 4 or len(answers[0].tensor.shape) != 4:
        return (1, 1)
    sizes = [layout.spatial_size(v.tensor.shape, data_format) for v in (taken[0], answers[0])]
    ratios = [large / small for small, large in zip(*sizes, strict=True)]
    return tuple(int(r) if r >= 2 else 1 for r in ratios)
