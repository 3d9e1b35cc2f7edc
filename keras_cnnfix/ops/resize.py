"""Up-sampling by interpolation."""

import numpy as np
from keras import ops

from keras_cnnfix.ops import backend, layout

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def resize2d(x, size, output_size, interpolation, data_format):
    """Resizes images with half-pixel centres: output `i` samples at `(i + 1/2) * in/out - 1/2`.

    Nearest takes pixel `floor((i + 1/2) * in/out)`. Bicubic is Keys' kernel with a = -1/2,
    antialiased where it shrinks (the only bicubic that the backends agree on).

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        size: Pair of `Fraction`, the factors of height and width. Ignored where `output_size` is
            given.
        output_size: The exact (height, width) in pixels, or None for `H * size`, rounded down.
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, out height, out width, C), in the dtype of `x`.

    Source:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981.
    """
    sizes = resized(layout.spatial_size(ops.shape(x), data_format), size, output_size)
    if interpolation == "bicubic":
        return backend.resize2d(x, sizes, interpolation, True, data_format)
    # Not `ops.image.resize`: under XLA on TensorFlow its nearest has no gradient and its bilinear
    # is wrong for factors 3 and 5, and its nearest does not export from PyTorch to ONNX
    # (TensorFlow 2.21, Keras 3.15).
    by_integer, to_any_size = _RESIZERS[interpolation]
    for axis, factor, out in zip(layout.spatial_axes(data_format), size, sizes, strict=True):
        if output_size is None and factor.denominator == 1:
            x = by_integer(x, factor.numerator, axis)
        else:
            x = to_any_size(x, out, axis)
    return x


def resized(sizes, size, output_size):
    """Height and width after `resize2d`; an unknown one (None) stays unknown.

    Args:
        sizes: Height and width before, in pixels: ints, None or scalar tensors.
        size, output_size: As `resize2d` takes them.
    """
    if output_size is not None:
        return output_size
    return tuple(
        None if n is None else n * factor.numerator // factor.denominator
        for n, factor in zip(sizes, size, strict=True)
    )


def _nearest_by(x, factor, axis):
    # Not `ops.repeat`: on TensorFlow it is a tile, which LiteRT has not in 16 bits.
    return layout.interleave([x] * factor, axis)


def _nearest_to(x, out, axis):
    n = ops.shape(x)[axis]
    # In integers: a float falls just below the whole number at sizes such as 40 -> 46.
    source = (2 * _arange(n, out) + 1) * n // (2 * out)
    return backend.take(x, ops.convert_to_tensor(source), axis)


def _bilinear_by(x, factor, axis):
    # Phase `r` holds the pixels `r, factor + r, ...`: means of two neighbours, with the same
    # weights at every pixel.
    n = ops.shape(x)[axis]
    first, last = layout.first(x, 1, axis), layout.last(x, 1, axis)
    x = ops.concatenate([first, x, last], axis=axis)
    neighbours = [layout.every(x, start, n, 1, axis) for start in range(3)]
    phases = []
    for phase in range(factor):
        position = (2 * phase + 1 + factor) / (2 * factor)  # 1 is the centre of the pixel itself
        left = int(position)
        right_weight = position - left
        phases.append(
            neighbours[left] * (1 - right_weight) + neighbours[min(left + 1, 2)] * right_weight
        )
    return layout.interleave(phases, axis)


def _bilinear_to(x, out, axis):
    n = ops.shape(x)[axis]
    # Twice `out` times the position of each centre, plus one pixel so that none is negative (an
    # ONNX division rounds those towards zero): whole numbers, so that none is rounded.
    position = (2 * _arange(n, out) + 1) * n + out
    right = position // (2 * out)
    right_weight = ops.cast(position - right * (2 * out), "float32") / ops.cast(2 * out, "float32")
    right_weight = layout.along(ops.cast(right_weight, x.dtype), axis)
    # Beyond the outermost centres both neighbours are the outermost pixel.
    left, right = (ops.clip(ops.convert_to_tensor(i), 0, n - 1) for i in (right - 1, right))
    return backend.take(x, left, axis) * (1 - right_weight) + (
        backend.take(x, right, axis) * right_weight
    )


def _arange(n, out):
    """The output positions: in NumPy where the sizes `n` and `out` are known, so that the index
    arithmetic on them is done once, when traced. (Inductor of PyTorch 2.13 fails to compile it.)
    """
    if isinstance(n, int) and isinstance(out, int):
        return np.arange(out)
    return ops.arange(out, dtype="int32")


_RESIZERS = {"nearest": (_nearest_by, _nearest_to), "bilinear": (_bilinear_by, _bilinear_to)}
