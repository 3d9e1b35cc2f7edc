"""What every measure begins with: images as NumPy arrays, and what a model makes of them."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_cnnfix import checks
from keras_cnnfix.ops import backend, layout
from keras_cnnfix.typing import AnyModel, Array, DataFormat, Images, Ints


def images_as_array(
    owner: str, images: Images, data_format: DataFormat | None, name: str = "images"
) -> Array:
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


def batches(
    owner: str, images: Images, labels: Any, data_format: DataFormat | None
) -> Iterator[tuple[Array, Any]]:
    """Yields images as float arrays `(N, H, W, C)`, with their labels as they are, or None.

    Args:
        images: As for `images_as_array`, which is one batch; or an iterable of batches, of images
            `(N, H, W, C)` or of tuples that begin with (images, labels), asked for one at a time.
        labels: Of all images, or None. Of an iterable None: its batches bring them.
    """
    if is_array(images):
        images = images_as_array(owner, images, data_format)
        yield images, labels
        return
    if not isinstance(images, Iterable):
        raise ValueError(
            f"{owner}: `images` must be an array, a tensor, or an iterable of batches. "
            f"Received: images={images!r}."
        )
    if labels is not None:
        raise ValueError(
            f"{owner}: `labels` must be None where `images` is an iterable of batches. Received: "
            f"labels={type(labels).__name__}. Let it give tuples (images, labels)."
        )
    count = 0
    for batch in images:
        count += 1
        batch, labels = _with_labels(batch)
        if not hasattr(batch, "shape"):
            raise ValueError(
                f"{owner}: `images` must give batches of images, or tuples (images, labels). "
                f"Received: a {type(batch).__name__}."
            )
        checks.image_batch(owner, batch.shape, "images")
        batch = images_as_array(owner, batch, data_format)
        yield batch, labels
        del batch, labels  # before the next one is made
    if not count:
        raise ValueError(f"{owner}: `images` must give one batch or more. Received: none.")


def is_structure(images: Images) -> bool:
    """Whether it is an array, a tensor or a structure of them, and not an iterable of batches: a
    list of tuples is one.
    """
    if isinstance(images, list | tuple) and any(isinstance(x, list | tuple) for x in images):
        return False
    parts = keras.tree.flatten(images)
    return bool(parts) and all(hasattr(part, "ndim") for part in parts)


def first_batches(
    owner: str, images: Images, batch_size: Any, most: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yields batches as a model takes them, as arrays, with their labels, or None.

    Args:
        images: Array, tensor or structure of these; or an iterable of batches, or of tuples (batch,
            labels): a `tf.data.Dataset`, a `keras.utils.PyDataset`, a `DataLoader`, a generator.
        batch_size: Of an array.
        most: How many batches, at most.

    Raises:
        ValueError: There are none.
    """
    count = 0
    if is_structure(images):
        images = keras.tree.map_structure(_as_given, images)
        for start in range(0, len(keras.tree.flatten(images)[0]), batch_size)[:most]:
            part = slice(start, start + batch_size)
            yield keras.tree.map_structure(lambda x, part=part: x[part], images), None
            count += 1
    else:
        if not isinstance(images, Iterable) and not hasattr(images, "__getitem__"):
            raise ValueError(
                f"{owner}: `images` must be arrays, or an iterable of batches. Received: "
                f"images={images!r}."
            )
        # A PyDataset has no end of its own.
        ends = [n for n in (most, length(images)) if n is not None]
        for batch in itertools.islice(images, min(ends, default=None)):
            batch, labels = _with_labels(batch)
            yield keras.tree.map_structure(_as_given, batch), labels
            count += 1
    if not count:
        raise ValueError(f"{owner}: `images` must hold one image or more. Received: none.")


def some_images(owner: str, images: Images, most: int) -> tuple[Any, Array | None]:
    """The images of the first batches, `most` or a batch more, as arrays, and their labels or None;
    of arrays all.
    """
    if is_structure(images):
        return keras.tree.map_structure(_as_given, images), None
    parts, labels, count = [], [], 0
    for batch, of_batch in first_batches(owner, images, None):
        parts.append(batch)
        labels.append(of_batch)
        count += len(keras.tree.flatten(batch)[0])
        if count >= most:
            break
    images = keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)
    if any(of_batch is None for of_batch in labels):
        return images, None
    return images, np.concatenate([_as_given(of_batch) for of_batch in labels])


def not_taken(owner: str, images: Images, error: Exception) -> ValueError:
    """The error to raise where a model does not take the user's images."""
    shapes = [tuple(part.shape) for part in keras.tree.flatten(images)]
    first = (str(error).splitlines() or [""])[0]
    return ValueError(
        f"{owner}: `images` must be what the model takes. Received: {shapes}, at which it raises "
        f"{type(error).__name__}: {first}"
    )


def _with_labels(batch: Any) -> tuple[Any, Any]:
    """The images and the labels of what gives batches, None where it gives images alone."""
    return (*batch, None)[:2] if isinstance(batch, tuple | list) else (batch, None)


def _as_given(x: Any) -> Array:
    return x if isinstance(x, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(x))


def length(source: Any) -> int | None:
    """How many batches it gives, None where it does not say."""
    try:
        return len(source)
    except TypeError:  # A generator has no length, a tf.data.Dataset may not know its own.
        return None


def is_array(images: Images) -> bool:
    """Whether it is an array, a tensor or a sequence of them, and not an iterable of batches."""
    return hasattr(images, "shape") or isinstance(images, (list, tuple))


def answering(
    owner: str, model: AnyModel, batch_size: int, data_format: DataFormat | None
) -> Callable[[Array], Array]:
    """Returns a function from images `(N, H, W, C)` to `model`'s outputs, arrays, channels last.

    Args:
        model: A Keras model, a torch module, or a function, from a batch of images in
            `data_format` to one tensor or array. A Keras model is asked as `predict` asks it, a
            torch module in evaluation mode with the dtype and on the device of its weights. A
            function gets NumPy arrays, and if it refuses them the backend's tensors. No gradient
            is recorded.
        batch_size: Images at a time.
    """
    batch_size = checks.positive_int(owner, "batch_size", batch_size)
    data_format = checks.data_format(owner, data_format)
    order = _order(layout.spatial_axes(data_format), data_format)
    ask = _asking(model)

    def answer(images: Array) -> Array:
        images = np.transpose(images, np.argsort(order))
        parts = [
            _output(owner, ask(images[start : start + batch_size]))
            for start in range(0, len(images), batch_size)
        ]
        outputs = np.concatenate(parts)
        return np.transpose(outputs, order) if outputs.ndim == 4 else outputs

    return answer


def _asking(model: AnyModel) -> Callable[[Array], Any]:
    # `predict` would need a progress bar silenced, and lets no other function take its place.
    if hasattr(model, "predict_on_batch"):
        return model.predict_on_batch

    def with_tensors(images: Array) -> Any:
        return backend.answer(model, backend.as_taken_by(model, images))

    if backend.is_torch_module(model) or isinstance(model, keras.Layer):
        return with_tensors
    takes_arrays = True

    def with_arrays_if_taken(images: Array) -> Any:
        nonlocal takes_arrays
        if takes_arrays:
            # What a function takes shows when it is called; if the fault is another one, the
            # second call raises it again, with the first as its context.
            try:
                return backend.answer(model, images)
            except Exception:
                outputs = with_tensors(images)
                takes_arrays = False
                return outputs
        return with_tensors(images)

    return with_arrays_if_taken


def _output(owner: str, output: Any) -> Array:
    if not hasattr(output, "shape"):
        size = f" of {len(output)}" if hasattr(output, "__len__") else ""
        raise ValueError(
            f"{owner}: `model` must have one output. Received: a {type(output).__name__}{size}. "
            f"Take one, as in keras.Model(model.inputs, model.outputs[0]) or "
            f"lambda images: model(images)[0]."
        )
    return _as_array(output)


def without_border(owner: str, images: Array, border: int) -> Array:
    """Returns images `(N, H, W, C)` without their outermost `border` pixels."""
    border = checks.positive_int(owner, "border", border, minimum=0)
    if 2 * border >= min(images.shape[1:3]):
        raise ValueError(
            f"{owner}: `border` must leave pixels in the middle. Received: border={border}, "
            f"images of {images.shape[1]} x {images.shape[2]} pixels."
        )
    return images[:, border : images.shape[1] - border, border : images.shape[2] - border]


def _as_array(images: Any) -> Array:
    images = _as_given(images)
    # NumPy has no arithmetic of its own for bfloat16, and little room in float16.
    exact = images.dtype in ("float32", "float64")
    return images if exact else images.astype("float32")


def _order(spatial: Ints, data_format: DataFormat) -> Ints:
    """The axes of a batch in `data_format`, in the order N, H, W, C."""
    return (0, *spatial, layout.channel_axis(data_format))
