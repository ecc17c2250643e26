"""Unrest: six members over 32 shards are killed, stopped, woken, added, asked to leave, while shards split and merge.

Both systems meet events out of the same seed, on the same server. Then all are woken and nothing more is put: "time to
catch up" is from there until every record was given out by somebody; "repeats" are deliveries beyond the first of each
record, "missing" records came from nobody within the time. tests.sdk.chaos holds the Consumer to what it promises
meanwhile; here it stands beside another.
"""

import asyncio
import random
import shutil
import time
from pathlib import Path

from benchmarks.functions.server import served
from benchmarks.results import Measurement
from benchmarks.sdk.members import TIMEOUT_S, Load, Members, our_members, pass_time, peer_members
from benchmarks.sdk.resharding import reshard
from streamd.sdk.client import KinesisClient

__all__ = ["REFERENCE", "measure"]

REFERENCE = "Consumer"
_SHARD_COUNT = 32
_SHARD_COUNTS = (24, 40)
_MEMBER_COUNT, _MEMBER_COUNT_MIN, _MEMBER_COUNT_MAX = 6, 4, 8
_PAUSE_S = (0.5, 3.0)
_WARM_S = 10.0
_PATIENCE_S = 90.0
_SEED = 7
_EVENTS = ("kill", "stop", "stop", "wake", "join", "leave", "split", "merge")


def measure(
    folder: Path, *, record_count: int, worker_count: int, peer_python: Path | None = None
) -> list[Measurement]:
    """Measure each system once. ``record_count`` says how long: a thousand are put a second."""
    seconds = record_count / 1000
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Measurement] = []
    with served(folder / "unrest", "--workers", str(worker_count)) as server:
        url = f"http://127.0.0.1:{server.port}"
        server.create_stream("ours", shard_count=_SHARD_COUNT)
        with our_members(folder / "ours", url, "ours") as members:
            found += asyncio.run(_Unrest(url, "ours", members).measured(REFERENCE, seconds))
        if peer_python is not None and shutil.which("redis-server") is not None:
            server.create_stream("peers", shard_count=_SHARD_COUNT)
            # As few members as there may be can still take all shards.
            share = _SHARD_COUNTS[1] // _MEMBER_COUNT_MIN
            peers = peer_members(folder / "peers", url, "peers", python=peer_python, share_of=lambda _: share)
            with peers as members:
                found += asyncio.run(_Unrest(url, "peers", members).measured("async-kinesis", seconds))
    return found


class _Unrest:
    """One system's run."""

    def __init__(self, url: str, stream: str, members: Members) -> None:
        self._url = url
        self._stream = stream
        self._members = members
        self._chance = random.Random(_SEED)
        self._load = Load()
        self._event_count = 0

    async def measured(self, system: str, seconds: float) -> list[Measurement]:
        load, members = self._load, self._members
        try:
            async with KinesisClient(self._url, region="us-east-1") as client, asyncio.TaskGroup() as group:
                for _ in range(_MEMBER_COUNT):
                    await members.start()
                await pass_time(_WARM_S)
                group.create_task(load.put(client, self._stream))
                began_s = time.monotonic()
                while time.monotonic() < began_s + seconds:
                    await self._event(client)
                    await pass_time(self._chance.uniform(*_PAUSE_S))
                for name in list(members.stopped):
                    members.wake(name)
                load.over.set()
            ended_s = time.monotonic()
            given_out_count = len(set(members.texts()))
            is_caught_up = await self._caught_up()
            catch_up_s = time.monotonic() - ended_s
        finally:
            await members.end()
        fault = "" if is_caught_up else f"not all came within {_PATIENCE_S:.0f} s after the unrest"
        return self._figures(system, given_out_count / (ended_s - began_s), catch_up_s=catch_up_s, fault=fault)

    async def _event(self, client: KinesisClient) -> None:
        members, chance = self._members, self._chance
        kind, lot = chance.choice(_EVENTS), chance.random()
        awake = sorted(members.running.keys() - members.stopped)
        if len(awake) < _MEMBER_COUNT_MIN:
            kind = "wake" if members.stopped else "join"
        self._event_count += 1
        match kind:
            case "kill":
                members.kill(_at(lot, sorted(members.running)))
            case "stop":
                members.stop(_at(lot, awake))
            case "wake" if members.stopped:
                members.wake(_at(lot, sorted(members.stopped)))
            case "join" if len(members.running) < _MEMBER_COUNT_MAX:
                await members.start()
            case "leave":
                members.ask_to_leave(_at(lot, awake))
            case "split" | "merge" if await reshard(client, self._stream, kind, lot=lot, counts=_SHARD_COUNTS):
                pass
            case _:
                self._event_count -= 1

    async def _caught_up(self) -> bool:
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s:
            if self._load.shard_by_text.keys() <= set(self._members.texts()):
                return True
            await pass_time(0.2)
        return False

    def _figures(self, system: str, rate_per_s: float, *, catch_up_s: float, fault: str) -> list[Measurement]:
        texts = self._members.texts()
        given_out = set(texts)
        figures = [
            ("records given out a second meanwhile", rate_per_s, "records/s"),
            ("time to catch up", catch_up_s, "s"),
            ("repeats", len(texts) - len(given_out), "records"),
            ("missing", len(self._load.shard_by_text.keys() - given_out), "records"),
        ]
        return [
            Measurement(
                work=work,
                case=f"{self._event_count} events, {TIMEOUT_S} s of silence allowed",
                system=system,
                value=value,
                unit=unit,
                is_more_better=unit == "records/s",
                is_compared=unit == "records/s",
                fault=fault,
            )
            for work, value, unit in figures
        ]


def _at(lot: float, names: list[str]) -> str:
    return names[int(lot * len(names))]
