"""Initial values of kernels."""

import keras
import numpy as np
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops.even import check_shape, checked_phases, even, even_start
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS
from keras_cnnfix.typing import ChannelOrder, Config, DType, Initializer, IntOrPair, Shape, Tensor


@keras.saving.register_keras_serializable("keras_cnnfix")
class ICNR(keras.initializers.Initializer):
    """Starts an up-sampling as nearest resize of a convolution, free of checkerboards.

    Of a sub-pixel convolution, the filters that a depth-to-space spreads over one block of
    `sy x sx` pixels all start with the same values, drawn once by `initializer` with the fan-out
    of one phase: at the start each block is flat, so no phase stands out.

    Of a transposed convolution, along each axis, tap `t` starts as tap `t // s` of a kernel `v`
    that `initializer` drew, at the low resolution; tap `t` belongs to phase `r = t mod s`. Where
    the last phases have one tap less, the taps then move, as little as can be, until all phases
    have the same sum (`EvenPhases`): a constant input gives a constant output, the border apart.
    While it trains it can lose that; the constraint `EvenPhases` or `EvenConv2DTranspose` keep it.

    A layer tells an initializer nothing but the shape of its kernel, so that `transposed` must be
    said: without it, a transposed convolution starts with a checkerboard.

    Args:
        initializer: What draws the values: a Keras initializer, its name or its config; None is
            `"glorot_uniform"`, as in Keras's layers.
        size: Up-sampling factor (height, width), an int or a pair: of the depth-to-space that
            follows, or the strides of the transposed convolution. At least 1.
        channel_order: Of the depth-to-space that follows: `"dcr"` or `"crd"`, as `SubPixelConv`
            takes it.
        transposed: Whether it is the kernel of a `keras.layers.Conv2DTranspose`.

    Raises:
        ValueError: `size` is below 1, `channel_order` is unknown, or (when called) the last axis
            of the shape is not divisible by `sy * sx`, or the kernel of a transposed convolution
            has fewer taps than its stride.

    Source:
        Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017.
        https://arxiv.org/abs/1707.02937. Even sums: Sugawara, Shiota, Kiya, 2018.
        https://arxiv.org/abs/1806.02658.

    Example:
        >>> kernel = ICNR("glorot_uniform", size=2)((3, 3, 8, 4 * 5))
        >>> bool(keras.ops.all(kernel[..., :5] == kernel[..., 5:10]))
        True
        >>> start = ICNR(size=2, transposed=True)
        >>> layer = keras.layers.Conv2DTranspose(5, 3, strides=2, kernel_initializer=start)
        >>> y = layer(keras.ops.ones((1, 4, 4, 8)))[:, 1:-1, 1:-1]
        >>> bool(keras.ops.all(abs(y - y[:, :1, :1]) < 1e-5))
        True
    """

    def __init__(
        self,
        initializer: Initializer = "glorot_uniform",
        size: IntOrPair = 2,
        channel_order: ChannelOrder = "dcr",
        transposed: bool = False,
    ) -> None:
        if initializer is None:
            initializer = "glorot_uniform"  # What Keras makes of it.
        self.initializer = checks.keras_object("ICNR", "initializer", initializer)
        self.size = checks.pair_of_ints("ICNR", "size", size)
        self.channel_order = checks.one_of("ICNR", "channel_order", channel_order, CHANNEL_ORDERS)
        self.transposed = checks.boolean("ICNR", "transposed", transposed)

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        """Returns a kernel of `shape` (kh, kw, C, filters * sy * sx).

        That of a transposed convolution is (kh, kw, filters, C). The last axis alone counts for a
        sub-pixel convolution: so a bias of shape (filters * sy * sx,) can be drawn, too.
        """
        return (
            self._of_transposed(shape, dtype) if self.transposed else self._of_blocks(shape, dtype)
        )

    def _of_blocks(self, shape: Shape, dtype: DType) -> Tensor:
        phases = self.size[0] * self.size[1]
        if shape[-1] % phases:
            raise ValueError(
                f"ICNR: the last axis of `shape` must be a multiple of {phases}, the pixels of a "
                f"block. Received: shape={tuple(shape)}, size={self.size}. Use filters * {phases} "
                f"output channels, another `size`, or transposed=True in a Conv2DTranspose."
            )
        one_phase = self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)
        # Not `ops.tile` and `ops.repeat`: on PyTorch they can return one place in memory several
        # times, which no optimizer can write to (Keras 3.15).
        copies = [one_phase] * phases
        if self.channel_order == "dcr":
            return ops.concatenate(copies, axis=-1)
        return ops.reshape(ops.stack(copies, axis=-1), shape)

    def _of_transposed(self, shape: Shape, dtype: DType) -> Tensor:
        if len(shape) != 4 or any(k < s for k, s in zip(shape, self.size, strict=False)):
            raise ValueError(
                f"ICNR: `shape` must be (height, width, filters, channels) of a transposed "
                f"convolution, with at least as many taps a side as `size`: other kernels leave "
                f"pixels uncovered. Received: shape={tuple(shape)}, size={self.size}. Use a larger "
                f"kernel."
            )
        *taps, filters, channels = shape
        coarse = [-(-k // s) for k, s in zip(taps, self.size, strict=True)]
        kernel = self.initializer((*coarse, channels, filters), dtype=dtype)
        for axis, (k, s) in enumerate(zip(taps, self.size, strict=True)):
            kernel = ops.take(kernel, np.arange(k) // s, axis=axis)
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        whole = all(k % s == 0 for k, s in zip(taps, self.size, strict=True))
        return kernel if whole else even(kernel, self.size)

    def get_config(self) -> Config:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "size": self.size,
            "channel_order": self.channel_order,
            "transposed": self.transposed,
        }


@keras.saving.register_keras_serializable("keras_cnnfix", "EvenPhasesInitializer")
class EvenPhases(keras.initializers.Initializer):
    """Starts an up-sampling convolution with even phases: a constant gives a constant.

    What `initializer` draws moves to the nearest kernel of which all phases have the same sum,
    and is scaled to the norm that it had, so that the output of random images keeps its variance.
    `keras_cnnfix.EvenPhases`, the constraint, keeps it so.

    Args:
        initializer: What draws the values: a Keras initializer, its name or its config; None is
            `"glorot_uniform"`, as in Keras's layers.
        strides, channel_order, order: As `keras_cnnfix.EvenPhases` takes them.

    Raises:
        ValueError: An argument is out of its range, or (when called) the shape is no such kernel's
            or too small.

    Source:
        Even sums: Sugawara, Shiota, Kiya, 2018. https://arxiv.org/abs/1806.02658.

    Example:
        >>> kernel = EvenPhases(strides=2)((3, 3, 5, 8))
        >>> sums = [keras.ops.sum(kernel[y::2, x::2], (0, 1)) for y in (0, 1) for x in (0, 1)]
        >>> all(bool(keras.ops.all(abs(g - sums[0]) < 1e-6)) for g in sums)
        True
    """

    def __init__(
        self,
        initializer: Initializer = "glorot_uniform",
        strides: IntOrPair = 2,
        channel_order: ChannelOrder | None = None,
        order: int = 0,
    ) -> None:
        if initializer is None:
            initializer = "glorot_uniform"  # What Keras makes of it.
        self.initializer = checks.keras_object("EvenPhases", "initializer", initializer)
        phases = checked_phases("EvenPhases", strides, channel_order, order)
        self.strides, self.channel_order, self.order = phases

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        """Returns a kernel (or a sub-pixel convolution's bias) of `shape`."""
        phases = (self.strides, self.channel_order, self.order)
        check_shape("EvenPhases", shape, *phases)
        drawn = self.initializer(shape, dtype=dtype)
        return ops.cast(even_start(drawn, *phases), drawn.dtype)

    def get_config(self) -> Config:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "strides": self.strides,
            "channel_order": self.channel_order,
            "order": self.order,
        }
