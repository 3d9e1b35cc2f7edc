"""Down-sampling behind a fixed low-pass filter."""

from typing import Any, Unpack

import keras

from keras_cnnfix import checks
from keras_cnnfix.layers.image_layer import ImageLayer
from keras_cnnfix.ops import kernels, layout
from keras_cnnfix.ops.blur import blur_pool2d
from keras_cnnfix.typing import (
    Config,
    DataFormat,
    IntOrPair,
    Padding,
    PlainLayerSettings,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class BlurPool2D(ImageLayer):
    """Blurs, then subsamples, so that a small shift of the input stays a small change.

    Per channel, with a normalised binomial kernel `b` of `kernel_size` taps,

        y[i, j] = sum_uv b[u, v] * x[sy * i + u - py, sx * j + v - px]

    where `p = (kernel_size - 1) // 2`. Values keep their unit; nothing is trained. Behind a
    convolution at stride 1, in place of its stride; or in place of an average pooling.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, ceil(H / sy), ceil(W / sx), C)

    Args:
        kernel_size: Taps (height, width), an int or a pair. At least 1; 1 only subsamples. Samples
            lie at `s * i` for odd, at `s * i + 1/2` for even sizes: even is centred for `s = 2`.
            Above a step of 2 take `2 * s` taps or more.
        strides: Subsampling step (height, width) in pixels, an int or a pair. At least 1; 1 only
            blurs.
        padding: How the image is continued: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or
            `"zeros"`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`.

    Raises:
        ValueError: An argument is out of its range, or (when called) the border is deeper than the
            image, or the input is not a batch of floating-point images.

    Source:
        Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019, section 3.
        https://arxiv.org/abs/1904.11486. Written from the paper.

    Example:
        >>> y = BlurPool2D()(keras.ops.ones((1, 7, 8, 3)))
        >>> tuple(y.shape)
        (1, 4, 4, 3)
    """

    def __init__(
        self,
        kernel_size: IntOrPair = 4,
        strides: IntOrPair = 2,
        padding: Padding = "reflect",
        data_format: DataFormat | None = None,
        **kwargs: Unpack[PlainLayerSettings],
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = checks.pair_of_ints(self.owner, "kernel_size", kernel_size)
        self.strides = checks.pair_of_ints(self.owner, "strides", strides)
        self.padding = checks.padding_mode(self.owner, padding)

    @property
    def needed_border(self) -> tuple[Any, ...]:
        return kernels.border_of(self.kernel_size), self.padding

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        return blur_pool2d(inputs, self.kernel_size, self.strides, self.padding, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, channels = self.split_shape(input_shape)
        self.check_size(size)
        return layout.image_shape(
            batch, layout.kept(size, self.strides), channels, self.data_format
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }
