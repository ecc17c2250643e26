"""How answers look: a table or a few lines for people, JSON for programs.

Tables fit the terminal; into a pipe or a file nothing is ever shortened. All is written to stdout by
``write``, in one piece, so that a closed pipe is met in one place.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["byte_count_text", "fields", "json_text", "table", "write"]

# Wide enough for every row we print: rich shortens cells to a width, and a pipe has none.
_PIPE_WIDTH: Final = 4096
_KIB: Final = 1024


def write(text: str) -> None:
    """Write lines to stdout at once."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def json_text(document: object) -> str:
    """Write one document as JSON, indented, as a whole answer."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Draw rows under headings; columns named in ``right`` (by place) are numbers and align so."""
    drawing = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, heading in enumerate(headings):
        # Ids and sequence numbers differ at their ends, so a narrow terminal wraps them and never cuts them.
        drawing.add_column(heading, justify="right" if place in right else "left", overflow="fold", header_style="bold")
    for row in rows:
        drawing.add_row(*(Text(cell) for cell in row))
    return _drawn(drawing)


def fields(value_by_name: Mapping[str, str]) -> str:
    """Draw names and values, one pair a line."""
    drawing = Table.grid(padding=(0, 2))
    drawing.add_column(style="bold")
    drawing.add_column(overflow="fold")
    for name, value in value_by_name.items():
        drawing.add_row(name, Text(value))
    return _drawn(drawing)


def byte_count_text(byte_count: int) -> str:
    """Write a count of bytes for people: ``12 bytes``, ``3.4 MiB``."""
    if byte_count < _KIB:
        return f"{byte_count} byte{'' if byte_count == 1 else 's'}"
    size = float(byte_count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KIB
        if size < _KIB:
            return f"{size:.1f} {unit}"
    return f"{size / _KIB:.1f} TiB"


def _drawn(drawing: Table) -> str:
    # Captured and written by us: rich itself would end the process with status 1 at a closed pipe.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(drawing)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
