"""Every place where the backends must be told apart, each with its reason and version.

The only file that imports TensorFlow, JAX or PyTorch. Each branch has a test in
`tests/ops/test_backend.py` that fails without it.
"""

import functools

import keras
import numpy as np
from keras import ops

from keras_cnnfix.ops import kernels, layout


def conv2d(x, kernel, strides, groups, data_format):
    """Convolution (cross-correlation) of `x` with `kernel`, without padding.

    Args:
        x: Images in `data_format`, shape (N, H, W, C) or (N, C, H, W).
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
        strides: Pair (height, width).
        groups: Number of groups that the input and the output channels are split into.
    """
    if keras.backend.backend() == "torch" and data_format == "channels_last":
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
    if keras.backend.backend() == "jax":
        # XLA convolves each channel on its own slowly on a CPU, its gradient above all: sums of
        # shifted images take a tenth of the time (JAX 0.10).
        for weights, stride, axis in zip(
            taps, strides, layout.spatial_axes(data_format), strict=True
        ):
            count = (ops.shape(x)[axis] - len(weights)) // stride + 1
            x = sum(
                layout.every(x, t, count, stride, axis) * float(weight)
                for t, weight in enumerate(weights)
            )
        return x
    channels = x.shape[layout.channel_axis(data_format)]
    kernel = np.repeat(np.outer(*taps)[:, :, None], channels, axis=2)[..., None]
    kernel = ops.convert_to_tensor(kernel, dtype=x.dtype)
    if keras.backend.backend() == "torch" and data_format == "channels_last":
        # As in `conv2d`.
        return _torch_conv2d(x, ops.transpose(kernel, (0, 1, 3, 2)), strides, channels)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.depthwise_conv(x, kernel, **settings)


def conv_transpose2d(x, kernel, strides, crops, data_format):
    """Transposed convolution of `x` with `kernel`: pixel `m` adds tap `a` to pixel `s * m + a`.

    Args:
        x: Images in `data_format`.
        kernel: Taps of shape (kh, kw, C, filters), in the dtype of `x`.
        strides: Pair (height, width).
        crops: ((top, bottom), (left, right)), how many pixels to cut off the result. At least
            the two halves of `kernel_size - strides`, which is what Keras calls "same".
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if keras.backend.backend() == "torch":
        # PyTorch leaves out what is cut off, where Keras computes it; and Keras copies the image
        # into another memory format (Keras 3.15).
        return _torch_conv_transpose2d(x, kernel, strides, crops, data_format)
    transposed = data_format == "channels_first" and _on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    y = ops.conv_transpose(
        x,
        ops.swapaxes(kernel, 2, 3),
        strides=strides,
        padding="same",
        data_format=data_format,
    )
    already = [kernels.sides(k - s + 1) for k, s in zip(kernel.shape[:2], strides, strict=True)]
    crops = tuple(map(tuple, np.subtract(crops, already).tolist()))
    y = fused(_crop2d, y, linear=True, crops=crops, data_format=data_format)
    return layout.to_channels_first(y) if transposed else y


def fused(function, *tensors, linear=False, **settings):
    """`function(*tensors, **settings)` in one pass over memory, and its gradient in another.

    Args:
        function: Defined in a module. Returns a tensor or a list of tensors.
        *tensors: Its arguments.
        linear: Whether it is linear in the tensors. If not, they are kept for its gradient, which
            computes the function again.
        **settings: Its other arguments, which can be hashed.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*tensors, **settings)
    import tensorflow as tf

    if tf.executing_eagerly():
        if sum(tensor.shape.num_elements() for tensor in tensors) < _WORTH_COMPILING:
            return function(*tensors, **settings)
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        return _tensorflow_graph(function, shapes, linear, tuple(settings.items()))(*tensors)

    # TensorFlow makes a pass for each slice, sum and concatenation, and several for the gradient
    # of each slice (TensorFlow 2.21). The scope asks XLA for one pass, and leaves ordinary
    # operations in the graph: one that is exported, or that runs where there is no XLA.
    def scope():
        return tf.xla.experimental.jit_scope(compile_ops=True)

    @tf.custom_gradient
    def compiled(*tensors):
        with scope():
            outputs = function(*tensors, **settings)
        kept = [(t.shape, tf.shape(t), t.dtype) for t in tensors] if linear else tensors

        def gradient(*upstream):
            with scope(), tf.GradientTape() as tape:
                # The gradient of a linear function is the same everywhere, also at zero.
                inputs = kept
                if linear:
                    inputs = [
                        tf.ensure_shape(tf.zeros(n, dtype), shape) for shape, n, dtype in kept
                    ]
                tape.watch(inputs)
                y = function(*inputs, **settings)
                return tape.gradient(y, inputs, upstream if isinstance(y, list) else upstream[0])

        return outputs, gradient

    return compiled(*tensors)


# Numbers that an eager operation must work on before a compiled one is worth its tenth of a second.
_WORTH_COMPILING = 2**16


@functools.lru_cache(maxsize=1024)
def _tensorflow_graph(function, shapes, linear, settings):
    """`fused` as a graph of its own, for tensors of these `shapes`."""
    import tensorflow as tf

    return tf.function(
        lambda *tensors: fused(function, *tensors, linear=linear, **dict(settings)),
        autograph=False,
    )


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
        return 0 if jax.default_backend() == "cpu" else 100
    # PyTorch makes a pass for each sum, as TensorFlow does without a graph (`fused`).
    return 40 if name == "tensorflow" else 100


def reflect2d(x, pads, data_format):
    """`ops.pad` in the mode reflect, by `pads` ((top, bottom), (left, right)), not all 0."""
    only_width = data_format == "channels_first" and not any(pads[0])
    if only_width and keras.backend.backend() == "torch":
        # Keras passes the last axis alone then, which PyTorch refuses for 4 axes (Keras 3.15).
        padded = reflect2d(layout.to_channels_last(x), pads, "channels_last")
        return layout.to_channels_first(padded)
    return ops.pad(x, layout.pads_per_axis(pads, data_format), mode="reflect")


def resize2d(x, size, interpolation, antialias, data_format):
    """`ops.image.resize` to `size` (height, width), which may hold scalar tensors."""
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


def _crop2d(x, crops, data_format):
    for (before, after), axis in zip(crops, layout.spatial_axes(data_format), strict=True):
        if before or after:
            x = layout.every(x, before, ops.shape(x)[axis] - before - after, 1, axis)
    return x


def _torch_conv2d(x, kernel, strides, groups):
    import torch

    kernel = kernel.permute(3, 2, 0, 1)
    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel, stride=strides, groups=groups)
    return y.permute(0, 2, 3, 1)


def _torch_conv_transpose2d(x, kernel, strides, crops, data_format):
    import torch

    if data_format == "channels_last":
        x = x.permute(0, 3, 1, 2)
    kernel = kernel.permute(2, 3, 0, 1)
    y = torch.nn.functional.conv_transpose2d(
        x,
        kernel,
        stride=strides,
        # PyTorch cuts as much off the end as off the start, less `output_padding`.
        padding=[before for before, _ in crops],
        output_padding=[max(0, before - after) for before, after in crops],
    )
    y = _crop2d(y, [(0, max(0, after - before)) for before, after in crops], "channels_first")
    return y.permute(0, 2, 3, 1) if data_format == "channels_last" else y


def _split_conv2d(x, kernel, strides, groups, data_format):
    axis = layout.channel_axis(data_format)
    parts = zip(ops.split(x, groups, axis=axis), ops.split(kernel, groups, axis=-1), strict=True)
    settings = {"strides": strides, "padding": "valid", "data_format": data_format}
    return ops.concatenate([ops.conv(p, k, **settings) for p, k in parts], axis=axis)


def _is_unknown(x, axis):
    # Only TensorFlow traces a size as unknown; there a Python slice is cut short without a word,
    # where `tf.slice` raises (TensorFlow 2.21).
    return keras.backend.backend() == "tensorflow" and x.shape[axis] is None


def _slice(x, start, count, axis):
    import tensorflow as tf

    begin = [0] * len(x.shape)
    size = [-1] * len(x.shape)
    begin[axis], size[axis] = start, count
    return tf.slice(x, begin, size)
