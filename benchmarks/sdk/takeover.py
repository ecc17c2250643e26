"""Taking over: two members share a stream into which records are put all the time; one of them is killed.

"Time to take over" is from the kill to the moment at which the survivor had given out a record of every shard of the
dead; "repeats" are deliveries beyond the first of each record; "missing" records came from nobody within the time.
async-kinesis takes part where a Python that has it is given and redis-server is installed: its members never give up
any shard, so the one that dies may take half and the other all.
"""

import asyncio
import shutil
import time
from pathlib import Path

from benchmarks.functions.server import served
from benchmarks.results import Measurement
from benchmarks.sdk.members import TIMEOUT_S, Load, Members, our_members, pass_time, peer_members
from streamd.sdk.client import KinesisClient

__all__ = ["REFERENCE", "measure"]

REFERENCE = "Consumer"
_SHARD_COUNT = 8
_WARM_S = 15.0
_AFTER_S = 3.0
_PATIENCE_S = 90.0


def measure(
    folder: Path, *, record_count: int, worker_count: int, peer_python: Path | None = None
) -> list[Measurement]:
    """Measure each system once; ``record_count`` says nothing here, as records are put for as long as it takes."""
    del record_count
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Measurement] = []
    with served(folder / "takeover", "--workers", str(worker_count)) as server:
        url = f"http://127.0.0.1:{server.port}"
        server.create_stream("ours", shard_count=_SHARD_COUNT)
        with our_members(folder / "ours", url, "ours") as members:
            found += asyncio.run(_measured(url, "ours", REFERENCE, members))
        if peer_python is not None and shutil.which("redis-server") is not None:
            server.create_stream("peers", shard_count=_SHARD_COUNT)
            with peer_members(folder / "peers", url, "peers", python=peer_python, share_of=_share_of) as members:
                found += asyncio.run(_measured(url, "peers", "async-kinesis", members))
    return found


def _share_of(name: str) -> int:
    return _SHARD_COUNT // 2 if name.endswith("00") else _SHARD_COUNT


async def _measured(url: str, stream: str, system: str, members: Members) -> list[Measurement]:
    load = Load()
    try:
        async with KinesisClient(url, region="us-east-1") as client, asyncio.TaskGroup() as group:
            group.create_task(load.put(client, stream))
            victim = await members.start()
            await pass_time(_WARM_S / 2)
            survivor = await members.start()
            await pass_time(_WARM_S / 2)
            shards = {load.shard_by_text[text] for _, text in members.noted(victim)[-load.round_count_max * 2 :]}
            members.kill(victim)
            seconds = await _taken_over(load, shards, members, survivor)
            load.over.set()
        await pass_time(_AFTER_S)
    finally:
        await members.end()
    return _figures(system, load, members.texts(), seconds)


async def _taken_over(load: Load, shards: set[str], members: Members, survivor: str) -> float:
    """Wait until the survivor gave out a record of every shard of the dead, and tell how long that took."""
    killed_ns = time.monotonic_ns()
    while time.monotonic_ns() < killed_ns + _PATIENCE_S * 1e9:
        first: dict[str, int] = {}
        for moment_ns, text in members.noted(survivor):
            if moment_ns > killed_ns:
                first.setdefault(load.shard_by_text.get(text, ""), moment_ns)
        if shards <= first.keys():
            return (max(first[shard] for shard in shards) - killed_ns) / 1e9
        await pass_time(0.1)
    return _PATIENCE_S


def _figures(system: str, load: Load, texts: list[str], seconds: float) -> list[Measurement]:
    figures = [
        ("time to take over", seconds, "s"),
        ("repeats", len(texts) - len(set(texts)), "records"),
        ("missing", len(load.shard_by_text.keys() - set(texts)), "records"),
    ]
    return [
        Measurement(
            work=work,
            case=f"{_SHARD_COUNT} shards, {TIMEOUT_S} s of silence allowed",
            system=system,
            value=value,
            unit=unit,
            is_more_better=False,
            is_compared=work == "time to take over",
            fault="" if seconds < _PATIENCE_S else "not taken over within the time",
        )
        for work, value, unit in figures
    ]
