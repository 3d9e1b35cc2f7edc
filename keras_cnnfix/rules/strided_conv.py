"""Convolutions with strides, which alias."""

import math

import keras

from keras_cnnfix.graph import Site
from keras_cnnfix.layers import AdaptiveAntiAlias, BlurPool2D
from keras_cnnfix.ops import layout
from keras_cnnfix.rules.low_pass import aliased, covers, low_pass
from keras_cnnfix.rules.rule import (
    Match,
    Measure,
    Refusal,
    Rewrite,
    Rule,
    Safety,
    altered_kernel,
    is_layer,
    other_arguments,
)
from keras_cnnfix.typing import Array

KINDS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
# What acts on each pixel alone, and belongs before the blur.
POINTWISE = ("BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU")


class StridedConv(Rule):
    """A convolution with strides: becomes the same at stride 1 and a `BlurPool2D` behind it.

    Of what the convolution finds at every pixel only every second is kept, without a low-pass:
    frequencies that the smaller map cannot hold come back as others, and a shift by one pixel
    changes the answer. The blur stands behind the normalization and the activation that follow
    the convolution. Before a 1x1 convolution stands the blur itself, where it costs least.

    Weights are taken over as they are; the name stays, the blur's is that and `_blur`. Sizes and
    positions stay for every image. It costs `s * s` times the convolution. The network needs to
    be trained further.

    Left alone: a subclass of these layers, a LoRA or quantized kernel, a kernel that covers the
    map.

    Source: Zhang, ICML 2019, https://arxiv.org/abs/1904.11486.
    """

    name = "strided_conv"
    safety = Safety.RETRAIN
    finds = "Conv2D, DepthwiseConv2D or SeparableConv2D with strides"
    becomes = "stride 1, activation, BlurPool2D"
    artifact = "aliasing"

    def match(self, site: Site) -> Match | Refusal | None:
        conv = site.operation
        if not is_layer(conv, *KINDS) or conv.strides == (1, 1):
            return None
        refused = altered_kernel(conv)
        if covers(conv.kernel_size, site.input.shape, conv.data_format):
            refused = "its kernel covers the map"
        if refused:
            return Refusal(refused)
        chain = [site]
        while (last := chain[-1].after) is not None and is_layer(last.operation, *POINTWISE):
            if is_layer(last.operation, "PReLU"):
                shared = set(last.operation.shared_axes or ())
                if not shared >= set(layout.spatial_axes(conv.data_format)):
                    break  # It has a weight for each pixel.
            chain.append(last)
        return Match(tuple(chain))

    def measure(self, match: Match) -> Measure | None:
        conv = match.sites[0].operation
        kernel = conv.depthwise_kernel if is_layer(conv, "SeparableConv2D") else conv.kernel
        taps = keras.ops.convert_to_numpy(kernel).astype("float64")
        return aliased(taps.reshape(*taps.shape[:2], -1), conv.strides)

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        first, *others = match.sites
        conv, shape = first.operation, first.input.shape
        same = other_arguments(conv, strides=(1, 1))
        behind = low_pass(conv, shape, conv.kernel_size)
        if conv.kernel_size == (1, 1):
            return [((first,), [*behind, same])]
        if not others:
            return [((first,), [same, *behind])]
        return [((first,), [same]), ((others[-1],), [others[-1], *behind])]


class AdaptiveStridedConv(StridedConv):
    """A convolution with strides: on request the same at stride 1, and an `AdaptiveAntiAlias`.

    As `strided_conv`, with a filter that is predicted for each position and group of channels (8
    groups, or as many as divide the channels): less blur at edges, for a convolution more. It
    starts as the blur, and learns to differ in the training that the network needs anyhow.

    Weights are taken over as they are; the filter's are new.

    Left alone: as `strided_conv`.

    Source: Zou, Xiao, Yu, Lee, BMVC 2020, https://arxiv.org/abs/2008.09604.
    """

    name = "adaptive"
    becomes = "stride 1, activation, AdaptiveAntiAlias"

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        conv = match.sites[0].operation
        tensor = match.sites[0].input if conv.kernel_size == (1, 1) else match.sites[0].output
        channels = tensor.shape[layout.channel_axis(conv.data_format)]
        return [
            (sites, [_adaptive(layer, channels) for layer in layers])
            for sites, layers in super().rewrite(match)
        ]


def _adaptive(layer: keras.Layer, channels: int) -> keras.Layer:
    if type(layer) is not BlurPool2D:
        return layer
    return AdaptiveAntiAlias(
        layer.kernel_size,
        layer.strides,
        math.gcd(8, channels),
        padding=layer.padding,
        data_format=layer.data_format,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
