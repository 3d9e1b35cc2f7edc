"""Max pooling that is safe to subsample."""

from typing import Unpack

import keras

from keras_cnnfix import checks
from keras_cnnfix.layers.blur_pool2d import BlurPool2D
from keras_cnnfix.ops import kernels
from keras_cnnfix.ops.blur import blur_pool2d, max_filter2d
from keras_cnnfix.typing import (
    Config,
    DataFormat,
    IntOrPair,
    Padding,
    PlainLayerSettings,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class MaxBlurPool2D(BlurPool2D):
    """Takes the maximum at every pixel, then blurs and subsamples. In place of `MaxPooling2D`.

        y = BlurPool2D(kernel_size, strides, padding)(max over pool_size at stride 1)

    The maximum itself does not alias; the stride behind it does. The window ends at the border
    of the image (with `"wrap"` it goes on at the other end), and reaches `(pool_size - 1) // 2`
    pixels up and left, `pool_size // 2` down and right: an even window adds half a pixel, which an
    odd blur keeps as it is.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, ceil(H / sy), ceil(W / sx), C). `MaxPooling2D` of `"valid"` padding rounds
            down: an odd size gives one pixel less there.

    Args:
        pool_size: Window of the maximum (height, width) in pixels, an int or a pair. At least 1.
        kernel_size, strides, padding, data_format: As `BlurPool2D` takes them.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`.

    Raises:
        ValueError: As `BlurPool2D` does, or (when called) a window that wraps is larger than the
            image.

    Source:
        Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019, section 3.
        https://arxiv.org/abs/1904.11486. Written from the paper.

    Example:
        >>> y = MaxBlurPool2D()(keras.ops.ones((1, 7, 8, 3)))
        >>> tuple(y.shape)
        (1, 4, 4, 3)
    """

    def __init__(
        self,
        pool_size: IntOrPair = 2,
        kernel_size: IntOrPair = 3,
        strides: IntOrPair = 2,
        padding: Padding = "reflect",
        data_format: DataFormat | None = None,
        **kwargs: Unpack[PlainLayerSettings],
    ) -> None:
        super().__init__(kernel_size, strides, padding, data_format, **kwargs)
        self.pool_size = checks.pair_of_ints(self.owner, "pool_size", pool_size)

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        highest = max_filter2d(inputs, self.pool_size, self.padding, self.data_format)
        return blur_pool2d(highest, self.kernel_size, self.strides, self.padding, self.data_format)

    def size_rules(self) -> list[list[tuple[int, str]]]:
        rules = super().size_rules()
        if self.padding == "wrap":
            window = kernels.border_of(self.pool_size)
            rules.insert(0, checks.border_rules(self.owner, window, "wrap"))
        return rules

    def get_config(self) -> Config:
        return {**super().get_config(), "pool_size": self.pool_size}
