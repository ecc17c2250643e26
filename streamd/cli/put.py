"""``streamd put``: lines or files into a stream, in batches, each record's failure named and survived."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from streamd.cli.options import connect, examples, json_option, server_options
from streamd.cli.output import byte_count_text, write
from streamd.cli.put_batches import Batcher, Counts, Draft, Failed, Sender, Stored
from streamd.cli.put_keys import KeyOf, LineRefused, constant_key, field_key, random_key
from streamd.cli.put_lines import Line, LineCutter, chunks_of, whole_of
from streamd.cli.put_ordered import OrderedSender
from streamd.cli.put_progress import STDIN, progress
from streamd.core.limits import KIB, PARTITION_KEY_LENGTH_MAX, RECORD_KIB_DEFAULT
from streamd.sdk.client import KinesisClient

__all__ = ["put"]


@dataclass(frozen=True, slots=True)
class _Job:
    """What to put (texts given as arguments, or files, by line or whole), where to, and how to tell of it."""

    stream: str
    texts: Sequence[str]
    paths: Sequence[str]
    by_line: bool
    key_of: KeyOf
    ordered: bool
    as_json: bool


@click.command(
    short_help="Put lines or files into a stream.",
    epilog=examples(
        "streamd put orders 'first' 'second'",
        "streamd put orders --file orders.ndjson --key-field customer.id",
        "tail -f access.log | streamd put clicks --key web-1",
        "streamd put pictures --whole --file a.jpg --file b.jpg --json",
    ),
)
@click.argument("stream")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    "-f",
    "paths",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Put this file's lines; may be repeated; - is stdin.",
)
@click.option("--whole", is_flag=True, help="Make each file one record instead of each line.")
@click.option("--key", "-k", metavar="KEY", help="Partition key of all records.")
@click.option("--key-field", metavar="PATH", help="Take keys from a field of each JSON line, like user.id or tags.0.")
@click.option("--ordered", is_flag=True, help="Keep the records of each key in order, whatever is put again.")
@json_option("Print each record's place as a line of JSON: source, line, key, shard, sequence_number.")
@server_options
def put(
    stream: str,
    *,
    texts: tuple[str, ...],
    paths: tuple[str, ...],
    whole: bool,
    key: str | None,
    key_field: str | None,
    ordered: bool,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Put records into STREAM: each TEXT, or each line of the files given, or of stdin.

    Without --key or --key-field each record gets a random key, which spreads records evenly over the shards
    and keeps no order among them. A line ends at its newline, which is not part of the record; empty lines
    are left out.

    Records go in batches of 500 or 10 MiB, sooner when the input pauses. Those that the server refuses for
    the moment are put again, 10 times at most. A record that cannot be put is named on stderr, the others go
    on, and the exit status is 1.

    With --ordered a record waits until the one before it with its key is stored, or is given up after a
    minute: the records of a key keep their order. Few keys are slow then.
    """
    if texts and (paths or whole):
        raise click.UsageError("TEXT excludes --file and --whole.")
    job = _Job(
        stream,
        texts,
        () if texts else paths or (STDIN,),
        by_line=not whole,
        key_of=_key_rule(key, key_field),
        ordered=ordered,
        as_json=as_json,
    )
    if STDIN in job.paths and sys.stdin.isatty():
        click.echo("Reading from the terminal; Ctrl-D ends it.", err=True)

    async def run() -> Counts:
        async with connect(endpoint=endpoint, region=region) as client:
            return await _put_all(client, job)

    if asyncio.run(run()).failed_count:
        raise click.exceptions.Exit(1)


async def _put_all(client: KinesisClient, job: _Job) -> Counts:
    """Put a job's records and say how many there were."""
    summary = await client.describe_stream_summary(job.stream)
    byte_count_max = KIB * int(summary.get("MaxRecordSizeInKiB", RECORD_KIB_DEFAULT))
    counts = Counts()
    # Lines of JSON and a bar cannot share a screen.
    paths = () if job.as_json and sys.stdout.isatty() else job.paths
    try:
        with progress(paths) as (advance, complain):
            tell = _teller(complain, as_json=job.as_json)
            lines_read = _lines_of(job, byte_count_max=byte_count_max, advance=advance)
            async with _sender_of(client, job, counts, tell=tell) as sender:
                await _send(sender, lines_read, job.key_of, byte_count_max=byte_count_max, complain=complain)
    finally:
        # Also after an error or Ctrl-C: what is stored is stored, and its count is wanted then.
        if not job.as_json:
            write(_sentence_of(counts, job.stream))
    return counts


def _key_rule(key: str | None, key_field: str | None) -> KeyOf:
    if key is not None and key_field is not None:
        raise click.UsageError("--key and --key-field exclude each other.")
    if key_field is not None:
        return field_key(key_field)
    if key is None:
        return random_key
    if not 1 <= len(key) <= PARTITION_KEY_LENGTH_MAX:
        raise click.UsageError(f"--key has {len(key)} characters: a key has 1 to {PARTITION_KEY_LENGTH_MAX}.")
    return constant_key(key)


async def _lines_of(job: _Job, *, byte_count_max: int, advance: Callable[[int], None]) -> AsyncIterator[Sequence[Line]]:
    """Give the input's lines as they come; an empty list says that the input pauses."""
    if job.texts:
        yield [
            Line(f"argument {number}", None, text.encode(errors="surrogateescape"))
            for number, text in enumerate(job.texts, 1)
        ]
        return
    for path in job.paths:
        source = "stdin" if path == STDIN else path
        with _opened(path) as file:
            if not job.by_line:
                yield await whole_of(file.fileno(), source, byte_count_max=byte_count_max)
                continue
            cutter = LineCutter(source, byte_count_max=byte_count_max)
            async for chunk in chunks_of(file.fileno()):
                yield cutter.feed(chunk) if chunk else []
                advance(len(chunk))
            yield cutter.finish()


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a user's file, or lend stdin."""
    if path == STDIN:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield file


@asynccontextmanager
async def _sender_of(
    client: KinesisClient, job: _Job, counts: Counts, *, tell: Callable[[list[Stored | Failed]], None]
) -> AsyncIterator[Sender]:
    """Give what sends a job's records."""
    if not job.ordered:
        yield Batcher(client, job.stream, counts, tell=tell)
        return
    async with OrderedSender(client, job.stream, counts, tell=tell) as ordered:
        yield ordered


async def _send(
    sender: Sender,
    lines_read: AsyncIterator[Sequence[Line]],
    key_of: KeyOf,
    *,
    byte_count_max: int,
    complain: Callable[[str], None],
) -> None:
    """Hand everything that is read to the sender."""
    async for lines in lines_read:
        await _add(sender, lines, key_of, byte_count_max=byte_count_max, complain=complain)
    await sender.flush()


async def _add(
    sender: Sender,
    lines: Sequence[Line],
    key_of: KeyOf,
    *,
    byte_count_max: int,
    complain: Callable[[str], None],
) -> None:
    """Hand lines to the sender, leaving out those that can be no records."""
    for line in lines:
        try:
            draft = _draft_of(line, key_of, byte_count_max=byte_count_max)
        except LineRefused as refused:
            sender.counts.failed_count += 1
            complain(str(refused))
        else:
            await sender.add(draft)
    if not lines:
        await sender.flush()


def _draft_of(line: Line, key_of: KeyOf, *, byte_count_max: int) -> Draft:
    if len(line.data) <= byte_count_max:
        draft = Draft(line, key_of(line))
        if draft.byte_count <= byte_count_max:
            return draft
    raise LineRefused(
        line,
        f"too large: with its key it has more than the {byte_count_max // KIB} KiB that a record may have here",
    )


def _teller(complain: Callable[[str], None], *, as_json: bool) -> Callable[[list[Stored | Failed]], None]:
    def tell(outcomes: list[Stored | Failed]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                complain(f"{outcome.draft.line}: {outcome.code}: {outcome.sentence}")
        if as_json:
            places = [_place_of(outcome) for outcome in outcomes if isinstance(outcome, Stored)]
            write(b"".join(places).decode()) if places else None

    return tell


def _place_of(stored: Stored) -> bytes:
    line = stored.draft.line
    return orjson.dumps(
        {
            "source": line.source,
            "line": line.number,
            "key": stored.draft.key,
            "shard": stored.shard_id,
            "sequence_number": stored.sequence_number,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _sentence_of(counts: Counts, stream: str) -> str:
    failed = f", {counts.failed_count} failed" if counts.failed_count else ""
    return (
        f"{stream}: {counts.record_count} record{'' if counts.record_count == 1 else 's'}"
        f" ({byte_count_text(counts.byte_count)}) put in {counts.call_count}"
        f" call{'' if counts.call_count == 1 else 's'}{failed}"
    )
