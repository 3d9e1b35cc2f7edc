"""A transposed convolution that answers a constant with a constant, whatever it learns."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.initializers import EvenPhases
from keras_cnnfix.layers.conv_settings import ConvLayer
from keras_cnnfix.ops import layout
from keras_cnnfix.ops.conv_transpose import PADDINGS, border_of, conv_transpose2d, crops_of
from keras_cnnfix.ops.even import check_shape, checked_phases, even
from keras_cnnfix.typing import (
    Activation,
    Config,
    Constraint,
    DataFormat,
    Initializer,
    IntOrPair,
    KerasPadding,
    LayerSettings,
    Padding,
    Regularizer,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class EvenConv2DTranspose(ConvLayer):
    """`keras.layers.Conv2DTranspose` with even phases: up-sampling without a checkerboard on flats.

        y = activation(conv_transpose(x, even(kernel)) + bias)

    Along an axis of stride `s`, tap `t` belongs to phase `t mod s`, and each pixel of the result is
    reached by the taps of one phase. `even` moves the kernel to the nearest one of which all
    phases have the same sum: a constant comes out as a constant, up to the border with zeros,
    whatever the weights. It is part of the call, so it holds with every optimizer and in every
    training loop. Arguments, sizes, weights and their names are those of `Conv2DTranspose`, and
    so are the numbers where its kernel is even already. At edges the taps are free, as in any
    kernel that knows its phases.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, H * sy, W * sx, filters) with `"same"`, (N, (H - 1) * sy + ky, ..., filters)
            with `"valid"`; or as `output_padding` says

    Args:
        filters: Number of output channels. At least 1.
        kernel_size: Taps (height, width), an int or a pair. At least `strides`; with `order=1`
            at least `2 * strides - 1`, where that is above 1.
        strides: How many pixels each pixel becomes (height, width), an int or a pair. At least 1.
        padding: `"valid"` or `"same"`, as in `keras.layers.Conv2DTranspose`.
        output_padding: Pixels (height, width) that are added at the end, an int or a pair, at
            least 0 and below `strides`; None for the sizes above.
        dilation_rate: 1; there for `Conv2DTranspose`, which has no other beside strides either.
        border: How the image goes on where `"same"` reaches beyond it: `"zeros"`, as
            `Conv2DTranspose`, `"reflect"`, `"symmetric"`, `"edge"` or `"wrap"`: with these a
            constant is constant up to the border.
        order: 0: a constant stays a constant. 1: a ramp stays a ramp, too; fewer taps are free,
            and at the start its kernels are blurrier.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        kernel_initializer: As in `keras.layers.Conv2D`. What is drawn is made even, and scaled to
            the norm that it had; an array is taken as it is.
        activation, use_bias, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: As in
            `keras.layers.Conv2D`. The kernel is regularized as it is stored, before `even`.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ValueError: An argument is out of its range, the kernel has fewer taps than `order` and
            `strides` need, `border` is not `"zeros"` with `"valid"`, or (when called) the border is
            deeper than the image, or the input is not a batch of floating-point images.

    Source:
        The condition: Sugawara, Shiota, Kiya, Super-Resolution Using Convolutional Neural
        Networks without Any Checkerboard Artifacts, ICIP 2018,
        https://arxiv.org/abs/1806.02658, who meet it by a filter behind the layer.

    Example:
        >>> layer = EvenConv2DTranspose(16, 3, strides=2, padding="same", border="edge")
        >>> y = layer(keras.ops.ones((1, 8, 8, 3)))
        >>> tuple(y.shape)
        (1, 16, 16, 16)
        >>> bool(keras.ops.all(abs(y - y[:, :1, :1]) < 1e-5))
        True
    """

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrPair,
        strides: IntOrPair = (1, 1),
        padding: KerasPadding = "valid",
        output_padding: IntOrPair | None = None,
        data_format: DataFormat | None = None,
        dilation_rate: IntOrPair = (1, 1),
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        border: Padding = "zeros",
        order: int = 0,
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
        self.strides = checks.pair_of_ints(self.owner, "strides", strides)
        self.output_padding = self._checked_output_padding(output_padding)
        self.dilation_rate = checks.pair_of_ints(self.owner, "dilation_rate", dilation_rate)
        if self.dilation_rate != (1, 1):
            raise ValueError(
                f"{self.owner}: `dilation_rate` must be 1. Received: "
                f"dilation_rate={dilation_rate!r}. Use keras.layers.Conv2DTranspose, which dilates "
                f"at strides=1 alone, where its one phase is even."
            )
        self.border = checks.padding_mode(self.owner, border, "border")
        if self.padding == "valid" and self.border != "zeros":
            raise ValueError(
                f"{self.owner}: `border` must be 'zeros' with padding='valid', which reads nothing "
                f"beyond the image. Received: border={border!r}. Use padding='same'."
            )
        _, _, self.order = phases = checked_phases(self.owner, self.strides, None, order)
        check_shape(self.owner, (*self.kernel_size, 1, 1), *phases)
        # Values that are given as they are are not drawn.
        self._draws = not hasattr(kernel_initializer, "shape")
        self._crops = crops_of(self.kernel_size, self.strides, self.padding, self.output_padding)

    def checked_padding(self, padding: Any) -> KerasPadding:
        padding = padding.lower() if isinstance(padding, str) else padding  # As Keras reads it.
        way_out = " How the image goes on beyond its ends is said by `border`."
        return checks.one_of(self.owner, "padding", padding, PADDINGS, way_out)

    def _checked_output_padding(self, output_padding: IntOrPair | None) -> tuple[int, int] | None:
        if output_padding is None:
            return None
        pair = checks.pair_of_ints(self.owner, "output_padding", output_padding, minimum=0)
        if any(added >= s for added, s in zip(pair, self.strides, strict=True)):
            raise ValueError(
                f"{self.owner}: `output_padding` must be below `strides`. Received: "
                f"output_padding={output_padding!r}, strides={self.strides}."
            )
        return pair

    @property
    def needed_border(self) -> tuple[Any, ...]:
        pads = border_of(self.kernel_size, self.strides, self._crops)
        return pads, self.border, "border"

    def size_rules(self) -> list[list[tuple[int, str]]]:
        """Of one pixel an even kernel with `output_padding=0` leaves nothing."""
        rules = []
        for side, k, s, crop in zip(
            ("height", "width"), self.kernel_size, self.strides, self._crops, strict=True
        ):
            message = (
                f"{self.owner}: `inputs` must leave a pixel: {k} taps, strides={s}, "
                f"padding={self.padding!r} and output_padding=0 need a {side} of at least 2. "
                f"Received: {side}={{received}}. Use another `kernel_size` or output_padding=None."
            )
            rules.append((0 if k > sum(crop) else 2, message))
        return [rules, *super().size_rules()]

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)
        self.input_channels = channels
        initializer = None
        if self._draws:
            initializer = EvenPhases(self.kernel_initializer, self.strides, order=self.order)
        self.add_kernel(self.filters, channels, initializer)
        self.add_bias_weight(self.filters)

    def effective_kernel(self) -> Tensor:
        """The kernel that the call uses, of shape (kh, kw, filters, C): even."""
        return even(ops.convert_to_tensor(self.kernel), self.strides, order=self.order)

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        y = conv_transpose2d(
            inputs,
            self.effective_kernel(),
            ops.convert_to_tensor(self.bias) if self.use_bias else None,
            self.strides,
            self._crops,
            self.border,
            self.data_format,
        )
        return self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, _ = self.split_shape(input_shape)
        self.check_size(size)
        size = tuple(
            None if n is None else (n - 1) * s + k - sum(crop)
            for n, s, k, crop in zip(size, self.strides, self.kernel_size, self._crops, strict=True)
        )
        return layout.image_shape(batch, size, self.filters, self.data_format)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "output_padding": self.output_padding,
            "dilation_rate": self.dilation_rate,
            "border": self.border,
            "order": self.order,
        }
