"""Every place where the backends must be told apart, each with its reason and version.

The only file that imports TensorFlow, JAX or PyTorch. Each branch has a test in
`tests/ops/test_backend.py` that fails without it.
"""

import contextlib
import functools

import keras
import numpy as np
from keras import ops

from keras_cnnfix.ops import layout


def conv2d(x, kernel, strides, groups, data_format):
    """Convolution (cross-correlation) of `x` with `kernel`, without padding.

    Args:
        x: Images in `data_format`, shape (N, H, W, C) or (N, C, H, W).
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
        strides: Pair (height, width).
        groups: Number of groups that the input and the output channels are split into.
    """
    if _one_channel_misread(x, strides, data_format):
        y = conv2d(x, kernel, (strides[0], 1), groups, data_format)
        axis = layout.spatial_axes(data_format)[1]
        width = (ops.shape(y)[axis] + strides[1] - 1) // strides[1]
        return layout.every(y, 0, width, strides[1], axis)
    if _permutes_on_torch(data_format):
        # Keras copies the image into channels_first and back into PyTorch's channels_last memory
        # format, which is what it was: twice the time of a 3x3 convolution (Keras 3.15).
        return _torch_conv2d(x, kernel, strides, groups)
    # TensorFlow's own CPU kernels convolve in channels_last alone: channels_first works only while
    # oneDNN is on, which it is not on every machine (TensorFlow 2.21).
    transposed = data_format == "channels_first" and _on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    # Keras sends a grouped convolution on TensorFlow through a new XLA function a call, which is
    # compiled again for each size; the split is exact and several times faster (Keras 3.15).
    if groups > 1 and _on_tensorflow_cpu():
        y = _split_conv2d(x, kernel, strides, groups, data_format)
    elif (*kernel.shape[:2], *strides, groups) == (1, 1, 1, 1, 1) and (
        data_format == "channels_last"
    ):
        # XLA on a CPU takes up to twice the time for what is a product of matrices (JAX 0.10).
        pixels = ops.matmul(ops.reshape(x, (-1, kernel.shape[2])), kernel[0, 0])
        size = layout.spatial_size(ops.shape(x), data_format)
        y = ops.reshape(pixels, layout.image_shape(-1, size, kernel.shape[3], data_format))
    else:
        y = ops.conv(x, kernel, strides=strides, padding="valid", data_format=data_format)
    return layout.to_channels_first(y) if transposed else y


def depthwise_conv2d(x, taps, strides, data_format):
    """Every channel of `x` convolved with the outer product of `taps`, without padding.

    Args:
        x: Images in `data_format`.
        taps: Pair of NumPy vectors, along the height and along the width.
        strides: Pair (height, width).
        data_format: `"channels_last"` or `"channels_first"`.
    """
    channels = x.shape[layout.channel_axis(data_format)]
    # XLA convolves each channel on its own slowly on a CPU, its gradient above all: sums of shifted
    # images take a tenth of the time (JAX 0.10). TensorFlow without oneDNN, and in float64, has no
    # depthwise convolution with unequal strides (TensorFlow 2.21); with it, and on PyTorch, see
    # `_one_channel_misread`. Inductor makes one pass of the sums, where it fails on the gradient of
    # the convolution once sizes have changed (PyTorch 2.13). They serve unknown channels, too.
    in_one_pass = keras.backend.backend() == "jax" or is_compiled_by_torch()
    if in_one_pass or channels is None or strides[0] != strides[1]:
        for weights, stride, axis in zip(
            taps, strides, layout.spatial_axes(data_format), strict=True
        ):
            count = (ops.shape(x)[axis] - len(weights)) // stride + 1
            x = sum(
                every(x, t, count, stride, axis) * float(weight) for t, weight in enumerate(weights)
            )
        return x
    kernel = np.repeat(np.outer(*taps)[:, :, None], channels, axis=2)[..., None]
    kernel = ops.convert_to_tensor(kernel, dtype=x.dtype)
    if _permutes_on_torch(data_format):
        # As in `conv2d`.
        return _torch_conv2d(x, ops.transpose(kernel, (0, 1, 3, 2)), strides, channels)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.depthwise_conv(x, kernel, **settings)


def conv_transpose2d(x, kernel, strides, data_format):
    """Transposed convolution of `x` with `kernel`, cropped evenly to `strides` times the size.

    Before the crop, pixel `m` adds tap `a` to pixel `s * m + a`.

    Args:
        x: Images in `data_format`.
        kernel: Taps of shape (kh, kw, C, filters), in the dtype of `x`. Each side less its stride
            is even.
        strides: Pair (height, width).
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if _permutes_on_torch(data_format):
        # As in `conv2d`.
        return _torch_conv_transpose2d(x, kernel, strides)
    transposed = data_format == "channels_first" and _on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    kernel = ops.swapaxes(kernel, 2, 3)
    y = ops.conv_transpose(x, kernel, strides, padding="same", data_format=data_format)
    return layout.to_channels_first(y) if transposed else y


def take_at_ends(x, counts, data_format):
    """`x` itself, and its outermost pixels: for each side that has any, one tensor of the pixels at
    its start followed by those at its end.

    The transpose of `add_at_ends`: the gradients with respect to the pixels are added to that of
    the `x` returned, in place where the backend can. No other use is made of either.

    Args:
        x: Images in `data_format`.
        counts: ((top, bottom), (left, right)), in pixels.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    name = keras.backend.backend()
    if name == "torch":
        return list(_torch_at_ends()[0].apply(counts, data_format, x))
    if name == "tensorflow":
        import tensorflow as tf

        @tf.custom_gradient
        def take(x):
            def gradient(of_x, *of_parts):
                return _tensorflow_add_in_place(of_x, of_parts, counts, data_format)

            return [tf.identity(x), *_at_ends(x, counts, data_format)], gradient

        return take(x)
    return [x, *_at_ends(x, counts, data_format)]


def add_at_ends(y, bias, parts, counts, least, data_format):
    """`y + bias`, with `parts` added to the outermost pixels. No other use is made of `y`.

    Args:
        y: Images in `data_format`.
        bias: Shape (C,), in the dtype of `y`, or None.
        parts: For each side that has any, what is added to its first and to its last pixels.
        counts: ((top, bottom), (left, right)), in pixels.
        least: The least height and width that `y` can have, where they are unknown.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    name = keras.backend.backend()
    if name == "torch":
        biases = [] if bias is None else [bias]
        return _torch_at_ends()[1].apply(counts, data_format, y, *parts, *biases)
    if bias is not None:
        y = y + layout.along(bias, layout.channel_axis(data_format))
    if name == "tensorflow":
        import tensorflow as tf

        @tf.custom_gradient
        def add(y, *parts):
            def gradient(of_y):
                return of_y, *_at_ends(of_y, counts, data_format)

            return _add_at_ends(y, parts, counts, least, data_format), gradient

        return add(y, *parts) if parts else y
    return _add_at_ends(y, parts, counts, least, data_format)


def _sides_with(counts, data_format):
    """Of each side that has any: its axis, and how many pixels at its start and at its end."""
    axes = layout.spatial_axes(data_format)
    return [(axis, *pair) for axis, pair in zip(axes, counts, strict=True) if any(pair)]


def _at_ends(x, counts, data_format):
    parts = []
    for axis, start, end in _sides_with(counts, data_format):
        pixels = [first(x, start, axis)] if start else []
        pixels += [last(x, end, axis)] if end else []
        parts.append(ops.concatenate(pixels, axis=axis))
    return parts


def _add_at_ends(y, parts, counts, least, data_format):
    axes = layout.spatial_axes(data_format)
    for part, (axis, start, end) in zip(parts, _sides_with(counts, data_format), strict=True):
        size = y.shape[axis] or least[axes.index(axis)]
        if start + end <= size:
            y = _add_along(y, part, start, end, axis)
        else:
            # The first pixels are some of the last ones, too.
            y = _add_along(y, layout.first(part, start, axis), start, 0, axis)
            y = _add_along(y, layout.every(part, start, end, 1, axis), 0, end, axis)
    return y


def _add_along(y, part, start, end, axis):
    if not start + end:
        return y
    stop = ops.shape(y)[axis] - end
    pixels = [layout.first(y, start, axis), layout.every(y, stop, end, 1, axis)]
    if keras.backend.backend() == "tensorflow":
        # One pass, where the slice between the ends is another. (An addition in place would be
        # none, but it exports neither to ONNX nor to LiteRT.)
        import tensorflow as tf

        size = tf.shape(y)
        positions = tf.concat([tf.range(start), tf.range(stop, size[axis])], axis=0)
        ranges = [*(tf.range(size[i]) for i in range(axis)), positions]
        indices = tf.stack(tf.meshgrid(*ranges, indexing="ij"), axis=-1)
        return tf.tensor_scatter_nd_update(y, indices, tf.concat(pixels, axis=axis) + part)
    pixels.insert(1, layout.every(y, start, stop - start, 1, axis))
    parts = [layout.first(part, start, axis), None, layout.every(part, start, end, 1, axis)]
    sums = [x if p is None else x + p for x, p in zip(pixels, parts, strict=True)]
    return ops.concatenate(sums, axis=axis)


def _tensorflow_add_in_place(y, parts, counts, data_format):
    """For gradients: neither ONNX nor LiteRT has this operation."""
    import tensorflow as tf

    for part, (axis, start, end) in zip(parts, _sides_with(counts, data_format), strict=True):
        # A bit an axis: whether it is taken from its beginning, to its end.
        everything, along_others = 0b1111, 0b1111 & ~(1 << axis)
        at = [0] * 4
        if start:
            at[axis] = start
            y = tf.raw_ops.TensorStridedSliceUpdate(
                input=y,
                begin=[0] * 4,
                end=at,
                strides=[1] * 4,
                value=layout.first(y, start, axis) + layout.first(part, start, axis),
                begin_mask=everything,
                end_mask=along_others,
            )
        if end:
            at[axis] = -end
            y = tf.raw_ops.TensorStridedSliceUpdate(
                input=y,
                begin=at,
                end=[0] * 4,
                strides=[1] * 4,
                value=layout.last(y, end, axis) + layout.last(part, end, axis),
                begin_mask=along_others,
                end_mask=everything,
            )
    return y


@functools.cache
def _torch_at_ends():
    """`take_at_ends` and `add_at_ends` in place."""
    import torch

    def add(y, parts, counts, data_format):
        for part, (axis, start, end) in zip(parts, _sides_with(counts, data_format), strict=False):
            if start:
                pixels = layout.first(y, start, axis)
                pixels += layout.first(part, start, axis)
            if end:
                pixels = layout.last(y, end, axis)
                pixels += layout.last(part, end, axis)
        return y

    class Take(torch.autograd.Function):
        @staticmethod
        def forward(ctx, counts, data_format, x):
            ctx.settings = counts, data_format
            return x.view_as(x), *_at_ends(x, counts, data_format)

        @staticmethod
        def backward(ctx, of_x, *of_parts):
            return None, None, add(of_x, of_parts, *ctx.settings)

    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, counts, data_format, y, *tensors):
            ctx.mark_dirty(y)
            ctx.settings = counts, data_format
            sides = len(_sides_with(counts, data_format))
            ctx.biases = len(tensors) - sides
            for bias in tensors[sides:]:
                y += layout.along(bias, layout.channel_axis(data_format))
            return add(y, tensors, counts, data_format)

        @staticmethod
        def backward(ctx, of_y):
            counts, data_format = ctx.settings
            others = [axis for axis in range(4) if axis != layout.channel_axis(data_format)]
            of_bias = [of_y.sum(others)] * ctx.biases
            return None, None, of_y, *_at_ends(of_y, counts, data_format), *of_bias

    return Take, Add


def with_transpose(function, transpose, *tensors, **settings):
    """`function(*tensors, **settings)`, which is affine, with a gradient written by hand.

    What the backends derive from slices is an image of zeros for each, and as many sums: twice
    the time and memory (TensorFlow 2.21, JAX 0.10, PyTorch 2.13). On JAX it has no forward-mode
    derivative then.

    Args:
        function: Returns one tensor.
        transpose: A function of the gradient with respect to that tensor, and of `settings`.
            Returns the list of gradients with respect to `tensors`.
        *tensors, **settings: The arguments of `function`.
    """
    name = keras.backend.backend()
    if name == "torch":
        return _torch_affine().apply(function, transpose, settings, *tensors)
    if name == "tensorflow":
        import tensorflow as tf

        @tf.custom_gradient
        def affine(*tensors):
            return function(*tensors, **settings), lambda of_y: transpose(of_y, **settings)

        # Of a variable among its arguments, called eagerly, it wants a gradient of its own.
        return affine(*(tf.convert_to_tensor(tensor) for tensor in tensors))
    import jax

    def forward(*tensors):
        return function(*tensors, **settings), None

    def backward(_, of_y):
        return tuple(transpose(of_y, **settings))

    affine = jax.custom_vjp(lambda *tensors: function(*tensors, **settings))
    affine.defvjp(forward, backward)
    return affine(*tensors)


def fused(function, *tensors, **settings):
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
    def scope():
        return tf.xla.experimental.jit_scope(compile_ops=True)

    @tf.custom_gradient
    def compiled(*tensors):
        with scope():
            y = function(*tensors, **settings)

        def gradient(of_y):
            with scope(), tf.GradientTape() as tape:
                tape.watch(tensors)
                y = function(*tensors, **settings)
                return tape.gradient(y, tensors, of_y)

        return y, gradient

    return compiled(*tensors)


# Numbers that an eager operation must work on before a compiled one is worth its tenth of a second.
_WORTH_COMPILING = 2**16


@functools.lru_cache(maxsize=1024)
def _tensorflow_graph(function, shapes, settings):
    """`fused` as a graph of its own, for tensors of these `shapes`."""
    import tensorflow as tf

    return tf.function(
        lambda *tensors: fused(function, *tensors, **dict(settings)), autograph=False
    )


def replica():
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


def gradient(function, x, loss):
    """The gradient of `loss(function(x))` with respect to `x`; each backend has its own way.

    Args:
        function: A Keras model or a torch module, called in inference mode, or a function of a
            tensor.
        x: Array or tensor, as for `as_taken_by`.
        loss: Function of the output to a scalar; None for half the sum of squares.
    """
    x = as_taken_by(function, x)
    settings = {"training": False} if isinstance(function, keras.Model) else {}

    def value(x):
        outputs = function(x, **settings)
        if loss is not None:
            return loss(outputs)
        return sum(ops.sum(ops.square(y)) for y in keras.tree.flatten(outputs)) / 2

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = value(x)
        return tape.gradient(y, x)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(value)(x)
    import torch

    x = x.detach().requires_grad_()
    with _evaluating(function):
        return torch.autograd.grad(value(x), x)[0]


def answer(function, x):
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


def is_torch_module(function):
    """Whether it is a module of PyTorch, and not one of Keras's layers, which are modules there."""
    if keras.backend.backend() != "torch" or isinstance(function, keras.Layer):
        return False
    import torch

    return isinstance(function, torch.nn.Module)


def as_taken_by(function, x):
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
def _evaluating(function):
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


def is_compiled_by_torch():
    """Whether `torch.compile` or `torch.export` traces the call."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    # It fails in the gradients written by hand, once a size has changed (PyTorch 2.13).
    return torch.compiler.is_compiling()


def cost_of_moving():
    """What it costs to move one number through memory, in multiplications of a convolution.

    What `resize_conv.fastest_form` weighs its forms with. Fitted to the times of both forms on two
    cores (`docs/performance.md`); on a GPU nothing was measured.
    """
    name = keras.backend.backend()
    if name == "jax":
        import jax

        # XLA convolves slowly on a CPU, transposed convolutions and their gradients above all,
        # but is quick with products of matrices, and sums in one pass (JAX 0.10).
        return 0 if jax.default_backend() == "cpu" else 60
    # Both make a pass for each sum; PyTorch has the faster transposed convolution.
    return 17 if name == "tensorflow" else 60


def reflect2d(x, pads, data_format):
    """`ops.pad` in the mode reflect, by `pads` ((top, bottom), (left, right)), not all 0."""
    if _is_symbolic(x):
        # JAX asks whether the border is narrower than an image of unknown size (JAX 0.10).
        for (before, after), axis in zip(pads, layout.spatial_axes(data_format), strict=True):
            end = ops.shape(x)[axis] - 1
            source = end - ops.abs(end - ops.abs(ops.arange(-before, end + after + 1)))
            x = ops.take(x, source, axis=axis)
        return x
    only_width = data_format == "channels_first" and not any(pads[0])
    if only_width and keras.backend.backend() == "torch":
        # Keras passes the last axis alone then, which PyTorch refuses for 4 axes (Keras 3.15).
        padded = reflect2d(layout.to_channels_last(x), pads, "channels_last")
        return layout.to_channels_first(padded)
    return ops.pad(x, layout.pads_per_axis(pads, data_format), mode="reflect")


def resize2d(x, size, interpolation, antialias, data_format):
    """`ops.image.resize` to `size` (height, width), which may hold scalar tensors."""
    if keras.backend.backend() == "tensorflow" and "float" in x.dtype.name and x.dtype.size < 4:
        # Its antialiased resize has no gradient in half precision (TensorFlow 2.21).
        y = resize2d(ops.cast(x, "float32"), size, interpolation, antialias, data_format)
        return ops.cast(y, x.dtype)
    if keras.backend.backend() == "tensorflow" and not all(isinstance(n, int) for n in size):
        # `ops.image.resize` compares the size with 0 in Python, which TensorFlow refuses for a
        # tensor (Keras 3.14 to 3.15, https://github.com/keras-team/keras/pull/23315).
        import tensorflow as tf

        if data_format == "channels_first":
            x = layout.to_channels_last(x)
        y = tf.image.resize(x, tf.stack(size), method=interpolation, antialias=antialias)
        y = tf.cast(y, x.dtype)
        y.set_shape([x.shape[0], None, None, x.shape[3]])
        return layout.from_channels_last(y, data_format)
    return ops.image.resize(
        x, size, interpolation=interpolation, antialias=antialias, data_format=data_format
    )


def resize_compiles(interpolation):
    """Whether the backend's compiler can compile a resize with `interpolation` and its gradient."""
    # XLA on TensorFlow has no ScaleAndTranslate, which is its antialiased resize (TensorFlow 2.21).
    return not (keras.backend.backend() == "tensorflow" and interpolation == "bicubic")


def take(x, indices, axis):
    """The entries of `x` at the whole numbers `indices` along `axis`."""
    if keras.backend.backend() == "torch":
        # `ops.take` flattens the indices with an operator that has no ONNX form (Keras 3.15).
        return x.index_select(axis, indices)
    return ops.take(x, indices, axis=axis)


def every(x, start, count, stride, axis):
    """`layout.every`, also where JAX does not know `count`."""
    if _is_symbolic(x):
        return ops.take(x, start + stride * ops.arange(count), axis=axis)
    return layout.every(x, start, count, stride, axis)


def first(x, count, axis):
    """The first `count` entries along `axis`; an error, not fewer entries, where `x` is shorter."""
    if _is_unknown(x, axis):
        return _slice(x, 0, count, axis)
    return layout.first(x, count, axis)


def last(x, count, axis):
    """The last `count` entries along `axis`; an error, not fewer entries, where `x` is shorter."""
    if _is_unknown(x, axis):
        return _slice(x, ops.shape(x)[axis] - count, count, axis)
    return layout.last(x, count, axis)


def at_least(x, count, axis):
    """`x`; an error where it has less than `count` entries along `axis`, which is unknown."""
    if not _is_unknown(x, axis) or keras.backend.backend() == "jax":
        return x
    import tensorflow as tf

    message = f"an image of at least {count} pixels a side is needed to train with unknown sizes"
    enough = tf.debugging.assert_greater_equal(tf.shape(x)[axis], count, message)
    with tf.control_dependencies([enough]):
        return tf.identity(x)


def pixel(x, index, from_end, axis):
    """Entry `index` along `axis`, counted from one end; an error where `x` is shorter."""
    if from_end:
        return layout.first(last(x, index + 1, axis), 1, axis)
    return layout.last(first(x, index + 1, axis), 1, axis)


def _on_tensorflow_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _permutes_on_torch(data_format):
    """Whether to hand PyTorch a channels_last image as a view in channels_first."""
    # Inductor fails on a convolution of such a view that needs a gradient, once a size has changed:
    # "cannot determine truth value of Relational" (PyTorch 2.13,
    # https://github.com/pytorch/pytorch/issues/172204).
    on_torch = keras.backend.backend() == "torch" and data_format == "channels_last"
    return on_torch and not is_compiled_by_torch()


def _one_channel_misread(x, strides, data_format):
    """Whether oneDNN would answer with memory that nobody wrote: for several images of one channel,
    at a step that is wider than high, where the result is one pixel wide (TensorFlow 2.21, PyTorch
    2.13).
    """
    one_channel = x.shape[layout.channel_axis(data_format)] == 1
    return one_channel and strides[1] > strides[0] and keras.backend.backend() != "jax"


def _torch_conv2d(x, kernel, strides, groups):
    import torch

    kernel = kernel.permute(3, 2, 0, 1)
    if kernel.shape[0] == 1:
        # The gradient of one image and one filter: "slow_conv2d: grad_weight must be contiguous",
        # as for `keras.layers.Conv2D(1, 3)` (PyTorch 2.13).
        kernel = kernel.contiguous()
    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel, stride=strides, groups=groups)
    return y.permute(0, 2, 3, 1)


@functools.cache
def _torch_affine():
    """An affine function with the gradient that its transpose computes."""
    import torch

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, function, transpose, settings, *tensors):
            ctx.transpose, ctx.settings = transpose, settings
            return function(*tensors, **settings)

        @staticmethod
        def backward(ctx, gradient):
            return None, None, None, *ctx.transpose(gradient, **ctx.settings)

    return Affine


def _torch_conv_transpose2d(x, kernel, strides):
    import torch

    padding = [(k - s) // 2 for k, s in zip(kernel.shape[:2], strides, strict=True)]
    y = torch.nn.functional.conv_transpose2d(
        x.permute(0, 3, 1, 2), kernel.permute(2, 3, 0, 1), stride=strides, padding=padding
    )
    return y.permute(0, 2, 3, 1)


def _split_conv2d(x, kernel, strides, groups, data_format):
    axis = layout.channel_axis(data_format)
    parts = zip(ops.split(x, groups, axis=axis), ops.split(kernel, groups, axis=-1), strict=True)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.concatenate([ops.conv(p, k, **settings) for p, k in parts], axis=axis)


def _is_unknown(x, axis):
    # TensorFlow and JAX trace a size as unknown; TensorFlow cuts a Python slice short without a
    # word, where `tf.slice` raises, and JAX does not know how long it is (TensorFlow 2.21).
    return x.shape[axis] is None or (_is_symbolic(x) and not isinstance(x.shape[axis], int))


def _is_symbolic(x):
    """Whether JAX traces `x` with sizes that it does not know, to export it."""
    return keras.backend.backend() == "jax" and not all(isinstance(n, int) for n in x.shape[1:])


def _slice(x, start, count, axis):
    if keras.backend.backend() == "jax":
        return ops.take(x, start + ops.arange(count), axis=axis)
    import tensorflow as tf

    begin = [0] * len(x.shape)
    size = [-1] * len(x.shape)
    begin[axis], size[axis] = start, count
    return tf.slice(x, begin, size)
