"""Filter taps, as NumPy arrays in float64."""

import numpy as np

from keras_cnnfix.typing import Array, Ints, Pads


def sides(size: int) -> tuple[int, int]:
    """How far a kernel of `size` taps reaches to the left and right of its position, in pixels.

    At stride 1 a border of these widths keeps the size. An even kernel reaches further right.
    """
    return ((size - 1) // 2, size // 2)


def border_of(kernel_size: Ints) -> Pads:
    """The border ((top, bottom), (left, right)) that a kernel of `kernel_size` asks for."""
    return tuple(sides(k) for k in kernel_size)


def binomial(size: int) -> Array:
    """Normalised binomial taps of shape `(size,)`: 1; 1 1; 1 2 1; 1 3 3 1; ... over their sum.

    Source: Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019, section 4.
    """
    taps = np.ones(1)
    for _ in range(size - 1):
        taps = np.convolve(taps, (0.5, 0.5))
    return taps


def box(size: int) -> Array:
    """`size` equal taps that sum to 1."""
    return np.full(size, 1.0 / size)
