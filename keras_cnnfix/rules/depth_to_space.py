"""Sub-pixel convolutions that are written as a convolution and a pixel shuffle."""

from typing import Any

import numpy as np
from keras import ops

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.overlap import phase_gains
from keras_cnnfix.graph import Site, assign
from keras_cnnfix.layers import SubPixelConv
from keras_cnnfix.ops import kernels
from keras_cnnfix.rules.recognition import border_of, is_elementwise, shuffle_of
from keras_cnnfix.rules.rule import (
    Match,
    Measure,
    Refusal,
    Rewrite,
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
from keras_cnnfix.typing import Array, ChannelOrder, Ints


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

    def match(self, site: Site) -> Match | Refusal | None:
        before: Any = site.before
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
        settings: dict[str, Any] = {"size": size, "channel_order": order, "padding": "zeros"}
        if conv.padding == "same" or conv.kernel_size == (1, 1):
            return Match((before, site), settings)
        border = before.before
        sides = kernels.border_of(conv.kernel_size)
        alone = border is not None and border.after is before
        settings["padding"] = border_of(border, sides, conv.data_format) if alone else None
        if settings["padding"] is None:
            return Refusal(f"{conv.name!r} is 'valid', and no border of {sides} is before it")
        return Match((border, before, site), settings)

    def measure(self, match: Match) -> Measure | None:
        conv = match.sites[-2].operation
        found = match.found
        return unevenness(phase_gains(conv.kernel, found["size"], found["channel_order"]))

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        return [(match.sites, [_layer_of(match)])]


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

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        return [(match.sites, [_layer_of(match, even=True)])]


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

    def match(self, site: Site) -> Match | Refusal | None:
        layer = site.operation
        uneven = type(layer) is SubPixelConv and not layer.smooth and not layer.even
        return Match((site,)) if uneven else None

    def measure(self, match: Match) -> Measure | None:
        return unevenness(phase_gains(match.sites[0].operation))

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        return [(match.sites, [other_arguments(match.sites[0].operation, even=True)])]


class SmoothSubPixelConv(DepthToSpace):
    """A sub-pixel convolution, as one layer or two: on request `SubPixelConv(smooth=True)`.

    A box filter of `s x s` pixels behind the shuffle averages over the phases: no grid on flats
    whatever is learned, and less of it at edges, where `even=True` leaves the phases free; but a
    blur. A transposed convolution gets there by `rules="subpixel"` first.

    Weights: the kernel is fitted, so that the filtered answers are nearest to the old ones (least
    squares on white noise, before the activation). The bias is taken over.

    Left alone: as `subpixel_conv`, and `smooth=True`.

    Source: Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658.
    """

    name = "smooth"
    safety = Safety.NEAREST
    finds = "SubPixelConv, or Conv2D and depth to space"
    becomes = "SubPixelConv(smooth=True)"
    smooth = True

    def match(self, site: Site) -> Match | Refusal | None:
        layer = site.operation
        if type(layer) is not SubPixelConv:
            return super().match(site)
        return None if layer.smooth else Match((site,))

    def measure(self, match: Match) -> Measure | None:
        layer = match.sites[-1].operation
        if type(layer) is SubPixelConv:
            return unevenness(phase_gains(layer))
        return super().measure(match)

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        layer = match.sites[-1].operation
        old = layer if type(layer) is SubPixelConv else _layer_of(match)
        new = other_arguments(old, smooth=self.smooth, even=False)
        kernel = ops.convert_to_numpy(ops.cast(old.effective_kernel(), "float32"))
        down, right = map(self.along, old.kernel_size, old.size)
        assign(new.kernel, _separably(kernel, down, right, old.size, old.channel_order))
        return [(match.sites, [new])]

    def along(self, taps: int, size: int) -> Array:
        """Along an axis, what becomes of the taps of all phases: an array (tap, phase, tap, phase)
        from old ones, behind, to new ones.
        """
        # Small pixel 0 becomes pixel r - size * t (and so many on), by tap t of phase r; the box
        # spreads it over as many pixels as it has.
        left, right = kernels.sides(size)
        pixels = size * (taps - 1 - np.arange(taps)[:, None]) + np.arange(size) + right
        pixels = pixels.reshape(-1)
        count = size * taps + left + right
        old = np.eye(count)[:, pixels]
        filtered = sum(np.eye(count)[:, pixels + j] for j in range(-right, left + 1)) / size
        return (np.linalg.pinv(filtered) @ old).reshape(taps, size, taps, size)


class ICNRSubPixelConv(SmoothSubPixelConv):
    """A sub-pixel convolution, as one layer or two: on request the same taps in every phase.

    That is a nearest resize of a convolution, as `ICNR` starts: no grid, as long as it is not
    trained further, and blocks of `s x s` equal pixels. `smooth` and `even_subpixel_conv` keep
    more, and stay without a grid in training.

    Weights: of kernel and bias the mean over the phases, the nearest that is so.

    Left alone: as `subpixel_conv`.

    Source: Aitken et al., 2017, https://arxiv.org/abs/1707.02937.
    """

    name = "icnr"
    becomes = "SubPixelConv with the start of ICNR"
    smooth = False

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        ((sites, (layer,)),) = super().rewrite(match)
        if layer.use_bias:
            bias = ops.convert_to_numpy(layer.bias)[None, None, None]
            down, right = (self.along(1, s) for s in layer.size)
            even = _separably(bias, down, right, layer.size, layer.channel_order)
            assign(layer.bias, even.reshape(-1))
        return [(sites, [layer])]

    def along(self, taps: int, size: int) -> Array:
        return np.einsum("tu,rs->trus", np.eye(taps), np.full((size, size), 1 / size))


def _layer_of(match: Match, **arguments: Any) -> SubPixelConv:
    """The `SubPixelConv` that answers as a match of `DepthToSpace` does, with other arguments."""
    conv = match.sites[-2].operation
    size = match.found["size"]
    filters = conv.filters // (size[0] * size[1])
    settings = {**match.found, **shared_settings(conv), **arguments}
    layer = SubPixelConv(filters, conv.kernel_size, **settings)
    kernel = ops.convert_to_tensor(conv.kernel)
    return with_weights(layer, match.sites[0].input.shape, kernel, conv.bias)


def _separably(
    kernel: Array, down: Array, right: Array, size: Ints, channel_order: ChannelOrder
) -> Array:
    """The kernel of a sub-pixel convolution, its taps and phases multiplied along both axes.

    Args:
        kernel: Shape (kh, kw, C, filters * sy * sx).
        down, right: Arrays (tap, phase, tap, phase), along the height and the width.
    """
    old, new = {"dcr": ("yxf", "YXf"), "crd": ("fyx", "fYX")}[channel_order]
    phases = {"y": size[0], "x": size[1], "f": kernel.shape[3] // (size[0] * size[1])}
    taps = kernel.reshape(*kernel.shape[:3], *(phases[axis] for axis in old))
    taps = np.einsum(f"TYty,UXux,tuc{old}->TUc{new}", down, right, taps)
    return taps.reshape(kernel.shape)
