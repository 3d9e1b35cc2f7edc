"""Poolings with strides, which alias."""

import numpy as np

from keras_cnnfix.graph import Site
from keras_cnnfix.layers import BlurPool2D, MaxBlurPool2D
from keras_cnnfix.ops import kernels, layout
from keras_cnnfix.rules.low_pass import aliased, covers, low_pass, samples_every_window
from keras_cnnfix.rules.rule import (
    Match,
    Measure,
    Refusal,
    Rewrite,
    Rule,
    Safety,
    is_layer,
    other_arguments,
)
from keras_cnnfix.typing import Array, Padding


class MaxPooling(Rule):
    """`MaxPooling2D` with strides: becomes `MaxBlurPool2D`.

    The largest of each window, kept at every second pixel, has frequencies that the smaller map
    cannot hold: they come back as others, and a shift by one pixel changes the answer. In its
    place the largest at every pixel is blurred before pixels are left out.

    It has no weights; the name stays. Where the window is not centred as that of `MaxBlurPool2D`,
    or `"valid"` leaves pixels out, it becomes `MaxPooling2D` at stride 1 and `BlurPool2D` behind
    it, so that sizes and positions stay for every image. The network needs to be trained further.

    Left alone: a window that covers the map.

    Source: Zhang, ICML 2019, https://arxiv.org/abs/1904.11486.
    """

    name = "max_pooling"
    safety = Safety.RETRAIN
    finds = "MaxPooling2D with strides"
    becomes = "MaxBlurPool2D"
    artifact = "aliasing"
    kind = "MaxPooling2D"

    def match(self, site: Site) -> Match | Refusal | None:
        pool = site.operation
        if not is_layer(pool, self.kind) or pool.strides == (1, 1):
            return None
        if covers(pool.pool_size, site.input.shape, pool.data_format):
            return Refusal("its window covers the map")
        return Match((site,))

    def measure(self, match: Match) -> Measure | None:
        # The largest of a window passes every frequency on, and makes new ones.
        return aliased(np.ones((1, 1, 1)), match.sites[0].operation.strides)

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        (site,), pool = match.sites, match.sites[0].operation
        shape, window = site.input.shape, pool.pool_size
        behind = low_pass(pool, shape, window)
        if not samples_every_window(pool, shape, window):
            return [(match.sites, [other_arguments(pool, strides=(1, 1)), *behind])]
        blur = behind[-1]
        settings = {"name": pool.name, "dtype": pool.dtype_policy, "trainable": pool.trainable}
        layer = MaxBlurPool2D(
            window, blur.kernel_size, pool.strides, blur.padding, pool.data_format, **settings
        )
        return [(match.sites, [layer])]


class AveragePooling(MaxPooling):
    """`AveragePooling2D` with strides: becomes `BlurPool2D`.

    A box is a poor low-pass: of white noise a third of what passes a mean over 2x2 pixels is more
    than the smaller map can hold, of a binomial filter of 4x4 a fourteenth.

    It has no weights; the name stays. Where the window is not of 2 pixels at stride 2, or the map
    is odd or of unknown size, it becomes `AveragePooling2D` at stride 1 and `BlurPool2D` behind
    it, so that sizes and positions stay for every image. The network needs to be trained further.

    Left alone: a window that covers the map.

    Source: Zhang, ICML 2019, https://arxiv.org/abs/1904.11486.
    """

    name = "average_pooling"
    finds = "AveragePooling2D with strides"
    becomes = "BlurPool2D"
    kind = "AveragePooling2D"

    def measure(self, match: Match) -> Measure | None:
        pool = match.sites[0].operation
        box = np.outer(*map(kernels.box, pool.pool_size))
        return aliased(box[..., None], pool.strides)

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        (site,), pool = match.sites, match.sites[0].operation
        sizes = layout.spatial_size(site.input.shape, pool.data_format)
        if pool.pool_size == pool.strides == (2, 2) and all(n and n % 2 == 0 for n in sizes):
            # Of an even number of taps, which lie as the window does.
            padding: Padding = "edge" if min(sizes) < 4 else "reflect"
            settings = {"name": pool.name, "dtype": pool.dtype_policy, "trainable": pool.trainable}
            layer = BlurPool2D(4, 2, padding, pool.data_format, **settings)
            return [(match.sites, [layer])]
        same = other_arguments(pool, strides=(1, 1))
        return [(match.sites, [same, *low_pass(pool, site.input.shape, pool.pool_size)])]
