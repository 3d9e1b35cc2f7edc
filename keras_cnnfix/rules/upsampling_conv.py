"""Resize-convolutions that are written as several layers."""

import keras
from keras import ops

from keras_cnnfix.layers import ResizeConv2D
from keras_cnnfix.ops import kernels
from keras_cnnfix.rules.recognition import border_of
from keras_cnnfix.rules.rule import (
    Match,
    Refusal,
    Rule,
    Safety,
    altered_kernel,
    is_layer,
    kind,
    shared_settings,
    what_follows,
    with_weights,
)


class UpsamplingConv(Rule):
    """`UpSampling2D`, then a convolution at stride 1: becomes `ResizeConv2D`, which is faster.

    Found are `UpSampling2D` (nearest or bilinear) and behind it `Conv2D`, with `"same"`, `"valid"`
    or a border that a layer or an operation between them makes (`ZeroPadding2D`, `ops.pad`, a
    `Lambda` that mirrors: told by running it); or `Conv2DTranspose` at stride 1 with `"same"`, of
    which the kernel is turned round. Nothing is wrong with these: the enlarged image is convolved
    though each of its blocks holds one number. `ResizeConv2D` gives the same without making it.

    Weights: kernel and bias are taken over as they are. The name is that of the convolution.

    Left alone: bicubic; a layer between the two that is no border (an activation: move it before
    the up-sampling, which changes nothing for nearest); a map that other layers read, too.

    Source: `docs/performance.md`.
    """

    name = "resize_conv"
    safety = Safety.EXACT
    finds = "UpSampling2D, then a convolution at stride 1"
    becomes = "ResizeConv2D"

    def match(self, site):
        up = site.operation
        if not is_layer(up, "UpSampling2D") or up.size == (1, 1):
            return None
        if up.interpolation not in ("nearest", "bilinear"):
            return Refusal(f"{up.interpolation!r} has no form that does without the large image")
        border, last = None, site.after
        if last is not None and not _is_conv(last.operation) and last.after is not None:
            border, last = last, last.after
        if last is None:
            return Refusal(what_follows(site))
        conv = last.operation
        between = "" if border is None else f"{kind(border.operation)} is between it and "
        if not _is_conv(conv):
            first = border or last
            return Refusal(f"{kind(first.operation)} follows, and not a convolution")
        refused = _unfit(conv, up) or altered_kernel(conv)
        if refused:
            return Refusal(refused)
        sides = kernels.border_of(conv.kernel_size)
        padding = "zeros"
        if border is not None:
            if conv.padding != "valid":
                return Refusal(f"{between}a convolution with a border of its own")
            padding = border_of(border, sides, up.data_format)
            if padding is None:
                return Refusal(f"{between}the convolution, and is no border of {sides} pixels")
        return Match(
            tuple(step for step in (site, border, last) if step is not None),
            {
                "padding": padding,
                "crop": border is None and conv.padding == "valid" and max(conv.kernel_size) > 1,
            },
        )

    def rewrite(self, match, inputs=None):
        up, conv = match.sites[0].operation, match.sites[-1].operation
        kernel = ops.convert_to_tensor(conv.kernel)
        groups = getattr(conv, "groups", 1)
        if is_layer(conv, "Conv2DTranspose"):
            kernel, groups = ops.swapaxes(ops.flip(kernel, axis=(0, 1)), 2, 3), 1
        layer = ResizeConv2D(
            conv.filters,
            conv.kernel_size,
            up.size,
            interpolation=up.interpolation,
            padding=match.found["padding"],
            groups=groups,
            **shared_settings(conv),
        )
        layers = [with_weights(layer, match.sites[0].input.shape, kernel, conv.bias)]
        if match.found["crop"]:
            sides = kernels.border_of(conv.kernel_size)
            name, settings = f"{conv.name}_crop", {"data_format": conv.data_format}
            layers.append(keras.layers.Cropping2D(sides, name=name, **settings))
        return [(match.sites, layers)]


def _is_conv(operation):
    return is_layer(operation, "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D")


def _unfit(conv, up):
    """Why a convolution is none that `ResizeConv2D` makes, or None."""
    if not is_layer(conv, "Conv2D", "Conv2DTranspose"):
        return f"ResizeConv2D is no {kind(conv)}"
    if conv.data_format != up.data_format:
        return f"{conv.name!r} takes {conv.data_format!r}"
    steps = {conv.strides, conv.dilation_rate}
    if steps != {(1, 1)}:
        return f"{conv.name!r} has strides={conv.strides}, dilation_rate={conv.dilation_rate}"
    if is_layer(conv, "Conv2DTranspose"):
        if conv.padding != "same":
            return f"Conv2DTranspose with {conv.padding!r} makes a larger map"
        if conv.output_padding is not None:
            return f"{conv.name!r} has an output_padding"
        if any(k % 2 == 0 for k in conv.kernel_size):
            return "an even kernel that is turned round has its border on the other side"
    return None
