from collections.abc import Callable
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from images import apply, assert_close, gradients, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops import backend, resize_conv
from keras_cnnfix.ops.resize_conv import fastest_form, resize_conv2d

# The form -> a function of images, kernel, bias, factors, interpolation, padding, groups and data
# format.
FORMS: dict[str, Callable] = {
    "plain": lambda x, kernel, bias, factors, *settings: resize_conv.plain(
        x, kernel, bias, factors, None, *settings
    ),
    "products": resize_conv.products,
    "transposed": lambda x, kernel, bias, factors, interpolation, padding, groups, data_format: (
        resize_conv.transposed(x, kernel, bias, factors, padding, data_format)
    ),
}


def _resize_conv(images, kernel, size, interpolation, padding, groups=1, implementation="auto"):
    size = tuple(Fraction(s) for s in size)
    kernel = keras.ops.convert_to_tensor(kernel)
    settings = (size, None, interpolation, padding, groups, implementation, "channels_last")
    return apply(lambda x: resize_conv2d(x, kernel, None, *settings), images, "channels_last")


@pytest.mark.parametrize("padding", PADDING_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5)], ids=str)
@pytest.mark.parametrize("size", [("2", "2"), ("3", "1"), ("1.5", "4")], ids=str)
@pytest.mark.parametrize("implementation", ["auto", "plain"])
def test_resize_conv2d_matches_the_oracle(
    padding, interpolation, kernel_size, size, implementation
):
    rng = np.random.default_rng(1)
    images = rng.normal(size=(1, 4, 5, 4)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 2, 4)).astype("float32")
    out = (4 * Fraction(size[0]) // 1, 5 * Fraction(size[1]) // 1)
    assert_close(
        _resize_conv(images, kernel, size, interpolation, padding, 2, implementation),
        oracle.resize_conv2d(images, kernel, None, out, interpolation, padding, groups=2),
        2e-6,
    )


SETTINGS = [
    # form, interpolation, groups, kernel size, factors, data format
    ("products", "nearest", 1, (3, 3), (2, 2), "channels_last"),
    ("products", "nearest", 2, (5, 4), (2, 3), "channels_first"),
    ("products", "bilinear", 1, (3, 3), (2, 2), "channels_first"),
    ("products", "bilinear", 2, (2, 5), (3, 1), "channels_last"),
    ("products", "nearest", 2, (3, 7), (1, 2), "channels_last"),
    ("transposed", "nearest", 1, (3, 3), (2, 2), "channels_last"),
    ("transposed", "nearest", 1, (5, 5), (2, 2), "channels_first"),
    ("transposed", "nearest", 1, (4, 9), (2, 2), "channels_last"),
    ("transposed", "nearest", 1, (6, 2), (3, 2), "channels_first"),
    ("transposed", "nearest", 1, (5, 3), (1, 4), "channels_last"),
]


@pytest.mark.parametrize("padding", PADDING_MODES)
@pytest.mark.parametrize(
    ("form", "interpolation", "groups", "kernel_size", "factors", "data_format"), SETTINGS, ids=str
)
def test_every_form_matches_the_oracle_in_value_and_gradient(
    form, interpolation, groups, kernel_size, factors, data_format, padding
):
    rng = np.random.default_rng(3)
    images = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 4 // groups, 6)).astype("float32")
    bias = rng.normal(size=6).astype("float32")
    settings = (factors, interpolation, padding, groups, data_format)
    out = (5 * factors[0], 6 * factors[1])
    expected = oracle.resize_conv2d(images, kernel, bias, out, interpolation, padding, groups)

    weights = [keras.ops.convert_to_tensor(array) for array in (kernel, bias)]
    y = apply(lambda x: FORMS[form](x, *weights, *settings), images, data_format)
    assert_close(y, expected, 2e-6)

    arrays = (to_format(images, data_format), kernel, bias)
    found = gradients(lambda x, k, b: FORMS[form](x, k, b, *settings), *arrays)
    plain = gradients(lambda x, k, b: FORMS["plain"](x, k, b, *settings), *arrays)
    for gradient, reference in zip(found, plain, strict=True):
        assert_close(gradient, reference, 1e-5)
    # The gradients of the plain form by the oracle: y is affine in the kernel, so along any
    # direction d the sum of squares changes by 2 <y, y(d)>.
    direction = rng.normal(size=kernel.shape)
    along = oracle.resize_conv2d(images, direction, None, out, interpolation, padding, groups)
    assert_close((plain[1] * direction).sum(), 2 * (expected * along).sum(), 1e-4)
    assert_close(plain[2], 2 * expected.sum((0, 1, 2)), 1e-4)


@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel_size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    padding=st.sampled_from(PADDING_MODES),
    groups=st.sampled_from([1, 2]),
)
def test_polyphase_equals_plain(seed, size, factors, kernel_size, interpolation, padding, groups):
    """For whatever the border allows, down to images of one pixel."""
    reach = [k // 2 + (padding == "reflect") for k in kernel_size]
    limited = padding in ("reflect", "symmetric", "wrap")
    size = [
        max(n, -(-r // s)) if limited else n for n, r, s in zip(size, reach, factors, strict=True)
    ]
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(1, *size, 2)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 2 // groups, 2)).astype("float32")
    settings = (factors, interpolation, padding, groups)
    assert_close(
        _resize_conv(images, kernel, *settings, "polyphase"),
        _resize_conv(images, kernel, *settings, "plain"),
        2e-6,
    )


@pytest.mark.parametrize("form", ["products", "transposed"])
@pytest.mark.parametrize("padding", PADDING_MODES)
def test_every_form_serves_unknown_sizes(form, padding, rng):
    images = rng.normal(size=(2, 3, 4, 2)).astype("float32")
    kernel = rng.normal(size=(5, 5, 2, 3)).astype("float32")
    settings = ((2, 2), "nearest", padding, 1, "channels_last")

    def function(x):
        return FORMS[form](x, keras.ops.convert_to_tensor(kernel), None, *settings)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(function, input_signature=[tf.TensorSpec((None, None, None, 2))])
        for width in (4, 3):
            part = images[:, :, :width]
            expected = FORMS["plain"](keras.ops.convert_to_tensor(part), kernel, None, *settings)
            assert_close(traced(part), expected, 2e-6)
    y = apply(function, images, "channels_last")
    assert_close(y, oracle.resize_conv2d(images, kernel, None, (6, 8), "nearest", padding), 2e-6)


def test_the_form_is_plain_where_nothing_is_resized_or_all_is_border():
    settings = ("nearest", "edge", 1)
    assert fastest_form("polyphase", (8, 8), (3, 3, 4, 4), (1, 1), *settings) == "plain"
    assert fastest_form("polyphase", (1, 8), (9, 9, 4, 4), (2, 2), *settings) == "plain"
    assert fastest_form("polyphase", (None, 8), (9, 9, 4, 4), (2, 2), *settings) == "plain"


def test_the_form_follows_the_channels(monkeypatch):
    """Many channels: fewer multiplications win. Few: fewer passes over memory."""
    monkeypatch.setattr(backend, "cost_of_moving", lambda: 17)

    def form(channels, interpolation="nearest", groups=1, implementation="auto", side=None):
        shape, sizes = (3, 3, channels, 32), (side, side)
        return fastest_form(implementation, sizes, shape, (2, 2), interpolation, "reflect", groups)

    assert [form(c) for c in (256, 76, 75, 3)] == ["products"] * 2 + ["transposed"] * 2
    # Of unknown size, an image may be of one pixel, all border to a bilinear resize.
    assert form(256, "bilinear") == "plain"
    # The smaller the image, the larger its border.
    assert [form(60, side=n) for n in (8, 32)] == ["products", "transposed"]
    assert [form(c, "bilinear", side=32) for c in (64, 3)] == ["products", "plain"]
    assert [form(c, groups=2) for c in (64, 3)] == ["products", "plain"]
    assert form(3, "bilinear", implementation="polyphase", side=32) == "products"


@given(
    level=st.floats(-3, 3, width=32),
    factor=st.integers(1, 4),
    kernel=st.integers(1, 5),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    padding=st.sampled_from([mode for mode in PADDING_MODES if mode != "zeros"]),
)
def test_a_flat_image_stays_flat(level, factor, kernel, interpolation, padding):
    images = np.full((1, 4, 4, 2), level, "float32")
    weights = np.random.default_rng(kernel).normal(size=(kernel, kernel, 2, 3)).astype("float32")
    y = _resize_conv(images, weights, (str(factor),) * 2, interpolation, padding)
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), atol=2e-5)


@given(shift=st.integers(1, 4), factor=st.integers(1, 3), kernel=st.integers(1, 4))
def test_roll_in_roll_out(shift, factor, kernel):
    rng = np.random.default_rng(kernel)
    images = rng.normal(size=(1, 5, 4, 2)).astype("float32")
    weights = rng.normal(size=(kernel, kernel, 2, 3)).astype("float32")
    rolled = np.roll(images, shift, axis=1)
    expected = np.roll(
        _resize_conv(images, weights, (str(factor),) * 2, "nearest", "wrap"),
        shift * factor,
        axis=1,
    )
    y = _resize_conv(rolled, weights, (str(factor),) * 2, "nearest", "wrap")
    assert_close(y, expected, 1e-6)
