"""How much an answer changes when the image is shifted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from keras_cnnfix import checks
from keras_cnnfix.diagnostics.arrays import answering, batches, is_array, length, without_border
from keras_cnnfix.typing import AnyModel, Array, DataFormat, Images, Ints


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
    shifts: Array
    agree: Array


def shift_consistency(
    model: AnyModel,
    images: Images,
    max_shift: int = 8,
    labels: Any = None,
    trials: int = 5,
    wrap: bool = False,
    seed: int = 0,
    batch_size: int = 32,
    data_format: DataFormat | None = None,
) -> ShiftConsistency:
    """Asks a classifier twice about each image, shifted, and counts how often the answers agree.

    Two crops are drawn from each image, of `max_shift` pixels less than its size, at offsets
    `o0, o1 ~ U{0..max_shift}^2`, and

        consistency = mean 1{argmax f(crop(x, o0)) = argmax f(crop(x, o1))}

    A network that gives one class to everything is perfectly consistent. With `labels` come the
    accuracy, and the agreement among pairs of which at least one is right.

    Args:
        model: A Keras model, a torch module or a function, from `(N, H - max_shift,
            W - max_shift, C)` to the scores `(N, classes)` of two classes or more. It takes images
            of the full size with `wrap=True`. A torch module is asked in evaluation mode, with
            images of the dtype and on the device of its weights; a function of NumPy arrays or of
            the backend's tensors gets what it takes (arrays first; what it wraps is not put into
            evaluation mode). The images are in `data_format`, which is `"channels_first"` for
            most of torch.
        images: Array or tensor `(N, H, W, C)`, as the model takes them but for the size. Or what
            gives batches of them, alone or in tuples (images, labels), and ends: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a `DataLoader`, a generator. One batch is
            held at a time.
        max_shift: Largest shift per axis, in pixels, at least 1.
        labels: Right classes `(N,)` or `(N, 1)`, integers. None where the batches bring them.
        trials: Pairs drawn from each image.
        wrap: Roll the images, by up to `max_shift`, instead of cropping them.
        seed: Of the offsets: the same seed gives the same pairs. For batches they are drawn image
            by image as these arrive, so that the size of the batches does not count, the order
            does.
        batch_size: Images that the model gets at a time, at most.
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
    answer = answering(owner, model, batch_size, data_format)
    shifts, classes, right = [], [], []
    data = batches(owner, images, labels, data_format)
    for crops, offsets, given in _shifted(owner, data, images, max_shift, trials, wrap, seed):
        if given is not None:
            given = _labels(owner, given, len(offsets[0]))
        scores = [answer(crop) for crop in crops]
        if scores[0].ndim != 2 or scores[0].shape[1] < 2:
            raise ValueError(
                f"{owner}: `model` must give the scores of 2 classes or more, of shape "
                f"(batch, classes). Received: shape={scores[0].shape}. "
                f"One probability p becomes two scores as concatenate([1 - p, p])."
            )
        pair = np.stack([score.argmax(1) for score in scores])
        classes.append(pair)
        shifts.append(offsets[1] - offsets[0])
        if given is not None:
            right.append(pair == given)
    first, second = np.concatenate(classes, axis=1)
    agree = first == second
    when_right = accuracy = None
    if right:
        hits = np.concatenate(right, axis=1)
        if hits.shape[1] != len(agree):
            raise ValueError(
                f"{owner}: `images` must give labels with every batch, or with none. Received: "
                f"some with, some without."
            )
        either = hits.any(0)
        when_right = float(agree[either].mean()) if either.any() else float("nan")
        accuracy = float(hits.mean())
    return ShiftConsistency(
        float(agree.mean()), when_right, accuracy, np.concatenate(shifts), agree
    )


def segmentation_shift_consistency(
    model: AnyModel,
    images: Images,
    max_shift: int = 8,
    trials: int = 5,
    wrap: bool = False,
    seed: int = 0,
    batch_size: int = 32,
    data_format: DataFormat | None = None,
) -> float:
    """Returns how often a pixel keeps its class when the image is shifted (mASSC).

    As `shift_consistency`, for every pixel that both crops show:

        mASSC = mean over images, shifts and common pixels of
                1{argmax f(crop(x, o0)) at p = argmax f(crop(x, o1)) at the same p of x}

    Args:
        model: A Keras model, a torch module or a function, from `(N, h, w, C)` to scores
            `(N, h, w, classes)` of the same size, of two classes or more.
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
    answer = answering(owner, model, batch_size, data_format)
    shares = []
    data = batches(owner, images, None, data_format)
    for crops, offsets, _ in _shifted(owner, data, images, max_shift, trials, wrap, seed):
        scores = [answer(crop) for crop in crops]
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
    model: AnyModel,
    images: Images,
    max_shift: int = 8,
    max_val: float = 1.0,
    border: int = 0,
    trials: int = 5,
    wrap: bool = False,
    seed: int = 0,
    batch_size: int = 32,
    data_format: DataFormat | None = None,
) -> float:
    """Returns how well an image-to-image model commutes with a shift, as a PSNR in dB (EQ-T).

    With crops of `x` at two offsets, over the pixels that both outputs show,

        PSNR = 10 log10(max_val^2 / mean (f(crop(x, o0)) - f(crop(x, o1)))^2)

    Args:
        model: A Keras model, a torch module or a function, from `(N, h, w, C)` to
            `(N, h * r, w * r, c)`. Where the size changes, shifts are drawn that move the output
            by whole pixels.
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
    if wrap and border:
        raise ValueError(
            f"{owner}: `border` must be 0 with wrap=True: what is rolled has no border. "
            f"Received: border={border}."
        )
    answer = answering(owner, model, batch_size, data_format)

    scales = {}

    def steps(crop: Array) -> Ints:
        shape = crop.shape[1:]
        if shape not in scales:
            probe = answer(crop)
            checks.image_batch(owner, probe.shape, "outputs")
            sizes = zip(probe.shape[1:3], shape[:2], strict=True)
            scales[shape] = tuple(Fraction(out, given) for out, given in sizes)
        return tuple(ratio.denominator for ratio in scales[shape])

    errors, count = 0.0, 0
    data = batches(owner, images, None, data_format)
    for crops, offsets, _ in _shifted(owner, data, images, max_shift, trials, wrap, seed, steps):
        outputs = [answer(crop) for crop in crops]
        if not wrap:
            outputs = [without_border(owner, output, border) for output in outputs]
        for one, other in _common(outputs, offsets, scales[crops[0].shape[1:]], wrap):
            errors += np.square(one.astype("float64") - other).sum()
            count += one.size
    return float(10 * np.log10(max_val**2 * count / errors)) if errors else float("inf")


def _shifted(
    owner: str,
    data: Iterable[tuple[Array, Any]],
    source: Any,
    max_shift: int,
    trials: int,
    wrap: bool,
    seed: int,
    steps: Callable[[Array], Ints] = lambda crop: (1, 1),
) -> Iterator[tuple[list[Array], Array, Any]]:
    """Yields two shifted versions of every image of a batch, their offsets `(N, 2)`, its labels.

    Args:
        data: What `batches` makes of `source`.
        source: As the user gave it.
        steps: Function from one shifted image `(1, H, W, C)` to the pair of pixels that offsets
            are multiples of.
    """
    max_shift = checks.positive_int(owner, "max_shift", max_shift)
    trials = checks.positive_int(owner, "trials", trials)
    rng = np.random.default_rng(seed)
    move = _roll if wrap else _cut
    count = 1 if is_array(source) else length(source)
    total = None if count is None else count * trials
    with tqdm(total=total, desc=owner, delay=3, leave=False) as bar:
        for images, labels in data:
            height, width = images.shape[1:3]
            if max_shift >= min(height, width):
                raise ValueError(
                    f"{owner}: `max_shift` must leave pixels. Received: max_shift={max_shift}, "
                    f"images of {height} x {width} pixels."
                )
            pair = steps(move(images[:1], np.zeros((1, 2), int), max_shift))
            if max(pair) > max_shift:
                raise ValueError(
                    f"{owner}: `max_shift` must reach a shift that moves the output by a whole "
                    f"pixel, and leave a size that the model's strides divide. Received: "
                    f"max_shift={max_shift}, images of {height} x {width} pixels."
                )
            highest = [max_shift // step for step in pair]
            # An array's are drawn for all its images at once, what arrives image by image: the
            # pairs of an array stay what they were, those of batches do not depend on their size.
            groups = [len(images)] if is_array(source) else [1] * len(images)
            drawn = [_offsets(rng, trials, highest, group) for group in groups]
            for offsets in np.concatenate(drawn, axis=2) * pair:
                yield [move(images, offset, max_shift) for offset in offsets], offsets, labels
                bar.update()
            del images, labels  # before the next batch is made


def _labels(owner: str, labels: Any, count: int) -> Array:
    labels = keras.ops.convert_to_numpy(labels)
    whole = labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and not (labels % 1).any())
    if labels.shape not in ((count,), (count, 1)) or not whole:
        raise ValueError(
            f"{owner}: `labels` must be one integer an image, of shape ({count},) or ({count}, 1). "
            f"Received: shape={labels.shape}, dtype={labels.dtype} for {count} images. One-hot "
            f"labels become integers with labels.argmax(-1)."
        )
    return labels.reshape(-1)


def _offsets(rng: np.random.Generator, trials: int, highest: Sequence[int], count: int) -> Array:
    """Draws `(trials, 2, count, 2)`: for each trial and image two offsets (height, width)."""
    return np.stack(
        [
            [
                np.stack([rng.integers(0, high + 1, count) for high in highest], axis=1)
                for _ in range(2)
            ]
            for _ in range(trials)
        ]
    )


def _cut(images: Array, offsets: Array, max_shift: int) -> Array:
    height, width = (n - max_shift for n in images.shape[1:3])
    pairs = zip(images, offsets, strict=True)
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in pairs])


def _roll(images: Array, offsets: Array, max_shift: int) -> Array:
    pairs = zip(images, offsets, strict=True)
    return np.stack([np.roll(image, (-y, -x), (0, 1)) for image, (y, x) in pairs])


def _common(
    outputs: Sequence[Array], offsets: Array, scale: tuple[Fraction, ...], wrap: bool
) -> Iterator[tuple[Array, Array]]:
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
