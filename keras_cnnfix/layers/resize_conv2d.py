"""Up-sampling that answers a constant with a constant."""

from typing import Unpack

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.layers.conv_settings import ConvLayer
from keras_cnnfix.ops import layout
from keras_cnnfix.ops.resize import INTERPOLATIONS, resized
from keras_cnnfix.ops.resize_conv import IMPLEMENTATIONS, has_polyphase, resize_conv2d
from keras_cnnfix.typing import (
    Activation,
    Config,
    Constraint,
    DataFormat,
    Implementation,
    Initializer,
    Interpolation,
    IntOrPair,
    LayerSettings,
    Padding,
    Regularizer,
    ScaleOrPair,
    Shape,
    Sizes,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class ResizeConv2D(ConvLayer):
    """Resizes, then convolves: up-sampling without the checkerboard of uneven coverage.

        y = activation(conv(pad(resize(x)), kernel) + bias)

    Every output pixel is covered by the same number of taps, where a transposed convolution
    covers some pixels more often than others: a constant stays constant (up to the border with
    `"zeros"`). The blocks of `"nearest"` and a non-linearity behind them leave a faint grid in what
    is not constant, `"bilinear"` a much fainter one. In place of
    `Conv2DTranspose(filters, k, strides=s, padding="same")`.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, floor(H * sy), floor(W * sx), filters), or (N, *output_size, filters)

    Args:
        filters: Number of output channels. At least 1.
        kernel_size: Taps (height, width) at the high resolution, an int or a pair. At least 1.
        size: Factor (height, width), a number or a pair. At least 1. A fraction is held exactly
            as the decimal number that it is written as: 1.15 is 23/20. So is a
            `fractions.Fraction`, or its text: "4/3".
        output_size: The exact output (height, width) in pixels, an int or a pair, in place of
            `size`; for targets that no factor describes. May also shrink.
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`, with half-pixel centres.
        padding: How the resized image is continued: `"reflect"`, `"symmetric"`, `"edge"`,
            `"wrap"` or `"zeros"`.
        groups: Number of groups that the channels are split into. Divides C and `filters`.
        implementation: `"plain"` computes as the formula is written. `"polyphase"` never makes
            the resized image; for an integer `size`, nearest or bilinear. `"auto"` takes the
            faster one. The numbers are the same, and so are the weights.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: As in
            `keras.layers.Conv2D`.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ValueError: An argument is out of its range, both `size` and `output_size` are given,
            `implementation="polyphase"` where there is no such form, or (when called) the border
            is deeper than the resized image, the channels are not divisible by `groups`, or the
            input is not a batch of floating-point images.

    Source:
        Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
        https://distill.pub/2016/deconv-checkerboard. Written from the article.

    Example:
        >>> y = ResizeConv2D(16)(keras.ops.ones((1, 8, 8, 3)))
        >>> tuple(y.shape)
        (1, 16, 16, 16)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrPair = 3,
        size: ScaleOrPair = 2,
        output_size: IntOrPair | None = None,
        interpolation: Interpolation = "nearest",
        padding: Padding = "reflect",
        groups: int = 1,
        implementation: Implementation = "auto",
        data_format: DataFormat | None = None,
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs: Unpack[LayerSettings],
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.filters = checks.positive_int(self.owner, "filters", filters)
        self._scales = checks.pair_of_scales(self.owner, "size", size)
        self.size = tuple(checks.scale_for_config(scale) for scale in self._scales)
        if output_size is not None:
            output_size = checks.pair_of_ints(self.owner, "output_size", output_size)
            if self.size != (2, 2):
                raise ValueError(
                    f"{self.owner}: `size` must be left at its default where `output_size` is "
                    f"given. Received: size={size!r}, output_size={output_size!r}. Use one of them."
                )
        self.output_size = output_size
        self.interpolation = checks.one_of(
            self.owner, "interpolation", interpolation, INTERPOLATIONS
        )
        self.groups = checks.positive_int(self.owner, "groups", groups)
        checks.divisible(self.owner, "`filters`", self.filters, f"filters={filters!r}", self.groups)
        self.implementation = checks.one_of(
            self.owner, "implementation", implementation, IMPLEMENTATIONS
        )
        if implementation == "polyphase" and not has_polyphase(
            self._scales, self.output_size, self.interpolation
        ):
            raise ValueError(
                f"{self.owner}: `implementation` 'polyphase' must be used with an integer `size` "
                f"and the interpolation 'nearest' or 'bilinear'. Received: size={size!r}, "
                f"output_size={output_size!r}, interpolation={interpolation!r}. Use "
                f"implementation='auto'."
            )

    def bordered_size(self, size: Sizes) -> Sizes:
        return resized(size, self._scales, self.output_size)

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)
        self.input_channels = channels
        self.add_kernel_and_bias(channels // self.groups, self.filters)

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        y = resize_conv2d(
            inputs,
            ops.convert_to_tensor(self.kernel),
            ops.convert_to_tensor(self.bias) if self.use_bias else None,
            self._scales,
            self.output_size,
            self.interpolation,
            self.padding,
            self.groups,
            self.implementation,
            self.data_format,
        )
        return self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, channels = self.split_shape(input_shape)
        checks.divisible_channels(self.owner, channels, self.groups)
        self.check_size(size)
        return layout.image_shape(batch, self.bordered_size(size), self.filters, self.data_format)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "filters": self.filters,
            "size": self.size,
            "output_size": self.output_size,
            "interpolation": self.interpolation,
            "groups": self.groups,
            "implementation": self.implementation,
        }
