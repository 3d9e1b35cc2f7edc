"""What every layer of the package asks of its input."""

import keras

from keras_cnnfix import checks
from keras_cnnfix.ops import layout


class ImageLayer(keras.layers.Layer):
    """A layer on batches of images in one data format.

    A subclass defines `compute_output_shape`, which makes every check that a shape allows, and
    begins `call` with `self.check_inputs(inputs)`: so a model is checked when it is put together
    as well as when it runs, on each backend with the same message.

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`.
    """

    # Whether the layer computes with the pixels, rather than only moving them.
    needs_floats = True

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = checks.data_format(self.owner, data_format)
        self.input_channels = None

    @property
    def owner(self):
        """The name that messages begin with."""
        return type(self).__name__

    def check_inputs(self, inputs):
        """Raises unless `inputs` are images that the layer can take."""
        self._check_dtype(inputs)
        self.compute_output_shape(inputs.shape)

    def compute_output_spec(self, inputs, *args, **kwargs):
        self._check_dtype(inputs)
        return super().compute_output_spec(inputs, *args, **kwargs)

    def _check_dtype(self, inputs):
        if self.needs_floats:
            checks.floating(self.owner, inputs.dtype)

    def split_shape(self, input_shape):
        """Batch, (height, width) and channels of `input_shape`; unknown ones are None."""
        shape = checks.image_batch(self.owner, input_shape)
        size = layout.spatial_size(shape, self.data_format)
        channels = shape[layout.channel_axis(self.data_format)]
        if self.input_channels is not None and channels not in (None, self.input_channels):
            raise ValueError(
                f"{self.owner}: `inputs` must have the {self.input_channels} channels that the "
                f"layer was built with. Received: {channels} channels, shape={shape}, "
                f"data_format={self.data_format!r}. Use a new layer for other images."
            )
        return shape[0], size, channels

    def known_channels(self, input_shape):
        """The number of channels, which a layer with weights must know."""
        _, _, channels = self.split_shape(input_shape)
        if channels is None:
            raise ValueError(
                f"{self.owner}: the number of channels of `inputs` must be known. Received: "
                f"shape={tuple(input_shape)}, data_format={self.data_format!r}. Give it in "
                f"keras.Input(shape)."
            )
        return channels

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
