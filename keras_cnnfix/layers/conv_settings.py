"""What every layer with a convolution kernel repeats."""

from typing import Any

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.layers.image_layer import ImageLayer
from keras_cnnfix.ops import kernels, layout
from keras_cnnfix.typing import (
    Activation,
    Config,
    Constraint,
    Initializer,
    IntOrPair,
    Regularizer,
    Tensor,
)


class KernelLayer(ImageLayer):
    """An image layer with a `kernel`: its size, border, initializer, regularizer and constraint.

    Args:
        kernel_size: Taps (height, width), an int or a pair. At least 1.
        padding: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or `"zeros"`.
        kernel_initializer, kernel_regularizer, kernel_constraint: As in `keras.layers.Conv2D`.
        **kwargs: As `ImageLayer` takes them.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        padding: Any = "reflect",
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = checks.pair_of_ints(self.owner, "kernel_size", kernel_size)
        self.padding = self.checked_padding(padding)
        if kernel_initializer is None:
            kernel_initializer = "glorot_uniform"  # What Keras makes of it.
        self.kernel_initializer = self.keras_object("kernel_initializer", kernel_initializer)
        self.kernel_regularizer = self.keras_object("kernel_regularizer", kernel_regularizer)
        self.kernel_constraint = self.keras_object("kernel_constraint", kernel_constraint)
        self.kernel: Any = None
        self.bias: Any = None

    def checked_padding(self, padding: Any) -> Any:
        """`padding`, if the layer takes it."""
        return checks.padding_mode(self.owner, padding)

    @property
    def needed_border(self) -> tuple[Any, ...]:
        return kernels.border_of(self.kernel_size), self.padding

    def add_kernel(self, channels: int, filters: int, initializer: Initializer = None) -> None:
        """Creates `self.kernel` of shape (kh, kw, channels, filters)."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, filters),
            initializer=initializer or self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def add_bias(self, outputs: Tensor) -> Tensor:
        """`outputs` of the convolution plus the bias of each channel."""
        if self.bias is None:
            return outputs
        shape = layout.image_shape(1, (1, 1), self.bias.shape[0], self.data_format)
        return outputs + ops.cast(ops.reshape(self.bias, shape), outputs.dtype)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


class ConvLayer(KernelLayer):
    """A kernel layer that adds a bias and applies an activation, as `keras.layers.Conv2D` does.

    Args:
        activation, use_bias, bias_initializer, bias_regularizer, bias_constraint: As in
            `keras.layers.Conv2D`.
        **kwargs: As `KernelLayer` takes them.
    """

    def __init__(
        self,
        activation: Activation = None,
        use_bias: bool = True,
        bias_initializer: Initializer = "zeros",
        bias_regularizer: Regularizer = None,
        bias_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = self.keras_object("activation", activation)
        self.use_bias = checks.boolean(self.owner, "use_bias", use_bias)
        self.bias_initializer = self.keras_object("bias_initializer", bias_initializer)
        self.bias_regularizer = self.keras_object("bias_regularizer", bias_regularizer)
        self.bias_constraint = self.keras_object("bias_constraint", bias_constraint)

    def add_kernel_and_bias(
        self,
        channels: int,
        filters: int,
        initializer: Initializer = None,
        bias_initializer: Initializer = None,
    ) -> None:
        """Creates `self.kernel` and, with `use_bias`, `self.bias`."""
        self.add_kernel(channels, filters, initializer)
        self.add_bias_weight(filters, bias_initializer)

    def add_bias_weight(self, filters: int, initializer: Initializer = None) -> None:
        """Creates, with `use_bias`, `self.bias` of shape (filters,)."""
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(filters,),
                initializer=initializer or self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
