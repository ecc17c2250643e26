"""``streamd data``: what a data directory holds, whether all of it is as it was written, and copies of it.

All verbs read one frozen moment of the log, beside a running daemon or without one, and change nothing of it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamd.cli.options import examples, json_option
from streamd.cli.output import byte_count_text, json_text, table, write
from streamd.storage import inspect
from streamd.storage.backup import copy_data
from streamd.storage.inspect import CheckReport, ShardStats
from streamd.storage.inspect_apart import check_apart

__all__ = ["data"]

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_NEW_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def data() -> None:
    """Check, measure, back up or restore data."""


@data.command(epilog=examples("streamd data check ./streamd-data", "streamd data check /var/lib/streamd --json"))
@click.argument("directory", type=_DIRECTORY, metavar="DIR")
@json_option()
def check(directory: Path, *, as_json: bool) -> None:
    """Verify all that is stored in DIR: every page, every checksum, every shard's order, every count.

    The exit status is 1 when there is a fault. A daemon may run meanwhile: what is checked is one moment of it.
    """
    _verify(directory, as_json=as_json)


@data.command(epilog=examples("streamd data stats ./streamd-data", "streamd data stats /var/lib/streamd --json"))
@click.argument("directory", type=_DIRECTORY, metavar="DIR")
@json_option()
def stats(directory: Path, *, as_json: bool) -> None:
    """Count what DIR holds: records, bytes, blocks, oldest and newest arrival of every shard."""
    found = inspect.stats(directory)
    if as_json:
        write(json_text([asdict(shard) for shard in found]))
        return
    headings = ["stream", "shard", "state", "records", "bytes", "blocks", "oldest", "newest"]
    write(table(headings, [_row_of(shard) for shard in found], right=[3, 4, 5]))


@data.command(
    epilog=examples(
        "streamd data backup ./streamd-data /backups/monday",
        "streamd data backup /var/lib/streamd /backups/tuesday --json",
    )
)
@click.argument("directory", type=_DIRECTORY, metavar="DIR")
@click.argument("destination", type=_NEW_DIRECTORY, metavar="DEST")
@json_option()
def backup(directory: Path, destination: Path, *, as_json: bool) -> None:
    """Copy DIR to DEST while a daemon goes on serving it, and verify the copy.

    DEST is made, or empty. It holds one moment: every record acknowledged before the start, the code of functions
    and what they printed, and the secrets, so keep it as private as DIR. A key that was given by --master-key is not
    in it. Until the copy is done the store grows by what is written meanwhile.

    The exit status is 1 when there is a fault; the copy then has the fault that DIR has, and stays.
    """
    copy_data(directory, destination)
    _verify(destination, as_json=as_json)


@data.command(
    epilog=examples(
        "streamd data restore /backups/monday ./streamd-data",
        "streamd data restore /backups/tuesday /var/lib/streamd --json",
    )
)
@click.argument("source", type=_DIRECTORY, metavar="SRC")
@click.argument("directory", type=_NEW_DIRECTORY, metavar="DIR")
@json_option()
def restore(source: Path, directory: Path, *, as_json: bool) -> None:
    """Bring a backup in SRC back as the data directory DIR, and verify it.

    DIR is made, or empty: nothing is ever written over. The streams go on where the backup ended, with the sequence
    positions that follow. The sequence number of a record that came after the backup is refused from then on, so that
    a consumer that had read further is told, and does not skip what comes now: let it begin at the end of the backup.

    The exit status is 1 when there is a fault.
    """
    copy_data(source, directory)
    _verify(directory, as_json=as_json)


def _verify(directory: Path, *, as_json: bool) -> None:
    with _bar() as advance:
        report = check_apart(directory, progress=advance)
    write(json_text(asdict(report)) if as_json else _page_of(report))
    if report.faults:
        raise click.exceptions.Exit(1)


def _page_of(report: CheckReport) -> str:
    counts = (
        f"{report.stream_count:,} streams, {report.shard_count:,} shards, {report.block_count:,} blocks, "
        f"{report.record_count:,} records, {byte_count_text(report.byte_count)}"
    )
    if not report.faults:
        return f"{counts}: no fault"
    faults = table(["place", "fault"], [[fault.place, fault.reason] for fault in report.faults])
    count = len(report.faults)
    return f"{counts}: {count:,} fault{'' if count == 1 else 's'}\n\n{faults}"


def _row_of(shard: ShardStats) -> list[str]:
    return [
        shard.stream_name,
        shard.shard_id,
        "OPEN" if shard.is_open else "CLOSED",
        f"{shard.record_count:,}",
        f"{shard.byte_count:,}",
        f"{shard.block_count:,}",
        _time_text(shard.oldest_ms),
        _time_text(shard.newest_ms),
    ]


def _time_text(time_ms: int | None) -> str:
    if time_ms is None:
        return "-"
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Give what hears how many blocks are done; draws a bar at a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    columns = (TextColumn("blocks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("blocks", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
