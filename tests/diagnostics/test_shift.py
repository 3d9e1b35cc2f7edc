"""Consistency under shifts, of functions whose consistency is known."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cnnfix.diagnostics import (
    segmentation_shift_consistency,
    shift_consistency,
    shift_psnr,
)
from keras_cnnfix.ops import layout


@pytest.fixture
def images(rng):
    return rng.random((12, 20, 21, 2)).astype("float32")


def _mean_is_high(x):
    """Two classes, by the mean over all pixels: almost invariant."""
    return np.stack([x.mean((1, 2, 3)), np.full(len(x), 0.5)], axis=1)


def _corner(x):
    """Two classes, by the first pixel alone: anything but invariant."""
    return np.stack([x[:, 0, 0, 0], np.full(len(x), 0.5)], axis=1)


def _oracle(function, images, result, max_shift, seed, trials):
    """Recounts the agreements one by one, with the same draws."""
    rng = np.random.default_rng(seed)
    height, width = (n - max_shift for n in images.shape[1:3])
    agree, shifts = [], []
    for _ in range(trials):
        offsets = [
            np.stack([rng.integers(0, max_shift + 1, len(images)) for _ in range(2)], 1)
            for _ in range(2)
        ]
        for image, one, other in zip(images, *offsets, strict=True):
            classes = [
                function(image[None, y : y + height, x : x + width]).argmax()
                for y, x in (one, other)
            ]
            agree.append(classes[0] == classes[1])
            shifts.append(other - one)
    np.testing.assert_array_equal(result.agree, agree)
    np.testing.assert_array_equal(result.shifts, shifts)
    assert result.agreement == np.mean(agree)


def test_shift_consistency_counts_every_pair(images):
    result = shift_consistency(_corner, images, 5, trials=3, seed=4, batch_size=5)
    _oracle(_corner, images, result, 5, 4, 3)
    assert 0.2 < result.agreement < 0.8


def test_shift_consistency_is_one_for_an_invariant_function(images):
    """A mean over all pixels does not change when the image is rolled."""
    assert shift_consistency(_mean_is_high, images, 7, wrap=True).agreement == 1


def test_rolled_corners_agree_as_often_as_pixels_do(images):
    result = shift_consistency(_corner, images, 19, wrap=True, trials=200)
    high = (images[..., 0] > 0.5).mean((1, 2))
    assert result.agreement == pytest.approx((high**2 + (1 - high) ** 2).mean(), abs=0.05)


def test_labels_restrict_the_agreement_to_pairs_with_one_right_answer(images):
    labels = np.arange(12) % 2
    result = shift_consistency(_corner, images, 5, labels, trials=7)
    rng, answers = np.random.default_rng(0), []
    for _ in range(7):
        offsets = [np.stack([rng.integers(0, 6, 12) for _ in range(2)], axis=1) for _ in range(2)]
        for n, pair in enumerate(zip(*offsets, strict=True)):
            answers.append([int(images[n, y, x, 0] <= 0.5) for y, x in pair] + [labels[n]])
    right = [(a, b) for a, b, label in answers if label in (a, b)]
    assert result.agreement_when_right == np.mean([a == b for a, b in right])
    assert result.accuracy == np.mean([[a == y, b == y] for a, b, y in answers])
    assert len(right) < len(answers)


def test_a_class_for_everything_is_consistent_and_never_right(images):
    def blind(x):
        return np.tile([1.0, 0.0], (len(x), 1))

    result = shift_consistency(blind, images, 3, np.ones(12, int))
    assert (result.agreement, result.accuracy) == (1, 0)
    assert np.isnan(result.agreement_when_right)


def test_the_seed_decides(images):
    def shifts(seed):
        return shift_consistency(_corner, images, 5, seed=seed).shifts

    np.testing.assert_array_equal(shifts(1), shifts(1))
    assert not np.array_equal(shifts(1), shifts(2))


def test_a_keras_model_is_asked_in_inference_mode(data_format, rng):
    shape = layout.image_shape(6, (20, 20), 3, data_format)
    images = rng.random(shape).astype("float32")
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, data_format=data_format),
            layers.Dropout(0.9),
            layers.GlobalAveragePooling2D(data_format=data_format),
            layers.Dense(3),
        ]
    )
    settings = {"data_format": data_format, "batch_size": 4}
    result = shift_consistency(model, images, 4, np.zeros(6, int), **settings)
    again = shift_consistency(model, images, 4, np.zeros(6, int), **settings)
    np.testing.assert_array_equal(result.agree, again.agree)
    assert result.shifts.shape == (30, 2)
    assert 0 <= result.agreement <= 1


def test_massc_is_one_for_a_pointwise_function_and_counts_pixels_otherwise(images):
    def pointwise(x):
        return np.concatenate([x[..., :1], 0.5 + 0 * x[..., :1]], axis=-1)

    def by_position(x):
        """The class of a pixel is the parity of its row in the crop."""
        parity = np.broadcast_to(np.arange(x.shape[1])[:, None] % 2, x.shape[:3])
        return np.stack([parity, 1 - parity], axis=-1)

    for wrap in (False, True):
        assert segmentation_shift_consistency(pointwise, images, 6, wrap=wrap) == 1
    # Rows agree where both offsets have the same parity: two of 0..1 do half of the time.
    share = segmentation_shift_consistency(by_position, images, 1, trials=200)
    assert share == pytest.approx(0.5, abs=0.03)


def test_shift_psnr_is_infinite_for_what_commutes_with_shifts(images):
    for scale in (1, 2, 3):
        for wrap in (False, True):
            enlarge = lambda x, s=scale: x.repeat(s, axis=1).repeat(s, axis=2)  # noqa: E731
            assert shift_psnr(enlarge, images, 5, wrap=wrap) == float("inf")


def test_shift_psnr_of_a_smaller_output_moves_by_whole_pixels(rng):
    images = rng.random((3, 22, 24, 1))
    assert shift_psnr(lambda x: x[:, ::2, ::2], images, 4) == float("inf")
    images = rng.random((3, 24, 26, 1))
    assert shift_psnr(lambda x: x[:, ::2, ::2], images, 4) == float("inf")


def test_shift_psnr_has_the_stated_formula(images):
    def add_row_number(x):
        return x + np.arange(x.shape[1])[:, None, None]

    rng, errors, count = np.random.default_rng(0), 0, 0
    for _ in range(2):
        offsets = [np.stack([rng.integers(0, 4, 12) for _ in range(2)], axis=1) for _ in range(2)]
        for one, other in zip(*offsets, strict=True):
            dy, dx = abs(other - one)
            pixels = (17 - dy) * (18 - dx) * 2
            errors, count = errors + dy**2 * pixels, count + pixels
    expected = 10 * np.log10(255**2 * count / errors)
    measured = shift_psnr(add_row_number, images.astype("float64"), 3, max_val=255, trials=2)
    assert measured == pytest.approx(expected, rel=1e-6)


def test_shift_psnr_leaves_the_border_out(images):
    def dark_border(x):
        y = x.copy()
        y[:, 0] = 0
        return y

    assert shift_psnr(dark_border, images, 3) < 30
    assert shift_psnr(dark_border, images, 3, border=1) == float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: shift_consistency(_corner, x, 20), "`max_shift` must leave pixels"),
        (lambda x: shift_consistency(_corner, x, 0), "`max_shift` must be an integer"),
        (lambda x: shift_consistency(_corner, x, 2, trials=0), "`trials` must be an integer"),
        (lambda x: shift_consistency(_corner, x, 2, labels=[1, 2]), "one integer an image"),
        (lambda x: shift_consistency(lambda y: y, x, 2), "scores of 2 classes or more"),
        (lambda x: shift_consistency(lambda y: y[:, 0, 0, :1], x, 2), "scores of 2 classes"),
        (lambda x: shift_consistency(lambda y: [y, y], x, 2), "must have one output"),
        (lambda x: segmentation_shift_consistency(lambda y: y[:, ::2], x, 2), "for each pixel"),
        (lambda x: shift_psnr(_corner, x, 2), "must have 4 dimensions"),
        (lambda x: shift_psnr(lambda y: y[:, ::3, ::3], x, 2), "strides divide"),
        (lambda x: shift_psnr(lambda y: y, x, 2, border=1, wrap=True), "`border` must be 0"),
        (lambda x: shift_consistency(_corner, x[:0], 2), "one image or more"),
    ],
)
def test_messages(call, message, images):
    with pytest.raises(ValueError, match=message):
        call(images)
