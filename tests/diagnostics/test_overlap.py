"""Coverage of up-sampling layers: painted by hand, and seen through the layers themselves."""

import itertools

import keras
import numpy as np
import pytest

import oracle
from keras_cnnfix import ResizeConv2D, SubPixelConv
from keras_cnnfix.diagnostics import overlap_map, phase_gains, phase_imbalance

SETTINGS = [(3, 2), (4, 2), (5, 3), ((3, 4), (2, 3)), (2, 3), (1, 1)]


def _pair(value):
    return (value, value) if isinstance(value, int) else value


@pytest.mark.parametrize(("taps", "strides"), SETTINGS)
def test_overlap_map_of_an_input_matches_the_painted_one(taps, strides):
    painted = oracle.transposed_taps((4, 5), _pair(taps), _pair(strides))
    np.testing.assert_array_equal(overlap_map(taps, strides, (4, 5)), painted)


@pytest.mark.parametrize(("taps", "strides"), SETTINGS)
def test_overlap_map_is_one_period_of_the_painted_one(taps, strides):
    (sy, sx), size = _pair(strides), (9, 9)
    painted = oracle.transposed_taps(size, _pair(taps), _pair(strides))
    inner = painted[4 * sy : 5 * sy, 4 * sx : 5 * sx]
    np.testing.assert_array_equal(overlap_map(taps, strides), inner)


@pytest.mark.parametrize(("k", "s"), [*itertools.product(range(1, 8), range(1, 5))])
def test_overlap_is_even_only_if_the_stride_divides_the_kernel(k, s):
    assert (np.ptp(overlap_map(k, s)) == 0) == (k % s == 0)


def _transposed(kernel_size=3, strides=2):
    layer = keras.layers.Conv2DTranspose(4, kernel_size, strides=strides, use_bias=False)
    layer.build((None, None, None, 3))
    return layer


def test_gains_of_a_transposed_convolution_are_its_answer_to_a_constant():
    layer = _transposed((3, 4), (2, 3))
    gains = phase_gains(layer)
    assert gains.shape == (2, 3, 3, 4)
    for channel in range(3):
        image = np.zeros((1, 8, 8, 3), "float32")
        image[..., channel] = 1
        answer = keras.ops.convert_to_numpy(layer(image, training=False))[0]
        np.testing.assert_allclose(answer[8:10, 9:12], gains[:, :, channel], atol=1e-6)


@pytest.mark.parametrize("order", ["dcr", "crd"])
@pytest.mark.parametrize("smooth", [False, True])
def test_gains_of_a_sub_pixel_convolution_are_its_answer_to_a_constant(order, smooth):
    layer = SubPixelConv(
        4,
        size=(2, 3),
        channel_order=order,
        smooth=smooth,
        kernel_initializer="he_normal",
        use_bias=False,
    )
    answers = []
    for channel in range(3):
        image = np.zeros((1, 8, 8, 3), "float32")
        image[..., channel] = 1
        answers.append(keras.ops.convert_to_numpy(layer(image))[0, 8:10, 9:12])
    gains = phase_gains(layer)
    np.testing.assert_allclose(np.stack(answers, axis=2), gains, atol=1e-5)
    assert (phase_imbalance(gains) < 1e-12) == smooth


def test_icnr_starts_without_imbalance_and_random_kernels_with_most_of_it():
    for start, low, high in (("icnr", 0.0, 1e-9), ("he_normal", 0.5, 1.0)):
        layer = SubPixelConv(16, kernel_initializer=start)
        layer.build((None, None, None, 16))
        assert low <= phase_imbalance(phase_gains(layer)) <= high


def test_resize_convolution_has_equal_gains_whatever_its_weights():
    layer = ResizeConv2D(4, size=(2, 3), kernel_initializer="he_normal", use_bias=False)
    answer = keras.ops.convert_to_numpy(layer(np.ones((1, 5, 5, 1), "float32")))
    gains = phase_gains(layer)
    assert gains.shape == (2, 3, 1, 4)
    assert phase_imbalance(gains) < 1e-12
    np.testing.assert_allclose(answer[0, 4:6, 6:9], gains[:, :, 0], atol=1e-5)


def test_layers_and_numbers_have_the_same_overlap():
    np.testing.assert_array_equal(overlap_map(_transposed(5, 3)), overlap_map(5, 3))
    layer = SubPixelConv(4, kernel_size=3, size=2)
    np.testing.assert_array_equal(overlap_map(layer), overlap_map(6, 2))


def test_imbalance_of_silence_is_zero():
    assert phase_imbalance(np.zeros((2, 2, 1, 1))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlap_map(0, 2), "`kernel_size` must be an integer of at least 1"),
        (lambda: overlap_map(3, 2, 0), "`input_size` must be"),
        (
            lambda: overlap_map(keras.layers.Dense(3)),
            "must be Conv2DTranspose, EvenConv2DTranspose",
        ),
        (
            lambda: overlap_map(keras.layers.Conv2D(3, 3)),
            "must be Conv2DTranspose, EvenConv2DTranspose",
        ),
        (lambda: phase_gains(np.ones((3, 3)), 2), "`kernel` must have 4 dimensions"),
        (lambda: phase_gains(np.ones((3, 3, 1, 6)), 2, "dcr"), "a multiple of 4 filters"),
        (lambda: phase_gains(np.ones((3, 3, 1, 4)), 2, "rgb"), "`channel_order` must be one of"),
        (lambda: phase_gains(SubPixelConv(3)), "is not built"),
        (lambda: phase_imbalance(np.ones((2, 2))), "of rank 4"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
