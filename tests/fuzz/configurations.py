"""What is drawn: a layer with all its arguments, and images for it; valid, or wrong in some way.

`refused` says from the documentation alone, without the package, whether a layer must refuse.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np
from hypothesis import strategies as st

import keras_cnnfix as kc

MODES = ("reflect", "symmetric", "edge", "wrap", "zeros")
FORMATS = ("channels_last", "channels_first")
DTYPES = ["float32"] * 4 + ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]
if keras.backend.backend() != "jax":  # Which has no float64 unless it is told to.
    DTYPES.append("float64")


class Configuration(NamedTuple):
    """A layer, its arguments, and the images (N, H, W, C) that it is called with."""

    layer: type
    settings: dict[str, Any]
    images: tuple[int, int, int, int]

    @property
    def name(self):
        return self.layer.__name__


def _or_pair(values):
    return st.one_of(values, st.tuples(values, values), st.lists(values, min_size=2, max_size=2))


_side = st.one_of(st.integers(1, 9), st.sampled_from([1, 2, 3, 11, 13, 17, 23]))
_small = st.tuples(st.sampled_from([1, 2, 3, 1, 0]), _side, _side, st.integers(1, 8))
_wide = st.tuples(st.just(1), st.integers(1, 4), st.integers(1, 4), st.sampled_from([37, 1000]))
IMAGES = st.one_of(_small, _small, _small, _small, _wide)

MODE = st.sampled_from(MODES)
TAPS = _or_pair(st.integers(1, 7))
STEPS = _or_pair(st.integers(1, 4))
COUNT = st.integers(1, 6)
FLAG = st.booleans()
SCALE = st.one_of(
    st.integers(1, 4),
    st.sampled_from([1.0, 1.15, 1.5, 2.5, 2**0.5, 10 / 3, "4/3", Fraction(5, 3), np.float32(2)]),
)
CONV: dict[str, Any] = {
    "kernel_size": TAPS,
    "padding": MODE,
    "activation": st.sampled_from([None, "relu", "tanh", "gelu", "linear"]),
    "use_bias": FLAG,
    "kernel_initializer": st.sampled_from(
        ["glorot_uniform", "he_normal", "random_normal", "zeros"]
    ),
    "bias_initializer": st.sampled_from(["zeros", "ones", "random_normal"]),
    "kernel_regularizer": st.sampled_from([None, "l2"]),
    "bias_constraint": st.sampled_from([None, "non_neg"]),
}
# Layer -> argument -> what it is drawn from. Each is given or left at its default.
ARGUMENTS: dict[type, dict[str, Any]] = {
    kc.ResizeConv2D: {
        **CONV,
        "filters": COUNT,
        "size": _or_pair(SCALE),
        "output_size": st.one_of(st.none(), _or_pair(st.integers(1, 30))),
        "interpolation": st.sampled_from(["nearest", "nearest", "bilinear", "bicubic"]),
        "groups": st.sampled_from([1, 1, 1, 2, 3, 4]),
        "implementation": st.sampled_from(["auto", "auto", "plain", "polyphase"]),
    },
    kc.SubPixelConv: {
        **CONV,
        "filters": COUNT,
        "size": STEPS,
        "channel_order": st.sampled_from(["dcr", "crd"]),
        "smooth": FLAG,
        "even": FLAG,
    },
    kc.EvenConv2DTranspose: {
        **CONV,
        "filters": COUNT,
        "strides": STEPS,
        "padding": st.sampled_from(["same", "same", "valid"]),
        "output_padding": st.one_of(st.none(), st.none(), _or_pair(st.integers(0, 3))),
        "border": st.one_of(st.just("zeros"), MODE),
        "order": st.sampled_from([0, 0, 1]),
    },
    kc.NIB: {
        **CONV,
        "filters": st.one_of(st.none(), COUNT),
        "mode": st.sampled_from(["symmetric", "concat"]),
        "stddev": st.sampled_from([0, 0.3, 2.5]),
        "noise_channels": st.sampled_from([None, 1, 1, 2, 3]),
        "distribution": st.sampled_from(["normal", "uniform", "blue"]),
        "fixed": FLAG,
        "tile_size": st.integers(1, 9),
        "seed": st.sampled_from([None, 0, 7, 2**32 - 1]),
        "preserve_input": FLAG,
    },
    kc.AdaptiveAntiAlias: {
        "kernel_size": _or_pair(st.integers(1, 5)),
        "strides": STEPS,
        "groups": st.sampled_from([1, 1, 2, 3, 8]),
        "normalization": st.sampled_from(["group", "joint"]),
        "padding": MODE,
        "batch_norm": FLAG,
        "momentum": st.sampled_from([0, 0.9, 1.0]),
        "epsilon": st.sampled_from([1e-5, 1e-3]),
        "gamma_initializer": st.sampled_from(["zeros", "ones"]),
        "beta_initializer": st.sampled_from(["binomial", "zeros"]),
        "kernel_initializer": st.sampled_from([None, "he_normal"]),
    },
    kc.BlurPool2D: {"kernel_size": TAPS, "strides": STEPS, "padding": MODE},
    kc.MaxBlurPool2D: {"pool_size": STEPS, "kernel_size": TAPS, "strides": STEPS, "padding": MODE},
    kc.Padding2D: {
        "padding": st.one_of(
            _or_pair(st.integers(0, 5)),
            st.tuples(*(st.tuples(st.integers(0, 5), st.integers(0, 5)),) * 2),
        ),
        "mode": MODE,
    },
}
LAYERS = sorted(ARGUMENTS, key=lambda layer: layer.__name__)
REQUIRED: dict[type, dict[str, Any]] = {
    kc.ResizeConv2D: {"filters": 4},
    kc.SubPixelConv: {"filters": 4},
    kc.EvenConv2DTranspose: {"filters": 4, "kernel_size": 3},
}
COMMON: dict[str, Any] = {
    "data_format": st.sampled_from(FORMATS),
    "dtype": st.sampled_from(DTYPES),
    "trainable": st.sampled_from([True, True, False]),
    "activity_regularizer": st.sampled_from([None, None, "l2"]),
}


@st.composite
def configurations(draw, layer):
    """Any `Configuration` of `layer`: most are valid, some ask for what does not go together."""
    arguments = {**ARGUMENTS[layer], **COMMON}
    required = {*REQUIRED.get(layer, ()), "data_format", "dtype"}
    names = [name for name in arguments if name in required or draw(FLAG)]
    settings = {name: draw(arguments[name]) for name in names}
    images = draw(IMAGES)
    if draw(st.integers(0, 3)):  # What most people would give.
        if settings.get("output_size") is not None:
            settings.pop("size", None)
        if "groups" in settings or layer is kc.AdaptiveAntiAlias:
            shares = math.gcd(images[3], settings.get("filters", images[3]))
            settings["groups"] = draw(st.sampled_from([g for g in range(1, 9) if shares % g == 0]))
        if settings.get("distribution") == "blue":
            settings.update(fixed=True, tile_size=draw(st.integers(2, 9)))
        if layer is kc.EvenConv2DTranspose:
            settings["kernel_size"] = tuple(
                k + (2 if settings.get("order") else 1) * (s - 1)
                for k, s in zip(
                    pair(settings["kernel_size"]), pair(settings.get("strides", 1)), strict=True
                )
            )
            if settings.get("padding", "valid") == "valid":
                settings.pop("border", None)
    return Configuration(layer, settings, images)


def pair(value: Any) -> Any:
    """`value` twice, unless it is two already."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def default(configuration: Configuration, name: str) -> Any:
    """The value of the argument, by the documentation where it was not drawn."""
    return configuration.settings.get(name, DEFAULTS[configuration.layer].get(name))


DEFAULTS: dict[type, dict[str, Any]] = {
    kc.ResizeConv2D: {"kernel_size": 3, "size": 2, "interpolation": "nearest", "groups": 1},
    kc.SubPixelConv: {"kernel_size": 3, "size": 2, "channel_order": "dcr"},
    kc.EvenConv2DTranspose: {"strides": 1, "padding": "valid", "border": "zeros", "order": 0},
    kc.NIB: {
        "kernel_size": 3,
        "mode": "symmetric",
        "noise_channels": 1,
        "distribution": "normal",
        "tile_size": 128,
    },
    kc.AdaptiveAntiAlias: {"kernel_size": 3, "strides": 2, "groups": 8, "normalization": "group"},
    kc.BlurPool2D: {"kernel_size": 4, "strides": 2},
    kc.MaxBlurPool2D: {"pool_size": 2, "kernel_size": 3, "strides": 2},
    kc.Padding2D: {"padding": 1, "mode": "reflect"},
}
for _layer in DEFAULTS:
    DEFAULTS[_layer].setdefault("padding", "reflect")


def sides(taps):
    return (taps - 1) // 2, taps // 2


def scales(configuration):
    """The factors of a `ResizeConv2D`: of the decimal number that a float is written as."""
    return tuple(Fraction(str(s)) for s in pair(default(configuration, "size")))


def resized(configuration):
    size = configuration.images[1:3]
    if configuration.settings.get("output_size") is not None:
        return pair(configuration.settings["output_size"])
    return tuple(math.floor(n * s) for n, s in zip(size, scales(configuration), strict=True))


def output_images(configuration):
    """The shape (N, H, W, C) of the answer, by the documentation of the layer."""
    layer, settings, (n, *size, channels) = configuration
    out, filters = tuple(size), settings.get("filters", channels)
    if layer is kc.ResizeConv2D:
        out = resized(configuration)
    elif layer is kc.SubPixelConv:
        out = tuple(n * s for n, s in zip(size, pair(default(configuration, "size")), strict=True))
    elif layer is kc.EvenConv2DTranspose:
        twin = keras.layers.Conv2DTranspose(
            **{k: settings[k] for k in TRANSPOSED if k in settings}, data_format=FORMATS[0]
        )
        out = twin.compute_output_shape(configuration.images)[1:3]
    elif layer is kc.NIB and settings.get("filters") is None:
        extra = default(configuration, "noise_channels") or channels
        filters = channels + (channels if default(configuration, "mode") == "symmetric" else extra)
    elif layer is kc.Padding2D:
        out = tuple(n + sum(p) for n, p in zip(size, _widths(configuration), strict=True))
    elif "strides" in DEFAULTS[layer]:
        steps = pair(default(configuration, "strides"))
        out = tuple(-(-n // s) for n, s in zip(size, steps, strict=True))
    return (n, *out, filters)


TRANSPOSED = ("filters", "kernel_size", "strides", "padding", "output_padding")


def _widths(configuration):
    rows = pair(default(configuration, "padding"))
    return tuple(pair(row) for row in rows)


def _too_deep(size, widths, mode):
    """Whether the border `widths`, in pixels, is deeper than an image of `size`."""
    if mode in ("edge", "zeros"):
        return False
    return any(
        max(width) and max(width) + (mode == "reflect") > n
        for n, width in zip(size, widths, strict=True)
    )


def refused(configuration):
    """Why the layer must refuse, or None."""
    layer, settings, (_, *size, channels) = configuration
    mode = default(configuration, "padding")
    taps = pair(default(configuration, "kernel_size") or 1)
    if layer is kc.ResizeConv2D:
        factors, groups = scales(configuration), default(configuration, "groups")
        exact = settings.get("output_size") is not None
        if exact and factors != (2, 2):
            return "size and output_size"
        if settings["filters"] % groups or channels % groups:
            return "groups"
        if settings.get("implementation") == "polyphase" and (
            exact
            or any(factor.denominator > 1 for factor in factors)
            or settings.get("interpolation") == "bicubic"
        ):
            return "no polyphase form"
        size = resized(configuration)
    elif layer is kc.EvenConv2DTranspose:
        steps, order = pair(default(configuration, "strides")), default(configuration, "order")
        added = settings.get("output_padding")
        if added is not None and any(a >= s for a, s in zip(pair(added), steps, strict=True)):
            return "output_padding"
        least = (2 * s - 1 if order else s for s in steps)
        if any(k < n for k, n in zip(taps, least, strict=True)):
            return "too few taps"
        if mode == "valid" and default(configuration, "border") != "zeros":
            return "a border that is not read"
        if any(n < 1 for n in output_images(configuration)[1:3]):
            return "nothing is left"
        widths = _reach(configuration)
        return "border" if _too_deep(size, widths, default(configuration, "border")) else None
    elif layer is kc.NIB:
        blue = default(configuration, "distribution") == "blue"
        if blue and (not settings.get("fixed") or default(configuration, "tile_size") < 2):
            return "blue noise"
        if default(configuration, "mode") == "symmetric" and default(
            configuration, "noise_channels"
        ) not in (None, 1, channels):
            return "noise_channels"
        if settings.get("filters") is None:
            return None
    elif layer is kc.AdaptiveAntiAlias:
        if channels % default(configuration, "groups"):
            return "groups"
    elif layer is kc.Padding2D:
        deep = _too_deep(size, _widths(configuration), default(configuration, "mode"))
        return "border" if deep else None
    elif layer is kc.MaxBlurPool2D and mode == "wrap":
        window = [sides(k) for k in pair(default(configuration, "pool_size"))]
        if _too_deep(size, window, mode):
            return "window"
    return "border" if _too_deep(size, [sides(k) for k in taps], mode) else None


def _reach(configuration):
    """How far a transposed convolution reads beyond its images, at the start and the end.

    Pixel `o` of the result is reached by tap `o + left_out - s * m` of pixel `m`.
    """
    taps = pair(configuration.settings["kernel_size"])
    steps = pair(default(configuration, "strides"))
    inputs, outputs = configuration.images[1:3], output_images(configuration)[1:3]
    reach = []
    for k, s, n, out in zip(taps, steps, inputs, outputs, strict=True):
        whole = (n - 1) * s + k
        left_out = 0 if default(configuration, "padding") == "valid" else (whole - out) // 2
        first = math.ceil(Fraction(left_out - k + 1, s))
        last = (out - 1 + left_out) // s
        reach.append((max(0, -first), max(0, last - (n - 1))))
    return reach


_NOT_COUNTS = [0, -1, 2.5, "3", True, float("nan"), 2**31, (1, 2, 3), {2}, b"2", object()]
_NOT_PAIRS = [0, -1, 2.5, "3", True, float("inf"), (1, 2, 3), (2, 0), (2, "x"), {2, 3}, {2: 2}, ()]
_NOT_SCALES = [0, 0.5, -2, "x", "1/0", True, float("nan"), float("inf"), (2, None), 2**16, 2j]
_NOT_NAMES = ["no such", 3, None, b"zeros", ["zeros"], True]
_NOT_FLAGS = ["no", 2, None, 0.0, []]
_NOT_OBJECTS = ["no such", 3, ["l2"], {"class_name": "no such", "config": {}}]
# Argument -> values that no layer takes.
WRONG: dict[str, list[Any]] = {
    "filters": [*_NOT_COUNTS],
    "groups": [*_NOT_COUNTS, None],
    "kernel_size": [*_NOT_PAIRS, None],
    "strides": [*_NOT_PAIRS, None],
    "pool_size": [*_NOT_PAIRS, None],
    "output_size": _NOT_PAIRS,
    "output_padding": [-1, 2.5, "3", True, (0, 0, 0), {0, 1}],
    "size": [*_NOT_SCALES, None],
    "padding": ["no such", b"zeros", True, None, [], "REFLECT"],
    "interpolation": _NOT_NAMES,
    "implementation": _NOT_NAMES,
    "channel_order": _NOT_NAMES,
    "border": [*_NOT_NAMES, "same"],
    "mode": _NOT_NAMES,
    "distribution": _NOT_NAMES,
    "normalization": _NOT_NAMES,
    "data_format": ["no such", 3, b"channels_last", True],
    "smooth": _NOT_FLAGS,
    "even": _NOT_FLAGS,
    "fixed": _NOT_FLAGS,
    "use_bias": _NOT_FLAGS,
    "preserve_input": _NOT_FLAGS,
    "batch_norm": _NOT_FLAGS,
    "order": [2, -1, "0", True, None, 0.5],
    "dilation_rate": [2, (1, 2), *_NOT_PAIRS],
    "noise_channels": _NOT_COUNTS,
    "tile_size": [*_NOT_COUNTS, None],
    "stddev": [-0.1, float("nan"), float("inf"), "1", None, True, (1,), 1j],
    "momentum": [-0.1, 1.5, float("nan"), "0.9", None],
    "epsilon": [-1e-3, float("nan"), "x", None],
    "seed": [-1, 2**32, 0.5, "1", True],
    "activation": _NOT_OBJECTS,
    "kernel_initializer": _NOT_OBJECTS,
    "bias_initializer": _NOT_OBJECTS,
    "gamma_initializer": _NOT_OBJECTS,
    "beta_initializer": _NOT_OBJECTS,
    "kernel_regularizer": _NOT_OBJECTS,
    "activity_regularizer": _NOT_OBJECTS,
    "bias_constraint": _NOT_OBJECTS,
}
WRONG_INPUTS: list[Any] = [
    None,
    3.0,
    "image",
    [[1.0]],
    np.ones((4, 4, 2), "float32"),
    np.ones((1, 1, 4, 4, 2), "float32"),
    np.ones((), "float32"),
    np.ones((1, 0, 4, 2), "float32"),
    np.ones((1, 4, 4, 0), "float32"),
    np.ones((1, 4, 4, 2), "complex64"),
    np.full((1, 4, 4, 2), "x"),
    [np.ones((1, 4, 4, 2), "float32")] * 2,
    {"x": np.ones((1, 4, 4, 2), "float32")},
]


def wrong_values(layer):
    """Every (argument, value) that `layer` must refuse."""
    for name in [*ARGUMENTS[layer], *COMMON]:
        values = WRONG_WIDTHS if (layer, name) == (kc.Padding2D, "padding") else WRONG.get(name, ())
        yield from ((name, value) for value in values)


WRONG_WIDTHS = [-1, 1.5, "1", None, True, (1,), ((1, 2), 3, 4), ((1, -1), (0, 0)), {1}, 2**16]
