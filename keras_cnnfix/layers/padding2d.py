"""Borders as a layer."""

from typing import Any, Unpack

import keras

from keras_cnnfix import checks
from keras_cnnfix.layers.image_layer import ImageLayer
from keras_cnnfix.ops import layout
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.typing import (
    Config,
    DataFormat,
    Padding,
    PadsOrInt,
    PlainLayerSettings,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class Padding2D(ImageLayer):
    """Surrounds images with a border taken from the image itself. As `ZeroPadding2D`, with modes.

    For a row `a b c d` and 2 pixels a side:

        reflect:   c b | a b c d | c b
        symmetric: b a | a b c d | d c
        edge:      a a | a b c d | d d
        wrap:      c d | a b c d | a b
        zeros:     0 0 | a b c d | 0 0

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, top + H + bottom, left + W + right, C)

    Integer images stay integer images.

    Args:
        padding: Width of the border in pixels: an int, a pair (height, width), or
            ((top, bottom), (left, right)). At least 0.
        mode: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or `"zeros"`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`.

    Raises:
        ValueError: An argument is out of its range, or (when called) the border is deeper than the
            image, or the input is not a batch of images.

    Example:
        >>> y = Padding2D(1)(keras.ops.ones((1, 8, 8, 3)))
        >>> tuple(y.shape)
        (1, 10, 10, 3)
    """

    needs_floats = False

    def __init__(
        self,
        padding: PadsOrInt = 1,
        mode: Padding = "reflect",
        data_format: DataFormat | None = None,
        **kwargs: Unpack[PlainLayerSettings],
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.padding = checks.pad_widths(self.owner, "padding", padding)
        self.mode = checks.padding_mode(self.owner, mode, name="mode")

    @property
    def needed_border(self) -> tuple[Any, ...]:
        return self.padding, self.mode, "mode"

    def call(self, inputs: Tensor) -> Tensor:
        inputs = self.check_inputs(inputs)
        return pad2d(inputs, self.padding, self.mode, self.data_format)

    def compute_output_spec(self, inputs: Tensor) -> Any:
        if keras.backend.is_float_dtype(inputs.dtype):
            return super().compute_output_spec(inputs)
        # Keras casts floats to the dtype of the policy, and leaves other dtypes as they are.
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, size, channels = self.split_shape(input_shape)
        self.check_size(size)
        size = tuple(
            None if n is None else n + sum(pad) for n, pad in zip(size, self.padding, strict=True)
        )
        return layout.image_shape(batch, size, channels, self.data_format)

    def get_config(self) -> Config:
        return {**super().get_config(), "padding": self.padding, "mode": self.mode}
