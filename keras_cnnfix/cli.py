"""`keras-cnnfix` on the command line: `diagnose`, `fix`, `rules`."""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLEAN, ARTIFACT, WRONG = 0, 1, 2
MOST_PIXELS = 2**26  # of one picture


class _UseError(Exception):
    """Something that the user can mend; its text is the one line that is printed."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: List of texts, None for those of the process.

    Returns:
        0: nothing was found; 1: an artifact was; 2: wrong use, or a file that cannot be read.
    """
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    # Pictures may stand behind the options, too.
    if others and hasattr(options, "pictures") and not any(o.startswith("-") for o in others):
        options.pictures += map(Path, others)
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        return options.command(options)
    except _UseError as error:
        print(f"keras-cnnfix: {error}", file=sys.stderr)
    except MemoryError:
        print("keras-cnnfix: the model is too large for the memory.", file=sys.stderr)
    return WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-cnnfix", description="Finds and mends what convolutional networks draw."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    diagnose = commands.add_parser("diagnose", help="what is wrong with a model")
    diagnose.set_defaults(command=_diagnose)
    diagnose.add_argument("model", type=Path, help="a .keras or .h5 file")
    diagnose.add_argument("pictures", nargs="*", type=Path, help="pictures to ask it about")
    diagnose.add_argument(
        "--range",
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=("BLACK", "WHITE"),
        help="what the model takes for black and for white (0 1)",
    )
    diagnose.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures")
    diagnose.add_argument("--json", action="store_true", help="print JSON")

    fix = commands.add_parser("fix", help="the model without it")
    fix.set_defaults(command=_fix)
    fix.add_argument("model", type=Path, help="a .keras or .h5 file")
    fix.add_argument("-o", "--output", type=Path, metavar="FIXED.keras", help="where to write it")
    fix.add_argument("--rules", nargs="+", default=["exact"], help="groups or names (see `rules`)")
    fix.add_argument("--dry-run", action="store_true", help="report what would be done")

    listed = commands.add_parser("rules", help="what is looked for")
    listed.set_defaults(command=_rules)
    listed.add_argument("--json", action="store_true", help="print JSON")

    for command in (diagnose, fix):
        command.add_argument("--force", action="store_true", help="write over a file that exists")
        command.add_argument(
            "--unsafe", action="store_true", help="run the code that the model's file holds"
        )
    return parser


def _diagnose(options: argparse.Namespace) -> int:
    _check_free(options.html, options.force)
    model = _load(options.model, options.unsafe)
    from keras_cnnfix.diagnosis import diagnose

    images = _pictures(options.pictures, model, options.range) if options.pictures else None
    try:
        diagnosis = diagnose(model, images)
        if options.html:
            diagnosis.to_html(options.html)
    except MemoryError:
        raise
    except Exception as error:  # Of a model that does not work, or a page that cannot be written.
        raise _UseError(_line(error)) from error
    print(json.dumps(diagnosis.as_dict(), indent=1) if options.json else diagnosis)
    return ARTIFACT if any(f.severity == "artifact" for f in diagnosis.findings) else CLEAN


def _fix(options: argparse.Namespace) -> int:
    if options.output is None and not options.dry_run:
        raise _UseError("fix needs -o FIXED.keras, or --dry-run.")
    if options.output is not None and options.output.suffix != ".keras":
        raise _UseError(f"the output must end in .keras. Received: {options.output}.")
    _check_free(options.output, options.force)
    model = _load(options.model, options.unsafe)
    from keras_cnnfix.files import written_at_once
    from keras_cnnfix.repair import fix

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fixed, report = fix(model, rules=options.rules, dry_run=options.dry_run)
    except ValueError as error:
        raise _UseError(_line(error)) from error
    if fixed is model and not options.dry_run:
        raise _UseError(report.left[0].reason)
    if not options.dry_run:
        try:
            with written_at_once(options.output) as part:
                fixed.save(part)
        except OSError as error:
            raise _UseError(_line(error)) from error
    print(report)
    return CLEAN


def _rules(options: argparse.Namespace) -> int:
    from keras_cnnfix import tables
    from keras_cnnfix.rules import GROUPS, RULES

    rows = [
        {
            "rule": rule.name,
            "finds": rule.finds,
            "becomes": rule.becomes,
            "safety": str(rule.safety),
            "in": ", ".join(group for group, names in GROUPS.items() if rule.name in names),
        }
        for rule in RULES
    ]
    print(json.dumps(rows, indent=1) if options.json else tables.text([("Rules", rows)]), end="")
    return CLEAN


def _check_free(path: Path | None, force: bool) -> None:
    if path is None:
        return
    if path.exists() and not force:
        raise _UseError(f"{path} exists. Use --force to write over it.")
    if not path.parent.is_dir():
        raise _UseError(f"there is no folder {path.parent}.")


def _load(path: Path, unsafe: bool) -> Any:
    if not path.is_file():
        raise _UseError(f"there is no file {path}.")
    from keras_cnnfix.files import load_model

    try:
        return load_model(path, compile=False, safe_mode=not unsafe)
    except MemoryError:
        raise
    except Exception as error:  # Whatever a broken file makes of the loader.
        if not unsafe and any(word in str(error).lower() for word in ("unsafe", "lambda")):
            raise _UseError(
                f"{path} holds code of its own (a Lambda layer), which was not run. Only if you "
                f"trust where it is from: --unsafe runs it."
            ) from error
        raise _UseError(f"{path} cannot be loaded: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """The first line of an error, short enough to read."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def _pictures(paths: Sequence[Path], model: Any, values: tuple[float, float]) -> Any:
    """Pictures as the model takes them: its channels, its size where it has one."""
    import numpy as np

    from keras_cnnfix.diagnosis import data_format_of
    from keras_cnnfix.ops import layout

    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise _UseError(f"the model does not take pictures, but shapes {shape}.")
    data_format = data_format_of(model)
    size = layout.spatial_size(shape, data_format)
    channels = shape[layout.channel_axis(data_format)]
    if channels not in (1, 3):
        raise _UseError(f"pictures have 1 or 3 channels, the model takes {channels}.")
    images = [_picture(path, "L" if channels == 1 else "RGB") for path in paths]
    height, width = (
        min(image.size[axis] for image in images) if n is None else n
        for n, axis in zip(size, (1, 0), strict=True)
    )
    low, high = values
    arrays = [np.asarray(_fitted(image, (width, height)), "float32") for image in images]
    batch = np.stack(arrays).reshape(len(images), height, width, channels)
    batch = low + batch / 255 * (high - low)
    return np.moveaxis(batch, -1, layout.channel_axis(data_format))


def _picture(path: Path, mode: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise _UseError("pictures need Pillow: pip install 'keras_cnnfix[report]'.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _UseError(f"{path} has {image.width} x {image.height} pixels: too many.")
                return image.convert(mode)
    except _UseError:
        raise
    except Exception as error:  # Whatever a broken picture makes of the decoder.
        raise _UseError(f"{path} cannot be read: {_line(error)}") from error


def _fitted(image: Any, size: tuple[int, int]) -> Any:
    """The middle of a picture at its own scale, where it is large enough, else resized."""
    width, height = size
    if image.width < width or image.height < height:
        return image.resize(size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
