"""Single layers, forward and gradient, each against the way it is done without them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.models import composite_kernel
from keras_cnnfix.ops import backend, blur, kernels, layout, resize_conv, shuffle
from keras_cnnfix.ops import padding as borders
from keras_cnnfix.ops.adaptive import adaptive_filter2d
from keras_cnnfix.typing import DataFormat

CHANNELS_LAST: DataFormat = "channels_last"
# These do something else: they have zeros as the border, or are only a part.
INCOMPARABLE = ("Conv2DTranspose", "its convolution", "Conv2D(")


def races():
    """Title -> (competitors, image shape, kernel shape).

    Competitors are functions of images and a kernel, ours first.
    """
    found: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {}
    for size, taps in ((2, 3), (2, 5), (4, 3)):
        for n, side, channels, filters in ((8, 32, 128, 64), (32, 8, 256, 128), (8, 64, 64, 32)):
            title = f"ResizeConv2D size={size} kernel_size={taps}, {side}x{side}x{channels}"
            found[title] = (
                {
                    "ours": resize_conv2d(size, taps),
                    "UpSampling2D + pad + Conv2D": plain(size, taps),
                    f"Conv2DTranspose({taps + size - 1}, {size})": composite(size, taps),
                },
                (n, side, side, channels),
                (taps, taps, channels, filters),
            )
    for taps in (3, 5):
        for side, channels in ((56, 64), (28, 128)):
            title = f"AdaptiveAntiAlias strides=2 kernel_size={taps}, {side}x{side}x{channels}"
            found[title] = (
                {
                    "ours": _adaptive(taps),
                    "direct form": _adaptive_direct(taps),
                    "its convolution alone": _adaptive_convolution(taps),
                    "Conv2D(3, strides=2)": _strided,
                },
                (8, side, side, channels),
                (taps, taps, channels, 8 * taps * taps),
            )
    for taps in (3, 4):
        competitors = {"ours": _blur(taps, "reflect"), "depthwise_conv": _depthwise(taps)}
        found[f"BlurPool2D kernel_size={taps}, 56x56x64"] = (competitors, (8, 56, 56, 64), (1,))
    if keras.backend.backend() == "torch":
        found["BlurPool2D kernel_size=3 padding=zeros, 56x56x64"] = (
            {"ours": _blur(3, "zeros"), "kornia": _kornia(3)},
            (8, 56, 56, 64),
            (1,),
        )
        found["SubPixelConv size=2 crd padding=zeros, 32x32x128"] = (
            {"ours": _subpixel, "Conv2d + PixelShuffle": _pixel_shuffle},
            (8, 32, 32, 128),
            (3, 3, 128, 4 * 64),
        )
    return found


def resize_conv2d(size, taps):
    settings: Any = ((size, size), None, "nearest", "reflect", 1, "auto", CHANNELS_LAST)
    return lambda x, w: resize_conv.resize_conv2d(x, w, None, *settings)


def plain(size, taps, padding="reflect", data_format=CHANNELS_LAST):
    """What is used today: `UpSampling2D`, a border, `Conv2D`."""
    axes = layout.spatial_axes(data_format)
    border = layout.pads_per_axis((kernels.sides(taps),) * 2, data_format)
    mode = {"zeros": "constant"}.get(padding, padding)

    def function(x, w):
        for axis in axes:
            x = ops.repeat(x, size, axis=axis)
        x = ops.pad(x, border, mode=mode)
        return ops.conv(x, w, padding="valid", data_format=data_format)

    return function


def composite(size, taps, data_format=CHANNELS_LAST):
    """`Conv2DTranspose` with the kernel that equals ours, with zeros as the border."""
    box = composite_kernel(np.eye(taps**2, dtype="float32").reshape(taps, taps, taps**2, 1), size)
    box = ops.convert_to_tensor(box[:, :, 0].reshape((taps + size - 1) ** 2, taps**2))

    def function(x, w):
        channels, filters = w.shape[2:]
        kernel = ops.matmul(box, ops.reshape(w, (taps**2, channels * filters)))
        kernel = ops.reshape(kernel, (taps + size - 1, taps + size - 1, channels, filters))
        kernel = ops.swapaxes(kernel, 2, 3)
        return ops.conv_transpose(x, kernel, size, "same", data_format=data_format)

    return function


def _adaptive(taps):
    def function(x, w):
        x = borders.pad2d(x, kernels.border_of((taps, taps)), "reflect", CHANNELS_LAST)
        logits = backend.conv2d(x, w, (2, 2), 1, CHANNELS_LAST)
        return adaptive_filter2d(x, logits, (taps, taps), (2, 2), 8, "group", CHANNELS_LAST)

    return function


def _adaptive_convolution(taps):
    """What predicts the filters: no form of the layer takes less."""

    def function(x, w):
        x = borders.pad2d(x, kernels.border_of((taps, taps)), "reflect", CHANNELS_LAST)
        return backend.conv2d(x, w, (2, 2), 1, CHANNELS_LAST)

    return function


def _strided(x, w):
    """What the layer stands in for: a convolution of the same width."""
    x = borders.pad2d(x, ((1, 1), (1, 1)), "zeros", CHANNELS_LAST)
    return backend.conv2d(x, w[:3, :3, :, : w.shape[2]], (2, 2), 1, CHANNELS_LAST)


def _adaptive_direct(taps):
    """A filter for every pixel, the image once for each tap, and then every second pixel."""
    sides = kernels.sides(taps)

    def function(x, w):
        n, height, width, channels = x.shape
        x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="reflect")
        filters = ops.conv(x, w, padding="valid", data_format=CHANNELS_LAST)
        filters = ops.softmax(ops.reshape(filters, (n, height, width, 8, taps**2)), axis=-1)
        copies = [x[:, u : u + height, v : v + width] for u in range(taps) for v in range(taps)]
        copies = ops.stack(copies, axis=-1)
        copies = ops.reshape(copies, (n, height, width, 8, channels // 8, taps**2))
        y = ops.reshape(
            ops.sum(copies * filters[:, :, :, :, None], axis=-1), (n, height, width, channels)
        )
        return y[:, ::2, ::2]

    return function


def _blur(taps, mode):
    return lambda x, w: blur.blur_pool2d(x, (taps, taps), (2, 2), mode, CHANNELS_LAST) + 0 * w


def _depthwise(taps):
    sides, weights = kernels.sides(taps), kernels.binomial(taps)

    def function(x, w):
        kernel = np.repeat(np.outer(weights, weights)[:, :, None, None], x.shape[3], axis=2)
        x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="reflect")
        kernel = ops.convert_to_tensor(kernel, dtype="float32")
        y = ops.depthwise_conv(x, kernel, 2, padding="valid", data_format=CHANNELS_LAST)
        return y + 0 * w

    return function


def _kornia(taps):
    import kornia

    pool = kornia.filters.BlurPool2D(taps, 2)
    return lambda x, w: pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + 0 * w


def _subpixel(x, w):
    x = borders.pad2d(x, ((1, 1), (1, 1)), "zeros", CHANNELS_LAST)
    y = backend.conv2d(x, w, (1, 1), 1, CHANNELS_LAST)
    return shuffle.depth_to_space(y, (2, 2), "crd", CHANNELS_LAST)


def _pixel_shuffle(x, w):
    import torch

    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), padding=1)
    return torch.nn.functional.pixel_shuffle(y, 2).permute(0, 2, 3, 1)
