"""Every place where the backends must be told apart, each with its reason and version.

The only file that imports TensorFlow, JAX or PyTorch. Each branch has a test in
`tests/ops/test_backend.py` that fails without it.
"""

import keras
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
    # TensorFlow's own CPU kernels convolve in channels_last alone: channels_first works only while
    # oneDNN is on, which it is not on every machine (TensorFlow 2.21).
    transposed = data_format == "channels_first" and _on_tensorflow_cpu()
    if transposed:
        x, data_format = layout.to_channels_last(x), "channels_last"
    # Keras sends a grouped convolution on TensorFlow through a new XLA function a call, which is
    # compiled again for each size; the split is exact and several times faster (Keras 3.15).
    if groups > 1 and _on_tensorflow_cpu():
        y = _split_conv2d(x, kernel, strides, groups, data_format)
    else:
        y = ops.conv(x, kernel, strides=strides, padding="valid", data_format=data_format)
    return layout.to_channels_first(y) if transposed else y


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


def _on_tensorflow_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


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
