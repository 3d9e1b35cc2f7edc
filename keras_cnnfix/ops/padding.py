"""Borders around images, the same on every backend."""

from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops import backend, layout
from keras_cnnfix.typing import DataFormat, Padding, Pads, Tensor


def pad2d(x: Tensor, pads: Pads, mode: Padding, data_format: DataFormat) -> Tensor:
    """Surrounds each image with a border taken from the image itself, or with zeros.

    For a row `a b c d` and 2 pixels a side:

        reflect:   c b | a b c d | c b
        symmetric: b a | a b c d | d c
        edge:      a a | a b c d | d d
        wrap:      c d | a b c d | a b
        zeros:     0 0 | a b c d | 0 0

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        pads: ((top, bottom), (left, right)), in pixels, at least 0.
        mode: One of the five above.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, top + H + bottom, left + W + right, C), in the dtype of `x`.

    Raises:
        ValueError: The border is deeper than the image (reflect needs one pixel more).
    """
    checks.border("pad2d", layout.spatial_size(x.shape, data_format), pads, mode, name="mode")
    if not any(n for pair in pads for n in pair):
        # PyTorch has no reflection by nothing (Keras 3.15).
        return x
    if mode == "zeros":
        return ops.pad(x, layout.pads_per_axis(pads, data_format))
    if mode == "reflect":
        return backend.reflect2d(x, pads, data_format)
    # `ops.pad` has no edge and wrap on any two backends, and its symmetric is edge on PyTorch
    # (Keras 3.15).
    for (before, after), axis in zip(pads, layout.spatial_axes(data_format), strict=True):
        head, tail = _BORDERS[mode](x, before, after, axis)
        x = ops.concatenate([*head, x, *tail], axis=axis)
    return x


def _edge(x: Tensor, before: int, after: int, axis: int) -> tuple[list[Tensor], list[Tensor]]:
    return [backend.first(x, 1, axis)] * before, [backend.last(x, 1, axis)] * after


def _symmetric(x: Tensor, before: int, after: int, axis: int) -> tuple[list[Tensor], list[Tensor]]:
    head, tail = _wrap(x, after, before, axis)
    return _flipped(tail, axis), _flipped(head, axis)


def _wrap(x: Tensor, before: int, after: int, axis: int) -> tuple[list[Tensor], list[Tensor]]:
    head = [backend.last(x, before, axis)] if before else []
    tail = [backend.first(x, after, axis)] if after else []
    return head, tail


def _flipped(parts: list[Tensor], axis: int) -> list[Tensor]:
    return [ops.flip(part, axis=axis) for part in parts]


# What stands before and after an image along one axis, as lists of tensors.
_BORDERS = {"edge": _edge, "symmetric": _symmetric, "wrap": _wrap}
