"""Sub-pixel convolutions that are written as a convolution and a pixel shuffle."""

from typing import Any

from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.overlap import phase_gains
from keras_cnnfix.layers import SubPixelConv
from keras_cnnfix.ops import kernels
from keras_cnnfix.rules.recognition import border_of, is_elementwise, shuffle_of
from keras_cnnfix.rules.rule import (
    Match,
    Refusal,
    Rule,
    Safety,
    altered_kernel,
    is_layer,
    kind,
    other_arguments,
    shared_settings,
    unevenness,
    with_weights,
)


class DepthToSpace(Rule):
    """A convolution, then channels moved to pixels: becomes `SubPixelConv`, the same in one layer.

    What moves the channels is told by running it on numbered ones: `ops.depth_to_space`, and
    `tf.nn.depth_to_space` or a `PixelShuffle` in a `Lambda` or in a layer without weights, in
    either channel order. The answers stay what they were, and so does a checkerboard: with
    `rules="upsampling"` it becomes `SubPixelConv(even=True)`.

    Weights: kernel and bias are taken over as they are. The name is that of the convolution.

    Left alone: a layer between the two (an activation behind the convolution belongs into it), a
    convolution with strides, dilation or groups.

    Source: Shi et al., CVPR 2016, https://arxiv.org/abs/1609.05158.
    """

    name = "subpixel_conv"
    safety = Safety.EXACT
    finds = "Conv2D, then depth to space"
    becomes = "SubPixelConv"
    even = False

    def match(self, site):
        before = site.before
        conv: Any = None if before is None else before.operation
        is_conv = is_layer(conv, "Conv2D")
        found = None
        for data_format in (conv.data_format,) if is_conv else checks.DATA_FORMATS:
            found = found or shuffle_of(site, data_format)
        if found is None:
            return None
        if not is_conv or before.after is not site:
            what = "an input" if conv is None else kind(conv)
            return Refusal(f"its channels come from {what}, and not from one Conv2D alone")
        refused = altered_kernel(conv)
        if conv.strides != (1, 1) or conv.dilation_rate != (1, 1) or conv.groups != 1:
            refused = f"{conv.name!r} has strides, dilation or groups"
        elif not is_elementwise(conv.activation):
            refused = f"the activation of {conv.name!r} mixes channels"
        if refused:
            return Refusal(refused)
        size, order = found
        settings = {"size": size, "channel_order": order, "padding": "zeros"}
        if conv.padding == "same" or conv.kernel_size == (1, 1):
            return Match((before, site), settings)
        border = before.before
        sides = kernels.border_of(conv.kernel_size)
        alone = border is not None and border.after is before
        settings["padding"] = border_of(border, sides, conv.data_format) if alone else None
        if settings["padding"] is None:
            return Refusal(f"{conv.name!r} is 'valid', and no border of {sides} is before it")
        return Match((border, before, site), settings)

    def measure(self, match):
        conv = match.sites[-2].operation
        found = match.found
        return unevenness(phase_gains(conv.kernel, found["size"], found["channel_order"]))

    def rewrite(self, match):
        conv = match.sites[-2].operation
        size = match.found["size"]
        layer = SubPixelConv(
            conv.filters // (size[0] * size[1]),
            conv.kernel_size,
            even=self.even,
            **match.found,
            **shared_settings(conv),
        )
        kernel = ops.convert_to_tensor(conv.kernel)
        layer = with_weights(layer, match.sites[0].input.shape, kernel, conv.bias)
        return [(match.sites, [layer])]


class EvenDepthToSpace(DepthToSpace):
    """A convolution, then channels moved to pixels: becomes `SubPixelConv(even=True)`.

    Each of the `s * s` pixels of a block has filters and a bias of its own. Where these do not sum
    to the same, a flat map comes out with a grid of period `s`. `even=True` takes the nearest
    kernel and bias that do, in each call, so that training on keeps it so. Shapes and cost stay.

    Weights: kernel and bias are taken over as they are; what the call makes of them differs.

    Left alone: as `subpixel_conv`.

    Source: Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658; `docs/even_phases.md`.
    """

    name = "even_subpixel_conv"
    safety = Safety.NEAREST
    becomes = "SubPixelConv(even=True)"
    artifact = "checkerboard"
    even = True


class EvenSubPixelConv(Rule):
    """`SubPixelConv` of this package: becomes `SubPixelConv(even=True)`.

    Weights are taken over as they are; name, shapes and cost stay. As `even_subpixel_conv`, for
    who has the layer already.

    Left alone: `smooth=True`, which draws no grid, and `even=True`.

    Source: Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658; `docs/even_phases.md`.
    """

    name = "even_subpixel_layer"
    safety = Safety.NEAREST
    finds = "SubPixelConv"
    becomes = "SubPixelConv(even=True)"
    artifact = "checkerboard"

    def match(self, site):
        layer = site.operation
        uneven = type(layer) is SubPixelConv and not layer.smooth and not layer.even
        return Match((site,)) if uneven else None

    def measure(self, match):
        return unevenness(phase_gains(match.sites[0].operation))

    def rewrite(self, match):
        return [(match.sites, [other_arguments(match.sites[0].operation, even=True)])]
