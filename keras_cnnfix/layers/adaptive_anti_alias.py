"""Down-sampling with a low-pass filter that is predicted for each position."""

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.layers.conv_settings import KernelLayer
from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.adaptive import NORMALIZATIONS, adaptive_filter2d
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.precision import at_least_float32, dtype_of_sums
from keras_cnnfix.typing import (
    Config,
    Constraint,
    DataFormat,
    DType,
    Initializer,
    IntOrPair,
    LayerSettings,
    Normalization,
    Padding,
    Regularizer,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class AdaptiveAntiAlias(KernelLayer):
    """Predicts a low-pass filter for each position and group of channels, then subsamples.

        f = softmax(batch_norm(conv(pad(x))))
        y[i, j, c] = sum_uv f[i, j, g(c), u, v] * pad(x)[sy * i + u, sx * j + v, c]

    with `g(c) = c // (C / groups)`: strong smoothing where frequencies would alias, little where
    an edge must stay. Filters are predicted and applied at the kept positions only. It starts as
    the binomial blur of `BlurPool2D` and learns to differ. In front of, or in place of, a stride.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, ceil(H / sy), ceil(W / sx), C)

    Args:
        kernel_size: Taps (height, width), an int or a pair. At least 1.
        strides: Subsampling step (height, width) in pixels, an int or a pair. At least 1.
        groups: Number of groups of channels; those of a group share their filters. Divides C.
        normalization: `"group"`: the taps of each group sum to 1, a low-pass of gain 1 (the
            paper's text and figure). `"joint"`: the taps of all groups together do, a gain of
            1 / groups on average (the authors' released weights).
        padding: How the image is continued: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or
            `"zeros"`.
        batch_norm: Normalises the predictions over the kept positions, on PyTorch in float32 where
            the layer is in float64 (as Keras's own does). Without it the convolution has a `bias`,
            which starts from `beta_initializer`.
        momentum, epsilon: As in `keras.layers.BatchNormalization`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        gamma_initializer: Of the scale of the batch normalisation.
        beta_initializer: Of its offset. `"binomial"` is the logarithm of the binomial taps.
        kernel_initializer: Of the predicting convolution; None is `"glorot_uniform"`, or
            `"zeros"` without `batch_norm`, where no gamma makes the start a plain blur.
        gamma_regularizer, beta_regularizer, kernel_regularizer, activity_regularizer,
            gamma_constraint, beta_constraint, kernel_constraint: As in Keras.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ValueError: An argument is out of its range, or (when called) the border is deeper than the
            image, the channels are not divisible by `groups`, or the input is not a batch of
            floating-point images.

    Source:
        Zou, Xiao, Yu, Lee, Delving Deeper into Anti-aliasing in ConvNets, BMVC 2020.
        https://arxiv.org/abs/2008.09604. Written from the paper.

    Example:
        >>> y = AdaptiveAntiAlias(groups=4)(keras.ops.ones((1, 7, 8, 16)))
        >>> tuple(y.shape)
        (1, 4, 4, 16)
    """

    def __init__(
        self,
        kernel_size: IntOrPair = 3,
        strides: IntOrPair = 2,
        groups: int = 8,
        normalization: Normalization = "group",
        padding: Padding = "reflect",
        batch_norm: bool = True,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        data_format: DataFormat | None = None,
        gamma_initializer: Initializer = "zeros",
        beta_initializer: Initializer = "binomial",
        kernel_initializer: Initializer = None,
        gamma_regularizer: Regularizer = None,
        beta_regularizer: Regularizer = None,
        kernel_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        gamma_constraint: Constraint = None,
        beta_constraint: Constraint = None,
        kernel_constraint: Constraint = None,
        **kwargs: Unpack[LayerSettings],
    ) -> None:
        batch_norm = checks.boolean(self.owner, "batch_norm", batch_norm)
        if kernel_initializer is None:
            kernel_initializer = "glorot_uniform" if batch_norm else "zeros"
        super().__init__(
            kernel_size=kernel_size,
            padding=padding,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            **kwargs,
        )
        owner = self.owner
        self.strides = checks.pair_of_ints(owner, "strides", strides)
        self.groups = checks.positive_int(owner, "groups", groups)
        self.normalization = checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        self.batch_norm = batch_norm
        self.momentum = checks.number(owner, "momentum", momentum, minimum=0, maximum=1)
        self.epsilon = checks.number(owner, "epsilon", epsilon, minimum=0)
        self.gamma_initializer = self.keras_object("gamma_initializer", gamma_initializer)
        self._binomial_start = isinstance(beta_initializer, str) and beta_initializer == "binomial"
        self.beta_initializer = (
            self._log_binomial
            if self._binomial_start
            else self.keras_object("beta_initializer", beta_initializer)
        )
        self.gamma_regularizer = self.keras_object("gamma_regularizer", gamma_regularizer)
        self.beta_regularizer = self.keras_object("beta_regularizer", beta_regularizer)
        self.gamma_constraint = self.keras_object("gamma_constraint", gamma_constraint)
        self.beta_constraint = self.keras_object("beta_constraint", beta_constraint)
        self.normalizer: Any = None

    def _log_binomial(self, shape: Shape, dtype: DType = None) -> Tensor:
        taps = np.outer(*(kernels.binomial(k) for k in self.kernel_size))
        return ops.convert_to_tensor(np.tile(np.log(taps.ravel()), self.groups), dtype=dtype)

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        output_shape = self.compute_output_shape(input_shape)
        self.input_channels = channels
        taps = self.groups * self.kernel_size[0] * self.kernel_size[1]
        self.add_kernel(channels, taps)
        if not self.batch_norm:
            self.bias = self.add_weight(
                name="bias",
                shape=(taps,),
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                autocast=False,
            )
            return
        self.normalizer = keras.layers.BatchNormalization(
            axis=layout.channel_axis(self.data_format),
            momentum=self.momentum,
            epsilon=self.epsilon,
            gamma_initializer=self.gamma_initializer,
            beta_initializer=self.beta_initializer,
            gamma_regularizer=self.gamma_regularizer,
            beta_regularizer=self.beta_regularizer,
            gamma_constraint=self.gamma_constraint,
            beta_constraint=self.beta_constraint,
            # Statistics and offsets of half precision are too coarse for a softmax.
            dtype=dtype_of_sums(self.compute_dtype),
            # Keras tells the sub-layers that there are when it is set, which may have been before.
            trainable=self.trainable,
            name="normalizer",
        )
        batch, size, _ = self.split_shape(output_shape)
        self.normalizer.build(layout.image_shape(batch, size, taps, self.data_format))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        inputs = self.check_inputs(inputs)
        x = pad2d(inputs, kernels.border_of(self.kernel_size), self.padding, self.data_format)
        kernel = ops.convert_to_tensor(self.kernel)
        logits = backend.conv2d(x, kernel, self.strides, 1, self.data_format)
        if self.compute_dtype == "float16":
            # Sums beyond its range would be infinite, and their softmax not a number.
            logits = ops.clip(logits, -65504, 65504)
        if self.normalizer is not None:
            logits = self.normalizer(logits, training=training)
        else:
            logits = self.add_bias(at_least_float32(logits))
        return adaptive_filter2d(
            x,
            logits,
            self.kernel_size,
            self.strides,
            self.groups,
            self.normalization,
            self.data_format,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, channels = self.split_shape(input_shape)
        checks.divisible_channels(self.owner, channels, self.groups)
        self.check_size(size)
        size = layout.kept(size, self.strides)
        return layout.image_shape(batch, size, channels, self.data_format)

    def get_config(self) -> Config:
        beta_initializer = (
            "binomial"
            if self._binomial_start
            else keras.initializers.serialize(self.beta_initializer)
        )
        return {
            **super().get_config(),
            "strides": self.strides,
            "groups": self.groups,
            "normalization": self.normalization,
            "batch_norm": self.batch_norm,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "beta_initializer": beta_initializer,
            "gamma_regularizer": keras.regularizers.serialize(self.gamma_regularizer),
            "beta_regularizer": keras.regularizers.serialize(self.beta_regularizer),
            "gamma_constraint": keras.constraints.serialize(self.gamma_constraint),
            "beta_constraint": keras.constraints.serialize(self.beta_constraint),
        }
