"""Transposed convolutions, which can draw a checkerboard."""

import numpy as np
from keras import ops

from keras_cnnfix.diagnostics.overlap import phase_gains
from keras_cnnfix.layers import EvenConv2DTranspose, ResizeConv2D, SubPixelConv
from keras_cnnfix.ops import kernels, layout
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
MOST_UNKNOWNS = 4096  # of a fit to images, for each filter
MOST_PRODUCTS = 2e11  # that the normal equations of a fit may take: some seconds
RIDGE = 1e-4  # Of the mean square of what is fitted: what the images do not tell stays as it was.


class _TransposedConv(Rule):
    """What `Conv2DTranspose` with strides becomes, one way or another."""

    safety = Safety.NEAREST
    finds = "Conv2DTranspose with strides"

    def match(self, site):
        conv = site.operation
        if not is_layer(conv, "Conv2DTranspose") or conv.strides == (1, 1):
            return None
        refused = altered_kernel(conv) or self.unfit(conv)
        return Refusal(refused, Match((site,))) if refused else Match((site,))

    def unfit(self, conv):
        """Why it has no form that this rule makes of it, or None."""
        if any(k < s for k, s in zip(conv.kernel_size, conv.strides, strict=True)):
            return f"a kernel of {conv.kernel_size} at strides={conv.strides} leaves pixels out"
        if conv.dilation_rate != (1, 1):
            return f"it has dilation_rate={conv.dilation_rate}"
        return None


class EvenTransposedConv(_TransposedConv):
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
    becomes = "EvenConv2DTranspose"
    artifact = "checkerboard"

    def unfit(self, conv):
        if reason := super().unfit(conv):
            return reason
        even = unevenness(phase_gains(conv.kernel, conv.strides)).value <= EVEN
        return "its phases are even already" if even else None

    def measure(self, match):
        conv = match.sites[0].operation
        return unevenness(phase_gains(conv.kernel, conv.strides))

    def rewrite(self, match, inputs=None):
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


class ResizeForTransposedConv(_TransposedConv):
    """`Conv2DTranspose` with strides: becomes `ResizeConv2D`, on request.

    A resize-convolution is a transposed convolution whose kernel is convolved with a box of the
    stride: the smallest kernel is taken whose composite reaches as far as the old one (3 taps for
    3 and 4 at stride 2, 5 for 5), and its taps such that the composite is nearest to the old
    kernel (least squares): the nearest answers to white noise. Where `fix` is given `images`, the
    nearest answers to what these become at the layer, before its activation. They are smoother
    than those of `EvenConv2DTranspose`, and further from the old ones: `distill` it.

    Weights: kernel, and with images the bias, are fitted. The name stays.

    Left alone: `"valid"` and `output_padding`, which answer with another size.

    Source: Odena, Dumoulin, Olah, Distill, 2016, https://distill.pub/2016/deconv-checkerboard.
    """

    name = "resize"
    becomes = "ResizeConv2D"
    fits = True

    def unfit(self, conv):
        return super().unfit(conv) or _other_size(conv)

    def rewrite(self, match, inputs=None):
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
        bias = None if conv.bias is None else ops.convert_to_numpy(conv.bias).astype("float64")
        unknowns = kernel.size // conv.filters + 1
        if inputs and unknowns <= MOST_UNKNOWNS:
            kernel, bias = _fitted(conv, inputs, kernel, bias)
        return [(match.sites, [with_weights(layer, site.input.shape, kernel, bias)])]


class SubPixelForTransposedConv(_TransposedConv):
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

    def unfit(self, conv):
        return super().unfit(conv) or _other_size(conv)

    def rewrite(self, match, inputs=None):
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


def _fitted(conv, inputs, kernel, bias):
    """Kernel and bias of a zero-bordered resize-convolution whose answers to `inputs` are nearest
    to those of a transposed convolution; what these leave open stays as given.

    Args:
        conv: The transposed convolution.
        inputs: Arrays of images.
        kernel, bias: To begin with; no bias is None.
    """
    taps, unknowns = kernel.shape[:2], kernel.size // conv.filters
    start = kernel.reshape(unknowns, conv.filters)
    start = np.vstack([start, np.zeros(conv.filters) if bias is None else bias])
    normal, right = np.zeros((unknowns + 1,) * 2), np.zeros((unknowns + 1, conv.filters))
    images = [image[None] for batch in inputs for image in batch]
    pixels = int(MOST_PRODUCTS / normal.size / len(images)) + 1  # of each
    rng = np.random.default_rng(0)
    for image in images:
        arguments = ops.cast(conv.kernel, "float32"), conv.strides, conv.padding
        wanted = ops.conv_transpose(image, *arguments, data_format=conv.data_format)
        wanted = _channels_last(ops.convert_to_numpy(wanted), conv).reshape(-1, conv.filters)
        rows = _patches(_channels_last(image, conv), conv.strides, taps)
        chosen = rng.permutation(len(rows))[:pixels]
        rows, wanted = rows[chosen], wanted[chosen] + (0 if bias is None else bias)
        rows = np.hstack([rows, np.full((len(rows), 1), float(bias is not None))])
        normal += rows.T @ rows
        right += rows.T @ (wanted - rows @ start)
    ridge = RIDGE * np.trace(normal) / len(normal) or 1.0
    found = start + np.linalg.solve(normal + ridge * np.eye(len(normal)), right)
    return found[:-1].reshape(kernel.shape), None if bias is None else found[-1]


def _channels_last(images, conv):
    images = np.asarray(images, "float64")
    return np.moveaxis(images, layout.channel_axis(conv.data_format), -1)


def _patches(image, size, taps):
    """What each pixel of a resize-convolution sees of an image (1, H, W, C): a row each."""
    pads = [(0, 0), *kernels.border_of(taps), (0, 0)]
    large = np.pad(image.repeat(size[0], 1).repeat(size[1], 2), pads)[0]
    windows = np.lib.stride_tricks.sliding_window_view(large, taps, (0, 1))
    return np.moveaxis(windows, 2, -1).reshape(-1, taps[0] * taps[1] * image.shape[-1])


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
