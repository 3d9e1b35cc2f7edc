"""How much an answer changes when the image is shifted."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from tqdm import tqdm

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import images_as_array, outputs_of, without_border


@dataclass(frozen=True)
class ShiftConsistency:
    """What `shift_consistency` saw. All shares are from 0 to 1.

    Attributes:
        agreement: Share of the pairs of shifted images that got the same class.
        agreement_when_right: The same, of the pairs of which at least one got the right class.
            None without labels; NaN if no pair had one.
        accuracy: Share of the right classes over all shifted images. None without labels.
        shifts: `(pairs, 2)`, by how many pixels (height, width) the two differ.
        agree: `(pairs,)`, whether the two got the same class.
    """

    agreement: float
    agreement_when_right: float | None
    accuracy: float | None
    shifts: np.ndarray
    agree: np.ndarray


def shift_consistency(
    model,
    images,
    max_shift=8,
    labels=None,
    trials=5,
    wrap=False,
    seed=0,
    batch_size=32,
    data_format=None,
):
    """Asks a classifier twice about each image, shifted, and counts how often the answers agree.

    Two crops are drawn from each image, of `max_shift` pixels less than its size, at offsets
    `o0, o1 ~ U{0..max_shift}^2`, and

        consistency = mean 1{argmax f(crop(x, o0)) = argmax f(crop(x, o1))}

    A network that gives one class to everything is perfectly consistent. With `labels` come the
    accuracy, and the agreement among pairs of which at least one is right.

    Args:
        model: A Keras model or a function, from `(N, H - max_shift, W - max_shift, C)` to the
            scores `(N, classes)` of two classes or more. It takes images of the full size with
            `wrap=True`.
        images: Array or tensor `(N, H, W, C)`, as the model takes them but for the size.
        max_shift: Largest shift per axis, in pixels, at least 1.
        labels: Right classes `(N,)`, integers.
        trials: Pairs drawn from each image.
        wrap: Roll the images, by up to `max_shift`, instead of cropping them.
        seed: Of the offsets: the same seed gives the same pairs.
        batch_size: Images at a time.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's own.

    Returns:
        A `ShiftConsistency`. What takes longer than three seconds shows a progress bar.

    Raises:
        ValueError: An argument is out of range, or the model gives no scores of classes.

    Source:
        Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
        https://arxiv.org/abs/1904.11486. At least one right: Zou et al., BMVC 2020.
        https://arxiv.org/abs/2008.09604. Rolled: Chaman, Dokmanic, CVPR 2021.
        https://arxiv.org/abs/2011.14214. (Zhang draws one pair of offsets a batch.)

    Example:
        >>> first_pixel = lambda x: np.stack([x[:, 0, 0, 0], 1 - x[:, 0, 0, 0]], axis=1)
        >>> stripes = np.tile([0.0, 1.0], (8, 16, 8))[..., None]
        >>> result = shift_consistency(first_pixel, stripes, max_shift=1, trials=500)
        >>> round(result.agreement, 1)
        0.5
    """
    owner = "shift_consistency"
    images = images_as_array(owner, images, data_format)
    if labels is not None and np.shape(labels) != (len(images),):
        raise ValueError(
            f"{owner}: `labels` must be one integer an image. Received: shape={np.shape(labels)} "
            f"for {len(images)} images."
        )
    draws = _Shifts(owner, images, max_shift, trials, wrap, seed, (1, 1))
    shifts, answers = [], []
    for crops, offsets in draws:
        scores = [outputs_of(owner, model, crop, batch_size, data_format) for crop in crops]
        if scores[0].ndim != 2 or scores[0].shape[1] < 2:
            raise ValueError(
                f"{owner}: `model` must give the scores of 2 classes or more, of shape "
                f"(batch, classes). Received: shape={scores[0].shape}. "
                f"One probability p becomes two scores as concatenate([1 - p, p])."
            )
        answers.append([score.argmax(1) for score in scores])
        shifts.append(offsets[1] - offsets[0])
    first, second = np.stack(answers, axis=1).reshape(2, -1)
    agree = first == second
    when_right = accuracy = None
    if labels is not None:
        right = np.stack([first, second]) == np.tile(labels, trials)
        either = right.any(0)
        when_right = float(agree[either].mean()) if either.any() else float("nan")
        accuracy = float(right.mean())
    return ShiftConsistency(
        float(agree.mean()), when_right, accuracy, np.concatenate(shifts), agree
    )


def segmentation_shift_consistency(
    model,
    images,
    max_shift=8,
    trials=5,
    wrap=False,
    seed=0,
    batch_size=32,
    data_format=None,
):
    """Returns how often a pixel keeps its class when the image is shifted (mASSC).

    As `shift_consistency`, for every pixel that both crops show:

        mASSC = mean over images, shifts and common pixels of
                1{argmax f(crop(x, o0)) at p = argmax f(crop(x, o1)) at the same p of x}

    Args:
        model: A Keras model or a function, from `(N, h, w, C)` to scores `(N, h, w, classes)` of
            the same size, of two classes or more.
        images, max_shift, trials, wrap, seed, batch_size, data_format: As for
            `shift_consistency`.

    Returns:
        A float, 0 to 1.

    Raises:
        ValueError: An argument is out of range, or the scores have another size than the images.

    Source:
        Zou et al., Delving Deeper into Anti-aliasing in ConvNets, BMVC 2020, for the name
        (mean Average Semantic Segmentation Consistency); the paper's formula was not at hand,
        this is how Rojas-Gomez et al., 2022, https://arxiv.org/abs/2210.08001, evaluate it.

    Example:
        >>> each_pixel = lambda x: np.concatenate([x, 1 - x], axis=-1)
        >>> images = np.random.default_rng(0).random((4, 16, 16, 1))
        >>> segmentation_shift_consistency(each_pixel, images, max_shift=3)
        1.0
    """
    owner = "segmentation_shift_consistency"
    images = images_as_array(owner, images, data_format)
    shares = []
    for crops, offsets in _Shifts(owner, images, max_shift, trials, wrap, seed, (1, 1)):
        scores = [outputs_of(owner, model, crop, batch_size, data_format) for crop in crops]
        shape = scores[0].shape
        if len(shape) != 4 or shape[1:3] != crops[0].shape[1:3] or shape[3] < 2:
            raise ValueError(
                f"{owner}: `model` must give the scores of 2 classes or more for each pixel. "
                f"Received: shape={shape} for images of shape={crops[0].shape}."
            )
        classes = [score.argmax(-1)[..., None] for score in scores]
        pairs = _common(classes, offsets, (Fraction(1), Fraction(1)), wrap)
        shares += [np.mean(one == other) for one, other in pairs]
    return float(np.mean(shares))


def shift_psnr(
    model,
    images,
    max_shift=8,
    max_val=1.0,
    border=0,
    trials=5,
    wrap=False,
    seed=0,
    batch_size=32,
    data_format=None,
):
    """Returns how well an image-to-image model commutes with a shift, as a PSNR in dB (EQ-T).

    With crops of `x` at two offsets, over the pixels that both outputs show,

        PSNR = 10 log10(max_val^2 / mean (f(crop(x, o0)) - f(crop(x, o1)))^2)

    Args:
        model: A Keras model or a function, from `(N, h, w, C)` to `(N, h * r, w * r, c)`. Where
            the size changes, shifts are drawn that move the output by whole pixels.
        images, max_shift, trials, wrap, seed, batch_size, data_format: As for
            `shift_consistency`.
        max_val: Range of the output's values: 1 for 0..1, 2 for -1..1, 255 for pictures.
        border: Pixels to cut from each side of the outputs, which see the padding; only 0 goes
            with `wrap=True`, where all of the image is rolled.

    Returns:
        A float in dB; infinite if the outputs are equal. The larger the better.

    Raises:
        ValueError: An argument is out of range, or the outputs are no images.

    Source:
        Karras et al., Alias-Free Generative Adversarial Networks, NeurIPS 2021, equation 9
        (EQ-T). https://arxiv.org/abs/2106.12423

    Example:
        >>> images = np.random.default_rng(0).random((4, 16, 16, 3))
        >>> shift_psnr(lambda x: x**2, images, max_shift=3)
        inf
    """
    owner = "shift_psnr"
    max_val = checks.number(owner, "max_val", max_val, 0.0)
    images = images_as_array(owner, images, data_format)
    if wrap and border:
        raise ValueError(
            f"{owner}: `border` must be 0 with wrap=True: what is rolled has no border. "
            f"Received: border={border}."
        )
    crop = images[:1] if wrap else _cut(images[:1], np.zeros((1, 2), int), max_shift)
    probe = outputs_of(owner, model, crop, 1, data_format)
    checks.image_batch(owner, probe.shape, "outputs")
    sizes = zip(probe.shape[1:3], crop.shape[1:3], strict=True)
    scale = tuple(Fraction(out, given) for out, given in sizes)
    steps = tuple(ratio.denominator for ratio in scale)
    errors, count = 0.0, 0
    for crops, offsets in _Shifts(owner, images, max_shift, trials, wrap, seed, steps):
        outputs = [outputs_of(owner, model, crop, batch_size, data_format) for crop in crops]
        if not wrap:
            outputs = [without_border(owner, output, border) for output in outputs]
        for one, other in _common(outputs, offsets, scale, wrap):
            errors += np.square(one.astype("float64") - other).sum()
            count += one.size
    return float(10 * np.log10(max_val**2 * count / errors)) if errors else float("inf")


class _Shifts:
    """Draws of two shifted versions of every image, and their offsets `(N, 2)`."""

    def __init__(self, owner, images, max_shift, trials, wrap, seed, steps):
        self.owner, self.images, self.wrap, self.seed = owner, images, wrap, seed
        self.max_shift = checks.positive_int(owner, "max_shift", max_shift)
        self.trials = checks.positive_int(owner, "trials", trials)
        self.steps = steps
        if self.max_shift >= min(images.shape[1:3]):
            raise ValueError(
                f"{owner}: `max_shift` must leave pixels. Received: max_shift={max_shift}, images "
                f"of {images.shape[1]} x {images.shape[2]} pixels."
            )
        if max(steps) > self.max_shift:
            raise ValueError(
                f"{owner}: `max_shift` must reach a shift that moves the output by a whole pixel, "
                f"and leave a size that the model's strides divide. Received: "
                f"max_shift={max_shift}, images of {images.shape[1]} x {images.shape[2]} pixels."
            )

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        move = _roll if self.wrap else _cut
        for _ in tqdm(range(self.trials), desc=self.owner, delay=3, leave=False):
            offsets = [
                np.stack([self._draw(rng, step) for step in self.steps], axis=1) for _ in range(2)
            ]
            yield [move(self.images, offset, self.max_shift) for offset in offsets], offsets

    def _draw(self, rng, step):
        return step * rng.integers(0, self.max_shift // step + 1, len(self.images))


def _cut(images, offsets, max_shift):
    height, width = (n - max_shift for n in images.shape[1:3])
    pairs = zip(images, offsets, strict=True)
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in pairs])


def _roll(images, offsets, max_shift):
    pairs = zip(images, offsets, strict=True)
    return np.stack([np.roll(image, (-y, -x), (0, 1)) for image, (y, x) in pairs])


def _common(outputs, offsets, scale, wrap):
    """Pairs of what both outputs show, image by image."""
    for one, other, *starts in zip(*outputs, *offsets, strict=True):
        moves = [int(d * ratio) for d, ratio in zip(starts[1] - starts[0], scale, strict=True)]
        if wrap:
            yield one, np.roll(other, moves, (0, 1))
            continue
        height, width = one.shape[:2]
        dy, dx = moves
        yield (
            one[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)],
            other[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)],
        )
