"""The pictures of a page, as PNG in the page itself."""

import base64
import io
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from keras_cnnfix.diagnostics.plots import plot_shift_consistency, plot_spectrum
from keras_cnnfix.typing import Array

FLAT = 32  # pixels, enlarged


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows.

    Attributes:
        source: A `data:` address.
        title, caption: Text.
    """

    source: str
    title: str
    caption: str


class Diagnosed(Protocol):
    """What a page shows: a `Diagnosis`."""

    @property
    def model(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def evidence(self) -> dict[str, Any]: ...


def of(diagnosis: Diagnosed) -> list[Picture]:
    """The pictures that the evidence of a diagnosis gives, as a list of `Picture`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "to_html: matplotlib must be installed. Use: pip install 'keras_cnnfix[report]'."
        ) from error
    evidence, found = diagnosis.evidence, []
    for name, what in (("answers", "Its answer"), ("flats", "What it makes of flat maps")):
        images = evidence.get(name)
        if images is None:
            continue
        image = _worst(images)
        found.append(Picture(_drawn(Figure, image), what, "The one with most contrast."))
        part, (y, x) = _flattest(image)
        caption = (
            f"{part.shape[0]} x {part.shape[1]} pixels from row {y}, column {x}, where it is "
            f"flattest, stretched from black to white: a range of {np.ptp(part):.2g}."
        )
        found.append(Picture(_drawn(Figure, part), "Enlarged", caption))
        period = evidence.get("period")
        if period is not None:
            caption = f"A grid of period {period[0]} x {period[1]} lies in the marked points."
            figure = plot_spectrum(images, period, data_format="channels_last")
            found.append(Picture(_png(figure), "Spectrum", caption))
    shifts = evidence.get("shifts")
    if shifts is not None:
        caption = "How often two answers agree, over how far the two images are shifted apart."
        figure = plot_shift_consistency({diagnosis.model: shifts})
        found.append(Picture(_png(figure), "Consistency under shifts", caption))
    return found


def _worst(images: Array) -> Array:
    spread = images.astype("float64").std((1, 2)).max(-1)
    return images[int(spread.argmax())]


def _flattest(image: Array) -> tuple[Array, tuple[int, int]]:
    """The flattest part of an image, away from its border, and where it lies."""
    side = min(FLAT, *(n // 2 for n in image.shape[:2]))
    margin = min(image.shape[:2]) // 8
    starts = [
        (y, x)
        for y in range(margin, image.shape[0] - side - margin + 1, max(1, side // 2))
        for x in range(margin, image.shape[1] - side - margin + 1, max(1, side // 2))
    ]
    y, x = min(starts, key=lambda start: _part(image, start, side).astype("float64").var())
    return _part(image, (y, x), side), (y, x)


def _part(image: Array, start: tuple[int, int], side: int) -> Array:
    y, x = start
    return image[y : y + side, x : x + side]


def _drawn(figure_class: type[Any], image: Array) -> str:
    """An image from black to white, of three channels in colour, else the mean of its channels."""
    image = image.astype("float64")
    image = image if image.shape[-1] == 3 else image.mean(-1)
    low, high = image.min(), image.max()
    shown = (image - low) / (high - low) if high > low else np.full(image.shape, 0.5)
    figure = figure_class(figsize=(3, 3 * image.shape[0] / image.shape[1]), dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return _png(figure)


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
