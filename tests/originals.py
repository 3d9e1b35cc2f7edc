"""What other packages compute, written anew in PyTorch from their documented formulas.

Images are (N, C, H, W). Names and arguments are theirs; here is only what `docs/migrating.md` has.
"""

import torch
from torch import nn
from torch.nn import functional


def _blur(x, taps, stride, pads, mode="constant"):
    """Binomial taps over each channel, behind a border of (before, after) pixels."""
    row = torch.ones(1)
    for _ in range(taps - 1):
        row = (functional.pad(row, (1, 0)) + functional.pad(row, (0, 1))) / 2
    kernel = torch.outer(row, row).repeat(x.shape[1], 1, 1, 1)
    return functional.conv2d(
        functional.pad(x, 2 * pads, mode=mode), kernel, stride=stride, groups=x.shape[1]
    )


class BlurPool(nn.Module):
    """antialiased-cnns: floor and ceil of half the taps but one as border."""

    def __init__(self, channels, filt_size=4, stride=2, pad_type="reflect"):
        super().__init__()
        self.taps, self.stride = filt_size, stride
        self.mode = {"reflect": "reflect", "repl": "replicate", "zero": "constant"}[pad_type]

    def forward(self, x):
        pads = ((self.taps - 1) // 2, self.taps // 2)
        return _blur(x, self.taps, self.stride, pads, self.mode)


class BlurPool2d(nn.Module):
    """timm: the same border on both sides, ((stride - 1) + (taps - 1)) // 2, mirrored."""

    def __init__(self, channels, filt_size=3, stride=2):
        super().__init__()
        self.taps, self.stride = filt_size, stride

    def forward(self, x):
        pad = (self.stride - 1 + self.taps - 1) // 2
        return _blur(x, self.taps, self.stride, (pad, pad), "reflect")


class BlurMaxPool2d(nn.Module):
    """composer: maximum at stride 1, then 3 taps over zeros."""

    def __init__(self, kernel_size, stride=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride or kernel_size

    def forward(self, x):
        return _blur(functional.max_pool2d(x, self.kernel_size, 1), 3, self.stride, (1, 1))


class BlurConv2d(nn.Module):
    """composer: 3 taps over zeros before the strided convolution, or behind one of stride 1."""

    def __init__(self, inputs, outputs, kernel_size, stride, padding=0, blur_first=True):
        super().__init__()
        self.strides = (1, stride) if blur_first else (stride, 1)
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, self.strides[1], padding)
        self.blur_first = blur_first

    def forward(self, x):
        if self.blur_first:
            return self.conv(_blur(x, 3, self.strides[0], (1, 1)))
        return _blur(self.conv(x), 3, self.strides[0], (1, 1))


class PixelShuffle_ICNR(nn.Sequential):
    """fastai: 1 x 1 convolution, ReLU, shuffle, and the mean of each pixel and those before it."""

    def __init__(self, ni, nf, scale=2, blur=False, norm_type=None):
        layers = [nn.Conv2d(ni, nf * scale**2, 1), nn.ReLU(), nn.PixelShuffle(scale)]
        if blur:
            layers += [nn.ReplicationPad2d((1, 0, 1, 0)), nn.AvgPool2d(2, stride=1)]
        super().__init__(*layers)


class SubpixelUpsample(nn.Sequential):
    """MONAI: 3 x 3 convolution, shuffle, zeros before, and a mean over the scale."""

    def __init__(self, dims, inputs, outputs, scale=2, apply_pad_pool=True):
        assert dims == 2
        layers = [nn.Conv2d(inputs, outputs * scale**2, 3, padding=1), nn.PixelShuffle(scale)]
        if apply_pad_pool:
            before = scale - 1
            layers += [nn.ZeroPad2d((before, 0, before, 0)), nn.AvgPool2d(scale, stride=1)]
        super().__init__(*layers)


class Upsample2D(nn.Module):
    """diffusers: a transposed convolution of 4 taps, or nearest and a convolution of 3."""

    def __init__(self, channels, use_conv=False, use_conv_transpose=False, out_channels=None):
        super().__init__()
        outputs = out_channels or channels
        self.conv: nn.Module = nn.Identity()
        self.resizes = not use_conv_transpose
        if use_conv_transpose:
            self.conv = nn.ConvTranspose2d(channels, outputs, 4, stride=2, padding=1)
        elif use_conv:
            self.conv = nn.Conv2d(channels, outputs, 3, padding=1)

    def forward(self, x):
        return self.conv(functional.interpolate(x, scale_factor=2.0) if self.resizes else x)


class Downsample2D(nn.Module):
    """diffusers: a strided convolution; with padding 0 over zeros at the end alone."""

    def __init__(self, channels, use_conv, out_channels, padding=1, name="conv"):
        super().__init__()
        assert use_conv
        assert name == "op"  # Under its default name it holds the convolution twice.
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=padding)

    def forward(self, x):
        return self.conv(x if self.conv.padding[0] else functional.pad(x, (0, 1, 0, 1)))


class Downsample_PASA_group_softmax(nn.Module):
    """Zou et al.: filters predicted everywhere, softmax over all groups, pixels left out last."""

    def __init__(self, in_channels, kernel_size, stride=1, group=2):
        super().__init__()
        self.pad = nn.ReflectionPad2d(kernel_size // 2)
        self.conv = nn.Conv2d(in_channels, group * kernel_size**2, kernel_size, bias=False)
        self.bn = nn.BatchNorm2d(group * kernel_size**2)
        self.kernel_size, self.stride, self.group = kernel_size, stride, group

    def forward(self, x):
        n, channels, height, width = x.shape
        taps, each = self.kernel_size**2, channels // self.group
        weights = self.bn(self.conv(self.pad(x))).softmax(dim=1)
        weights = weights.reshape(n, self.group, 1, taps, height, width)
        pixels = functional.unfold(self.pad(x), self.kernel_size)
        pixels = pixels.reshape(n, self.group, each, taps, height, width)
        y = (weights * pixels).sum(dim=3).reshape(n, channels, height, width)
        return y[:, :, :: self.stride, :: self.stride]
