"""The oracle: slow NumPy references, written from the formulas, importing nothing of the package.

Every array is channels_last, (N, H, W, C); sizes, kernels and strides are pairs (y, x).
Everything is computed in float64.
"""

import itertools
from collections.abc import Callable
from fractions import Fraction
from math import ceil, comb, floor

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]


# Padding


def sides(k: int) -> Pair:
    """Padding (before, after) with which a `k`-tap window at stride 1 keeps the size."""
    return (k - 1) // 2, k // 2


def _source(i: int, n: int, mode: str) -> int | None:
    """The index in 0..n-1 that position `i` of a padded axis reads; None stands for a zero."""
    if 0 <= i < n:
        return i
    if mode == "zeros":
        return None
    if mode == "edge":  # a a a | a b c | c c c
        return 0 if i < 0 else n - 1
    if mode == "reflect":  # c b | a b c | b a
        j = -i if i < 0 else 2 * (n - 1) - i
    elif mode == "symmetric":  # c b a | a b c | c b a
        j = -1 - i if i < 0 else 2 * n - 1 - i
    elif mode == "wrap":  # a b c | a b c | a b c
        j = i + n if i < 0 else i - n
    else:
        raise ValueError(mode)
    assert 0 <= j < n, f"{mode} padding deeper than the image"
    return j


def pad(x: Array, pads: tuple[Pair, Pair], mode: str) -> Array:
    """Pad by ((top, bottom), (left, right)): each position reads its source pixel, or a zero."""
    x = np.asarray(x, np.float64)
    n, height, width, channels = x.shape
    (top, bottom), (left, right) = pads
    y = np.zeros((n, top + height + bottom, left + width + right, channels))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            a, b = _source(i - top, height, mode), _source(j - left, width, mode)
            if a is not None and b is not None:
                y[:, i, j] = x[:, a, b]
    return y


def _pad_for(x: Array, kernel_size: Pair, mode: str) -> Array:
    """Pad by the sides of `kernel_size`."""
    return pad(x, (sides(kernel_size[0]), sides(kernel_size[1])), mode)


# Convolution


def conv_transpose2d(
    x: Array, kernel: Array, bias: Array | None, strides: Pair, crops: tuple[Pair, Pair]
) -> Array:
    """Every pixel adds its value times the (kh, kw, F, C) `kernel`, `strides` further each time.

    `crops` ((top, bottom), (left, right)) are left out; less than 0, zeros are added.
    """
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    n, height, width, _ = x.shape
    (kh, kw, filters, _), (sy, sx) = kernel.shape, strides
    (top, bottom), (left, right) = crops
    y = np.zeros((n, (height - 1) * sy + kh, (width - 1) * sx + kw, filters))
    for i, j in np.ndindex(height, width):
        y[:, sy * i : sy * i + kh, sx * j : sx * j + kw] += np.einsum(
            "nc,yxfc->nyxf", x[:, i, j], kernel
        )
    y = np.pad(y, ((0, 0), (0, max(0, -bottom)), (0, max(0, -right)), (0, 0)))
    y = y[:, top : y.shape[1] - max(0, bottom), left : y.shape[2] - max(0, right)]
    return y if bias is None else y + bias


def conv2d(
    xpadded: Array, kernel: Array, bias: Array | None, strides: Pair = (1, 1), groups: int = 1
) -> Array:
    """Valid cross-correlation, y[i,j,f] = sum_uvc x[sy*i+u, sx*j+v, c] * kernel[u,v,c,f] + bias[f].

    `kernel` is (kh, kw, C // groups, F). Group g reads the g-th run of C // groups input channels
    and writes the g-th run of F // groups output channels.
    """
    x, kernel = np.asarray(xpadded, np.float64), np.asarray(kernel, np.float64)
    n, height, width, _ = x.shape
    kh, kw, c_in, filters = kernel.shape
    sy, sx = strides
    c_out = filters // groups
    y = np.zeros((n, (height - kh) // sy + 1, (width - kw) // sx + 1, filters))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, sy * i : sy * i + kh, sx * j : sx * j + kw]
            for g in range(groups):
                reads = window[..., g * c_in : (g + 1) * c_in]
                f = slice(g * c_out, (g + 1) * c_out)
                y[:, i, j, f] = np.tensordot(reads, kernel[..., f], axes=3)
    return y if bias is None else y + np.asarray(bias, np.float64)


# Resize


def _triangle(t: float) -> float:
    return max(0.0, 1 - abs(t))


def _keys(t: float) -> float:
    """Cubic convolution kernel with a = -1/2 (Keys, 1981, equation 15)."""
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    if t <= 2:
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return 0.0


def _resize_matrix(n_in: int, n_out: int, interpolation: str, padding: str = "edge") -> Array:
    """The (n_out, n_in) weights of a resize along one axis, with half-pixel centres.

    Output i is centred at (i + 1/2) * n_in / n_out, input m at m + 1/2. nearest takes the input
    pixel that the centre falls into, m = floor(centre), in exact integers. bilinear and bicubic
    weigh input m by kernel((centre - (m + 1/2)) / width), where width is 1, but n_in / n_out
    for bicubic when shrinking (antialias); inputs that do not exist are left out, or with the
    padding "wrap" are those of the other end, and the weights divided by their sum.
    """
    weights = np.zeros((n_out, n_in))
    ratio = Fraction(n_in, n_out)
    for i in range(n_out):
        centre = (i + Fraction(1, 2)) * ratio
        if interpolation == "nearest":
            weights[i, floor(centre)] = 1
            continue
        reach = ceil(2 * max(ratio, Fraction(1))) + 1
        for m in range(floor(centre) - reach, floor(centre) + reach + 1):
            if padding != "wrap" and not 0 <= m < n_in:
                continue
            distance = centre - m - Fraction(1, 2)
            if interpolation == "bilinear":
                weights[i, m % n_in] += _triangle(float(distance))
            elif interpolation == "bicubic":
                weights[i, m % n_in] += _keys(float(distance / max(ratio, Fraction(1))))
            else:
                raise ValueError(interpolation)
        weights[i] /= weights[i].sum()
    return weights


def resize(x: Array, out_size: Pair, interpolation: str, padding: str = "edge") -> Array:
    """Resize with half-pixel centres, y[i,j] = sum_ab rows[i,a] * cols[j,b] * x[a,b]."""
    x = np.asarray(x, np.float64)
    rows = _resize_matrix(x.shape[1], out_size[0], interpolation, padding)
    cols = _resize_matrix(x.shape[2], out_size[1], interpolation, padding)
    return np.einsum("ia,jb,nabc->nijc", rows, cols, x)


def resize_conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None,
    out_size: Pair,
    interpolation: str,
    padding: str,
    groups: int = 1,
) -> Array:
    """Resize, pad at the high resolution, convolve (Odena et al., 2016)."""
    high = _pad_for(resize(x, out_size, interpolation, padding), kernel.shape[:2], padding)
    return conv2d(high, kernel, bias, groups=groups)


# Sub-pixel convolution


def depth_to_space(x: Array, size: Pair, order: str) -> Array:
    """Pixel shuffle (Shi et al., 2016): y[sy*i+dy, sx*j+dx, f] = x[i, j, channel].

    The channel is (dy*sx + dx)*F + f in order "dcr" and f*sy*sx + dy*sx + dx in order "crd".
    """
    x = np.asarray(x, np.float64)
    n, height, width, channels = x.shape
    sy, sx = size
    filters = channels // (sy * sx)
    y = np.zeros((n, sy * height, sx * width, filters))
    for dy in range(sy):
        for dx in range(sx):
            for f in range(filters):
                channel = {
                    "dcr": (dy * sx + dx) * filters + f,
                    "crd": f * sy * sx + dy * sx + dx,
                }[order]
                for i in range(height):
                    for j in range(width):
                        y[:, sy * i + dy, sx * j + dx, f] = x[:, i, j, channel]
    return y


def _block_source(i: int, n: int, s: int, padding: str) -> int:
    """Outside the image: the pixel of the outermost `s`-block with the phase of `i`, or in mode
    "wrap" the pixel of the other end."""
    if padding == "wrap":
        return i % n
    if i < 0:
        return i % s
    if i >= n:
        return n - s + i % s
    return i


def block_box_filter(y: Array, size: Pair, padding: str) -> Array:
    """Mean over sy x sx pixels at stride 1 (Sugawara et al., 2018), same size, height a multiple
    of sy and width of sx: out[i,j] = mean over u < sy, v < sx of y[i+u-top, j+v-left].

    The border repeats the outermost sy x sx block, or in mode "wrap" the blocks of the other end,
    so every window holds each phase once.
    """
    y = np.asarray(y, np.float64)
    height, width = y.shape[1:3]
    sy, sx = size
    top, left = (sy - 1) // 2, (sx - 1) // 2
    out = np.zeros_like(y)
    for i in range(height):
        for j in range(width):
            for u in range(sy):
                for v in range(sx):
                    a = _block_source(i + u - top, height, sy, padding)
                    b = _block_source(j + v - left, width, sx, padding)
                    out[:, i, j] += y[:, a, b] / (sy * sx)
    return out


def sub_pixel_conv(
    x: Array,
    kernel: Array,
    bias: Array | None,
    size: Pair,
    padding: str,
    order: str,
    smooth: bool = False,
    activation: Callable[[Array], Array] | None = None,
) -> Array:
    """Pad, conv, bias (one per channel before the shuffle), shuffle, activation, box filter."""
    y = conv2d(_pad_for(x, kernel.shape[:2], padding), kernel, bias)
    y = depth_to_space(y, size, order)
    if activation is not None:
        y = activation(y)
    return block_box_filter(y, size, padding) if smooth else y


# Blur pooling


def binomial(k: int) -> Array:
    """The `k` taps comb(k-1, i) / 2**(k-1)."""
    return np.array([comb(k - 1, i) / 2 ** (k - 1) for i in range(k)])


def blur_pool2d(x: Array, kernel_size: Pair, strides: Pair, padding: str) -> Array:
    """Binomial blur of each channel, at every `strides`-th position (Zhang, 2019).

    y[i,j] = sum_uv b[u] * b[v] * x[sy*i + u - top, sx*j + v - left], size ceil(H/sy) x ceil(W/sx).
    """
    kh, kw = kernel_size
    sy, sx = strides
    by, bx = binomial(kh), binomial(kw)
    n, height, width, channels = x.shape
    padded = _pad_for(x, kernel_size, padding)
    y = np.zeros((n, ceil(height / sy), ceil(width / sx), channels))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            for u in range(kh):
                for v in range(kw):
                    y[:, i, j] += by[u] * bx[v] * padded[:, sy * i + u, sx * j + v]
    return y


def _window(i: int, n: int, k: int, padding: str) -> list[int]:
    """The indices in 0..n-1 that a `k`-tap window at `i` covers: around the end in mode "wrap",
    otherwise those that exist."""
    before, after = sides(k)
    window = range(i - before, i + after + 1)
    return [a % n if padding == "wrap" else a for a in window if padding == "wrap" or 0 <= a < n]


def _max_pool(x: Array, pool_size: Pair, padding: str) -> Array:
    """Max over a window at stride 1, same size; what lies outside the image is left out, or in
    mode "wrap" at the other end."""
    x = np.asarray(x, np.float64)
    height, width = x.shape[1:3]
    y = np.zeros_like(x)
    for i in range(height):
        for j in range(width):
            rows = _window(i, height, pool_size[0], padding)
            cols = _window(j, width, pool_size[1], padding)
            y[:, i, j] = x[:, rows][:, :, cols].max(axis=(1, 2))
    return y


def max_blur_pool2d(
    x: Array, pool_size: Pair, kernel_size: Pair, strides: Pair, padding: str
) -> Array:
    """Max pool at stride 1, then blur pool (Zhang, 2019)."""
    return blur_pool2d(_max_pool(x, pool_size, padding), kernel_size, strides, padding)


# Adaptive anti-aliasing


def _softmax(z: Array) -> Array:
    """Softmax of one vector per image, (N, K)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def adaptive_anti_alias(
    x: Array,
    kernel: Array,
    strides: Pair,
    groups: int,
    padding: str,
    normalization: str,
    gamma: Array | None,
    beta: Array | None,
    mean: Array | None,
    variance: Array | None,
    epsilon: float = 1e-5,
    bias: Array | None = None,
) -> Array:
    """Filters predicted from the input, at every `strides`-th position (Zou et al., 2020).

    z = conv(pad(x), kernel), then gamma * (z - mean) / sqrt(variance + epsilon) + beta unless
    gamma is None, then + bias if given. Channel group * kh*kw + u*kw + v of z is tap (u, v) of
    that group. A softmax over each group's taps ("group") or over all channels ("joint") gives w:
    y[i,j,c] = sum_uv w[i,j,g(c),u,v] * x[sy*i + u - top, sx*j + v - left, c], where
    g(c) = c // (C // groups).
    """
    kh, kw = kernel.shape[:2]
    sy, sx = strides
    n, height, width, channels = x.shape
    taps = kh * kw
    padded = _pad_for(x, (kh, kw), padding)
    z = conv2d(padded, kernel, None, strides)
    if gamma is not None:
        z = gamma * (z - mean) / np.sqrt(np.asarray(variance, np.float64) + epsilon) + beta
    if bias is not None:
        z = z + bias
    y = np.zeros((n, ceil(height / sy), ceil(width / sx), channels))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            w = np.zeros((n, groups * taps))
            if normalization == "group":
                for g in range(groups):
                    own = slice(g * taps, (g + 1) * taps)
                    w[:, own] = _softmax(z[:, i, j, own])
            elif normalization == "joint":
                w = _softmax(z[:, i, j])
            else:
                raise ValueError(normalization)
            for c in range(channels):
                g = c // (channels // groups)
                for u in range(kh):
                    for v in range(kw):
                        weight = w[:, g * taps + u * kw + v]
                        y[:, i, j, c] += weight * padded[:, sy * i + u, sx * j + v, c]
    return y


# Noise


def nib(
    x: Array,
    noise: Array,
    kernel: Array | None = None,
    bias: Array | None = None,
    mode: str = "symmetric",
    padding: str = "reflect",
) -> Array:
    """Noise incentive block (Xia et al., 2020), with z along the channels
    concat(x + n, x - n) in mode "symmetric" and concat(x, n) in mode "concat".

    Without a kernel z itself, else conv(pad(z), kernel) + bias. In symmetric mode noise of one
    channel is added to every channel.
    """
    x, noise = np.asarray(x, np.float64), np.asarray(noise, np.float64)
    pair = (x + noise, x - noise) if mode == "symmetric" else (x, noise)
    z = np.concatenate(pair, axis=-1)
    return z if kernel is None else conv2d(_pad_for(z, kernel.shape[:2], padding), kernel, bias)


def transposed_taps(size, taps, strides):
    """How many taps of a "valid" transposed convolution reach each output pixel, by painting."""
    height, width = ((n - 1) * s + k for n, k, s in zip(size, taps, strides, strict=True))
    counts = np.zeros((height, width), int)
    for y, x, v, u in itertools.product(*map(range, (*size, *taps))):
        counts[y * strides[0] + v, x * strides[1] + u] += 1
    return counts


def grid_share(image, period):
    """The share of power on the lattice of `period`, from the sums of a Fourier transform.

    `image` has shape (H, W), both multiples of `period`.
    """
    height, width = image.shape
    window = np.array(
        [
            [np.sin(np.pi * y / height) ** 2 * np.sin(np.pi * x / width) ** 2 for x in range(width)]
            for y in range(height)
        ]
    )
    image = (image - (image * window).sum() / window.sum()) * window
    ys, xs = np.mgrid[:height, :width]
    on_lattice = total = 0.0
    for k, m in itertools.product(range(height), range(width)):
        wave = np.exp(-2j * np.pi * (k * ys / height + m * xs / width))
        power = abs((image * wave).sum()) ** 2
        total += power
        if (k * period % height, m * period % width) == (0, 0) and (k, m) != (0, 0):
            on_lattice += power
    # The window's transform along an axis is (-1/4, 1/2, -1/4): its middle has 2/3 of the power.
    return on_lattice / (2 / 3) ** 2 / total
