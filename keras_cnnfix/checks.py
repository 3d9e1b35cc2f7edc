"""Argument checks: each returns the value in its standard form, or raises one `ValueError`.

Every message reads ``Owner: `arg` must RULE. Received: arg=value. WAY OUT.`` and is the same on
every backend, because it is raised before a backend sees the value. `owner` is the class or the
function that the user called.
"""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, TypeVar, get_args

import keras
import numpy as np

from keras_cnnfix.typing import DataFormat, DType, Padding, Pads, Shape, Sizes

PADDING_MODES: tuple[Padding, ...] = get_args(Padding)
DATA_FORMATS: tuple[DataFormat, ...] = get_args(DataFormat)

Choice = TypeVar("Choice", bound=str)

# Beyond these the backends' 32-bit sizes overflow, some of them without a word.
MOST = 2**31 - 1
MOST_PIXELS = 2**15


def positive_int(owner: str, name: str, value: Any, minimum: int = 1, maximum: int = MOST) -> int:
    """Returns `value` as an int of at least `minimum` and at most `maximum`."""
    if not _is_int(value) or not minimum <= value <= maximum:
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least {minimum}"
            f"{_bound([value], maximum)}. Received: {name}={value!r}."
        )
    return int(value)


def pair_of_ints(owner: str, name: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """Returns `value`, an int or a pair of ints, as a pair of ints of at least `minimum`."""
    pair = _pair(value)
    if pair is None or not all(_is_int(v) and minimum <= v <= MOST_PIXELS for v in pair):
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least {minimum}"
            f"{_bound(pair or (), MOST_PIXELS)}, or a pair of them (height, width). "
            f"Received: {name}={value!r}."
        )
    return tuple(int(v) for v in pair)  # type: ignore[return-value]


def pair_of_scales(owner: str, name: str, value: Any) -> tuple[Fraction, Fraction]:
    """Returns `value`, a number or a pair of numbers of at least 1, as a pair of `Fraction`.

    A float stands for the decimal number that it is written as: 1.15 is 23/20, which the binary
    value of the float is not. A text such as "4/3" stands for a fraction, as in a config.
    """
    pair = _pair((value, value) if isinstance(value, str) else value)
    scales: Any = () if pair is None else tuple(_scale(v) for v in pair)
    if scales and all(s is not None and 1 <= s <= MOST_PIXELS for s in scales):
        return scales
    raise ValueError(
        f"{owner}: `{name}` must be a number of at least 1{_bound(pair or (), MOST_PIXELS)}, or "
        f"a pair of them (height, width). Received: {name}={value!r}. Use `output_size` for an "
        f"exact target of any size."
    )


def scale_for_config(scale: Fraction) -> int | float | str:
    """`scale`, a `Fraction`, as what JSON can hold and `pair_of_scales` reads as the same."""
    if scale.denominator == 1:
        return scale.numerator
    decimal = float(scale)
    return decimal if Fraction(str(decimal)) == scale else str(scale)


def pad_widths(owner: str, name: str, value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns `value` as ((top, bottom), (left, right)), from an int, a pair, or two pairs."""
    rows = _pair(value)
    pairs: list[Any] = [_pair(v) for v in rows or ()]
    values = [v for pair in pairs for v in pair or ()]
    if len(values) != 4 or not all(_is_int(v) and 0 <= v <= MOST_PIXELS for v in values):
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least 0{_bound(values, MOST_PIXELS)}, a "
            f"pair (height, width), or ((top, bottom), (left, right)). Received: {name}={value!r}."
        )
    return tuple(tuple(int(v) for v in pair) for pair in pairs)  # type: ignore[return-value]


def number(owner: str, name: str, value: Any, minimum: float, maximum: float = MOST) -> float:
    """Returns `value` as a float of at least `minimum` and at most `maximum`."""
    if not _is_real(value) or not minimum <= value <= maximum:
        raise ValueError(
            f"{owner}: `{name}` must be a number of at least {minimum}{_bound([value], maximum)}. "
            f"Received: {name}={value!r}."
        )
    return float(value)


def boolean(owner: str, name: str, value: Any) -> bool:
    """Returns `value` as a bool, if it is one of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{owner}: `{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def keras_object(owner: str, name: str, value: Any) -> Any:
    """Returns the initializer, regularizer, constraint or activation that Keras reads `value` as.

    Args:
        name: Of the argument; its last word says which of them it is.
    """
    cause: Exception | None = None
    home = f"{name.split('_')[-1]}s"
    try:
        found = getattr(keras, home).get(value)
        if found is None or callable(found):
            return found
    except Exception as error:  # Of as many kinds as there are kinds of `value`.
        cause = error
    raise ValueError(
        f"{owner}: `{name}` must be what keras.{home}.get takes: a name, a config, or an object. "
        f"Received: {name}={value!r}."
    ) from cause


def tensor(owner: str, value: Any, name: str = "inputs") -> None:
    """Raises unless `value` is one tensor or array of numbers, or a symbolic one."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ValueError(
            f"{owner}: `{name}` must be one tensor or array. Received: {name} of type "
            f"{type(value).__name__}. Call the layer once for each, or join them, for example with "
            f"keras.ops.concatenate."
        )


def one_of(
    owner: str, name: str, value: Any, choices: tuple[Choice, ...], way_out: str = ""
) -> Choice:
    """Returns `value` if it is one of the strings `choices`."""
    if not isinstance(value, str) or value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"{owner}: `{name}` must be one of {allowed}. Received: {name}={value!r}.{way_out}"
        )
    return value


def padding_mode(owner: str, value: Any, name: str = "padding") -> Padding:
    """Returns `value` if it is one of `PADDING_MODES`."""
    way_out = ""
    if isinstance(value, str) and value in ("same", "valid"):
        way_out = f' {name}="zeros" is what Keras calls "same" at stride 1.'
    return one_of(owner, name, value, PADDING_MODES, way_out)


def data_format(owner: str, value: Any) -> DataFormat:
    """Returns `value`, or Keras's configured image data format where it is None."""
    if value is None:
        return keras.config.image_data_format()
    return one_of(owner, "data_format", value, DATA_FORMATS)


def divisible(owner: str, what: str, count: int, received: str, groups: int) -> None:
    """Raises unless `groups` divides `count`; the message offers the largest that both share."""
    if count % groups:
        raise ValueError(
            f"{owner}: {what} must be a multiple of `groups`. Received: {received}, "
            f"groups={groups}. Use a divisor such as groups={math.gcd(count, groups)}."
        )


def divisible_channels(owner: str, channels: int | None, groups: int) -> None:
    """Raises unless `groups` divides the number of input channels, where that is known."""
    if channels is not None:
        divisible(owner, "the number of input channels", channels, f"{channels} channels", groups)


def floating(owner: str, dtype: DType, name: str = "inputs", or_integers: bool = False) -> None:
    """Raises unless `dtype`, a dtype or its name, is a floating type, or with `or_integers` one of
    integers or bool.
    """
    try:
        dtype = keras.backend.standardize_dtype(dtype)
    except ValueError:
        dtype = str(dtype)  # Of text or objects, in a NumPy array.
    rule, kinds = "floating point", ["float"]
    if or_integers:
        rule, kinds = "floating point or integers", ["float", "int", "bool"]
    if not any(kind in dtype for kind in kinds):
        raise ValueError(
            f"{owner}: `{name}` must be {rule}. Received: dtype={dtype!r}. "
            f"Convert first, for example with keras.ops.cast(images, 'float32') / 255."
        )


def image_batch(owner: str, shape: Any, name: str = "inputs") -> Shape:
    """Returns `shape` as a tuple, if it is that of a batch of images with no empty side."""
    with contextlib.suppress(TypeError, ValueError):  # Of unknown rank, on TensorFlow.
        shape = tuple(shape)
    if not isinstance(shape, tuple) or len(shape) != 4:
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


def border_rules(
    owner: str, pads: Pads, mode: Padding, name: str = "padding"
) -> list[tuple[int, str]]:
    """What a border that is taken from an image asks of the image.

    Reflection leaves the outermost pixel out, so it needs one pixel more than it adds; symmetric
    and wrap need as many. Edge and zeros always fit.

    Args:
        pads: ((top, bottom), (left, right)), in pixels.
        mode: One of `PADDING_MODES`.
        name: Of the argument that chose the mode.

    Returns:
        For height and width: the least number of pixels, and the message where there are fewer,
        with `{received}` for their number.
    """
    spare = {"reflect": 1, "symmetric": 0, "wrap": 0}.get(mode)
    rules = []
    for side, deepest in zip(("height", "width"), map(max, pads), strict=True):
        least = 0 if spare is None or not deepest else deepest + spare
        message = (
            f"{owner}: `{name}` must fit the image: a {mode!r} border of {deepest} pixels needs a "
            f"{side} of at least {least}. Received: {name}={mode!r}, {side}={{received}}. Use a "
            f"smaller kernel or border, {name}='edge' or 'zeros', or a larger image."
        )
        rules.append((least, message))
    return rules


def border(owner: str, sizes: Sizes, pads: Pads, mode: Padding, name: str = "padding") -> None:
    """Raises where a border is deeper than the image that it is taken from.

    Args:
        sizes: As `size` takes them.
        pads, mode, name: As `border_rules` takes them.
    """
    size(sizes, border_rules(owner, pads, mode, name))


def size(sizes: Sizes, rules: Sequence[tuple[int, str]]) -> None:
    """Raises where an image is smaller than its rules allow.

    An unknown size (None, or a tensor) passes here: a graph asserts it when it runs.

    Args:
        sizes: Height and width, in pixels.
        rules: For height and width, as `border_rules` returns them.
    """
    for n, (least, message) in zip(sizes, rules, strict=True):
        if isinstance(n, int) and n < least:
            raise ValueError(message.format(received=n))


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _bound(values: Iterable[Any], maximum: float) -> str:
    """The upper bound in a message: for those who crossed it."""
    crossed = any(_is_real(v) and maximum < v < float("inf") for v in values)
    return f" and at most {maximum}" if crossed else ""


def _scale(value: Any) -> Fraction | None:
    """`value` as a `Fraction`, or None."""
    if isinstance(value, str) and "/" not in value:
        return None
    if not isinstance(value, str) and not _is_real(value):
        return None
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        return None


def _pair(value: Any) -> tuple[Any, ...] | None:
    """`value` twice if it is a number, `value` as a tuple if it has two items, otherwise None."""
    if _is_real(value):
        return (value, value)
    # Sets and the keys of dicts have no order, text and bytes no numbers.
    if isinstance(value, (str, bytes, bytearray, Set, Mapping)):
        return None
    try:
        pair = tuple(value)
    except TypeError:
        return None
    return pair if len(pair) == 2 else None
