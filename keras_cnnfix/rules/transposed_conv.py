"""Transposed convolutions, which can draw a checkerboard."""

import numpy as np
from keras import ops

from keras_cnnfix.diagnostics.overlap import phase_gains
from keras_cnnfix.layers import EvenConv2DTranspose, ResizeConv2D, SubPixelConv
from keras_cnnfix.ops.conv_transpose import crops_of
from keras_cnnfix.rules.rule import (
    Match,
    Refusal,
    Rule,
    Safety,
    altered_kernel,
    is_layer,
    shared_settings,
    unevenness,
    with_weights,
)

EVEN = 1e-10  # Up to this imbalance phases are even: rounding leaves 1e-14.


class EvenTransposedConv(Rule):
    """`Conv2DTranspose` with strides: becomes `EvenConv2DTranspose`, which draws none on flats.

    With stride `s` each pixel of the answer is reached by the taps of one of `s * s` phases. Where
    the taps of these do not sum to the same, a flat map comes out as a checkerboard of period `s`:
    at random weights always, and after training somewhat. `EvenConv2DTranspose` takes the nearest
    kernel whose phases are even, in each call, so that training on keeps it so.

    Weights: kernel and bias are taken over as they are; what the call makes of them differs by the
    reported residual. Name, shapes, sizes and cost stay.

    Left alone: a kernel with fewer taps than the stride, where some pixels get nothing but the
    bias; phases that are even already. At edges the taps stay free: a trained network can still
    write to the lattice there.

    Source: Sugawara, Shiota, Kiya, 2018, https://arxiv.org/abs/1806.02658; `docs/even_phases.md`.
    """

    name = "even_transposed_conv"
    safety = Safety.NEAREST
    finds = "Conv2DTranspose with strides"
    becomes = "EvenConv2DTranspose"
    artifact: str | None = "checkerboard"

    def match(self, site):
        conv = site.operation
        if not is_layer(conv, "Conv2DTranspose") or conv.strides == (1, 1):
            return None
        refused = altered_kernel(conv) or self.unfit(conv)
        return Refusal(refused) if refused else Match((site,))

    def unfit(self, conv):
        """Why it has no form that this rule makes of it, or None."""
        if any(k < s for k, s in zip(conv.kernel_size, conv.strides, strict=True)):
            return f"a kernel of {conv.kernel_size} at strides={conv.strides} leaves pixels out"
        if conv.dilation_rate != (1, 1):
            return f"it has dilation_rate={conv.dilation_rate}"
        if self.artifact and unevenness(phase_gains(conv.kernel, conv.strides)).value <= EVEN:
            return "its phases are even already"
        return None

    def measure(self, match):
        conv = match.sites[0].operation
        return unevenness(phase_gains(conv.kernel, conv.strides))

    def rewrite(self, match):
        (site,), conv = match.sites, match.sites[0].operation
        layer = EvenConv2DTranspose(
            conv.filters,
            conv.kernel_size,
            conv.strides,
            padding=conv.padding,
            output_padding=conv.output_padding,
            **shared_settings(conv),
        )
        return [(match.sites, [with_weights(layer, site.input.shape, conv.kernel, conv.bias)])]


class ResizeForTransposedConv(EvenTransposedConv):
    """`Conv2DTranspose` with strides: becomes `ResizeConv2D`, on request.

    A resize-convolution is a transposed convolution whose kernel is convolved with a box of the
    stride: the smallest kernel is taken whose composite reaches as far as the old one (3 taps for
    3 and 4 at stride 2, 5 for 5), and its taps such that the composite is nearest to the old
    kernel (least squares). Its answers are smoother than those of `EvenConv2DTranspose`, and
    further from the old ones: `distill` it.

    Weights: the kernel is fitted, the bias taken over. The name stays.

    Left alone: `"valid"` and `output_padding`, which answer with another size.

    Source: Odena, Dumoulin, Olah, Distill, 2016, https://distill.pub/2016/deconv-checkerboard.
    """

    name = "resize"
    becomes = "ResizeConv2D"
    artifact = None

    def unfit(self, conv):
        return super().unfit(conv) or _other_size(conv)

    def rewrite(self, match):
        (site,), conv = match.sites, match.sites[0].operation
        axes = list(zip(conv.kernel_size, conv.strides, _crops(conv), strict=True))
        # An odd kernel whose composite, of taps + stride - 1, reaches as far.
        taps = [max(1, k - s + 1 + (k - s) % 2) for k, s, _ in axes]
        layer = ResizeConv2D(
            conv.filters, tuple(taps), conv.strides, padding="zeros", **shared_settings(conv)
        )
        down, right = (_fit(k, s, crop, n) for (k, s, crop), n in zip(axes, taps, strict=True))
        old = ops.convert_to_numpy(conv.kernel).astype("float64")
        kernel = np.einsum("ay,bx,yxoi->abio", down, right, old)
        return [(match.sites, [with_weights(layer, site.input.shape, kernel, conv.bias)])]


class SubPixelForTransposedConv(EvenTransposedConv):
    """`Conv2DTranspose` with strides: becomes `SubPixelConv`, on request.

    The taps of each phase become filters of their own: the same numbers, by a convolution of the
    small map and a pixel shuffle, for hardware that has no transposed convolution. The checkerboard
    stays: `even_subpixel_layer` takes it away.

    Weights: the taps are sorted into the phases, zeros where a phase has fewer. The name stays.

    Left alone: `"valid"` and `output_padding`, which answer with another size.

    Source: Shi et al., *Is the deconvolution layer the same as a convolutional layer?*, 2016,
    https://arxiv.org/abs/1609.07009.
    """

    name = "subpixel"
    safety = Safety.EXACT
    becomes = "SubPixelConv"
    artifact = None

    def unfit(self, conv):
        return super().unfit(conv) or _other_size(conv)

    def rewrite(self, match):
        (site,), conv = match.sites, match.sites[0].operation
        old = ops.convert_to_numpy(conv.kernel)
        axes = list(zip(conv.kernel_size, conv.strides, _crops(conv), strict=True))
        (rows, down), (columns, right) = (_phases(*axis) for axis in axes)
        sy, sx = conv.strides
        kernel = np.einsum("rty,sux,yxoi->tuirso", down, right, old)
        kernel = kernel.reshape(rows, columns, old.shape[3], sy * sx * conv.filters)
        settings = {**shared_settings(conv), "kernel_initializer": "icnr"}
        size = (rows, columns)
        layer = SubPixelConv(conv.filters, size, conv.strides, padding="zeros", **settings)
        bias = None if conv.bias is None else np.tile(ops.convert_to_numpy(conv.bias), sy * sx)
        return [(match.sites, [with_weights(layer, site.input.shape, kernel, bias)])]


def _other_size(conv):
    if conv.padding != "same" or conv.output_padding is not None:
        return "its answer is not as many times larger as its strides say"
    return None


def _crops(conv):
    crops = crops_of(conv.kernel_size, conv.strides, conv.padding, conv.output_padding)
    return [start for start, _ in crops]


def _fit(old, stride, crop, taps):
    """The matrix (taps, old) that makes, of a transposed kernel, the nearest of a resize."""
    # Small pixel 0 becomes pixels 0 to stride - 1, and tap u of the convolution brings them to
    # u - before pixels earlier. Tap t of the old kernel brings it to pixel t - crop.
    before = (taps - 1) // 2
    reach = old + stride + taps
    composite = np.zeros((2 * reach, taps))
    for u in range(taps):
        for pixel in range(stride):
            composite[reach + pixel + before - u, u] += 1
    places = np.eye(2 * reach)[:, [reach + t - crop for t in range(old)]]
    return np.linalg.pinv(composite) @ places


def _phases(old, stride, crop):
    """How many taps a phase needs, and the array (phases, taps, old) of which tap goes where."""
    # Pixel stride * m + r reads small pixel m + d by the tap r + crop - stride * d.
    where = {
        (r, d): r + crop - stride * d
        for r in range(stride)
        for d in range(-old, old + 1)
        if 0 <= r + crop - stride * d < old
    }
    before, after = -min(d for _, d in where), max(d for _, d in where)
    # An even number of taps reaches further to the right.
    taps = max(2 * before + 1, 2 * after)
    chosen = np.zeros((stride, taps, old))
    for (r, d), tap in where.items():
        chosen[r, d + (taps - 1) // 2, tap] = 1
    return taps, chosen
