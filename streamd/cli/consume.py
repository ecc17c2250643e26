"""``streamd consume``: a member of a group that prints batches, or hands them to a program and takes its word."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import click

from streamd.cli.consume_lines import batch_line
from streamd.cli.consume_program import Program
from streamd.cli.options import connect, examples, server_options
from streamd.cli.tail_start import parse_start
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.consumer_settings import CheckpointMode, StartWord

__all__ = ["consume"]

# Batches that a program may have at once, one of each shard: enough to keep it busy, few enough to come again.
UNDERWAY_COUNT_MAX: Final = 16
STATUS_INTERRUPTED: Final = 130


class _StartParameter(click.ParamType["StartWord | datetime"]):
    """Where a new group begins."""

    name = "start"

    def convert(
        self, value: "str | datetime", param: click.Parameter | None, ctx: click.Context | None
    ) -> "StartWord | datetime":
        """Read a start, or fail with the forms there are."""
        text = "horizon" if value == "trim-horizon" else value
        start = parse_start(text, now_ms=time.time_ns() // 1_000_000) if isinstance(text, str) else None
        match start.iterator_type if start is not None else None:
            case "TRIM_HORIZON":
                return "TRIM_HORIZON"
            case "LATEST":
                return "LATEST"
            case "AT_TIMESTAMP":
                assert start is not None
                return datetime.fromtimestamp((start.timestamp_ms or 0) / 1000, UTC)
            case _:
                return self.fail(f"{value!r} is no start: give trim-horizon, latest, -10m or a time.", param, ctx)


@click.command(
    short_help="Read a stream as a member of a group.",
    epilog=examples(
        "streamd consume orders --group billing --exec './bill'",
        "streamd consume orders --group archive --from trim-horizon | gzip >orders.ndjson.gz",
    ),
)
@click.argument("stream")
@click.option("--group", "-g", required=True, metavar="GROUP", help="Group whose members share the stream.")
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="Run this by `sh -c`; it reads batches on stdin and answers with checkpoints on stdout.",
)
@click.option(
    "--from",
    "start",
    type=_StartParameter(),
    default="trim-horizon",
    show_default=True,
    metavar="START",
    help="Where a group begins that is not there yet: trim-horizon, latest, a time like 2026-01-01T00:00:00Z, or a time"
    " ago like -10m.",
)
@click.option("--push", "consumer_name", metavar="NAME", help="Read by push, as this registered consumer.")
@click.option(
    "--batch-records", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Records in a batch."
)
@click.option(
    "--member-timeout",
    type=click.FloatRange(min=0.5),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence after which others take this member's shards.",
)
@server_options
def consume(
    stream: str,
    *,
    group: str,
    command: str | None,
    start: StartWord | datetime,
    consumer_name: str | None,
    batch_records: int,
    member_timeout: float,
    endpoint: str,
    region: str,
) -> int:
    """Read STREAM as one member of a group; run it more often to share the shards.

    Each batch is a line of JSON: shardId, epoch, endsShard and records, each with data (base64), partitionKey,
    sequenceNumber, approximateArrivalTimestamp, and subSequenceNumber if it came out of an aggregate.

    With --exec the lines go to a program, which answers {"shardId": "…", "checkpoint": "<sequence number>"} once all up
    to that record is done. What was not checkpointed comes again: to the program's next start, or to another member.
    Without it they are printed, and a batch is done when it is written.

    SIGTERM and Ctrl-C let what is under way finish, and leave the group.
    """

    def connected(client: KinesisClient, checkpoint: CheckpointMode) -> Consumer:
        return Consumer(
            stream,
            group=group,
            client=client,
            start=start,
            checkpoint=checkpoint,
            consumer_name=consumer_name,
            member_timeout_s=member_timeout,
            batch_record_count_max=batch_records,
        )

    async def run() -> int:
        async with connect(endpoint=endpoint, region=region) as client:
            if command is None:
                return await _print(connected(client, "auto"))
            return await _hand_on(connected(client, "manual"), command, patience_s=member_timeout)

    return asyncio.run(run())


async def _print(consumer: Consumer) -> int:
    stopped = _Stopped(consumer.stop)
    async with consumer:
        async for batch in consumer:
            if batch.records:
                # A pipe that nobody reads must not keep this member from beating.
                await asyncio.to_thread(_write, batch_line(batch, batch.records))
    return stopped.status


async def _hand_on(consumer: Consumer, command: str, *, patience_s: float) -> int:
    program = Program(command, warn=_warn)
    asked = asyncio.Event()
    stopped = _Stopped(asked.set)

    async def work() -> None:
        async for batch in consumer:
            await program.give(batch)

    async def stop(running: asyncio.Task[None]) -> None:
        await asked.wait()
        consumer.stop()
        await program.end(patience_s=patience_s)
        running.cancel()

    try:
        async with consumer, asyncio.TaskGroup() as group:
            running = group.create_task(program.run())
            group.create_task(stop(running))
            for _ in range(UNDERWAY_COUNT_MAX):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        # Each task that asked for a batch has met the same one.
        raise failures.exceptions[0] from None
    return stopped.status


class _Stopped:
    """What to do at SIGTERM and SIGINT, and the status to end with."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.status = 0
        self._stop = stop
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, 0)
        loop.add_signal_handler(signal.SIGINT, self._end, STATUS_INTERRUPTED)

    def _end(self, status: int) -> None:
        self.status = status
        self._stop()


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _warn(sentence: str) -> None:
    click.echo(f"streamd: {sentence}", err=True)
