"""Reading, writing and laying out pictures: arrays `(H, W, 3)`, RGB, uint8."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from common import devices
from common.program import InputError

CAPTION = 34  # pixels above each panel
GAP = 12


def read(path, least=1):
    """Reads a picture file as RGB; grey is repeated, transparency is laid on white.

    Raises:
        InputError: The file is no picture, or a side is shorter than `least` pixels.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I;16"):  # Pillow 13 would clip 16-bit grey, not scale it.
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            image = image.convert("RGBA")
    except Exception as error:  # Which kind depends on the file's format.
        raise InputError(f"{path} cannot be read as a picture: {error}") from error
    if min(image.size) < least:
        width, height = image.size
        raise InputError(
            f"{path} must be at least {least} pixels wide and high. Received: {width} x {height}."
        )
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def write(path, picture):
    """Writes a picture; the file's ending says the format, and missing folders are made."""
    if devices.is_first():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def luminance(picture):
    """Returns the brightness `(H, W)`, float, 0..255."""
    return picture @ np.array([0.299, 0.587, 0.114])


def flattest_window(picture, side, margin=16):
    """Returns the slices of the square in which, and around which, the picture changes least.

    What counts is the relative change, as for the eye: otherwise the darkest square wins.
    """
    change = sum(np.square(slope) for slope in np.gradient(np.log1p(luminance(picture))))
    margin = min(margin, (min(change.shape) - side) // 2)
    n = side + 2 * margin
    sums = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]
    y, x = np.unravel_index(windows.argmin(), windows.shape)
    return slice(y + margin, y + margin + side), slice(x + margin, x + margin + side)


def enlarge(picture, factor):
    """Repeats every pixel `factor` times in both directions, so that single pixels show."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def grid(images, columns):
    """Lays equal pictures `(N, H, W, 3)` out side by side, row by row, on white, without gaps."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    cells = np.full((rows * columns, height, width, channels), 255, "uint8")
    cells[:n] = images
    cells = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return cells.reshape(rows * height, columns * width, channels)


def sheet(rows):
    """Lays panels out on white, each row a list of `(caption, picture)`, nothing resized."""
    width = max(sum(p.shape[1] + GAP for _, p in row) for row in rows) + GAP
    height = sum(max(p.shape[0] for _, p in row) + CAPTION + GAP for row in rows)
    paper = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(18)
    y = 0
    for row in rows:
        x = GAP
        for caption, picture in row:
            draw.text((x, y + CAPTION - 8), caption, fill="black", font=font, anchor="ls")
            paper.paste(Image.fromarray(picture), (x, y + CAPTION))
            x += picture.shape[1] + GAP
        y += max(p.shape[0] for _, p in row) + CAPTION + GAP
    return np.asarray(paper)
