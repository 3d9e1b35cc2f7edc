"""Constraints of kernels."""

import keras

from keras_cnnfix.ops.even import check_shape, checked_phases, even
from keras_cnnfix.typing import ChannelOrder, Config, IntOrPair, Tensor


@keras.saving.register_keras_serializable("keras_cnnfix")
class EvenPhases(keras.constraints.Constraint):
    """Keeps the phases of an up-sampling convolution even: a constant gives a constant.

    For who wants to keep `keras.layers.Conv2DTranspose`, in files that open without this package,
    or a convolution before a `depth_to_space` of one's own. After each step of the optimizer the
    kernel moves to the nearest one of which all phases have the same sum:

        w[t] - (g[r] - m) / n[r],    m = sum_r (g[r] / n[r]) / sum_r (1 / n[r])

    with the `n[r]` taps of phase `r` and their sum `g[r]`. Keras applies it in `fit` and in
    `Optimizer.apply`, but not at the start (`initializers.EvenPhases`), nor in the training loops
    of PyTorch and JAX; `EvenConv2DTranspose` and `SubPixelConv(even=True)` hold everywhere.

    Args:
        strides: Up-sampling factor (height, width), an int or a pair: the strides of the
            transposed convolution, or the size of the depth-to-space. At least 1.
        channel_order: None for a transposed convolution; of a depth-to-space that follows `"dcr"`
            or `"crd"`, as `SubPixelConv` takes it, for the kernel as for the bias.
        order: 0: a constant stays a constant. 1: a ramp stays a ramp, too.

    Raises:
        ValueError: An argument is out of its range, or (when called) the shape is not a kernel's,
            or too small: a phase without taps leaves 0 alone.

    Source:
        Even sums: Sugawara, Shiota, Kiya, 2018. https://arxiv.org/abs/1806.02658.

    Example:
        >>> kernel = EvenPhases(2)(keras.ops.ones((3, 3, 1, 1)))
        >>> [round(float(keras.ops.sum(kernel[y::2, x::2])), 4) for y in (0, 1) for x in (0, 1)]
        [1.7778, 1.7778, 1.7778, 1.7778]
    """

    def __init__(
        self, strides: IntOrPair, channel_order: ChannelOrder | None = None, order: int = 0
    ) -> None:
        phases = checked_phases("EvenPhases", strides, channel_order, order)
        self.strides, self.channel_order, self.order = phases

    def __call__(self, w: Tensor) -> Tensor:
        """The kernel with even phases that is nearest to `w`, of the same shape."""
        phases = (self.strides, self.channel_order, self.order)
        check_shape("EvenPhases", w.shape, *phases)
        return even(w, *phases)

    def get_config(self) -> Config:
        return {
            "strides": self.strides,
            "channel_order": self.channel_order,
            "order": self.order,
        }
