"""Checkpoints: how many a second the members of a group can store, each synced before its answer.

``python -m benchmarks.checkpoints`` starts members as processes of the SDK, each with its share of a group's leases.
For every lease one checkpoint follows the other, as fast as they are answered. The figure includes the SDK's own work,
which shares the machine with the server.
"""

import asyncio
import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from benchmarks.load import Latency
from benchmarks.machine import machine_of
from benchmarks.peers.kinesis_systems import Streamd
from benchmarks.report import Report
from benchmarks.results import Measurement, rows_of
from streamd.core.lease import TRIM_HORIZON, Lease, Start, place_at_time
from streamd.sdk.client import Credentials, KinesisClient
from streamd.sdk.leases_streamd import StreamdLeases

__all__ = ["main"]

_STREAM = "checkpointed"
_GROUP = "readers"
_Span = tuple[float, float]
_KEYS = Credentials("AKIDBENCHMARK", "a-secret-that-opens-nothing")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=5.0, help="Length of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that it is measured.")
@click.option("--leases", type=click.IntRange(1, 1000), default=32, help="Leases of the group.")
@click.option("--members", type=click.IntRange(1, 64), default=4, help="Processes that share them.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, help="Workers of streamd.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
def main(
    *, seconds: float, rounds: int, leases: int, members: int, workers: int, directory: Path | None, out: Path
) -> None:
    """Measure checkpoints."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-checkpoints-", dir=directory))
    system = Streamd(worker_count=workers, is_signed=False)
    try:
        machine = machine_of(folder)
        measurements = [
            _round(system, folder / str(number), seconds=seconds, lease_count=leases, member_count=members)
            for number in range(rounds)
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(
        title="Checkpoints",
        machine=machine,
        reference=system.name,
        rows=rows_of(measurements, reference=system.name),
        version_by_system={system.name: system.version()},
        install_by_absent={},
    )
    report.write(out, "checkpoints")
    print(report.markdown())


def _round(system: Streamd, folder: Path, *, seconds: float, lease_count: int, member_count: int) -> Measurement:
    """Start a server, have members store checkpoints, and add up what they say."""
    system.start(folder)
    try:
        system.create(_STREAM, shard_count=lease_count)
        url = f"http://127.0.0.1:{system.port}"
        shard_ids = asyncio.run(_make_group(url))
        shares = [shard_ids[number::member_count] for number in range(member_count)]
        # Members are started anew: a fork would share this process's open files.
        with ProcessPoolExecutor(member_count, mp_context=multiprocessing.get_context("spawn")) as pool:
            members = [
                pool.submit(_member, url, f"member-{number}", share, seconds) for number, share in enumerate(shares)
            ]
            spans = [span for member in members for span in member.result()]
    finally:
        system.stop()
    # All processes read the same clock.
    length_s = max(end_s for _, end_s in spans) - min(begin_s for begin_s, _ in spans)
    return Measurement(
        work="checkpoints",
        case=f"{lease_count} leases, {member_count} members",
        system=system.name,
        value=len(spans) / length_s,
        unit="/s",
        durability=system.durability,
        latency=Latency.of([end_s - begin_s for begin_s, end_s in spans]),
    )


async def _make_group(url: str) -> list[str]:
    async with KinesisClient(url, credentials=_KEYS) as client:
        shard_ids = [str(shard["ShardId"]) for shard in await client.list_shards(_STREAM)]
        store = StreamdLeases(client)
        await store.open_group(_STREAM, _GROUP, start=Start(place=TRIM_HORIZON))
        leases = [
            Lease(shard_id=shard_id, parent_ids=(), owner=None, epoch=0, place=TRIM_HORIZON) for shard_id in shard_ids
        ]
        await store.add_leases(_STREAM, _GROUP, leases=leases)
    return shard_ids


def _member(url: str, member_id: str, shard_ids: list[str], seconds: float) -> list[_Span]:
    """Take leases and store checkpoints for so long; when each was asked for and answered."""

    async def run() -> list[_Span]:
        async with KinesisClient(url, credentials=_KEYS) as client:
            store = StreamdLeases(client)
            await store.beat(_STREAM, _GROUP, member_id=member_id, about="")
            found = await asyncio.gather(*[_store_places(store, member_id, each, seconds) for each in shard_ids])
        return [span for spans in found for span in spans]

    return asyncio.run(run())


async def _store_places(store: StreamdLeases, member_id: str, shard_id: str, seconds: float) -> list[_Span]:
    lease = await store.acquire(_STREAM, _GROUP, shard_id=shard_id, member_id=member_id, epoch=0)
    spans: list[_Span] = []
    end_s = time.monotonic() + seconds
    while (began_s := time.monotonic()) < end_s:
        await store.checkpoint(
            _STREAM,
            _GROUP,
            shard_id=shard_id,
            member_id=member_id,
            epoch=lease.epoch,
            # Another place each time: one that is there already would not be written.
            place=place_at_time(len(spans)),
        )
        spans.append((began_s, time.monotonic()))
    return spans


if __name__ == "__main__":
    main()
