"""``streamd mirror``: copies a stream into another, at the same or another endpoint, and goes on where it was left."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.status import Status

from streamd.cli.mirror_places import FileLeases
from streamd.cli.options import connect, examples, server_options
from streamd.cli.output import byte_count_text, write
from streamd.cli.tail_start import HORIZON, Start, StartParameter
from streamd.core.lease import AT_END, TRIM_HORIZON, time_of_place
from streamd.errors import ConfigInvalid
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.consumer_settings import StartWord
from streamd.sdk.failures import CallerRefused, NotFound, ServiceRefused, Throttled
from streamd.sdk.leases import LeaseStore
from streamd.sdk.leases_streamd import StreamdLeases
from streamd.sdk.mirror import Mirror
from streamd.sdk.producer import Producer

__all__ = ["mirror"]

_LOOK_S: Final = 1.0
_NAME_DIGIT_COUNT: Final = 12


@dataclass(frozen=True, slots=True)
class _Job:
    source: str
    target: str
    here: KinesisClient
    there: KinesisClient
    start: Start
    group: str | None
    state: Path | None
    follows: bool
    makes: bool
    member_timeout_s: float


@click.command(
    short_help="Copy a stream into another, resumably.",
    epilog=examples(
        "streamd mirror orders orders --to https://kinesis.eu-central-1.amazonaws.com --to-region eu-central-1",
        "streamd mirror orders orders-copy --create --no-follow",
        "streamd mirror orders orders --endpoint https://kinesis.us-east-1.amazonaws.com --to http://127.0.0.1:4567 "
        "--state mirror.sqlite",
    ),
)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--to", "to_endpoint", metavar="URL", help="Server of DST; that of SRC unless given.")
@click.option("--to-region", metavar="REGION", help="Region of DST; that of SRC unless given.")
@click.option(
    "--from",
    "start",
    type=StartParameter(),
    default=HORIZON,
    metavar="WHERE",
    help="Where the first run begins: horizon, latest, -10m or a time.  [default: horizon]",
)
@click.option("--group", metavar="NAME", help="Group that keeps the places; a name made of DST and its server.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the places in this SQLite file instead: for a source that is not a streamd.",
)
@click.option("--create", "makes", is_flag=True, help="Make DST, with as many shards as SRC has, if it is not there.")
@click.option(
    "--member-timeout",
    type=click.FloatRange(min=0.5),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Take the shards of a mirror over that was silent for so many seconds.",
)
@click.option("--no-follow", is_flag=True, help="End once everything that is there was copied.")
@server_options
def mirror(
    source: str,
    target: str,
    *,
    to_endpoint: str | None,
    to_region: str | None,
    start: Start,
    group: str | None,
    state: Path | None,
    makes: bool,
    member_timeout: float,
    no_follow: bool,
    endpoint: str,
    region: str,
) -> None:
    """Copy the records of SRC into DST, each partition key's in order, and go on with what arrives.

    What was copied is checkpointed once it is stored: a mirror that was ended goes on from there, and may copy the
    batches again that it had in hand. Several may run beside each other and share the shards. Keys and data are copied;
    sequence numbers and times are new. Ctrl-C ends it after the batches in hand.
    """
    if start.sequence_number is not None:
        raise click.UsageError("--from takes horizon, latest or a time: a number is one shard's.")
    if group is not None and state is not None:
        raise click.UsageError("--group and --state exclude each other: places are kept by the server or in a file.")

    async def run() -> str:
        async with AsyncExitStack() as exits:
            here = await exits.enter_async_context(connect(endpoint=endpoint, region=region))
            there = await exits.enter_async_context(
                connect(endpoint=to_endpoint or endpoint, region=to_region or region)
            )
            if here.endpoint == there.endpoint and source == target:
                raise click.UsageError("SRC and DST are the same stream.")
            job = _Job(
                *(source, target, here, there, start, group, state),
                follows=not no_follow,
                makes=makes,
                member_timeout_s=member_timeout,
            )
            return await _copy(job)

    write(asyncio.run(run()))


async def _copy(job: _Job) -> str:
    """Copy until the end or a signal, and give a sentence on what was done."""
    await _require_target(job)
    name = job.group or _group_name(job)
    leases: LeaseStore = (
        StreamdLeases(job.here) if job.state is None else FileLeases(job.state, f"{job.here.endpoint} {name}")
    )
    await _require_groups(job, leases)
    async with (
        Consumer(
            job.source,
            group=name,
            client=job.here,
            leases=leases,
            start=_start_of(job.start),
            checkpoint="manual",
            deaggregate=False,
            member_timeout_s=job.member_timeout_s,
        ) as consumer,
        Producer(job.target, client=job.there, ordered=True) as producer,
    ):
        copying = Mirror(consumer, producer)
        with _stopped_by_signals(consumer), _progress(copying) as show:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(job, leases, name, consumer, copying, show))
                await copying.run()
                watching.cancel()
    copied = copying.copied
    return f"{job.target}: {copied.record_count:,} records copied, {byte_count_text(copied.byte_count)}"


async def _watch(
    job: _Job, leases: LeaseStore, group: str, consumer: Consumer, copying: Mirror, show: "_Shows"
) -> None:
    """Show how far it is, and stop the consumer once nothing is left if it is not to follow."""
    before = -1
    while True:
        await asyncio.sleep(_LOOK_S)
        count = copying.copied.record_count
        show()
        # Only what looks idle is looked at closely.
        if not job.follows and count == before and await _is_all_copied(job, leases, group):
            consumer.stop()
            return
        before = count


async def _is_all_copied(job: _Job, leases: LeaseStore, group: str) -> bool:
    """Tell whether nothing lies behind any place, and every shard has one."""
    found = {lease.shard_id: lease.place for lease in (await leases.snapshot(job.source, group)).leases}
    shards = {shard["ShardId"] for shard in await job.here.list_shards(job.source)}
    if not shards <= found.keys():
        return False
    for shard_id in sorted(shards):
        place = found[shard_id]
        if place == AT_END:
            continue
        time_ms = time_of_place(place)
        if time_ms is not None:
            at = await job.here.get_shard_iterator(job.source, shard_id, "AT_TIMESTAMP", timestamp_ms=time_ms)
        elif place == TRIM_HORIZON:
            at = await job.here.get_shard_iterator(job.source, shard_id)
        else:
            at = await job.here.get_shard_iterator(job.source, shard_id, "AFTER_SEQUENCE_NUMBER", sequence_number=place)
        answer = await job.here.get_records(at, limit=1)
        if answer["Records"] or answer["MillisBehindLatest"] or not answer.get("NextShardIterator"):
            return False
    return True


async def _require_target(job: _Job) -> None:
    """Find the stream to copy into, or make it if that was asked for."""
    shard_count = int((await job.here.describe_stream_summary(job.source))["OpenShardCount"])
    try:
        await job.there.describe_stream_summary(job.target)
    except NotFound:
        if not job.makes:
            raise
        await job.there.create_stream(job.target, shard_count=shard_count)
    await job.there.wait_until_active(job.target)


async def _require_groups(job: _Job, leases: LeaseStore) -> None:
    """Refuse a source that keeps no groups, before anything is copied. Raises ConfigInvalid."""
    try:
        await leases.groups(job.source)
    except ServiceRefused as refused:
        # What has no groups says so in its own way: AWS that it knows no such operation, a double with a traceback.
        if job.state is not None or isinstance(refused, NotFound | Throttled | CallerRefused):
            raise
        raise ConfigInvalid(
            f"{job.here.endpoint} keeps no groups ({refused.code}): it is no streamd. Keep the places in a file with "
            "--state FILE"
        ) from refused


def _group_name(job: _Job) -> str:
    digest = sha256(f"{job.there.endpoint} {job.there.region} {job.target}".encode()).hexdigest()
    return f"mirror-{digest[:_NAME_DIGIT_COUNT]}"


def _start_of(start: Start) -> StartWord | datetime:
    if start.timestamp_ms is not None:
        return datetime.fromtimestamp(start.timestamp_ms / 1000, UTC)
    return "LATEST" if start.iterator_type == "LATEST" else "TRIM_HORIZON"


@contextmanager
def _stopped_by_signals(consumer: Consumer) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end the copying after what is in hand."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, consumer.stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Shows:
    """A line that tells how far a mirror is, on a terminal; nothing elsewhere."""

    def __init__(self, copying: Mirror, status: Status | None) -> None:
        self._copying = copying
        self._status = status
        self._seen = (time.monotonic(), 0)

    def __call__(self) -> None:
        """Tell it anew."""
        copied = self._copying.copied
        now_s = time.monotonic()
        before_s, before = self._seen
        self._seen = (now_s, copied.record_count)
        if self._status is not None:
            rate = (copied.record_count - before) / max(now_s - before_s, 0.001)
            self._status.update(
                f"{copied.record_count:,} records, {byte_count_text(copied.byte_count)}, {rate:,.0f}/s, "
                f"{copied.lag_ms / 1000:.1f} s behind"
            )


@contextmanager
def _progress(copying: Mirror) -> Iterator[_Shows]:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Shows(copying, None)
        return
    with console.status("copying") as status:
        yield _Shows(copying, status)
