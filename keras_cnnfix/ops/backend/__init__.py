"""Every place where the backends must be told apart, each with its reason and version.

Nothing outside of this folder imports TensorFlow, JAX or PyTorch. Each branch has a test in
`tests/ops/test_backend.py` that fails without it.
"""

from keras_cnnfix.ops.backend.assertions import asserted
from keras_cnnfix.ops.backend.convolution import conv2d, conv_transpose2d, depthwise_conv2d
from keras_cnnfix.ops.backend.devices import (
    channels_for_products,
    convolves_slowly,
    is_compiled_by_torch,
    multiplications_for_ends,
    replica,
)
from keras_cnnfix.ops.backend.fusion import fused
from keras_cnnfix.ops.backend.gradients import answer, as_taken_by, gradient, is_torch_module
from keras_cnnfix.ops.backend.padding import reflect2d
from keras_cnnfix.ops.backend.slices import (
    every,
    first,
    last,
    scalar,
    take,
    widest_int,
    without_ends,
)

__all__ = [
    "answer",
    "as_taken_by",
    "asserted",
    "channels_for_products",
    "conv2d",
    "conv_transpose2d",
    "convolves_slowly",
    "depthwise_conv2d",
    "every",
    "first",
    "fused",
    "gradient",
    "is_compiled_by_torch",
    "is_torch_module",
    "last",
    "multiplications_for_ends",
    "reflect2d",
    "replica",
    "scalar",
    "take",
    "widest_int",
    "without_ends",
]
