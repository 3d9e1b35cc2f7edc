from collections.abc import Callable
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from images import apply, assert_close, at_once, from_format, gradients, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops import backend, resize_conv
from keras_cnnfix.ops.phases import can_sum_taps
from keras_cnnfix.ops.resize_conv import fastest_form, has_polyphase, resize_conv2d

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
@pytest.mark.parametrize(
    ("interpolation", "kernel_size", "size", "implementation"),
    [
        ("nearest", (1, 1), ("2", "2"), "auto"),
        ("nearest", (5, 5), ("1.5", "4"), "auto"),
        ("nearest", (4, 3), ("3", "1"), "plain"),
        ("bilinear", (3, 3), ("2", "2"), "polyphase"),
        ("bilinear", (2, 2), ("3", "1"), "auto"),
        ("bilinear", (5, 5), ("1.5", "4"), "plain"),
        ("bicubic", (4, 3), ("2", "2"), "auto"),
        ("bicubic", (2, 5), ("1.5", "4"), "auto"),
    ],
    ids=str,
)
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
    # Every pair of a kernel size up to 7 and a factor up to 4 along a side, as deep as it is used.
    ("transposed", "nearest", 1, (1, 2), (2, 4), "channels_first"),
    ("transposed", "nearest", 1, (2, 1), (2, 3), "channels_last"),
    ("transposed", "nearest", 1, (3, 2), (1, 3), "channels_first"),
    ("transposed", "nearest", 1, (3, 5), (2, 3), "channels_last"),
    ("transposed", "nearest", 1, (3, 4), (3, 4), "channels_last"),
    ("transposed", "nearest", 1, (4, 6), (2, 4), "channels_first"),
    ("transposed", "nearest", 1, (5, 7), (2, 2), "channels_first"),
    ("transposed", "nearest", 1, (6, 3), (3, 4), "channels_last"),
    ("transposed", "nearest", 1, (6, 4), (2, 3), "channels_last"),
    ("transposed", "nearest", 1, (7, 5), (3, 4), "channels_last"),
    ("transposed", "nearest", 1, (7, 1), (4, 4), "channels_first"),
]


# Each with a reflection, and with two of the other borders.
OTHERS = [("symmetric", "wrap"), ("edge", "zeros"), ("wrap", "zeros"), ("symmetric", "edge")]
CASES = [
    (*setting, padding)
    for i, setting in enumerate(SETTINGS)
    for padding in ("reflect", *OTHERS[i % len(OTHERS)])
]


@pytest.mark.parametrize(
    ("form", "interpolation", "groups", "kernel_size", "factors", "data_format", "padding"),
    CASES,
    ids=str,
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
    arrays = (to_format(images, data_format), kernel, bias)
    assert_close(from_format(_value(form, arrays, settings), data_format), expected, 2e-6)
    found, plain = (_gradients(f, arrays, settings) for f in (form, "plain"))
    for gradient, reference in zip(found, plain, strict=True):
        assert_close(gradient, reference, 1e-5)
    # The gradients of the plain form by the oracle: y is affine in the kernel, so along any
    # direction d the sum of squares changes by 2 <y, y(d)>.
    direction = rng.normal(size=kernel.shape)
    along = oracle.resize_conv2d(images, direction, None, out, interpolation, padding, groups)
    assert_close((plain[1] * direction).sum(), 2 * (expected * along).sum(), 1e-4)
    assert_close(plain[2], 2 * expected.sum((0, 1, 2)), 1e-4)


def _value(form, arrays, settings):
    y = at_once(lambda *tensors: FORMS[form](*tensors, *settings))(
        *map(keras.ops.convert_to_tensor, arrays)
    )
    return keras.ops.convert_to_numpy(y)


def _gradients(form, arrays, settings):
    return gradients(lambda *tensors: FORMS[form](*tensors, *settings), *arrays)


# Kernels as deep as the transposed form serves at each factor, and deeper.
@pytest.mark.parametrize(
    ("taps", "factor"),
    [(3, 1), (3, 2), (5, 2), (7, 2), (4, 2), (6, 2), (9, 2), (5, 3), (7, 3), (9, 4)],
)
def test_reflections_down_to_the_smallest_images(taps, factor, rng):
    """Where the ends all but meet, in whichever form `auto` takes, and in the transposed one."""
    n = max(1, -(-(taps // 2 + 1) // factor))
    images = rng.normal(size=(1, n, n + 1, 2)).astype("float32")
    kernel = rng.normal(size=(taps, taps, 2, 2)).astype("float32")
    settings = ((factor, factor), "nearest", "reflect", 1, "channels_last")
    out = (factor * n, factor * (n + 1))
    expected = oracle.resize_conv2d(images, kernel, None, out, "nearest", "reflect")
    y = _resize_conv(images, kernel, settings[0], "nearest", "reflect")
    assert_close(y, expected, 2e-6)
    if all(resize_conv._reflects(size, taps, factor) for size in (n, n + 1)):
        arrays = (images, kernel, np.zeros(2, "float32"))
        assert_close(_value("transposed", arrays, settings), expected, 2e-6)
        found, plain = (_gradients(f, arrays, settings) for f in ("transposed", "plain"))
        for gradient, reference in zip(found, plain, strict=True):
            assert_close(gradient, reference, 1e-5)


def test_a_reflection_deeper_than_two_pixels_is_not_transposed():
    """`_with_reflected_ends` knows the outermost two pixels."""
    assert all(resize_conv._reflects(64, taps, 2) for taps in (1, 3, 5, 7))
    assert not any(resize_conv._reflects(64, taps, 2) for taps in (8, 9, 11))
    assert resize_conv._reflects(None, 7, 2) == resize_conv._reflects(2, 7, 2)


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


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel_size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    padding=st.sampled_from(PADDING_MODES),
)
def test_the_transposed_form_equals_plain_where_it_is_taken(size, factors, kernel_size, padding):
    least = [k // 2 + (padding == "reflect") for k in kernel_size]
    limited = padding in ("reflect", "symmetric", "wrap")
    size = [
        max(n, -(-r // s)) if limited else n for n, r, s in zip(size, least, factors, strict=True)
    ]
    shape = (*kernel_size, 2, 2)
    taken = fastest_form("auto", (1, *size), shape, factors, "nearest", padding, 1)
    if padding != "reflect" and factors != (1, 1) and min(backend.channels_for_products()) > 4:
        assert taken == "transposed"
    if padding == "reflect" and not all(map(resize_conv._reflects, size, kernel_size, factors)):
        assert taken != "transposed"
        return
    rng = np.random.default_rng(sum(kernel_size))
    images = rng.normal(size=(1, *size, 2)).astype("float32")
    kernel = keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
    y, plain = (
        apply(
            lambda x, form=form: FORMS[form](
                x, kernel, None, factors, "nearest", padding, 1, "channels_last"
            ),
            images,
            "channels_last",
        )
        for form in ("transposed", "plain")
    )
    assert_close(y, plain, 2e-6)


@pytest.mark.parametrize("form", ["products", "transposed"])
@pytest.mark.parametrize("padding", PADDING_MODES)
def test_every_form_serves_unknown_sizes(form, padding, rng):
    """Down to the smallest images that the border of 2 pixels allows."""
    least = {"reflect": 2, "symmetric": 1, "wrap": 1}.get(padding, 1)
    images = rng.normal(size=(2, max(3, least), 4, 2)).astype("float32")
    kernel = keras.ops.convert_to_tensor(rng.normal(size=(5, 5, 2, 3)).astype("float32"))
    settings = ((2, 2), "nearest", padding, 1, "channels_last")
    has_products = can_sum_taps(None, 5, 2, "nearest", padding)

    def function(x):
        return FORMS[form](x, kernel, None, *settings)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, input_signature=[tf.TensorSpec((None, None, None, 2))])
        for size in (4, least):
            if size == least and form == "products" and not has_products:
                continue  # `auto` does not take it then.
            part = images[:, :least, :size]
            out = (2 * part.shape[1], 2 * size)
            if form == "transposed" or has_products:
                expected = oracle.resize_conv2d(part, kernel, None, out, "nearest", padding)
                assert_close(function(part), expected, 2e-6)
    y = apply(function, images, "channels_last")
    out = (2 * images.shape[1], 8)
    assert_close(y, oracle.resize_conv2d(images, kernel, None, out, "nearest", padding), 2e-6)


def test_the_form_is_plain_where_nothing_is_resized_or_all_is_border():
    settings = ("nearest", "reflect", 1)
    assert fastest_form("polyphase", (1, 8, 8), (3, 3, 4, 4), (1, 1), *settings) == "plain"
    assert fastest_form("polyphase", (1, 5, 8), (9, 9, 4, 4), (1, 2), *settings) == "plain"
    assert fastest_form("polyphase", (1, None, 8), (9, 9, 4, 4), (2, 2), *settings) == "plain"
    assert fastest_form("polyphase", (1, 8, 8), (9, 9, 4, 4), (2, 2), *settings) == "products"


def test_only_whole_factors_of_nearest_and_bilinear_do_the_same_to_every_pixel():
    whole, broken = (Fraction(2), Fraction(1)), (Fraction(2), Fraction(3, 2))
    assert has_polyphase(whole, None, "nearest")
    assert has_polyphase(whole, None, "bilinear")
    assert not has_polyphase(whole, None, "bicubic")
    assert not has_polyphase(broken, None, "nearest")
    assert not has_polyphase(whole, (8, 8), "nearest")


def test_the_form_follows_the_channels(monkeypatch):
    """Many channels: fewer multiplications win. Few: fewer passes over memory."""
    monkeypatch.setattr(backend, "channels_for_products", lambda: (40, 64, 90))

    def form(
        channels,
        interpolation="nearest",
        groups=1,
        implementation="auto",
        side=None,
        taps=3,
        padding="reflect",
    ):
        shape, images = (taps, taps, channels // groups, 32), (1, side, side)
        return fastest_form(implementation, images, shape, (2, 2), interpolation, padding, groups)

    assert [form(c) for c in (256, 64, 63, 3)] == ["products"] * 2 + ["transposed"] * 2
    assert [form(c, taps=5) for c in (40, 39)] == ["products", "transposed"]
    assert [form(c, padding="zeros") for c in (90, 89)] == ["products", "transposed"]
    assert form(3, implementation="polyphase", side=8) == "transposed"
    # What knows no transposed form needs half as many to win from the plain one.
    assert [form(c, "bilinear", side=8) for c in (32, 31)] == ["products", "plain"]
    assert [form(c, groups=2, side=8) for c in (64, 62)] == ["products", "plain"]
    assert form(3, "bilinear", implementation="polyphase", side=8) == "products"
    # Of unknown size, an image may be of one pixel, all border to a bilinear resize.
    assert [form(256, "bilinear", side=n) for n in (None, "a tensor")] == ["plain"] * 2
    assert [form(256, side=n) for n in (None, "a tensor")] == ["products"] * 2
    # Whose ends are mended needs enough multiplications: 3 * 32 * (5 * 2 * side) ** 2 here.
    monkeypatch.setattr(backend, "multiplications_for_ends", lambda: 3 * 32 * 80**2)
    assert [form(3, taps=5, side=n) for n in (8, 7, None)] == ["transposed", "plain", "transposed"]
    assert form(3, taps=5, side=7, implementation="polyphase") == "transposed"
    assert form(3, taps=5, side=7, padding="edge") == "transposed"
    assert form(3, taps=3, side=7) == "transposed"
    monkeypatch.setattr(backend, "channels_for_products", lambda: (0, 0, 0))
    assert [form(1), form(1, "bilinear", side=8), form(2, groups=2, side=8)] == ["products"] * 3


def test_the_composite_kernel_is_summed_in_float32_and_rounded_once(rng):
    """In half precision 1 + 2 ** -11 is 1, one tap after the other."""
    for taps, factors in [((3, 3), (2, 2)), ((7, 4), (4, 3))]:
        kernel = rng.normal(size=(*taps, 4, 5)).astype("float16")
        kernel[0, 0] = 1000  # What makes the small ones vanish from a sum in half precision.
        sides = [k + s - k % 2 for k, s in zip(taps, factors, strict=True)]
        expected = np.zeros((*sides, 4, 5))
        for dy, dx, v, u in np.ndindex(*factors, *taps):
            expected[dy + taps[0] - 1 - v, dx + taps[1] - 1 - u] += kernel[v, u]
        k = keras.ops.convert_to_tensor(kernel)
        y = keras.ops.convert_to_numpy(
            at_once(lambda k, f=factors: resize_conv._composite(k, f))(k)
        )
        assert y.dtype == "float16"
        # Sums of float32 land on the other side of a tie once in many thousands.
        differ = np.count_nonzero(y != expected.astype("float16"))
        assert differ <= expected.size // 500
        np.testing.assert_allclose(y, expected, rtol=2**-10, atol=2**-13)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("taps", [3, 4])
def test_a_pixel_that_is_not_a_number_stays_where_the_kernel_reaches(form, taps, rng):
    images = rng.normal(size=(1, 7, 7, 1)).astype("float32")
    images[:, 3, 0] = np.nan
    kernel = keras.ops.convert_to_tensor(np.ones((taps, taps, 1, 1), "float32"))
    settings = ((2, 2), "nearest", "edge", 1, "channels_last")
    y = apply(lambda x: FORMS[form](x, kernel, None, *settings), images, "channels_last")
    reach = taps
    if form == "transposed" and taps % 2 == 0:
        reach += 1  # The zero at the end of the composite kernel.
    ones = np.ones((reach, reach, 1, 1))
    seen = oracle.resize_conv2d(np.isnan(images), ones, None, (14, 14), "nearest", "edge")
    np.testing.assert_array_equal(np.isnan(y), seen > 0)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="forward mode is JAX's")
@pytest.mark.parametrize("form", sorted(FORMS))
def test_forward_mode_differentiates(form, rng):
    import jax

    images, direction = rng.normal(size=(2, 1, 3, 4, 2)).astype("float32")
    kernel = rng.normal(size=(5, 3, 2, 2)).astype("float32")
    settings = ((2, 2), "nearest", "reflect", 1, "channels_last")

    def function(x, k):
        return FORMS[form](x, k, None, *settings)

    _, along = jax.jvp(lambda x: function(x, kernel), (images,), (direction,))
    assert_close(
        along, oracle.resize_conv2d(direction, kernel, None, (6, 8), "nearest", "reflect"), 2e-6
    )
    # Linear in the kernel: the Jacobian times the kernel is the answer.
    jacobian = jax.jit(jax.jacfwd(lambda k: function(images, k)))(kernel)
    y = oracle.resize_conv2d(images, kernel, None, (6, 8), "nearest", "reflect")
    assert_close(np.tensordot(jacobian, kernel, axes=4), y, 5e-6)


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


@given(
    shift=st.integers(1, 4),
    factor=st.integers(1, 3),
    kernel=st.integers(1, 4),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_roll_in_roll_out(shift, factor, kernel, interpolation):
    rng = np.random.default_rng(kernel)
    images = rng.normal(size=(1, 5, 4, 2)).astype("float32")
    weights = rng.normal(size=(kernel, kernel, 2, 3)).astype("float32")
    rolled = np.roll(images, shift, axis=1)
    expected = np.roll(
        _resize_conv(images, weights, (str(factor),) * 2, interpolation, "wrap"),
        shift * factor,
        axis=1,
    )
    y = _resize_conv(rolled, weights, (str(factor),) * 2, interpolation, "wrap")
    assert_close(y, expected, 1e-6)
