"""What every measure begins with: images as NumPy arrays, and what a model makes of them."""

import keras
import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.ops import layout


def images_as_array(owner, images, data_format, name="images"):
    """Returns images as a float array `(N, H, W, C)`.

    Args:
        images: Array or tensor `(H, W)`, `(H, W, C)` or `(N, H, W, C)`; with `"channels_first"`
            `(C, H, W)` or `(N, C, H, W)`. Any real dtype; half precision becomes float32.
        data_format: `"channels_last"`, `"channels_first"` or None for Keras's own.
    """
    data_format = checks.data_format(owner, data_format)
    array = _as_array(images)
    if array.ndim == 2:
        array = array[None, ..., None]
    else:
        array = array[None] if array.ndim == 3 else array
        checks.image_batch(owner, array.shape, name)
        array = np.transpose(array, _order(layout.spatial_axes(data_format), data_format))
    if not len(array):
        raise ValueError(f"{owner}: `{name}` must hold one image or more. Received: none.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{owner}: `{name}` must be finite. Received: {np.count_nonzero(~np.isfinite(array))} "
            f"values that are NaN or infinite. Look for a division by zero or an overflow."
        )
    return array


def outputs_of(owner, model, images, batch_size, data_format):
    """Returns `model`'s outputs for `images` `(N, H, W, C)` as an array, channels last.

    Args:
        model: A Keras model, or any function from a batch of images in `data_format` to one
            tensor. In inference mode, where it is a Keras model.
        images: Array `(N, H, W, C)`.
    """
    data_format = checks.data_format(owner, data_format)
    images = np.transpose(images, np.argsort(_order(layout.spatial_axes(data_format), data_format)))
    # `predict` would need a progress bar silenced, and lets no other function take its place.
    function = getattr(model, "predict_on_batch", model)
    parts = [
        function(images[start : start + batch_size]) for start in range(0, len(images), batch_size)
    ]
    if not hasattr(parts[0], "shape"):
        raise ValueError(
            f"{owner}: `model` must have one output. Received: a {type(parts[0]).__name__} of "
            f"{len(parts[0])}. Take keras.Model(model.inputs, model.outputs[0])."
        )
    outputs = np.concatenate([_as_array(part) for part in parts])
    if outputs.ndim == 4:
        outputs = np.transpose(outputs, _order(layout.spatial_axes(data_format), data_format))
    return outputs


def without_border(owner, images, border):
    """Returns images `(N, H, W, C)` without their outermost `border` pixels."""
    border = checks.positive_int(owner, "border", border, minimum=0)
    if 2 * border >= min(images.shape[1:3]):
        raise ValueError(
            f"{owner}: `border` must leave pixels in the middle. Received: border={border}, "
            f"images of {images.shape[1]} x {images.shape[2]} pixels."
        )
    return images[:, border : images.shape[1] - border, border : images.shape[2] - border]


def _as_array(images):
    if not isinstance(images, np.ndarray):
        images = keras.ops.convert_to_numpy(images)
    # NumPy has no arithmetic of its own for bfloat16, and little room in float16.
    exact = images.dtype in ("float32", "float64")
    return images if exact else images.astype("float32")


def _order(spatial, data_format):
    """The axes of a batch in `data_format`, in the order N, H, W, C."""
    return (0, *spatial, layout.channel_axis(data_format))
