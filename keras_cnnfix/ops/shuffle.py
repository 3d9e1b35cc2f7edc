"""Channels to pixels, and back."""

from typing import get_args

from keras import ops

from keras_cnnfix.ops import layout
from keras_cnnfix.typing import ChannelOrder, DataFormat, Ints, Tensor

CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)


def depth_to_space(
    x: Tensor, size: Ints, channel_order: ChannelOrder, data_format: DataFormat
) -> Tensor:
    """Spreads groups of `sy * sx` channels over blocks of `sy x sx` pixels.

    Output pixel (sy*i + dy, sx*j + dx) of channel f is input pixel (i, j) of channel
    `(dy*sx + dx)*F + f` in the order `"dcr"` (`tf.nn.depth_to_space`), `f*sy*sx + dy*sx + dx` in
    the order `"crd"` (`torch.nn.PixelShuffle`), in both data formats on every backend.

    Args:
        x: Images of shape (N, H, W, F * sy * sx), or channels first.
        size: Pair (sy, sx).
        channel_order: `"dcr"` or `"crd"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of shape (N, H * sy, W * sx, F), or channels first.

    Source:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016. https://arxiv.org/abs/1609.05158.
    """
    # Not `ops.depth_to_space`: in channels_first its channel order depends on the backend (Keras
    # 3.14 and 3.15).
    height, width = layout.spatial_size(ops.shape(x), data_format)
    channels = x.shape[layout.channel_axis(data_format)] // (size[0] * size[1])
    axes = {"n": -1, "h": height, "y": size[0], "w": width, "x": size[1], "c": channels}
    split, merged = _axis_names(channel_order, data_format)
    x = ops.reshape(x, [axes[name] for name in split])
    x = ops.transpose(x, [split.index(name) for name in merged])
    return ops.reshape(
        x, layout.image_shape(-1, (height * size[0], width * size[1]), channels, data_format)
    )


def space_to_depth(
    x: Tensor, size: Ints, channel_order: ChannelOrder, data_format: DataFormat
) -> Tensor:
    """Gathers blocks of `sy x sx` pixels into channels: the inverse of `depth_to_space`.

    Args:
        x: Images of shape (N, H, W, C), H divisible by sy and W by sx, or channels first.
        size, channel_order, data_format: As `depth_to_space` takes them.

    Returns:
        A tensor of shape (N, H / sy, W / sx, C * sy * sx), or channels first.
    """
    height, width = layout.spatial_size(ops.shape(x), data_format)
    height, width = height // size[0], width // size[1]
    channels = x.shape[layout.channel_axis(data_format)]
    axes = {"n": -1, "h": height, "y": size[0], "w": width, "x": size[1], "c": channels}
    split, merged = _axis_names(channel_order, data_format)
    x = ops.reshape(x, [axes[name] for name in merged])
    x = ops.transpose(x, [merged.index(name) for name in split])
    channels *= size[0] * size[1]
    return ops.reshape(x, layout.image_shape(-1, (height, width), channels, data_format))


def _axis_names(
    channel_order: ChannelOrder, data_format: DataFormat
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The axes with a block's pixels (y, x) split off the channels, and merged into h and w."""
    block = ("y", "x", "c") if channel_order == "dcr" else ("c", "y", "x")
    split = layout.arrange("n", ("h", "w"), block, data_format)
    merged = layout.arrange("n", ("h", "y", "w", "x"), ("c",), data_format)
    return split, merged
