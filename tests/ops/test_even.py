import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import oracle
from images import assert_close
from keras_cnnfix.ops.even import degrees_of_freedom, even, even_start

PHASES = [  # kernel_size, strides, channel_order
    ((3, 3), (2, 2), None),
    ((4, 4), (2, 2), None),
    ((5, 4), (2, 3), None),
    ((6, 1), (4, 1), None),
    ((7, 9), (3, 4), None),
    ((3, 3), (2, 2), "dcr"),
    ((2, 3), (3, 2), "crd"),
    ((1, 4), (1, 2), "dcr"),
]


def _kernel(rng, kernel_size, strides, channel_order):
    outputs = 3 * strides[0] * strides[1] if channel_order else 4
    return rng.normal(size=(*kernel_size, 2, outputs)).astype("float32")


def _answer(images, kernel, strides, channel_order):
    """What a transposed or sub-pixel convolution makes of images, without its border."""
    if channel_order is None:
        kh, kw = kernel.shape[:2]
        y = oracle.conv_transpose2d(images, kernel, None, strides, ((0, 0), (0, 0)))
        return y[:, kh:-kh, kw:-kw]
    y = oracle.depth_to_space(oracle.conv2d(images, kernel, None), strides, channel_order)
    return y


def _images(kernel, channel_order, axis=None):
    """Constant images, or ramps along an axis, other values for each channel."""
    channels = kernel.shape[2 if channel_order else 3]
    image = np.ones((12, 14)) if axis is None else np.indices((12, 14))[axis]
    return image[None, :, :, None] * np.arange(1.0, channels + 1)


@pytest.mark.parametrize(("kernel_size", "strides", "channel_order"), PHASES)
def test_a_constant_stays_a_constant(kernel_size, strides, channel_order, rng):
    kernel = _kernel(rng, kernel_size, strides, channel_order)
    images = _images(kernel, channel_order)
    before = _answer(images, kernel, strides, channel_order)
    assert strides == (1, 1) or before.std((1, 2)).min() > 0.1
    after = _answer(
        images, ops.convert_to_numpy(even(kernel, strides, channel_order)), strides, channel_order
    )
    assert np.abs(after).mean((1, 2)).min() > 0.01
    assert_close(after, np.broadcast_to(after[:, :1, :1], after.shape), 5e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "channel_order"),
    [
        ((4, 4), (2, 2), None),
        ((3, 5), (2, 3), None),
        ((1, 8), (1, 4), None),
        ((3, 3), (2, 2), "dcr"),
        ((2, 4), (3, 2), "crd"),
    ],
)
def test_a_ramp_stays_a_ramp_of_order_1(kernel_size, strides, channel_order, axis, rng):
    kernel = _kernel(rng, kernel_size, strides, channel_order)
    images = _images(kernel, channel_order, axis)
    evened = ops.convert_to_numpy(even(kernel, strides, channel_order, order=1))
    y = _answer(images, evened, strides, channel_order)
    steps = np.diff(y, axis=1 + axis)
    assert np.abs(steps).mean() > 0.01
    assert np.abs(np.diff(steps, axis=1 + axis)).max() < 2e-5 * np.abs(y).max()
    # Order 0 alone is not enough.
    flat = ops.convert_to_numpy(even(kernel, strides, channel_order, order=0))
    steps = np.diff(_answer(images, flat, strides, channel_order), axis=1 + axis)
    if strides[axis] > 1:
        assert np.abs(np.diff(steps, axis=1 + axis)).max() > 0.05


def test_the_formula_of_the_nearest_kernel(rng):
    """w - (g[r] - m) / n[r], with the m that makes the change least."""
    kernel = rng.normal(size=(3, 5, 2, 4))
    evened = ops.convert_to_numpy(even(kernel.astype("float32"), (2, 3)))
    for a, b in np.ndindex(2, 4):
        w = kernel[:, :, a, b]
        phase = np.add.outer(np.arange(3) % 2 * 3, np.arange(5) % 3)
        g = np.array([w[phase == r].sum() for r in range(6)])
        n = np.array([(phase == r).sum() for r in range(6)])
        m = (g / n).sum() / (1 / n).sum()
        expected = w - ((g - m) / n)[phase]
        assert_close(evened[:, :, a, b], expected, 1e-6)
        # Any other common sum is farther away.
        for other in (m - 0.1, m + 0.1, g.mean()):
            farther = w - ((g - other) / n)[phase]
            assert ((farther - w) ** 2).sum() >= ((expected - w) ** 2).sum()


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([None, "dcr", "crd"]),
    st.sampled_from([0, 1]),
)
def test_it_is_a_projection(kernel_size, strides, channel_order, order):
    """Twice is once; what is taken away is orthogonal to what stays, for each pair of channels."""
    kernel = _kernel(np.random.default_rng(0), kernel_size, strides, channel_order)
    once = ops.convert_to_numpy(even(kernel, strides, channel_order, order))
    twice = ops.convert_to_numpy(even(once, strides, channel_order, order))
    np.testing.assert_allclose(twice, once, rtol=0, atol=2e-6)
    assert abs(((kernel - once) * once).sum()) < 1e-4 * (kernel**2).sum()


@pytest.mark.parametrize(
    ("kernel_size", "strides", "channel_order", "order", "left"),
    [
        ((4, 4), (2, 2), None, 0, 13),
        ((4, 4), (2, 2), None, 1, 7),
        ((3, 3), (2, 2), None, 0, 6),
        ((3, 3), (2, 2), None, 1, 2),
        ((5, 5), (2, 2), None, 1, 16),
        ((2, 2), (2, 2), None, 0, 1),
        ((2, 2), (2, 2), None, 1, 0),
        ((4, 4), (3, 3), None, 1, 0),
        ((5, 5), (3, 3), None, 1, 5),
        ((2, 3), (3, 3), None, 0, 0),
        ((3, 3), (1, 1), None, 1, 9),
        ((3, 3), (2, 2), "dcr", 0, 33),
        ((3, 3), (2, 2), "crd", 1, 27),
        ((1, 1), (2, 2), "dcr", 0, 1),
        ((1, 1), (2, 2), "dcr", 1, 0),
    ],
)
def test_degrees_of_freedom(kernel_size, strides, channel_order, order, left):
    assert degrees_of_freedom(kernel_size, strides, channel_order, order) == left


def test_a_bias_is_the_mean_of_its_phases():
    bias = np.arange(8, dtype="float32")
    dcr = ops.convert_to_numpy(even(bias, (2, 2), "dcr", order=1))
    np.testing.assert_allclose(dcr, np.tile(bias.reshape(4, 2).mean(0), 4))
    crd = ops.convert_to_numpy(even(bias, (2, 2), "crd"))
    np.testing.assert_allclose(crd, np.repeat(bias.reshape(2, 4).mean(1), 4))


def test_the_dtype_stays_and_sums_are_in_float32(rng):
    kernel = rng.normal(size=(4, 4, 8, 8))
    for dtype, tolerance in (("float16", 2e-3), ("bfloat16", 2e-2), ("float32", 1e-6)):
        evened = even(ops.cast(kernel, dtype), (2, 2))
        assert keras.backend.standardize_dtype(evened.dtype) == dtype
        exact = ops.convert_to_numpy(even(kernel.astype("float32"), (2, 2)))
        assert_close(ops.convert_to_numpy(ops.cast(evened, "float32")), exact, tolerance)


@pytest.mark.parametrize("order", [0, 1])
def test_a_start_keeps_the_variance_of_the_output(order, rng):
    kernel = rng.normal(size=(4, 4, 32, 16)).astype("float32")
    start = ops.convert_to_numpy(even_start(kernel, (2, 2), order=order))
    images = rng.normal(size=(1, 24, 24, 16))
    stds = [_answer(images, k, (2, 2), None).std() for k in (kernel, start)]
    assert stds[1] == pytest.approx(stds[0], rel=0.05)


def test_a_start_that_is_even_or_0_stays_as_it_is():
    bilinear = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).reshape(4, 4, 1, 1).astype("float32")
    for kernel in (bilinear, np.zeros((4, 4, 2, 2), "float32")):
        start = ops.convert_to_numpy(even_start(kernel, (2, 2)))
        np.testing.assert_allclose(start, kernel, rtol=0, atol=1e-5)
