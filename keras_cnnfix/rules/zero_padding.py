"""Convolutions that see zeros beyond the image."""

from typing import Any

from keras_cnnfix.graph import Site
from keras_cnnfix.layers import Padding2D
from keras_cnnfix.ops import kernels
from keras_cnnfix.rules.rule import (
    Match,
    Refusal,
    Rewrite,
    Rule,
    Safety,
    altered_kernel,
    is_layer,
    other_arguments,
)
from keras_cnnfix.typing import Array


class ZeroPadding(Rule):
    """A convolution with `"same"` at stride 1: gets a mirrored border in place of zeros.

    On request. Zeros beyond the image are an edge that is not there: a flat image does not stay
    flat at its border, and a network can read its position off them. `Padding2D` mirrors the image.

    Weights are taken over as they are; the name stays. Away from the border the answers stay. The
    network needs to be trained further.

    Left alone: a kernel that reaches further than a known map.

    Source: Islam, Jia, Bruce, ICLR 2020, https://arxiv.org/abs/2001.08248.
    """

    name = "reflect"
    safety = Safety.RETRAIN
    finds = 'Conv2D or DepthwiseConv2D with "same" at stride 1'
    becomes = 'Padding2D, then "valid"'
    artifact = "border"

    def match(self, site: Site) -> Match | Refusal | None:
        conv = site.operation
        if not is_layer(conv, "Conv2D", "DepthwiseConv2D") or conv.padding != "same":
            return None
        if conv.strides != (1, 1) or conv.kernel_size == (1, 1):
            return None
        refused = altered_kernel(conv)
        if conv.dilation_rate != (1, 1):
            refused = f"it has dilation_rate={conv.dilation_rate}"
        try:
            self._border(conv).compute_output_shape(site.input.shape)
        except ValueError:
            refused = "its kernel reaches further than the map can be mirrored"
        return Refusal(refused) if refused else Match((site,))

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        conv = match.sites[0].operation
        layers = [self._border(conv), other_arguments(conv, padding="valid")]
        return [(match.sites, layers)]

    def _border(self, conv: Any) -> Padding2D:
        return Padding2D(
            kernels.border_of(conv.kernel_size),  # type: ignore[arg-type]
            data_format=conv.data_format,
            name=f"{conv.name}_border",
            dtype=conv.dtype_policy,
        )
