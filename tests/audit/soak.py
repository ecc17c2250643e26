"""The soak of a load audit: mixed load for an hour, and the daemon's memory and descriptors stay flat.

Flat means: the middle of the last quarter's samples is at most 8 MiB and 8 descriptors above that of the second's; the
first quarter is for warming up. The slope of the line through all but the first quarter is told beside it.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import orjson

from tests.audit.load_clients import STREAM, Line, Tally, pause, put_of, puts_of
from tests.audit.load_watch import Watch, growth_of, slope_per_hour_of, watching
from tests.audit.report import Outcome
from tests.daemons import start_daemon
from tests.server.connections import whole_request

__all__ = ["run_soak"]

_GROWN_MIB_MAX = 8.0
_GROWN_DESCRIPTOR_COUNT_MAX = 8.0
_SAMPLE_PAUSE_S = 0.5
_SMALL_COUNT, _LARGE_COUNT, _READER_COUNT, _VISITOR_COUNT = 20, 2, 4, 4
_SMALL_PAUSE_S, _LARGE_PAUSE_S, _READER_PAUSE_S, _VISITOR_PAUSE_S = 0.05, 1.0, 0.25, 0.1


def run_soak(folder: Path, *, seconds: float, seed: int, told: Callable[[int], None]) -> Outcome:
    """Put, read, come and go for so many seconds, at a pace that the disk can take for an hour."""
    started = time.monotonic()
    folder.mkdir(parents=True)
    daemon = start_daemon(folder / "data")
    try:
        daemon.client().create_stream(StreamName=STREAM, ShardCount=4)
        soak = _Soak(daemon.port, Random(seed), until_s=started + seconds)
        with watching(daemon, pause_s=_SAMPLE_PAUSE_S) as watch:
            asyncio.run(soak.run(lambda: told(int(time.monotonic() - started))))
    finally:
        daemon.stop()
    memory = [sample.memory_mib for sample in watch.samples]
    descriptors = [float(sample.descriptor_count) for sample in watch.samples]
    figures = {
        "answers": ", ".join(f"{count:,} x {what}" for what, count in sorted(soak.tally.answers.items())),
        "memory, first, most, last": f"{memory[0]:,.0f}, {watch.most.memory_mib:,.0f}, {memory[-1]:,.0f} MiB",
        "memory, growth from the second to the last quarter": f"{growth_of(memory):+.1f} MiB",
        "memory, slope": f"{slope_per_hour_of(memory, pause_s=_SAMPLE_PAUSE_S):+.1f} MiB an hour",
        "descriptors, most; growth": f"{watch.most.descriptor_count:,}; {growth_of(descriptors):+.0f}",
    }
    faults = soak.tally.faults("soak", allowed=frozenset({"200"})) + _not_flat(watch)
    return Outcome("soak", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=faults)


def _not_flat(watch: Watch) -> list[str]:
    faults = []
    if (grown := growth_of([sample.memory_mib for sample in watch.samples])) > _GROWN_MIB_MAX:
        faults.append(f"soak: memory grew by {grown:.1f} MiB")
    if (grown := growth_of([float(s.descriptor_count) for s in watch.samples])) > _GROWN_DESCRIPTOR_COUNT_MAX:
        faults.append(f"soak: {grown:.0f} descriptors more were open in the end")
    return faults


class _Soak:
    """The clients, until their time is over."""

    def __init__(self, port: int, random: Random, *, until_s: float) -> None:
        self._port = port
        self._random = random
        self._until_s = until_s
        self.tally = Tally()

    async def run(self, look: Callable[[], None]) -> None:
        """Have all clients at work."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_SMALL_COUNT):
                group.create_task(self._keep_asking(lambda: put_of(self._random.randrange(2_000)), _SMALL_PAUSE_S))
            for _ in range(_LARGE_COUNT):
                group.create_task(self._keep_asking(lambda: puts_of(100, 3_000), _LARGE_PAUSE_S))
            for number in range(_READER_COUNT):
                group.create_task(self._read(number))
            for _ in range(_VISITOR_COUNT):
                group.create_task(self._visit())
            while time.monotonic() < self._until_s:
                look()
                await pause(1)

    async def _keep_asking(self, write: Callable[[], bytes], pause_s: float) -> None:
        line = Line(self._port, self.tally)
        while time.monotonic() < self._until_s:
            await line.ask(write())
            await pause(pause_s)
        line.close()

    async def _read(self, shard_number: int) -> None:
        """Follow a shard from its newest record on."""
        line = Line(self._port, self.tally)
        shard = f"shardId-{shard_number:012}"
        wanted = {"StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "LATEST"}
        answer = orjson.loads(await line.ask(whole_request("GetShardIterator", orjson.dumps(wanted))) or b"{}")
        place = answer.get("ShardIterator")
        while place is not None and time.monotonic() < self._until_s:
            body = await line.ask(whole_request("GetRecords", orjson.dumps({"ShardIterator": place})))
            place = orjson.loads(body or b"{}").get("NextShardIterator")
            await pause(_READER_PAUSE_S)
        line.close()

    async def _visit(self) -> None:
        """Come, perhaps put, and go, gently or not, perhaps in the middle of a request."""
        request = puts_of(3, 100_000)
        while time.monotonic() < self._until_s:
            line = Line(self._port, self.tally)
            if self._random.random() < 0.5:
                await line.ask(put_of(10))
            else:
                (await line.open()).write(request[: self._random.randrange(1, len(request))])
            line.close(rudely=self._random.random() < 0.5)
            await pause(_VISITOR_PAUSE_S)
