"""The precision that sums are kept in."""

import keras
from keras import ops

from keras_cnnfix.typing import DType, Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision, otherwise as it is."""
    return ops.cast(x, dtype_of_sums(x.dtype))


def dtype_of_sums(dtype: DType) -> str:
    """`"float32"` for half precision, otherwise `dtype` itself, as a name.

    Not `keras.backend.result_type`, which is float32 for float64 on JAX and PyTorch (Keras 3.15).
    """
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype
