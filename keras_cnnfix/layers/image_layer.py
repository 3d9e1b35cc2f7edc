"""What every layer of the package asks of its input."""

from typing import Any

import keras
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.ops import backend, layout
from keras_cnnfix.typing import Config, DataFormat, Regularizer, Shape, Sizes, Tensor

NO_BORDER = ((0, 0), (0, 0)), "zeros"


class ImageLayer(keras.layers.Layer):
    """A layer on batches of images in one data format.

    A subclass defines `compute_output_shape`, which makes every check that a shape allows, and
    begins `call` with `inputs = self.check_inputs(inputs)`: so a model is checked when it is put
    together as well as when it runs, on each backend with the same message. Where it takes a
    border from the image, it defines `needed_border`, and `bordered_size` if that is not the
    input's; where it asks for more, `size_rules`.

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`.
    """

    # Whether the layer computes with the pixels, rather than only moving them.
    needs_floats = True

    def __init__(
        self,
        data_format: DataFormat | None = None,
        activity_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        activity_regularizer = self.keras_object("activity_regularizer", activity_regularizer)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.data_format = checks.data_format(self.owner, data_format)
        self.input_channels: int | None = None

    @property
    def owner(self) -> str:
        """The name that messages begin with."""
        return type(self).__name__

    def keras_object(self, name: str, value: Any) -> Any:
        """What Keras reads the argument `value` called `name` as."""
        return checks.keras_object(self.owner, name, value)

    @property
    def needed_border(self) -> tuple[Any, ...]:
        """The border that the layer takes from an image, its mode and, unless that is `padding`,
        the argument that chose it: as `checks.border_rules` takes them.
        """
        return NO_BORDER

    def size_rules(self) -> list[list[tuple[int, str]]]:
        """What the layer asks of the size of the image that is bordered: pairs (height, width) of
        rules, as `checks.border_rules` gives them.
        """
        return [checks.border_rules(self.owner, *self.needed_border)]

    def bordered_size(self, size: Sizes) -> Sizes:
        """Height and width of the image that is bordered, for inputs of `size`."""
        return size

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Before Keras, which hands what it does not know on to the backend.
        self.check_images(inputs)
        if not _is_empty(inputs):
            return super().__call__(inputs, *args, **kwargs)
        # No backend convolves and pads an empty batch without errors or wrong shapes (TensorFlow
        # 2.21, PyTorch 2.13): one image more, which the answer leaves out.
        inputs = _with_one_more(inputs)
        kwargs = {k: _with_one_more(v) if _is_empty(v) else v for k, v in kwargs.items()}
        # Nothing is learned from what is no image.
        kwargs["training"] = False
        return super().__call__(inputs, *args, **kwargs)[:0]

    def check_images(self, images: Tensor, name: str = "inputs") -> None:
        """Raises unless `images` are a batch of images, of a dtype that the layer can take."""
        checks.tensor(self.owner, images, name)
        checks.floating(self.owner, images.dtype, name, or_integers=not self.needs_floats)
        checks.image_batch(self.owner, images.shape, name)

    def check_inputs(self, inputs: Tensor) -> Tensor:
        """`inputs`, if they have a shape that the layer can take; raises otherwise.

        A size that is unknown is asserted when the graph runs, with the same message.
        """
        self.compute_output_shape(inputs.shape)
        if all(n is not None for n in inputs.shape[1:]):
            return inputs
        shape = ops.shape(inputs)
        size = self.bordered_size(layout.spatial_size(shape, self.data_format))
        rules = [
            (n >= least, message, n)
            for pair in self.size_rules()
            for n, (least, message) in zip(size, pair, strict=True)
            if least
        ]
        if self.input_channels is not None:
            channels = shape[layout.channel_axis(self.data_format)]
            rules.append((channels == self.input_channels, self._other_channels(), channels))
        known = layout.image_shape(None, (None, None), self.input_channels, self.data_format)
        return backend.asserted(inputs, rules, known)

    def check_size(self, size: Sizes) -> None:
        """Raises where the image is too small, for inputs of `size`."""
        for pair in self.size_rules():
            checks.size(self.bordered_size(size), pair)

    def split_shape(self, input_shape: Shape) -> tuple[Any, Sizes, Any]:
        """Batch, (height, width) and channels of `input_shape`; unknown ones are None."""
        shape = checks.image_batch(self.owner, input_shape)
        size = layout.spatial_size(shape, self.data_format)
        channels = shape[layout.channel_axis(self.data_format)]
        if channels is None:
            channels = self.input_channels
        elif self.input_channels not in (None, channels):
            raise ValueError(self._other_channels().format(received=channels))
        return shape[0], size, channels

    def _other_channels(self) -> str:
        return (
            f"{self.owner}: `inputs` must have the {self.input_channels} channels that the layer "
            f"was built with. Received: {{received}} channels, data_format={self.data_format!r}. "
            f"Use a new layer for other images."
        )

    def known_channels(self, input_shape: Shape) -> int:
        """The number of channels, which a layer with weights must know."""
        _, _, channels = self.split_shape(input_shape)
        if channels is None:
            raise ValueError(
                f"{self.owner}: the number of channels of `inputs` must be known. Received: "
                f"shape={tuple(input_shape)}, data_format={self.data_format!r}. Give it in "
                f"keras.Input(shape)."
            )
        return channels

    def get_config(self) -> Config:
        return {**super().get_config(), "data_format": self.data_format}


def _is_empty(images: Any) -> bool:
    """Whether `images` are known to be none (not symbolic)."""
    if not hasattr(images, "shape") or isinstance(images, keras.KerasTensor):
        return False
    return bool(len(images.shape)) and isinstance(images.shape[0], int) and images.shape[0] == 0


def _with_one_more(images: Tensor) -> Tensor:
    images = ops.convert_to_tensor(images)
    return ops.concatenate([images, ops.zeros((1, *images.shape[1:]), images.dtype)], axis=0)
