"""Parts of a tensor along one axis, of known and of unknown length."""

from typing import Any

import keras
from keras import ops

from keras_cnnfix.typing import Tensor


def every(x: Tensor, start: Any, count: Any, stride: int, axis: int) -> Tensor:
    """The `count` entries along `axis` that begin at `start` and lie `stride` apart.

    Args:
        start, count: Ints or scalar tensors. A graph of unknown sizes raises where `x` is shorter.
    """
    if keras.backend.backend() == "tensorflow" and stride == 1:
        # The gradient of a Python slice takes three to five times as long, and a slice that is too
        # long is cut short without a word (TensorFlow 2.21).
        import tensorflow as tf

        begin, size = [0] * len(x.shape), [-1] * len(x.shape)
        begin[axis], size[axis] = start, count
        part = tf.slice(x, begin, size)
        # Where it cannot tell one number of its arguments, TensorFlow forgets the other sides, too.
        known = list(x.shape)
        known[axis] = count if isinstance(count, int) else None
        part.set_shape(known)
        return part
    if is_symbolic(x):
        # JAX asks whether an image of unknown size is as long as a slice of it (JAX 0.10).
        return ops.take(x, start + stride * ops.arange(count), axis=axis)
    stop = start + (count - 1) * stride + 1
    return x[(slice(None),) * axis + (slice(start, stop, stride),)]


def first(x: Tensor, count: Any, axis: int) -> Tensor:
    """The first `count` entries along `axis`."""
    return every(x, 0, count, 1, axis)


def last(x: Tensor, count: Any, axis: int) -> Tensor:
    """The last `count` entries along `axis`, `count` at least 1."""
    return every(x, ops.shape(x)[axis] - count, count, 1, axis)


def without_ends(x: Tensor, ends: tuple[int, int], axis: int) -> Tensor:
    """`x` without as many entries along `axis` as `ends` (start, end) say."""
    start, end = ends
    return every(x, start, ops.shape(x)[axis] - start - end, 1, axis) if start or end else x


def take(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """The entries of `x` at the whole numbers `indices`, an array or a tensor, along `axis`."""
    indices = ops.convert_to_tensor(indices)
    if keras.backend.backend() == "torch":
        # `ops.take` flattens the indices with an operator that has no ONNX form (Keras 3.15).
        return x.index_select(axis, indices)
    return ops.take(x, indices, axis=axis)


def scalar(n: Any, dtype: str) -> Tensor:
    """The size `n`, an int or what stands for one in a graph, as a tensor."""
    if keras.backend.backend() == "torch":
        import torch

        if isinstance(n, torch.SymInt):
            # Keras makes a constant of it, and the graph one of that size (Keras 3.15).
            return torch.scalar_tensor(n, dtype=getattr(torch, dtype))  # type: ignore[arg-type]
    return ops.cast(n, dtype)


def widest_int() -> str:
    """The widest dtype of whole numbers that a graph can count pixels in."""
    # JAX has 32 bits unless told otherwise, and knows all sizes unless it exports.
    return "int32" if keras.backend.backend() == "jax" else "int64"


def is_symbolic(x: Tensor) -> bool:
    """Whether JAX traces `x` with sizes that it does not know, to export it."""
    return keras.backend.backend() == "jax" and not all(isinstance(n, int) for n in x.shape[1:])
