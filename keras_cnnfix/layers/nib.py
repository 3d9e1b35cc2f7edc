"""Noise for flat inputs."""

import random
from functools import partial
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.layers.conv_settings import ConvLayer
from keras_cnnfix.layers.image_layer import NO_BORDER
from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.noise import (
    DISTRIBUTIONS,
    NOISE_MODES,
    NoiseSeed,
    add_noise,
    draw_noise,
    noise_tile,
    repeat_tile,
)
from keras_cnnfix.ops.padding import pad2d
from keras_cnnfix.typing import (
    Activation,
    Config,
    Constraint,
    DataFormat,
    Distribution,
    DType,
    Initializer,
    IntOrPair,
    LayerSettings,
    NoiseMode,
    Padding,
    Regularizer,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("keras_cnnfix")
class NIB(ConvLayer):
    """Noise incentive block: lets a network answer a flat input with something that is not flat.

    With noise `n` drawn on every call, in training and inference alike,

        z = concat(x + n, x - n)            mode="symmetric"
        z = concat(x, n)                    mode="concat"
        y = activation(conv(pad(z)) + bias)     with `filters`; otherwise y = z

    `x` is half the sum of the two parts: the noise hides nothing. Without `filters` the block goes
    in front of the first convolution of any model.

    Shapes (`"channels_last"`; `"channels_first"` moves the channels next to `N`):
        input:  (N, H, W, C)
        output: (N, H, W, filters); without `filters` (N, H, W, 2 * C) in `"symmetric"`,
            (N, H, W, C + noise channels) in `"concat"`

    Args:
        filters: Number of output channels, at least 1; None returns `z` itself.
        kernel_size: Taps (height, width), an int or a pair. At least 1.
        mode: `"symmetric"`, as in the paper, or `"concat"`, as in the authors' later code.
        stddev: Standard deviation of the noise, in the unit of the image. At least 0.
        noise_channels: Channels of the noise; None draws one for each input channel. In
            `"symmetric"` 1, C or None.
        distribution: `"normal"`; `"uniform"`, of the same standard deviation; or `"blue"`, without
            coarse structure (with `fixed=True` only).
        fixed: Keeps one tile of noise as a non-trainable weight and repeats it from pixel (0, 0)
            on, the same for all images: the same numbers on every backend, in an exported model,
            and after a reload.
        tile_size: Side of that tile, in pixels. At least 1, for `"blue"` at least 2.
        seed: Integer from 0 to 2**32 - 1, or None for a random one. The same seed draws the same
            noise, run after run, on one backend; each backend draws its own, and on TensorFlow
            XLA another than without. The state of a fresh draw is not saved with a model: after a
            reload the noise starts anew. Within `keras.remat` the gradient is that of another
            draw on TensorFlow and PyTorch, as for `keras.layers.GaussianNoise` (Keras 3.15).
        preserve_input: Starts with the first `min(C, filters - 1)` output channels equal to the
            input (before bias and activation), and the others from `kernel_initializer`, so that
            at least one channel sees the noise. With `filters=1` it has no effect.
        padding: How the image is continued: `"reflect"`, `"symmetric"`, `"edge"`, `"wrap"` or
            `"zeros"`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's configured one.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: As in
            `keras.layers.Conv2D`. Without `filters` there is no kernel and they have no effect,
            `activity_regularizer` apart.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        inputs: The images.
        noise: Used in place of the draw: shape (N or 1, H, W, channels), or channels first.

    Raises:
        ValueError: An argument is out of its range, or (when called) the border is deeper than the
            image, the channels of the noise do not fit those of the image, or the input is not a
            batch of floating-point images.

    Source:
        Xia et al. 2020, https://arxiv.org/abs/2012.12109; Xia et al., Deep Halftoning with
        Reversible Binary Pattern, ICCV 2021. Written from the papers.

    Example:
        >>> y = NIB()(keras.ops.ones((1, 8, 8, 3)))
        >>> tuple(y.shape), float(keras.ops.std(y)) > 0
        ((1, 8, 8, 6), True)
    """

    def __init__(
        self,
        filters: int | None = None,
        kernel_size: IntOrPair = 3,
        mode: NoiseMode = "symmetric",
        stddev: float = 0.3,
        noise_channels: int | None = 1,
        distribution: Distribution = "normal",
        fixed: bool = False,
        tile_size: int = 128,
        seed: int | None = None,
        preserve_input: bool = True,
        padding: Padding = "reflect",
        data_format: DataFormat | None = None,
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs: Unpack[LayerSettings],
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        owner = self.owner
        self.filters = None if filters is None else checks.positive_int(owner, "filters", filters)
        self.mode = checks.one_of(owner, "mode", mode, NOISE_MODES)
        self.stddev = checks.number(owner, "stddev", stddev, minimum=0)
        if noise_channels is not None:
            noise_channels = checks.positive_int(owner, "noise_channels", noise_channels)
        self.noise_channels = noise_channels
        self.distribution = checks.one_of(owner, "distribution", distribution, DISTRIBUTIONS)
        self.fixed = checks.boolean(owner, "fixed", fixed)
        self.preserve_input = checks.boolean(owner, "preserve_input", preserve_input)
        smallest_tile = 2 if distribution == "blue" else 1
        self.tile_size = checks.positive_int(owner, "tile_size", tile_size, smallest_tile)
        if seed is not None:
            seed = checks.positive_int(owner, "seed", seed, minimum=0, maximum=2**32 - 1)
        if distribution == "blue" and not fixed:
            raise ValueError(
                f"{owner}: `distribution` must be 'normal' or 'uniform' for noise that is drawn on "
                f"every call. Received: distribution='blue', fixed=False. Use fixed=True."
            )
        if self.fixed and seed is None:
            # Kept in the config: a layer that is rebuilt from it has the same tile. Python's
            # generator is one of those that `keras.utils.set_random_seed` seeds.
            seed = random.randrange(2**31)
        self.seed = seed
        self.seed_generator = None if self.fixed else NoiseSeed(seed)
        self.tile: Any = None

    @property
    def needed_border(self) -> tuple[Any, ...]:
        return NO_BORDER if self.filters is None else super().needed_border

    def __call__(self, inputs: Tensor, noise: Tensor | None = None, **kwargs: Any) -> Any:
        if noise is not None:
            self.check_images(noise, "noise")
            kwargs["noise"] = noise
        return super().__call__(inputs, **kwargs)

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)
        self.input_channels = channels
        if self.fixed:
            self.tile = self.add_weight(
                name="tile",
                shape=(1, self.tile_size, self.tile_size, self._channels_of_noise(channels)),
                initializer=self._draw_tile,
                trainable=False,
            )
        if self.filters is not None:
            self.add_kernel_and_bias(
                self._noisy_channels(channels),
                self.filters,
                partial(self._draw_kernel, channels) if self.preserve_input else None,
            )

    def _draw_tile(self, shape: Shape, dtype: DType = None) -> Tensor:
        tile = noise_tile(self.tile_size, shape[-1], self.distribution, self.stddev, self.seed)
        return ops.convert_to_tensor(tile, dtype=dtype)

    def _draw_kernel(self, channels: int, shape: Shape, dtype: DType = None) -> Tensor:
        """A kernel whose first output channels are the input's `channels`."""
        kernel = self.kernel_initializer(shape, dtype=dtype)
        preserved = min(channels, shape[-1] - 1)
        if not preserved:
            return kernel
        identity = np.zeros((*shape[:3], preserved))
        centre = tuple(kernels.sides(k)[0] for k in self.kernel_size)
        for c in range(preserved):
            if self.mode == "symmetric":
                identity[(*centre, c, c)] = identity[(*centre, channels + c, c)] = 0.5
            else:
                identity[(*centre, c, c)] = 1.0
        identity = ops.convert_to_tensor(identity, dtype=dtype)
        return ops.concatenate([identity, kernel[..., preserved:]], axis=-1)

    def call(self, inputs: Tensor, noise: Tensor | None = None) -> Tensor:
        inputs = self.check_inputs(inputs)
        if noise is None:
            noise = self._draw(inputs)
        else:
            self._check_noise(inputs, noise)
        z = add_noise(inputs, noise, self.mode, self.data_format)
        if self.kernel is None:
            return z
        z = pad2d(z, kernels.border_of(self.kernel_size), self.padding, self.data_format)
        y = backend.conv2d(z, ops.convert_to_tensor(self.kernel), (1, 1), 1, self.data_format)
        return self.activation(self.add_bias(y))

    def _draw(self, inputs: Tensor) -> Tensor:
        shape = ops.shape(inputs)
        size = layout.spatial_size(shape, self.data_format)
        if self.fixed:
            tile = ops.cast(self.tile, inputs.dtype)
            return repeat_tile(tile, size, self.data_format)
        channels = self._channels_of_noise(self.known_channels(inputs.shape))
        shape = layout.image_shape(shape[0], size, channels, self.data_format)
        return draw_noise(shape, self.distribution, self.stddev, inputs.dtype, self.seed_generator)

    def _channels_of_noise(self, channels: int) -> int:
        return channels if self.noise_channels is None else self.noise_channels

    def _noisy_channels(self, channels: int) -> int:
        extra = channels if self.mode == "symmetric" else self._channels_of_noise(channels)
        return channels + extra

    def _check_noise(self, inputs: Tensor, noise: Tensor) -> None:
        """Raises unless `noise` fits `inputs` (tensors or symbolic tensors of either)."""
        batch, size, channels = self.split_shape(inputs.shape)
        allowed = {self._channels_of_noise(channels)}
        if self.mode == "symmetric":
            allowed |= {1, channels}
        shape = tuple(noise.shape)
        noise_size = layout.spatial_size(shape, self.data_format)
        unlike = any(None not in (n, m) and n != m for n, m in zip(size, noise_size, strict=True))
        if (
            unlike
            or (None not in (batch, shape[0]) and shape[0] not in (1, batch))
            or shape[layout.channel_axis(self.data_format)] not in allowed
        ):
            wanted = " or ".join(str(n) for n in sorted(allowed))
            raise ValueError(
                f"{self.owner}: `noise` must have the height and width of the images, their batch "
                f"size or 1, and {wanted} channels. Received: noise of shape {shape} for inputs of "
                f"shape {tuple(inputs.shape)}, data_format={self.data_format!r}. Leave `noise` out "
                f"to have it drawn."
            )

    def compute_output_spec(self, inputs: Tensor, noise: Tensor | None = None) -> Any:
        if noise is not None:
            self._check_noise(inputs, noise)
        return super().compute_output_spec(inputs, noise=noise)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = self.known_channels(input_shape)
        if self.mode == "symmetric" and self.noise_channels not in (None, 1, channels):
            raise ValueError(
                f"{self.owner}: `noise_channels` must be 1, the number of input channels, or None "
                f"in mode='symmetric'. Received: noise_channels={self.noise_channels}, {channels} "
                f"input channels. Use noise_channels=None."
            )
        batch, size, _ = self.split_shape(input_shape)
        self.check_size(size)
        filters = self._noisy_channels(channels) if self.filters is None else self.filters
        return layout.image_shape(batch, size, filters, self.data_format)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "filters": self.filters,
            "mode": self.mode,
            "stddev": self.stddev,
            "noise_channels": self.noise_channels,
            "distribution": self.distribution,
            "fixed": self.fixed,
            "tile_size": self.tile_size,
            "seed": self.seed,
            "preserve_input": self.preserve_input,
        }
