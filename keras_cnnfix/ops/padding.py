"""Borders around images, the same on every backend."""

from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops import backend, layout


def pad2d(x, pads, mode, data_format):
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
    if mode in ("zeros", "reflect"):
        keras_mode = "constant" if mode == "zeros" else mode
        return ops.pad(x, layout.pads_per_axis(pads, data_format), mode=keras_mode)
    # `ops.pad` has no edge and wrap on any two backends, and its symmetric is edge on PyTorch
    # (Keras 3.15).
    for (before, after), axis in zip(pads, layout.spatial_axes(data_format), strict=True):
        x = _BORDERS[mode](x, before, after, axis)
    return x


def _edge(x, before, after, axis):
    head = ops.repeat(layout.first(x, 1, axis), before, axis=axis)
    tail = ops.repeat(layout.last(x, 1, axis), after, axis=axis)
    return ops.concatenate([head, x, tail], axis=axis)


def _symmetric(x, before, after, axis):
    parts = [x]
    if before:
        parts.insert(0, ops.flip(backend.first(x, before, axis), axis=axis))
    if after:
        parts.append(ops.flip(backend.last(x, after, axis), axis=axis))
    return ops.concatenate(parts, axis=axis)


def _wrap(x, before, after, axis):
    parts = [x]
    if before:
        parts.insert(0, backend.last(x, before, axis))
    if after:
        parts.append(backend.first(x, after, axis))
    return ops.concatenate(parts, axis=axis)


_BORDERS = {"edge": _edge, "symmetric": _symmetric, "wrap": _wrap}
