"""Noise maps, and how they meet an image."""

from typing import Any, get_args

import keras
import numpy as np
from keras import ops, random

from keras_cnnfix.ops import backend, layout
from keras_cnnfix.typing import (
    Array,
    DataFormat,
    Distribution,
    DType,
    NoiseMode,
    Shape,
    Sizes,
    Tensor,
)

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
NOISE_MODES: tuple[NoiseMode, ...] = get_args(NoiseMode)


class NoiseSeed(keras.random.SeedGenerator):
    """A seed generator that gives every device noise of its own in data-parallel training.

    The devices' generators have the same state, so without it each part of a batch would get the
    same noise on TensorFlow and PyTorch. On JAX one draw is split among the devices.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        # PyTorch keeps it in 31 bits and a sign (Keras 3.15).
        super().__init__(seed if seed is None else seed % 2**31, **kwargs)

    def next(self, ordered: bool = True) -> Tensor:
        seed = super().next(ordered)
        replica = backend.replica()
        if isinstance(replica, int) and replica == 0:
            return seed
        # PyTorch adds the two numbers of a seed, of which one counts the calls: a step between
        # devices that is longer than a training keeps them apart.
        return seed + ops.cast(ops.stack([replica * 1_000_003, 0]), seed.dtype)


def draw_noise(
    shape: Shape,
    distribution: Distribution,
    stddev: float,
    dtype: DType,
    seed: keras.random.SeedGenerator,
) -> Tensor:
    """Independent noise with mean 0.

    Args:
        shape: Shape of the result; may hold scalar tensors.
        distribution: `"normal"`, or `"uniform"` on +-sqrt(3) * stddev.
        stddev: Standard deviation, in the unit of the image.
        dtype: Dtype of the result.
        seed: A `keras.random.SeedGenerator`.
    """
    if distribution == "normal":
        return random.normal(shape, mean=0.0, stddev=stddev, dtype=dtype, seed=seed)
    reach = 3**0.5 * stddev
    return random.uniform(shape, minval=-reach, maxval=reach, dtype=dtype, seed=seed)


def noise_tile(
    size: int, channels: int, distribution: Distribution, stddev: float, seed: int | None
) -> Array:
    """One tile of noise, as a NumPy array of shape (1, size, size, channels) in float64.

    The numbers come from `np.random.RandomState(seed)`, whose stream NumPy keeps frozen.
    `"blue"` is white noise whose power is made to rise with the square of the frequency: it has
    no coarse structure, tiles without a seam, and its standard deviation is exactly `stddev`.

    Args:
        size: Side of the tile, in pixels.
        channels: Number of independent channels.
        distribution: `"normal"`, `"uniform"` or `"blue"`.
        stddev: Standard deviation, in the unit of the image.
        seed: Integer from 0 to 2**32 - 1.
    """
    draw = np.random.RandomState(seed)
    shape = (1, size, size, channels)
    if distribution == "uniform":
        return draw.uniform(-1.0, 1.0, shape) * (3**0.5 * stddev)
    noise = draw.normal(0.0, 1.0, shape)
    if distribution == "normal":
        return noise * stddev
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    spectrum = np.fft.fft2(noise, axes=(1, 2)) * frequency[:, :, None]
    blue = np.fft.ifft2(spectrum, axes=(1, 2)).real
    return blue * (stddev / blue.std())


def repeat_tile(tile: Tensor, size: Sizes, data_format: DataFormat) -> Tensor:
    """Covers `size` (height, width) with copies of `tile`, from pixel (0, 0) on.

    Args:
        tile: Shape (1, T, T, C), channels last in either data format, as a kernel is.
        size: Pair of ints or scalar tensors.
        data_format: Of the result.

    Returns:
        A tensor of shape (1, height, width, C), or (1, C, height, width).
    """
    side = tile.shape[1]
    copies = [(n + side - 1) // side for n in size]
    cover = ops.tile(tile, (1, *copies, 1))
    return layout.from_channels_last(cover[:, : size[0], : size[1], :], data_format)


def add_noise(x: Tensor, noise: Tensor, mode: NoiseMode, data_format: DataFormat) -> Tensor:
    """`concat(x + noise, x - noise)` or `concat(x, noise)` along the channels.

    Args:
        x: Images of shape (N, H, W, C), or channels first.
        noise: Shape (N or 1, H, W, channels), or channels first; in `"symmetric"` of 1 or C
            channels.
        mode: `"symmetric"` or `"concat"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A tensor of 2 * C, or C + noise channels.

    Source:
        Xia et al. 2020, https://arxiv.org/abs/2012.12109; Xia et al., Deep Halftoning with
        Reversible Binary Pattern, ICCV 2021.
    """
    axis = layout.channel_axis(data_format)
    if mode == "symmetric":
        return ops.concatenate([x + noise, x - noise], axis=axis)
    # One noise map may serve the whole batch.
    noise = noise + ops.zeros_like(backend.first(x, 1, axis))
    return ops.concatenate([x, noise], axis=axis)
