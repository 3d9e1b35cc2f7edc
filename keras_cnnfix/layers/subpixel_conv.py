"""Up-sampling by rearranging channels."""

from typing import Unpack

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.initializers import ICNR, EvenPhases
from keras_cnnfix.layers.conv_settings import ConvLayer
from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.blur import block_box_filter2d
from keras_cnnfix.ops.even import even
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS, depth_to_space
from keras_cnnfix.typing import (
    Activation,
    ChannelOrder,
    Config,
    Constraint,
    DataFormat,
    Initializer,
    IntOrPair,
    LayerSettings,
    Padding,
    Regularizer,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class SubPixelConv(ConvLayer):
    """Convolves at the low resolution to `sy * sx` times the filters, then shuffles to pixels.

        y = activation(depth_to_space(conv(pad(x), kernel) + bias))

    It starts without checkerboards (`ICNR`); with `even=True` or `smooth=True` flats stay so,
    whatever it learns.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, H * sy, W * sx, filters)

    Args:
        filters: Number of output channels. At least 1.
        kernel_size: Taps (height, width) at the low resolution, an int or a pair. At least 1.
        size: Factor (height, width), an int or a pair. At least 1.
        padding: How the image is continued: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or
            `"zeros"`.
        channel_order: `"dcr"`: channel `(dy*sx + dx)*filters + f`, as `tf.nn.depth_to_space`;
            `"crd"`: channel `f*sy*sx + dy*sx + dx`, as `torch.nn.PixelShuffle`. The same in both
            data formats on every backend.
        smooth: Appends a box filter of `sy x sx` pixels: a constant input then gives a constant
            output up to the border, whatever the weights (with every padding but `"zeros"`). An
            even size moves the image by half an output pixel.
        even: Makes the phases of the kernel and of the bias even in the call (`EvenPhases`): a
            constant gives a constant, whatever the weights, without a blur. At edges the phases
            stay free, where `smooth` averages over them.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        kernel_initializer: `"icnr"` is `ICNR("glorot_uniform", size, channel_order)`; otherwise
            as in `keras.layers.Conv2D`.
        activation, use_bias, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: As in
            `keras.layers.Conv2D`. The bias has `filters * sy * sx` entries, and starts with the
            same value for all pixels of a block.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ValueError: An argument is out of its range, `kernel_initializer` is an `ICNR` of another
            size or order, or (when called) the border is deeper than the image, or the input is
            not a batch of floating-point images.

    Source:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016, https://arxiv.org/abs/1609.05158;
        Aitken et al. 2017, https://arxiv.org/abs/1707.02937 (the start);
        Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658 (`smooth`).

    Example:
        >>> y = SubPixelConv(16)(keras.ops.ones((1, 8, 8, 3)))
        >>> tuple(y.shape)
        (1, 16, 16, 16)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrPair = 3,
        size: IntOrPair = 2,
        padding: Padding = "reflect",
        channel_order: ChannelOrder = "dcr",
        smooth: bool = False,
        data_format: DataFormat | None = None,
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "icnr",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        even: bool = False,
        **kwargs: Unpack[LayerSettings],
    ) -> None:
        size = checks.pair_of_ints("SubPixelConv", "size", size)
        checks.one_of("SubPixelConv", "channel_order", channel_order, CHANNEL_ORDERS)
        icnr_by_name = isinstance(kernel_initializer, str) and kernel_initializer == "icnr"
        if icnr_by_name:
            kernel_initializer = ICNR("glorot_uniform", size, channel_order)
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
        self.size = size
        self.channel_order = channel_order
        self.smooth = checks.boolean(self.owner, "smooth", smooth)
        self.even = checks.boolean(self.owner, "even", even)
        self._icnr_by_name = icnr_by_name
        self._check_icnr("kernel_initializer", "Use kernel_initializer='icnr'.")
        self._check_icnr("bias_initializer", "Leave ICNR out: the bias starts even without it.")
        # Values that are given as they are are not drawn.
        self._draws_kernel = not hasattr(kernel_initializer, "shape")
        self._draws_bias = not hasattr(bias_initializer, "shape")

    def _check_icnr(self, name: str, way_out: str) -> None:
        icnr = getattr(self, name)
        if isinstance(icnr, ICNR) and (icnr.size, icnr.channel_order, icnr.transposed) != (
            self.size,
            self.channel_order,
            False,
        ):
            raise ValueError(
                f"{self.owner}: `{name}` must be an ICNR of the layer's own size and "
                f"channel order. Received: ICNR(size={icnr.size}, "
                f"channel_order={icnr.channel_order!r}, transposed={icnr.transposed}) for "
                f"size={self.size}, channel_order={self.channel_order!r}. {way_out}"
            )

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)
        self.input_channels = channels
        even_bias = None
        if self._draws_bias and not isinstance(self.bias_initializer, ICNR):
            # A bias of its own for each phase would be a checkerboard.
            even_bias = ICNR(self.bias_initializer, self.size, self.channel_order)
        even_kernel = None
        if self.even and self._draws_kernel:
            even_kernel = EvenPhases(self.kernel_initializer, self.size, self.channel_order)
        filters = self.filters * self.size[0] * self.size[1]
        self.add_kernel_and_bias(channels, filters, even_kernel, even_bias)

    def effective_kernel(self) -> Tensor:
        """The kernel that the call uses, of shape (kh, kw, C, filters * sy * sx)."""
        return self._evened(self.kernel)

    def _evened(self, weight: Tensor) -> Tensor:
        weight = ops.convert_to_tensor(weight)
        return even(weight, self.size, self.channel_order) if self.even else weight

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        x = pad2d(inputs, kernels.border_of(self.kernel_size), self.padding, self.data_format)
        y = backend.conv2d(x, self.effective_kernel(), (1, 1), 1, self.data_format)
        if self.use_bias:
            y = y + layout.along(self._evened(self.bias), layout.channel_axis(self.data_format))
        y = depth_to_space(y, self.size, self.channel_order, self.data_format)
        y = self.activation(y)
        return (
            block_box_filter2d(y, self.size, self.padding, self.data_format) if self.smooth else y
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, _ = self.split_shape(input_shape)
        self.check_size(size)
        size = tuple(n if n is None else n * s for n, s in zip(size, self.size, strict=True))
        return layout.image_shape(batch, size, self.filters, self.data_format)

    def get_config(self) -> Config:
        config = {
            **super().get_config(),
            "filters": self.filters,
            "size": self.size,
            "channel_order": self.channel_order,
            "smooth": self.smooth,
            "even": self.even,
        }
        if self._icnr_by_name:
            config["kernel_initializer"] = "icnr"
        return config
