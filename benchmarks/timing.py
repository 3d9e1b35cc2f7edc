"""Competitors, timed in turns."""

import functools
import gc
import statistics
import time

import keras

ROUNDS = 9
SECONDS = 0.3  # What takes less is called in more rounds, so that one gust does not decide.
SLOW = 3.0  # What takes more seconds a call is timed once, behind a first call that compiles.


def race(functions, rounds=ROUNDS):
    """The median time of each function in milliseconds: by name, called in turns.

    The machine may be shared: in turns, all of them meet the same weather. What takes over `SLOW`
    seconds is called twice only, and the second call counts.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    fast, turn = [], 0.0
    for name, function in functions.items():
        # TensorFlow compiles some functions at their second call only.
        finish(function())
        seconds = _seconds(function)
        if seconds > SLOW:
            times[name].append(seconds)
            continue
        fast.append(name)
        turn += _seconds(function)
    if fast:
        rounds = max(rounds, min(100, int(SECONDS / turn)))
    gc.disable()
    try:
        for _ in range(rounds):
            for name in fast:
                times[name].append(_seconds(functions[name]))
    finally:
        gc.enable()
    return {name: 1000 * statistics.median(samples) for name, samples in times.items()}


def _seconds(function):
    start = time.perf_counter()
    finish(function())
    return time.perf_counter() - start


def race_steps(functions, x, w, rounds):
    """By step, the `race` of `functions` of images and a kernel: forward, and their gradients."""
    found = {}
    for step, wrap in (("forward", compiled), ("gradient", gradient)):
        traced = {name: wrap(function) for name, function in functions.items()}
        calls = {name: functools.partial(call, x, w) for name, call in traced.items()}
        found[step] = race(calls, rounds)
    return found


def finish(result):
    """Waits until `result` is computed."""
    if keras.backend.backend() == "jax":
        import jax

        jax.block_until_ready(result)


def compiled(function):
    """`function` of tensors as a user's own loop would run it: traced on TensorFlow and JAX."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)


def compiler(function):
    """`function` of tensors through the backend's compiler: XLA, or Inductor."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(torch.compile(function))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False, reduce_retracing=True, jit_compile=True)
    return compiled(function)


def gradient(function):
    """The gradients of `sum(function(x, w) ** 2) / 2` with respect to `x` and `w`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def traced(x, w):
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                y = function(x, w)
            return tape.gradient(y, [x, w], tf.stop_gradient(y))

        return tf.function(traced, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(lambda x, w: (function(x, w) ** 2).sum() / 2, argnums=(0, 1)))
    import torch

    def gradients(x, w):
        x, w = (tensor.detach().requires_grad_() for tensor in (x, w))
        y = function(x, w)
        return torch.autograd.grad(y, [x, w], y.detach())

    return gradients
