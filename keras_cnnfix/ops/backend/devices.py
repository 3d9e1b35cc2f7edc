"""Which device and which compiler a call is for."""

from typing import Any

import keras


def replica() -> Any:
    """The number of the device that this runs for in data-parallel training, 0 outside of it.

    An int, or on TensorFlow a scalar tensor. Always 0 on JAX, where a whole batch is one tensor.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return 0
        return context.replica_id_in_sync_group
    if keras.backend.backend() == "torch":
        import torch

        parallel = torch.distributed.is_available() and torch.distributed.is_initialized()
        return torch.distributed.get_rank() if parallel else 0
    return 0


def is_compiled_by_torch() -> bool:
    """Whether `torch.compile` or `torch.export` traces the call."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return torch.compiler.is_compiling()


def on_tensorflow_cpu() -> bool:
    """Whether TensorFlow computes, and without a GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def convolves_slowly() -> bool:
    """Whether XLA computes on a CPU: transposed convolutions and their gradients above all take
    long there, but products of matrices do not, and sums are one pass (JAX 0.10).
    """
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def channels_for_products() -> tuple[int, int, int]:
    """From how many channels on `resize_conv.products` is faster than `resize_conv.transposed`.

    Three numbers: for an image with a border, the same where the composite kernel has no more than
    4 taps a side, and for zeros, where the transposed form pads and crops nothing. On a CPU fitted
    to drawn shapes (`docs/performance.md`). On a GPU estimated: an H100 makes about 300
    multiplications in the time in which it moves a number through memory, a CPU 17 to 60.
    """
    name = keras.backend.backend()
    if name == "jax":
        return (0, 0, 0) if convolves_slowly() else (1024, 1024, 1024)
    if name == "torch":
        import torch

        return (1024, 1024, 1024) if torch.cuda.is_available() else (112, 144, 192)
    return (80, 80, 128) if on_tensorflow_cpu() else (1024, 1024, 1024)


def multiplications_for_ends() -> float:
    """From how many multiplications of `resize_conv.plain` on `resize_conv.transposed` is faster,
    where it mends the ends of its result. Fitted to seven shapes on a CPU.
    """
    # Each operation on PyTorch takes a while of its own; a compiled graph has hardly any such cost.
    if keras.backend.backend() != "torch" or is_compiled_by_torch():
        return 0
    import torch

    return 0 if torch.cuda.is_available() else 5e8
