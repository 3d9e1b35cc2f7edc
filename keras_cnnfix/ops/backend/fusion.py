"""Several operations in one pass over memory."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_cnnfix.typing import Shape, Tensor


def fused(function: Callable[..., Tensor], *tensors: Tensor, **settings: Any) -> Tensor:
    """`function(*tensors, **settings)` in one pass over memory, and its gradient in another.

    Args:
        function: Defined in a module. Returns one tensor.
        *tensors: Its arguments, kept for its gradient, which computes the function again.
        **settings: Its other arguments, which can be hashed.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*tensors, **settings)
    import tensorflow as tf

    if tf.executing_eagerly():
        if sum(tensor.shape.num_elements() for tensor in tensors) < _WORTH_COMPILING:
            return function(*tensors, **settings)
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        return _tensorflow_graph(function, shapes, tuple(settings.items()))(*tensors)

    # TensorFlow makes a pass for each operation (TensorFlow 2.21). The scope asks XLA for one
    # pass, and leaves ordinary operations in the graph: one that is exported, or that runs where
    # there is no XLA.
    def scope() -> Any:
        return tf.xla.experimental.jit_scope(compile_ops=True)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compiled(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        with scope():
            y = function(*tensors, **settings)

        def gradient(of_y: Tensor) -> Any:
            with scope(), tf.GradientTape() as tape:
                tape.watch(tensors)
                y = function(*tensors, **settings)
                return tape.gradient(y, tensors, of_y)

        return y, gradient

    return compiled(*tensors)


# Numbers that an eager operation must work on before a compiled one is worth its tenth of a second.
_WORTH_COMPILING = 2**16


@functools.lru_cache(maxsize=1024)
def _tensorflow_graph(
    function: Callable[..., Tensor],
    shapes: tuple[Shape, ...],
    settings: tuple[tuple[str, Any], ...],
) -> Any:
    """`fused` as a graph of its own, for tensors of these `shapes`."""
    import tensorflow as tf

    return tf.function(
        lambda *tensors: fused(function, *tensors, **dict(settings)), autograph=False
    )
