"""How often `checkerboard_score` and `find_period` are wrong: on photographs, and on planted grids.

    python -m benchmarks.detection

Every photograph that scikit-image and scikit-learn ship, whole and in twelve random crops of each
size. A grid raises every U-th row and column by 0.02 of the range, by 0.01 at U = 2: the faintest
that an eye finds in a flat region.
"""

from collections import Counter

import numpy as np
from skimage import data
from sklearn.datasets import load_sample_image

from keras_cnnfix.diagnostics import checkerboard_score, find_period

PERIODS = (2, 3, 4, 8)
LEVELS = (9, 12, 15)  # dB
SOUGHT = (2, 3, 4, 5, 6, 8)
SIZES = (64, 128, 256, None)
SHIPPED = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "clock",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "microaneurysms",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
)


def photographs():
    """Returns 21 photographs by name: `(H, W, 1)` or `(H, W, 3)`, float, 0..1."""
    found = {name: getattr(data, name)() for name in SHIPPED}
    found["stereo_motorcycle"] = data.stereo_motorcycle()[0]
    found |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    # The grey ones have no axis of channels; some are stored as floats already.
    return {
        name: np.atleast_3d(image) / (255 if image.dtype == "uint8" else 1)
        for name, image in found.items()
    }


def planted(image, period):
    """Returns an image `(H, W, C)`, 0..1, with a grid of this period."""
    rows, columns = (np.arange(n) % period == 0 for n in image.shape[:2])
    grid = rows[:, None] | columns
    return image + (0.01 if period == 2 else 0.02) * grid[..., None]


def crops(image, size, count=12, seed=0):
    """Returns random squares of `size` pixels, all of the image for None; flat ones left out."""
    if size is None:
        return [image]
    rng, squares = np.random.default_rng(seed), []
    if min(image.shape[:2]) >= size:
        for _ in range(count):
            y, x = (rng.integers(side - size + 1) for side in image.shape[:2])
            squares.append(image[y : y + size, x : x + size])
    return [square for square in squares if np.ptp(square) > 0.01]


def excesses(images, period):
    """Returns the excess in dB of each image, clean and with the grid: two arrays."""
    scored = [
        [checkerboard_score(version, period, data_format="channels_last").excess]
        for image in images
        for version in (image, planted(image, period))
    ]
    return np.array(scored).reshape(-1, 2).T


def answers(images, period):
    """Returns the shares of images with a grid of this period whose period is found, mistaken for
    another, and not found.
    """
    found = [find_period(planted(image, period), data_format="channels_last") for image in images]
    right = found.count((period, period)) / len(found)
    none = found.count(None) / len(found)
    return right, 1 - right - none, none


def main():
    pictures = list(photographs().values())
    squares = {size: [c for picture in pictures for c in crops(picture, size)] for size in SIZES}
    print("A grid from 9 / 12 / 15 dB on:\n")
    print("| pixels | period | images | false alarms | misses | median, clean |")
    print("|---|---|---|---|---|---|")
    for size, images in squares.items():
        for period in PERIODS:
            clean, grid = excesses(images, period)
            alarms = " / ".join(f"{np.mean(clean >= level):.1%}" for level in LEVELS)
            misses = " / ".join(f"{np.mean(grid < level):.1%}" for level in LEVELS)
            median = f"{np.median(clean):.1f} dB"
            print(f"| {_name(size)} | {period} | {len(images)} | {alarms} | {misses} | {median} |")
    print("\nThe period, right / another / none:\n")
    print(f"| pixels | images | false alarms | {' | '.join(map(str, SOUGHT))} |")
    print(f"|---|---|---|{'---|' * len(SOUGHT)}")
    for size, images in squares.items():
        clean = Counter(find_period(image, data_format="channels_last") for image in images)
        alarms = f"{1 - clean[None] / len(images):.1%}"
        shares = [" / ".join(f"{s:.0%}" for s in answers(images, period)) for period in SOUGHT]
        print(f"| {_name(size)} | {len(images)} | {alarms} | {' | '.join(shares)} |")


def _name(size):
    return "whole" if size is None else f"{size} x {size}"


if __name__ == "__main__":
    main()
