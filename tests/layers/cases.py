"""The layers and settings that the contract is held to: name -> (class, arguments, input shape).

Input shapes are (H, W, C). Every noise here is fixed, so that a layer called twice answers the
same; drawn noise has tests of its own.
"""

from typing import Any

import keras_cnnfix as kc

CASES: dict[str, tuple[Any, dict[str, Any], tuple[int, int, int]]] = {
    "resize_conv": (kc.ResizeConv2D, {"filters": 4}, (5, 6, 3)),
    "resize_conv_grouped": (
        kc.ResizeConv2D,
        {
            "filters": 4,
            "kernel_size": (2, 5),
            "size": (1.5, 3),
            "interpolation": "bilinear",
            "padding": "symmetric",
            "groups": 2,
            "activation": "relu",
            "kernel_initializer": "he_normal",
            "bias_initializer": "ones",
            "kernel_regularizer": "l2",
            "bias_constraint": "non_neg",
        },
        (5, 6, 2),
    ),
    "resize_conv_exact": (
        kc.ResizeConv2D,
        {"filters": 2, "output_size": (7, 11), "padding": "wrap", "use_bias": False},
        (5, 6, 3),
    ),
    "resize_conv_bicubic": (
        kc.ResizeConv2D,
        {"filters": 2, "interpolation": "bicubic", "padding": "edge"},
        (5, 6, 3),
    ),
    "subpixel_conv": (kc.SubPixelConv, {"filters": 4}, (5, 6, 3)),
    "subpixel_conv_smooth": (
        kc.SubPixelConv,
        {
            "filters": 2,
            "kernel_size": (1, 4),
            "size": (2, 3),
            "padding": "wrap",
            "channel_order": "crd",
            "smooth": True,
            "activation": "tanh",
            "kernel_initializer": "he_normal",
        },
        (5, 6, 3),
    ),
    "subpixel_conv_even": (
        kc.SubPixelConv,
        {
            "filters": 3,
            "kernel_size": (2, 3),
            "size": (2, 3),
            "even": True,
            "channel_order": "crd",
            "kernel_initializer": "glorot_normal",
            "bias_initializer": "random_normal",
        },
        (5, 6, 3),
    ),
    "even_conv_transpose": (
        kc.EvenConv2DTranspose,
        {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "border": "wrap"},
        (5, 6, 3),
    ),
    "even_conv_transpose_wide": (
        kc.EvenConv2DTranspose,
        {
            "filters": 2,
            "kernel_size": (5, 6),
            "strides": (1, 3),
            "output_padding": (0, 2),
            "order": 1,
            "activation": "tanh",
            "kernel_initializer": "he_normal",
            "bias_initializer": "ones",
            "kernel_regularizer": "l2",
        },
        (5, 6, 3),
    ),
    "nib": (kc.NIB, {"fixed": True, "seed": 1}, (5, 6, 3)),
    "nib_conv": (
        kc.NIB,
        {
            "filters": 5,
            "kernel_size": (3, 2),
            "mode": "concat",
            "noise_channels": None,
            "distribution": "blue",
            "fixed": True,
            "tile_size": 4,
            "seed": 1,
            "padding": "edge",
            "activation": "relu",
        },
        (5, 6, 3),
    ),
    "adaptive": (
        kc.AdaptiveAntiAlias,
        {"groups": 2, "gamma_initializer": "ones"},
        (5, 6, 4),
    ),
    "adaptive_joint": (
        kc.AdaptiveAntiAlias,
        {
            "kernel_size": (2, 5),
            "strides": (3, 1),
            "groups": 4,
            "normalization": "joint",
            "padding": "wrap",
            "batch_norm": False,
            "kernel_initializer": "he_normal",
            "beta_initializer": "zeros",
        },
        (5, 6, 4),
    ),
    "blur_pool": (kc.BlurPool2D, {}, (5, 6, 3)),
    "blur_pool_wide": (
        kc.BlurPool2D,
        {"kernel_size": (7, 1), "strides": (3, 2), "padding": "symmetric"},
        (5, 6, 3),
    ),
    "max_blur_pool": (kc.MaxBlurPool2D, {}, (5, 6, 3)),
    "max_blur_pool_wide": (
        kc.MaxBlurPool2D,
        {"pool_size": (3, 1), "kernel_size": 2, "strides": (1, 3), "padding": "edge"},
        (5, 6, 3),
    ),
    "padding": (kc.Padding2D, {}, (5, 6, 3)),
    "padding_uneven": (
        kc.Padding2D,
        {"padding": ((1, 2), (0, 3)), "mode": "wrap"},
        (5, 6, 3),
    ),
}

# Settings under which a circular shift by half an image of PERIOD pixels a side is a circular shift
# of the answer, in addition to a wrapped border.
PERIOD = 12
PERIODIC: dict[str, dict[str, Any]] = {
    "resize_conv": {"kernel_size": 5},
    "resize_conv_grouped": {},
    "resize_conv_exact": {"output_size": (14, 24)},
    "resize_conv_bicubic": {},
    "subpixel_conv": {},
    "subpixel_conv_smooth": {},
    "subpixel_conv_even": {},
    "even_conv_transpose": {},
    "nib": {"tile_size": 3},
    "nib_conv": {"tile_size": 3},
    "adaptive": {},
    "adaptive_joint": {},
    "blur_pool": {},
    "blur_pool_wide": {},
    "max_blur_pool": {"pool_size": 3},
    "max_blur_pool_wide": {},
    "padding": {},
    "padding_uneven": {},
}
