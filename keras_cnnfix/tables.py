"""Tables as text and as HTML."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

TitledRows: TypeAlias = tuple[str, Sequence[Mapping[str, Any]]]


def text(titled_rows: Iterable[TitledRows], width: int = 100) -> str:
    """Returns tables as plain text.

    Args:
        titled_rows: Pairs of a title and rows: dicts of the same keys, the columns.
        width: Characters a line.
    """
    written = io.StringIO()
    console = Console(file=written, width=width, color_system=None, force_terminal=False)
    for title, rows in titled_rows:
        console.print(_table(title, rows))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def html(titled_rows: Iterable[TitledRows], width: int = 100) -> str:
    """Returns tables as HTML, with styles of their own."""
    console = Console(file=io.StringIO(), width=width, record=True, force_jupyter=False)
    for title, rows in titled_rows:
        console.print(_table(title, rows))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Names hold brackets that rich would read as styles.
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    return Text(f"{value:.3g}" if isinstance(value, float) else str(value))
