"""Resize, then convolve."""

from keras_cnnfix.ops import backend, kernels
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.ops.resize import resize2d


def resize_conv2d(x, kernel, size, output_size, interpolation, padding, groups, data_format):
    """`conv(pad(resize(x)), kernel)` at stride 1, of the size of the resized image.

    Args:
        x: Images of shape (N, H, W, C), or (N, C, H, W) in `"channels_first"`.
        kernel: Taps of shape (kh, kw, C // groups, filters), in the dtype of `x`.
        size, output_size, interpolation: As `resize2d` takes them.
        padding: A mode of `pad2d`.
        groups: Number of groups that the channels are split into. Divides C and filters.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, out height, out width, filters), in the dtype of `x`.
    """
    x = resize2d(x, size, output_size, interpolation, data_format)
    x = pad2d(x, kernels.border_of(kernel.shape[:2]), padding, data_format)
    return backend.conv2d(x, kernel, (1, 1), groups, data_format)
