import keras
import numpy as np
import pytest

from keras_cnnfix.ops.precision import at_least_float32


# JAX makes float32 of it, and says so.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype .*float64:UserWarning")
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", None)],
)
def test_only_half_precision_is_raised(dtype, expected):
    x = keras.ops.convert_to_tensor(np.ones(3), dtype=dtype)
    before = keras.backend.standardize_dtype(x.dtype)
    assert keras.backend.standardize_dtype(at_least_float32(x).dtype) == (expected or before)
