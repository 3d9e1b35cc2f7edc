"""What a kernel makes of a resized image, computed at the low resolution.

An axis that is up-sampled by `factor` consists of `factor` phases: phase `r` holds the pixels
`r, factor + r, 2 * factor + r, ...`, as many as the axis had before.
"""

from typing import Any

from keras import ops

from keras_cnnfix.ops import backend, kernels, layout
from keras_cnnfix.ops.resize import bilinear_phases


def tap_sums(taps, factor, interpolation, padding, axis):
    """The phases of `y[i] = sum_t pad(resize(taps[t]))[i + t]` along `axis`.

    Args:
        taps: One tensor for each tap of the kernel, of the same shape.
        factor: By how much the axis is up-sampled. At least 1.
        interpolation: `"nearest"` or `"bilinear"`.
        padding: A mode of `pad2d`, of the resized axis.
        axis: The axis.

    Returns:
        A list of `factor` tensors of the shape of each tap.
    """
    if interpolation == "nearest":
        resized = [[tap] * factor for tap in taps]
    else:
        resized = [bilinear_phases(tap, factor, axis) for tap in taps]
    return [_phase(phase, resized, factor, padding, axis) for phase in range(factor)]


def can_sum_taps(n, kernel_size, factor, padding):
    """Whether `tap_sums` serves an axis of `n` pixels (None: unknown): not where one pixel of a
    phase reads beyond both ends.
    """
    if n is None:
        _, after = kernels.sides(kernel_size)
        # The fewest pixels that a border can be taken from.
        deepest = {"reflect": after + 1, "symmetric": after, "wrap": after}.get(padding, 1)
        n = max(1, (deepest + factor - 1) // factor)
    return all(sum(_beyond(phase, kernel_size, factor)) <= n for phase in range(factor))


def _beyond(phase, kernel_size, factor):
    """How many pixels at the start and at the end of a phase read beyond the resized image."""
    before, after = kernels.sides(kernel_size)
    return max(0, -((phase - before) // factor)), max(0, (phase + after) // factor)


def _phase(phase, resized, factor, padding, axis):
    before, _ = kernels.sides(len(resized))
    start, end = _beyond(phase, len(resized), factor)
    count = ops.shape(resized[0][0])[axis] - start - end

    # Tap `t` reads pixel `m + offset` of one phase of its image. Taps of the same offset are
    # summed before they are shifted.
    summed: dict[int, Any] = {}
    for t, images in enumerate(resized):
        offset, source = divmod(phase + t - before, factor)
        image = images[source]
        summed[offset] = summed[offset] + image if offset in summed else image
    if start or end:
        summed = {
            offset: layout.every(image, start + offset, count, 1, axis)
            for offset, image in summed.items()
        }
    inner = sum(summed.values())

    def border_pixel(index, from_end):
        first = factor * index + (factor - 1 - phase if from_end else phase)
        step = -1 if from_end else 1
        return sum(
            _read(images, first + step * (t - before), from_end, padding, axis)
            for t, images in enumerate(resized)
        )

    head = [border_pixel(index, False) for index in range(start)]
    tail = [border_pixel(index, True) for index in reversed(range(end))]
    return ops.concatenate([*head, inner, *tail], axis=axis) if head or tail else inner


def _read(images, position, from_end, padding, axis):
    """Pixel `position`, counted from one end, of the padded image with the phases `images`."""
    if position < 0:
        if padding == "zeros":
            return 0
        beyond = -position - 1
        position = {"reflect": beyond + 1, "edge": 0}.get(padding, beyond)
        from_end = from_end != (padding == "wrap")
    index, phase = divmod(position, len(images))
    return backend.pixel(images[-1 - phase if from_end else phase], index, from_end, axis)
