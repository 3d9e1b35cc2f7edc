"""What is asked of a user's own model: its answers, and gradients with respect to its input."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnnfix.typing import AnyModel, Tensor


def gradient(function: AnyModel, x: Tensor, loss: Callable[[Any], Tensor] | None) -> Tensor:
    """The gradient of `loss(function(x))` with respect to `x`; each backend has its own way.

    Args:
        function: A Keras model or a torch module, called in inference mode, or a function of a
            tensor.
        x: Array or tensor, as for `as_taken_by`.
        loss: Function of the output to a scalar; None for half the sum of squares.
    """
    x = as_taken_by(function, x)
    settings = {"training": False} if isinstance(function, keras.Model) else {}

    def value(x: Tensor) -> Tensor:
        outputs = function(x, **settings)
        if loss is not None:
            return loss(outputs)
        return sum(ops.sum(ops.square(y)) for y in keras.tree.flatten(outputs)) / 2

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def traced(x: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = value(x)
            return tape.gradient(y, x)

        # Outside of a graph the gradient of a 1x1 convolution with strides, of 8 to 16 channels at
        # 60 x 60 pixels, ends the process (oneDNN of TensorFlow 2.21, processors with AVX-512).
        is_model = isinstance(function, keras.Model)
        return tf.function(traced, autograph=False)(x) if is_model else traced(x)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(value)(x)
    import torch

    x = x.detach().requires_grad_()
    with _evaluating(function):
        return torch.autograd.grad(value(x), x)[0]


def answer(function: AnyModel, x: Tensor) -> Any:
    """What `function` makes of `x` in inference mode, without recording for a gradient.

    Args:
        function: A torch module, or a function of a tensor.
        x: Array or tensor, given on as it is.
    """
    if keras.backend.backend() != "torch":
        return function(x)
    import torch

    with torch.no_grad(), _evaluating(function):
        return function(x)


def is_torch_module(function: Any) -> bool:
    """Whether it is a module of PyTorch, and not one of Keras's layers, which are modules there."""
    if keras.backend.backend() != "torch" or isinstance(function, keras.Layer):
        return False
    import torch

    return isinstance(function, torch.nn.Module)


def as_taken_by(function: Any, x: Tensor) -> Tensor:
    """Array or tensor `x` as a floating tensor that `function` takes.

    A torch module gets the dtype and the device of its weights. Otherwise NumPy arrays, which are
    float64 by default rather than by choice, and integers become Keras's float.
    """
    by_default = isinstance(x, np.ndarray) and x.dtype == "float64"
    x = ops.convert_to_tensor(x)
    weights = function.parameters() if is_torch_module(function) else ()
    weight = next((w for w in weights if w.is_floating_point()), None)
    if weight is not None:
        return x.to(weight)
    if by_default or "float" not in keras.backend.standardize_dtype(x.dtype):
        x = ops.cast(x, keras.config.floatx())
    return x


@contextlib.contextmanager
def _evaluating(function: Any) -> Iterator[None]:
    """Puts a torch module into evaluation mode; each of its parts gets its own mode back."""
    parts = list(function.modules()) if is_torch_module(function) else []
    modes = [part.training for part in parts]
    if parts:
        function.eval()
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
