"""How evenly an up-sampling layer covers its output: from numbers, or from its weights."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cnnfix import checks
from keras_cnnfix.typing import Array, ChannelOrder, IntOrPair, Tensor


def overlap_map(
    kernel_size: IntOrPair | keras.Layer,
    strides: IntOrPair | None = None,
    input_size: IntOrPair | None = None,
) -> Array:
    """Counts the taps of a transposed convolution that reach each output pixel.

    Along an axis with `k` taps and a stride `s`, output pixel `n` is reached by

        c[n] = #{t in 0..k-1 : t = n mod s} = ceil((k - n mod s) / s)

    of them; in two dimensions the counts multiply. They are equal if and only if `s` divides `k`;
    otherwise the output has a checkerboard of period `s` from the start. A sub-pixel convolution
    with `k` taps is a transposed one with `k * s` taps, so it is always even.

    Args:
        kernel_size: Taps per side, an int or a pair, at least 1. Or a layer: `Conv2DTranspose`,
            `EvenConv2DTranspose` (whose taps even out what the counts do not) or `SubPixelConv`,
            and `strides` is read off it.
        strides: Up-sampling factor per side, an int or a pair, at least 1.
        input_size: None for one period, far from the borders; or the input's size in pixels, an
            int or a pair `(H, W)`, for the whole output, as a `"valid"` transposed convolution
            makes it.

    Returns:
        An int array: one period `(sy, sx)`, or `((H - 1) * sy + ky, (W - 1) * sx + kx)`.

    Raises:
        ValueError: An argument is out of range, or the layer is of another kind.

    Source:
        Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill, 2016.
        https://distill.pub/2016/deconv-checkerboard

    Example:
        >>> overlap_map(3, 2)
        array([[4, 2],
               [2, 1]])
    """
    if isinstance(kernel_size, keras.Layer):
        layer = kernel_size
        strides, kernel_size = _factor("overlap_map", layer), layer.kernel_size
        if hasattr(layer, "channel_order"):
            kernel_size = tuple(k * s for k, s in zip(kernel_size, strides, strict=True))  # type: ignore[arg-type]
        elif not hasattr(layer, "output_padding"):
            raise _other_kind("overlap_map", layer)
    taps = checks.pair_of_ints("overlap_map", "kernel_size", kernel_size)
    steps = checks.pair_of_ints("overlap_map", "strides", strides)
    if input_size is None:
        axes = [
            np.bincount(np.arange(k) % s, minlength=s) for k, s in zip(taps, steps, strict=True)
        ]
    else:
        size = checks.pair_of_ints("overlap_map", "input_size", input_size)
        axes = [_coverage(*axis) for axis in zip(size, taps, steps, strict=True)]
    return np.outer(*axes)


def phase_gains(
    kernel: Tensor | keras.Layer,
    strides: IntOrPair | None = None,
    channel_order: ChannelOrder | None = None,
) -> Array:
    """Returns what each phase of an up-sampling layer makes of a constant input.

    Up-sampling by `s` has `s` phases an axis: output pixels `s * m + r` for `r = 0..s-1` (of a
    `"valid"` output; `"same"` cuts pixels off, which can rotate them), each with taps whose sum

        g[r] = sum_m h[s * m + r]

    is the phase's gain for a constant. If the gains differ, so do neighbouring pixels of a flat
    region, however the kernel was trained. Biases are left out; for a sub-pixel convolution, whose
    phases have biases of their own, that is the kernel's part alone.

    Args:
        kernel: Array or tensor in Keras's layout: `(ky, kx, out, in)` of a transposed convolution
            or, with `channel_order`, `(ky, kx, in, out * sy * sx)` of a convolution before a
            `depth_to_space`. Or a built layer: `Conv2DTranspose`, `EvenConv2DTranspose`,
            `SubPixelConv` or `ResizeConv2D`, and the rest is read off it.
        strides: Up-sampling factor per side, an int or a pair, at least 1.
        channel_order: None for a transposed convolution, `"dcr"` (TensorFlow's depth_to_space)
            or `"crd"` (PyTorch's PixelShuffle) for a sub-pixel convolution.

    Returns:
        A float array `(sy, sx, in, out)`, in the kernel's unit.

    Raises:
        ValueError: An argument is out of range, or the layer is of another kind or not built.

    Source:
        The condition g[0] = ... = g[s-1]: Sugawara, Shiota, Kiya, Super-Resolution Using
        Convolutional Neural Networks without Any Checkerboard Artifacts, 2018.
        https://arxiv.org/abs/1806.02658

    Example:
        >>> phase_gains(np.ones((3, 3, 1, 1)), 2)[..., 0, 0]
        array([[4., 2.],
               [2., 1.]])
    """
    if isinstance(kernel, keras.Layer):
        return _gains_of_layer(kernel)
    kernel = _as_kernel(kernel)
    sy, sx = checks.pair_of_ints("phase_gains", "strides", strides)
    if channel_order is None:
        gains = [[kernel[y::sy, x::sx].sum((0, 1)).T for x in range(sx)] for y in range(sy)]
        return np.array(gains)
    checks.one_of("phase_gains", "channel_order", channel_order, ("dcr", "crd"))
    if kernel.shape[3] % (sy * sx):
        raise ValueError(
            f"phase_gains: the kernel of a sub-pixel convolution must have a multiple of "
            f"{sy * sx} filters. Received: shape={kernel.shape}, strides={(sy, sx)}."
        )
    sums = kernel.sum((0, 1))
    if channel_order == "dcr":
        return np.moveaxis(sums.reshape(len(sums), sy, sx, -1), 0, 2)
    return np.moveaxis(sums.reshape(len(sums), -1, sy, sx), (2, 3), (0, 1))


def phase_imbalance(gains: npt.ArrayLike) -> float:
    """Returns which share of a layer's response to constants is a checkerboard.

    With the mean `m` of the gains `g` over the phases, for each pair of channels,

        sum (g - m)^2 / sum g^2

    over all phases and pairs: the energy outside DC of the output, for an input that is constant
    in space and independent from channel to channel.

    Args:
        gains: Array `(sy, sx, in, out)`, of `phase_gains`.

    Returns:
        A float, from 0 (none) to 1 (nothing else); 0 where all gains are zero.

    Raises:
        ValueError: `gains` is not of rank 4.

    Example:
        >>> round(phase_imbalance(phase_gains(np.ones((3, 3, 1, 1)), 2)), 2)
        0.19
    """
    gains = np.asarray(gains, "float64")
    if gains.ndim != 4:
        raise ValueError(
            f"phase_imbalance: `gains` must be what `phase_gains` returns, of rank 4. "
            f"Received: shape={gains.shape}."
        )
    energy = np.square(gains).sum()
    uneven = np.square(gains - gains.mean((0, 1))).sum()
    return float(uneven / energy) if energy else 0.0


def _gains_of_layer(layer: keras.Layer) -> Array:
    if not layer.built:
        raise ValueError(
            f"phase_gains: the layer must have weights. Received: {layer.name!r}, which is not "
            f"built. Call it on a batch of images first."
        )
    strides = _factor("phase_gains", layer)
    # What the call uses, where that is not the kernel as it is stored.
    kernel = layer.effective_kernel() if hasattr(layer, "effective_kernel") else layer.kernel
    if hasattr(layer, "output_padding"):
        return phase_gains(kernel, strides)
    if hasattr(layer, "channel_order"):
        gains = phase_gains(kernel, strides, layer.channel_order)
        # The box filter of `smooth` averages over the phases.
        return np.broadcast_to(gains.mean((0, 1)), gains.shape) if layer.smooth else gains
    if hasattr(layer, "interpolation") and hasattr(layer, "kernel"):
        # The resize keeps a constant, and the convolution weighs it alike everywhere.
        sums = _as_kernel(layer.kernel).sum((0, 1))
        return np.broadcast_to(sums, (*(int(np.ceil(s)) for s in strides), *sums.shape))
    raise _other_kind("phase_gains", layer)


def _factor(owner: str, layer: keras.Layer) -> Any:
    for name in ("size", "strides"):
        if hasattr(layer, name) and hasattr(layer, "kernel_size"):
            return getattr(layer, name)
    raise _other_kind(owner, layer)


def _other_kind(owner: str, layer: keras.Layer) -> ValueError:
    return ValueError(
        f"{owner}: a layer must be Conv2DTranspose, EvenConv2DTranspose, SubPixelConv or "
        f"ResizeConv2D, and the last has gains only. Received: {layer.name!r} of "
        f"{type(layer).__name__}. Give numbers instead."
    )


def _as_kernel(kernel: Tensor) -> Array:
    kernel = np.asarray(keras.ops.convert_to_numpy(kernel), "float64")
    if kernel.ndim != 4:
        raise ValueError(
            f"phase_gains: `kernel` must have 4 dimensions (height, width and two of channels). "
            f"Received: shape={kernel.shape}."
        )
    return kernel


def _coverage(n: int, taps: int, step: int) -> Array:
    counts = np.zeros((n - 1) * step + taps, int)
    for pixel in range(n):
        counts[pixel * step : pixel * step + taps] += 1
    return counts
