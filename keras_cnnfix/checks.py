"""Argument checks: each returns the value in its standard form, or raises one `ValueError`.

Every message reads ``Owner: `arg` must RULE. Received: arg=value. WAY OUT.`` and is the same on
every backend, because it is raised before a backend sees the value. `owner` is the class or the
function that the user called.
"""

import math
from fractions import Fraction
from numbers import Integral, Real

import keras

PADDING_MODES = ("reflect", "symmetric", "edge", "wrap", "zeros")
DATA_FORMATS = ("channels_last", "channels_first")


def positive_int(owner, name, value, minimum=1, maximum=None):
    """Returns `value` as an int of at least `minimum`, and at most `maximum` where it is given."""
    if not _is_int(value) or value < minimum or (maximum is not None and value > maximum):
        bound = "" if maximum is None else f" and at most {maximum}"
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least {minimum}{bound}. "
            f"Received: {name}={value!r}."
        )
    return int(value)


def pair_of_ints(owner, name, value, minimum=1):
    """Returns `value`, an int or a pair of ints, as a pair of ints of at least `minimum`."""
    pair = _pair(value)
    if pair is None or not all(_is_int(v) and v >= minimum for v in pair):
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least {minimum}, or a pair of them "
            f"(height, width). Received: {name}={value!r}."
        )
    return tuple(int(v) for v in pair)


def pair_of_scales(owner, name, value):
    """Returns `value`, a number or a pair of numbers of at least 1, as a pair of `Fraction`.

    A float stands for the decimal number that it is written as: 1.15 is 23/20, which the binary
    value of the float is not.
    """
    pair = _pair(value)
    if pair is not None and all(_is_scale(v) for v in pair):
        return tuple(Fraction(str(v)) for v in pair)
    raise ValueError(
        f"{owner}: `{name}` must be a number of at least 1, or a pair of them (height, width). "
        f"Received: {name}={value!r}. Use `output_size` for an exact target of any size."
    )


def pad_widths(owner, name, value):
    """Returns `value` as ((top, bottom), (left, right)), from an int, a pair, or two pairs."""
    rows = _pair(value)
    pairs = None if rows is None else tuple(_pair(v) for v in rows)
    if (
        pairs is None
        or any(pair is None for pair in pairs)
        or not all(_is_int(v) and v >= 0 for pair in pairs for v in pair)
    ):
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least 0, a pair (height, width), or "
            f"((top, bottom), (left, right)). Received: {name}={value!r}."
        )
    return tuple(tuple(int(v) for v in pair) for pair in pairs)


def number(owner, name, value, minimum):
    """Returns `value` as a finite float of at least `minimum`."""
    if not _is_real(value) or not minimum <= value < float("inf"):
        raise ValueError(
            f"{owner}: `{name}` must be a number of at least {minimum}. Received: {name}={value!r}."
        )
    return float(value)


def one_of(owner, name, value, choices, way_out=""):
    """Returns `value` if it is one of the strings `choices`."""
    if not isinstance(value, str) or value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"{owner}: `{name}` must be one of {allowed}. Received: {name}={value!r}.{way_out}"
        )
    return value


def padding_mode(owner, value, name="padding"):
    """Returns `value` if it is one of `PADDING_MODES`."""
    way_out = ""
    if value in ("same", "valid"):
        way_out = f' {name}="zeros" is what Keras calls "same" at stride 1.'
    return one_of(owner, name, value, PADDING_MODES, way_out)


def data_format(owner, value):
    """Returns `value`, or Keras's configured image data format where it is None."""
    if value is None:
        return keras.config.image_data_format()
    return one_of(owner, "data_format", value, DATA_FORMATS)


def divisible(owner, what, count, received, groups):
    """Raises unless `groups` divides `count`; the message offers the largest that both share."""
    if count % groups:
        raise ValueError(
            f"{owner}: {what} must be a multiple of `groups`. Received: {received}, "
            f"groups={groups}. Use a divisor such as groups={math.gcd(count, groups)}."
        )


def divisible_channels(owner, channels, groups):
    """Raises unless `groups` divides the number of input channels, where that is known."""
    if channels is not None:
        divisible(owner, "the number of input channels", channels, f"{channels} channels", groups)


def floating(owner, dtype, name="inputs"):
    """Raises unless `dtype`, a dtype or its name, is a floating type."""
    dtype = keras.backend.standardize_dtype(dtype)
    if "float" not in dtype:
        raise ValueError(
            f"{owner}: `{name}` must be floating point. Received: dtype={dtype!r}. "
            f"Convert first, for example with keras.ops.cast(images, 'float32') / 255."
        )


def image_batch(owner, shape, name="inputs"):
    """Returns `shape` as a tuple, if it is that of a batch of images with no empty side."""
    shape = tuple(shape)
    if len(shape) != 4:
        raise ValueError(
            f"{owner}: `{name}` must have 4 dimensions (batch, height, width and channels, in the "
            f"order of `data_format`). Received: shape={shape}. One image becomes a batch with "
            f"keras.ops.expand_dims(image, 0)."
        )
    if any(isinstance(n, int) and n < 1 for n in shape[1:]):
        raise ValueError(
            f"{owner}: `{name}` must have at least 1 pixel a side and 1 channel. "
            f"Received: shape={shape}."
        )
    return shape


def border(owner, sizes, pads, mode, name="padding"):
    """Raises where a border is deeper than the image that it is taken from.

    Reflection leaves the outermost pixel out, so it needs one pixel more than it adds; symmetric
    and wrap need as many. Edge and zeros always fit. An unknown size (None, or a tensor) passes.

    Args:
        sizes: Height and width, in pixels, of the image that is padded.
        pads: ((top, bottom), (left, right)), in pixels.
    """
    spare = {"reflect": 1, "symmetric": 0, "wrap": 0}.get(mode)
    if spare is None:
        return
    for side, n, pad in zip(("height", "width"), sizes, pads, strict=True):
        deepest = max(pad)
        if deepest > 0 and isinstance(n, int) and deepest + spare > n:
            raise ValueError(
                f"{owner}: `{name}` must fit the image: a {mode!r} border of {deepest} pixels "
                f"needs a {side} of at least {deepest + spare}. Received: {name}={mode!r}, "
                f"{side}={n}. Use a smaller kernel or border, {name}='edge' or 'zeros', or a "
                f"larger image."
            )


def _is_int(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_scale(value):
    # A `Fraction` has no decimal text to be kept in a config.
    return _is_real(value) and not isinstance(value, Fraction) and 1 <= value < float("inf")


def _pair(value):
    """`value` twice if it is a number, `value` as a tuple if it has two items, otherwise None."""
    if _is_real(value):
        return (value, value)
    if isinstance(value, (str, bytes)):
        return None
    try:
        pair = tuple(value)
    except TypeError:
        return None
    return pair if len(pair) == 2 else None
