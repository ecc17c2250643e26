"""The progress bar of ``streamd put``: for an input long enough to wait for, and only at a terminal.

It is drawn on stderr, and complaints about single records go above it, so that neither disturbs the other or
stdout.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["STDIN", "Screen", "progress"]

# How stdin is named among paths.
STDIN: Final = "-"

# Less than this is stored before anybody could look at a bar.
_BAR_BYTE_COUNT_MIN: Final = 1 << 20

# What to call with a count of bytes read, and with a complaint.
Screen = tuple[Callable[[int], None], Callable[[str], None]]


@contextmanager
def progress(paths: Sequence[str]) -> Iterator[Screen]:
    """Show how far the reading of these files is, while the context lasts."""
    if not _deserves_bar(paths):
        yield (lambda _byte_count: None), (lambda sentence: click.echo(f"streamd: {sentence}", err=True))
        return
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("put"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    # Left to itself rich would take stdout for the bar's console, which is stderr.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("put", total=_byte_count_of(paths))
        yield (
            (lambda byte_count: bar.advance(task, byte_count)),
            (lambda sentence: console.print(f"streamd: {sentence}", markup=False, soft_wrap=True)),
        )


def _deserves_bar(paths: Sequence[str]) -> bool:
    if not paths or not sys.stderr.isatty() or (STDIN in paths and sys.stdin.isatty()):
        return False
    byte_count = _byte_count_of(paths)
    return byte_count is None or byte_count >= _BAR_BYTE_COUNT_MIN


def _byte_count_of(paths: Sequence[str]) -> int | None:
    """Add up the sizes of files, or give None when one is a pipe and has none."""
    statuses = [os.fstat(sys.stdin.fileno()) if path == STDIN else Path(path).stat() for path in paths]
    if not all(S_ISREG(status.st_mode) for status in statuses):
        return None
    return sum(status.st_size for status in statuses)
