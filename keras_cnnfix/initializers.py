"""Initial values of kernels."""

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS


@keras.saving.register_keras_serializable("keras_cnnfix")
class ICNR(keras.initializers.Initializer):
    """Starts a sub-pixel convolution as nearest resize of a convolution, free of checkerboards.

    The filters that a depth-to-space spreads over one block of `sy x sx` pixels all start with the
    same values, drawn once by `initializer` with the fan-out of one phase: at the start each block
    is flat, so no phase stands out.

    Args:
        initializer: What draws the values: a Keras initializer, its name or its config.
        size: Up-sampling factor (height, width) of the depth-to-space that follows, an int or a
            pair. At least 1.
        channel_order: Of the depth-to-space that follows: `"dcr"` or `"crd"`, as `SubPixelConv`
            takes it.

    Raises:
        ValueError: `size` is below 1, `channel_order` is unknown, or (when called) the last axis
            of the shape is not divisible by `sy * sx`.

    Source:
        Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017.
        https://arxiv.org/abs/1707.02937.

    Example:
        >>> kernel = ICNR("glorot_uniform", size=2)((3, 3, 8, 4 * 5))
        >>> bool(keras.ops.all(kernel[..., :5] == kernel[..., 5:10]))
        True
    """

    def __init__(self, initializer="glorot_uniform", size=2, channel_order="dcr"):
        if initializer is None:
            initializer = "glorot_uniform"  # What Keras makes of it.
        self.initializer = checks.keras_object("ICNR", "initializer", initializer)
        self.size = checks.pair_of_ints("ICNR", "size", size)
        self.channel_order = checks.one_of("ICNR", "channel_order", channel_order, CHANNEL_ORDERS)

    def __call__(self, shape, dtype=None):
        """Returns a kernel of `shape` (kh, kw, C, filters * sy * sx)."""
        phases = self.size[0] * self.size[1]
        if shape[-1] % phases:
            raise ValueError(
                f"ICNR: the last axis of `shape` must be a multiple of {phases}, the pixels of a "
                f"block. Received: shape={tuple(shape)}, size={self.size}. Use filters * {phases} "
                f"output channels, or another `size`."
            )
        one_phase = self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)
        # Not `ops.tile` and `ops.repeat`: on PyTorch they can return one place in memory several
        # times, which no optimizer can write to (Keras 3.15).
        copies = [one_phase] * phases
        if self.channel_order == "dcr":
            return ops.concatenate(copies, axis=-1)
        return ops.reshape(ops.stack(copies, axis=-1), shape)

    def get_config(self):
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "size": self.size,
            "channel_order": self.channel_order,
        }
