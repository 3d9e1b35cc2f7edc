"""Each check returns the standard form of what is good, and names what is bad."""

import json
from fractions import Fraction

import keras
import numpy as np
import pytest

from keras_cnnfix import checks


@pytest.mark.parametrize("value", [3, np.int64(3)])
def test_positive_int_returns_an_int(value):
    assert type(checks.positive_int("Layer", "filters", value)) is int


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None, np.nan])
def test_positive_int_refuses_the_rest(value):
    with pytest.raises(
        ValueError, match=r"Layer: `filters` must be an integer of at least 1\. Received: filters="
    ):
        checks.positive_int("Layer", "filters", value)


def test_positive_int_names_both_bounds():
    with pytest.raises(ValueError, match=r"`seed` must be .* at least 0 and at most 9\. .*seed=10"):
        checks.positive_int("Layer", "seed", 10, minimum=0, maximum=9)


@pytest.mark.parametrize(("value", "expected"), [(3, (3, 3)), ((1, 2), (1, 2)), ([4, 5], (4, 5))])
def test_pair_of_ints_returns_a_pair(value, expected):
    assert checks.pair_of_ints("Layer", "strides", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        0,
        (1, 0),
        (1, 2, 3),
        (1,),
        "22",
        2.5,
        None,
        (1, "2"),
        (True, 1),
        [],
        {},
        {1, 2},
        {1: 1, 2: 2},
        b"ab",
        bytearray(b"ab"),
        np.array(2),
        np.ones((2, 2), int),
        object(),
    ],
)
def test_pair_of_ints_refuses_the_rest(value):
    with pytest.raises(
        ValueError,
        match=r"Layer: `strides` must be an integer of at least 1, or a pair of them "
        r"\(height, width\)\. Received: strides=",
    ):
        checks.pair_of_ints("Layer", "strides", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, (2, 2)),
        (1.15, (Fraction(23, 20),) * 2),
        ((1.5, 3), (Fraction(3, 2), 3)),
        (np.float32(1.15), (Fraction(23, 20),) * 2),
        (2.0, (2, 2)),
        (Fraction(4, 3), (Fraction(4, 3),) * 2),
        ("4/3", (Fraction(4, 3),) * 2),
        (["7/3", 2], (Fraction(7, 3), 2)),
    ],
)
def test_pair_of_scales_reads_a_float_as_it_is_written(value, expected):
    assert checks.pair_of_scales("Layer", "size", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        0,
        -2,
        (2, 0.9),
        np.nan,
        np.inf,
        "2",
        "1/0",
        "3/4",
        "a/b",
        "2/",
        None,
        (1, 2, 3),
        True,
        Fraction(3, 4),
        {1, 2},
        {1: 2, 3: 4},
        b"ab",
        1j,
    ],
)
def test_pair_of_scales_refuses_the_rest(value):
    with pytest.raises(
        ValueError, match=r"Layer: `size` must be a number of at least 1, or a pair .* Use `output_"
    ):
        checks.pair_of_scales("Layer", "size", value)


@pytest.mark.parametrize("text", ["3/2", "4/3", "23/20", "5", "100000001/100000000", "1/1", "9/7"])
def test_a_scale_comes_back_from_a_config_exactly(text):
    scale = Fraction(text)
    kept = json.loads(json.dumps(checks.scale_for_config(scale)))
    assert checks.pair_of_scales("Layer", "size", kept) == (scale, scale)


@pytest.mark.parametrize(
    "check",
    [checks.pair_of_ints, checks.pair_of_scales, checks.pad_widths],
    ids=lambda check: check.__name__,
)
def test_sizes_beyond_32_bits_are_refused(check):
    with pytest.raises(
        ValueError, match=r"Layer: `x` .* and at most 32768.* Received: x=1099511627"
    ):
        check("Layer", "x", 2**40)
    check("Layer", "x", 2**15)
    with pytest.raises(ValueError, match=r"and at most 2147483647\. Received: x=2147483648"):
        checks.positive_int("Layer", "x", 2**31)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), (3, 0)), ((1, 2), (3, 0))),
        ([[1, 2], [3, 0]], ((1, 2), (3, 0))),
        (np.array([[1, 2], [3, 0]]), ((1, 2), (3, 0))),
    ],
)
def test_pad_widths_are_read_as_zero_padding_2d_does(value, expected):
    assert checks.pad_widths("Layer", "padding", value) == expected


@pytest.mark.parametrize(
    "value",
    [-1, (1, -1), ((1, 2), (3,)), (1, 2, 3, 4), 1.5, None, "11", {1, 2}, [{1, 2}, 1], np.ones(2)],
)
def test_pad_widths_refuse_the_rest(value):
    with pytest.raises(
        ValueError,
        match=r"Layer: `padding` must be an integer of at least 0, a pair \(height, width\), or "
        r"\(\(top, bottom\), \(left, right\)\)\. Received: padding=",
    ):
        checks.pad_widths("Layer", "padding", value)


@pytest.mark.parametrize("value", [0, 0.5, np.float32(2)])
def test_number_returns_a_float(value):
    number = checks.number("Layer", "stddev", value, minimum=0)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", [-0.1, np.inf, np.nan, "1", None, True])
def test_number_refuses_what_is_no_number_of_its_range(value):
    with pytest.raises(ValueError, match=r"`stddev` must be a number of at least 0\. Received: st"):
        checks.number("Layer", "stddev", value, minimum=0)


def test_a_number_above_its_range_is_told_the_bound():
    with pytest.raises(
        ValueError,
        match=r"Layer: `momentum` must be a number of at least 0 and at most 1\. Received: mom",
    ):
        checks.number("Layer", "momentum", 5, minimum=0, maximum=1)
    assert checks.number("Layer", "momentum", np.float32(1), minimum=0, maximum=1) == 1


@pytest.mark.parametrize("value", ["no", 0, 1, None, [], np.array(True), 1.0])
def test_boolean_refuses_what_python_would_take_as_one(value):
    with pytest.raises(
        ValueError, match=r"Layer: `smooth` must be True or False\. Received: smooth="
    ):
        checks.boolean("Layer", "smooth", value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_boolean_takes_those_of_numpy(value):
    assert checks.boolean("Layer", "smooth", value) is bool(value)


@pytest.mark.parametrize("kind", ["initializer", "regularizer", "constraint", "activation"])
@pytest.mark.parametrize("value", ["nonsense", 5, 1.5, [], b"zeros", {"a": 1}], ids=repr)
def test_what_keras_cannot_read_is_named(kind, value):
    name = kind if kind == "activation" else f"kernel_{kind}"
    with pytest.raises(
        ValueError,
        match=rf"Layer: `{name}` must be what keras\.{kind}s\.get takes: a name, a config, or an "
        rf"object\. Received: {name}=",
    ):
        checks.keras_object("Layer", name, value)


def test_what_keras_reads_is_returned():
    assert isinstance(
        checks.keras_object("Layer", "kernel_initializer", "ones"), keras.initializers.Ones
    )
    assert checks.keras_object("Layer", "activation", None) is keras.activations.linear
    assert checks.keras_object("Layer", "kernel_constraint", None) is None


@pytest.mark.parametrize("value", [3, "text", None, [np.ones(2)], (np.ones(2),) * 2, {}])
def test_tensor_refuses_what_is_not_one(value):
    with pytest.raises(
        ValueError,
        match=rf"Layer: `noise` must be one tensor or array\. Received: noise of type "
        rf"{type(value).__name__}\. Call the layer once for each, or join them",
    ):
        checks.tensor("Layer", value, "noise")


@pytest.mark.parametrize("value", ["same", "valid"])
def test_keras_names_of_paddings_get_a_hint(value):
    with pytest.raises(
        ValueError,
        match=rf"Layer: `padding` must be one of 'reflect', 'symmetric', 'edge', 'wrap', 'zeros'\. "
        rf"Received: padding='{value}'\. padding=\"zeros\" is what Keras calls \"same\"",
    ):
        checks.padding_mode("Layer", value)


@pytest.mark.parametrize("value", ["mirror", None, 1, ["zeros"], np.array([1, 2]), {}, b"zeros"])
def test_other_paddings_are_refused_without_a_hint(value):
    with pytest.raises(ValueError, match=r"Received: padding=[^.]*\.$"):
        checks.padding_mode("Layer", value)


def test_data_format_is_keras_own_by_default_and_is_checked():
    assert checks.data_format("Layer", None) == "channels_last"
    with pytest.raises(
        ValueError, match=r"`data_format` must be one of 'channels_last', 'channels_first'\. Rec"
    ):
        checks.data_format("Layer", "NHWC")


def test_divisible_offers_the_greatest_common_divisor():
    with pytest.raises(
        ValueError,
        match=r"Layer: the number of input channels must be a multiple of `groups`\. "
        r"Received: 12 channels, groups=8\. Use a divisor such as groups=4\.",
    ):
        checks.divisible_channels("Layer", 12, 8)
    checks.divisible_channels("Layer", None, 8)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "complex64"])
def test_floating_refuses_integers(dtype):
    with pytest.raises(
        ValueError,
        match=rf"Layer: `inputs` must be floating point\. Received: dtype='{dtype}'\. Convert firs",
    ):
        checks.floating("Layer", dtype)
    if dtype != "complex64":
        checks.floating("Layer", dtype, or_integers=True)


@pytest.mark.parametrize("array", [np.array("text"), np.array([{}]), np.ones(2, complex)])
def test_what_is_no_number_is_refused_where_integers_are_taken(array):
    with pytest.raises(
        ValueError, match=r"Layer: `inputs` must be floating point or integers\. Received: dtype='"
    ):
        checks.floating("Layer", array.dtype, or_integers=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_takes_every_float(dtype):
    checks.floating("Layer", dtype)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4,), (1, 2, 3, 4, 5), (), None])
def test_image_batch_wants_four_axes(shape):
    with pytest.raises(ValueError, match=r"Layer: `inputs` must have 4 dimensions .* Received: sh"):
        checks.image_batch("Layer", shape)


def test_image_batch_refuses_empty_images_and_takes_empty_batches():
    with pytest.raises(ValueError, match=r"at least 1 pixel a side and 1 channel\. Rec"):
        checks.image_batch("Layer", (1, 0, 4, 3))
    assert checks.image_batch("Layer", [0, 4, None, 3]) == (0, 4, None, 3)
