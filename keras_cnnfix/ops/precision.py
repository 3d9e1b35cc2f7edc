"""The precision that sums are kept in."""

import keras
from keras import ops


def at_least_float32(x):
    """`x` in float32 if it is in half precision, otherwise as it is."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
