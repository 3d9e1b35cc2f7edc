"""The examples as programs: options, messages of one line, tables."""

import argparse
import contextlib
import sys
from pathlib import Path

EXTRAS = "pip install 'keras_cnnfix[examples]'"


class InputError(ValueError):
    """Something that the user gave and can change: a file, a folder, a size."""


@contextlib.contextmanager
def imports(name):
    """Ends the program with one line if a package is missing."""
    try:
        yield
    except ImportError as error:
        missing = error.name or error
        sys.exit(
            f"{name}: the package {missing!r} is missing. "
            f"Run: {EXTRAS}, and install the backend that Keras uses."
        )


@contextlib.contextmanager
def one_line_errors(name):
    """Ends the program with one line for what its user can mend; bugs keep their traceback."""
    try:
        yield
    except (InputError, OSError) as error:
        sys.exit(f"{name}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(
            f"{name}: stopped. What was trained so far is kept, but for the last steps; the same "
            "command goes on from there."
        )


def parser(name, doc):
    """Returns an argument parser with what every example takes."""
    made = argparse.ArgumentParser(prog=name, description=doc.split("\n")[0])
    add = made.add_argument
    add("--out", type=Path, default=Path(name), help="folder for what is written (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="of all that is random (%(default)s)")
    add("--quick", action="store_true", help="a run of seconds, to see that it works")
    return made


def at_least(least):
    """Returns the type of an option that is an integer from `least` up."""

    def integer(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}. Received: {value}.")
        return value

    return integer


def table(title, columns, rows):
    """Prints a table: strings as they are, numbers with three digits."""
    # Keras brings rich along. Imported here, so that `imports` can report a missing Keras.
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for n, column in enumerate(columns):
        drawn.add_column(column, justify="right" if n else "left")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row))
    Console(width=100).print(drawn)
