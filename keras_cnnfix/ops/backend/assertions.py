"""What a graph of unknown sizes asserts when it runs."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_cnnfix.typing import Shape, Tensor


def asserted(x: Tensor, rules: Iterable[tuple[Any, str, Any]], shape: Shape) -> Tensor:
    """`x`, of the static `shape`; where a rule is broken when a graph runs, an error that names it.

    Only TensorFlow traces sizes as unknown. XLA, LiteRT and ONNX drop assertions: what they run
    answers an image that is too small with numbers (TensorFlow 2.21, tf2onnx 1.17).

    Args:
        x: A tensor.
        rules: For each: whether it holds, the message where it does not, with `{received}` for a
            number, and that number: scalar tensors, or an int where it is known and needs none.
        shape: What is known of the shape beyond what the graph knows, None for the rest.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    assertions = []
    for holds, message, received in rules:
        if isinstance(received, int):
            continue
        before, after = message.split("{received}")
        message = tf.strings.join([before, tf.strings.as_string(received), after])
        # Not `tf.debugging.Assert`, which adds a branch to the graph.
        assertions.append(tf.raw_ops.Assert(condition=holds, data=[message]))
    with tf.control_dependencies(assertions):
        x = tf.identity(x)
    x.set_shape(shape)
    return x
