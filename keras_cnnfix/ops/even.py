"""Kernels whose phases are even: a constant comes out as a constant, or a ramp as a ramp.

An up-sampling convolution of stride `s` has `s` phases along each axis, each with taps of its own:
in a transposed convolution tap `t` belongs to phase `t mod s`, in a sub-pixel convolution each
phase has filters of its own. `docs/even_phases.md` derives what is asked of them.
"""

import functools
import math

import numpy as np
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops.precision import at_least_float32
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS
from keras_cnnfix.typing import Array, ChannelOrder, IntOrPair, Ints, Shape, Tensor


def even(
    kernel: Tensor, strides: Ints, channel_order: ChannelOrder | None = None, order: int = 0
) -> Tensor:
    """The kernel with even phases that is nearest to `kernel`; differentiable.

    Args:
        kernel: Shape (kh, kw, filters, C) of a transposed convolution or, with `channel_order`,
            (kh, kw, C, filters * sy * sx) of a sub-pixel convolution, or (filters * sy * sx,) of
            its bias.
        strides: Pair (sy, sx).
        channel_order: None, `"dcr"` or `"crd"`.
        order: 0: the taps of all phases have the same sum. 1: and the same first moments.

    Returns:
        A tensor of the shape and dtype of `kernel`, summed in float32 if that is in half precision.
    """
    shape, order = tuple(kernel.shape), order if len(kernel.shape) == 4 else 0
    kh, kw, channels, outputs = shape if len(shape) == 4 else (1, 1, 1, *shape)
    if math.prod(strides) == 1:
        return kernel
    projection = _projection((kh, kw), strides, channel_order, order)
    # The taps of all phases in rows, a column for each pair of channels.
    taps = at_least_float32(kernel)
    if channel_order is not None:
        phases = math.prod(strides)
        sizes = {"t": kh * kw, "c": channels, "p": phases, "f": outputs // phases}
        axes = "tcpf" if channel_order == "dcr" else "tcfp"
        taps = ops.reshape(taps, [sizes[axis] for axis in axes])
        taps = ops.transpose(taps, [axes.index(axis) for axis in "tpcf"])
    taps = ops.reshape(taps, (len(projection), -1))
    # Not `ops.matmul`, which is in float32 for float64 on PyTorch (Keras 3.15).
    taps = ops.convert_to_tensor(projection, dtype=taps.dtype) @ taps
    if channel_order is not None:
        taps = ops.reshape(taps, [sizes[axis] for axis in "tpcf"])
        taps = ops.transpose(taps, ["tpcf".index(axis) for axis in axes])
    return ops.cast(ops.reshape(taps, shape), kernel.dtype)


def even_start(
    drawn: Tensor, strides: Ints, channel_order: ChannelOrder | None = None, order: int = 0
) -> Tensor:
    """`even` of a kernel that was drawn, scaled to its norm: so that the output has the variance
    that it would have had.
    """
    kernel, drawn = (
        at_least_float32(k) for k in (even(drawn, strides, channel_order, order), drawn)
    )
    energy, before = (ops.sum(ops.square(k)) for k in (kernel, drawn))
    scale = ops.where(energy > 0, ops.sqrt(before / ops.where(energy > 0, energy, 1)), 1)
    return kernel * ops.cast(scale, kernel.dtype)


def checked_phases(
    owner: str, strides: IntOrPair, channel_order: ChannelOrder | None, order: int
) -> tuple[tuple[int, int], ChannelOrder | None, int]:
    """The three arguments, if they are a factor per axis, a channel order or None, and 0 or 1."""
    if channel_order is not None:
        checks.one_of(owner, "channel_order", channel_order, CHANNEL_ORDERS)
    order = checks.positive_int(owner, "order", order, minimum=0, maximum=1)
    return checks.pair_of_ints(owner, "strides", strides), channel_order, order


def check_shape(
    owner: str, shape: Shape, strides: Ints, channel_order: ChannelOrder | None, order: int
) -> None:
    """Raises unless `shape` is that of a kernel (or a sub-pixel convolution's bias) that can be
    even, and more than 0 for constants.
    """
    phases = math.prod(strides) if channel_order is not None else 1
    if (len(shape) != 4 and (len(shape) != 1 or channel_order is None)) or shape[-1] % phases:
        raise ValueError(
            f"{owner}: the shape must be (kh, kw, filters, channels) of a transposed convolution "
            f"or, with `channel_order`, (kh, kw, channels, filters * {math.prod(strides)}) of a "
            f"sub-pixel convolution, or (filters * {math.prod(strides)},) of its bias. Received: "
            f"shape={tuple(shape)}, strides={strides}, channel_order={channel_order!r}."
        )
    if len(shape) == 4 and not degrees_of_freedom(tuple(shape[:2]), strides, channel_order, order):
        # Each phase needs a tap and, for a ramp, two; but for one, of a transposed convolution.
        least = {
            (True, 0): [1, 1],
            (True, 1): [min(s, 2) for s in strides],
            (False, 0): list(strides),
            (False, 1): [2 * s - 1 for s in strides],
        }[channel_order is not None, order]
        raise ValueError(
            f"{owner}: the kernel must have at least {least} taps (height, width) for even "
            f"phases. Received: {list(shape[:2])} taps, strides={strides}, order={order}. Use a "
            f"larger kernel{', or order=0' if order else ''}."
        )


def degrees_of_freedom(
    kernel_size: Ints, strides: Ints, channel_order: ChannelOrder | None = None, order: int = 0
) -> int:
    """How many numbers even phases leave free of a kernel, for each pair of channels.

    0 where what they leave answers every constant with 0: of no use.
    """
    projection = _projection(kernel_size, strides, channel_order, order)
    return round(projection.trace()) if projection.sum() > 1e-9 else 0


@functools.cache
def _projection(
    kernel_size: Ints, strides: Ints, channel_order: ChannelOrder | None, order: int
) -> Array:
    """The matrix (taps, taps) that makes the nearest even kernel: it takes away what lies in the
    span of the differences between the sums, or moments, of a phase and those of the first.
    """
    phases, positions = _phases_and_positions(kernel_size, strides, channel_order)
    of_phase = np.equal(phases[:, None], np.arange(math.prod(strides))).astype("float64")
    sums = [of_phase, *(of_phase * along[:, None] for along in positions.T)][: 1 + 2 * order]
    differences = np.concatenate([each[:, 1:] - each[:, :1] for each in sums], axis=1)
    basis, values, _ = np.linalg.svd(differences, full_matrices=False)
    uneven = basis[:, values > 1e-9 * values.max(initial=0)]
    return np.eye(len(phases)) - uneven @ uneven.T


def _phases_and_positions(
    kernel_size: Ints, strides: Ints, channel_order: ChannelOrder | None
) -> tuple[Array, Array]:
    """For each tap of each phase: the number of its phase, and its position (y, x).

    A tap at position `t` adds small pixel `m` to pixel `s * m + t` of the result.
    """
    taps = np.indices(kernel_size).reshape(2, -1).T
    if channel_order is None:
        return (taps % strides) @ (strides[1], 1), taps
    pixels = np.indices(strides).reshape(2, -1).T
    positions = pixels - taps[:, None] * strides
    phases = np.tile(pixels @ (strides[1], 1), len(taps))
    return phases, positions.reshape(-1, 2)
