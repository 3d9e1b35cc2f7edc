"""Where the batch, height, width and channels of an image tensor lie.

The only file that knows axis numbers: everything else asks for an axis by name.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from keras import ops

from keras_cnnfix.typing import DataFormat, Ints, Pads, Shape, Sizes, Tensor


def spatial_axes(data_format: DataFormat) -> Ints:
    """The axes of height and width."""
    return (1, 2) if data_format == "channels_last" else (2, 3)


def channel_axis(data_format: DataFormat) -> int:
    """The axis of the channels."""
    return 3 if data_format == "channels_last" else 1


def spatial_size(shape: Shape, data_format: DataFormat) -> Sizes:
    """Height and width of a `shape`."""
    return tuple(shape[axis] for axis in spatial_axes(data_format))


def arrange(
    batch: Any, spatial: Iterable[Any], channels: Iterable[Any], data_format: DataFormat
) -> tuple[Any, ...]:
    """One tuple of what belongs to the batch, to the `spatial` axes and to the `channels`."""
    if data_format == "channels_last":
        return (batch, *spatial, *channels)
    return (batch, *channels, *spatial)


def image_shape(batch: Any, size: Iterable[Any], channels: Any, data_format: DataFormat) -> Shape:
    """The shape of `batch` images of `size` (height, width)."""
    return arrange(batch, size, (channels,), data_format)


def kept(size: Sizes, strides: Ints) -> Sizes:
    """How many positions of `size` (height, width) a step of `strides` keeps: the ceiling.

    Written so that exporters which truncate a negative division get it right too.
    """
    return tuple(
        None if n is None else (n + stride - 1) // stride
        for n, stride in zip(size, strides, strict=True)
    )


def pads_per_axis(pads: Pads, data_format: DataFormat) -> tuple[tuple[int, int], ...]:
    """`pads` of height and width as one pair per axis, as `ops.pad` takes them."""
    return image_shape((0, 0), pads, (0, 0), data_format)


def interleave(phases: Sequence[Tensor], axis: int) -> Tensor:
    """Entry `len(phases) * i + r` along `axis` is entry `i` of `phases[r]`."""
    shape = list(ops.shape(phases[0]))
    shape[0] = -1
    shape[axis] = shape[axis] * len(phases)
    return ops.reshape(ops.stack(phases, axis=axis + 1), shape)


def along(vector: Tensor, axis: int) -> Tensor:
    """`vector` as a tensor of rank 4 that varies along `axis`."""
    return ops.reshape(vector, (1,) * axis + (-1,) + (1,) * (3 - axis))


def to_channels_last(x: Tensor) -> Tensor:
    """`channels_first` to `channels_last`."""
    return ops.transpose(x, (0, 2, 3, 1))


def to_channels_first(x: Tensor) -> Tensor:
    """`channels_last` to `channels_first`."""
    return ops.transpose(x, (0, 3, 1, 2))


def as_channels_last(x: Tensor, data_format: DataFormat) -> Tensor:
    """A tensor in `data_format` in `channels_last`."""
    return x if data_format == "channels_last" else to_channels_last(x)


def from_channels_last(x: Tensor, data_format: DataFormat) -> Tensor:
    """A `channels_last` tensor in `data_format`."""
    return x if data_format == "channels_last" else to_channels_first(x)
