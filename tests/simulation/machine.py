"""One life of a server: its workers, from their start to a power cut or a kill."""

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.core.event_stream import decode
from streamd.core.sigv4 import SignedRequest
from streamd.errors import StoreFailed
from streamd.kinesis.exchange import TARGET_PREFIX
from streamd.kinesis.groups import GROUP_HANDLER_BY_OPERATION, GROUP_TARGET_PREFIX
from streamd.metrics import Metrics
from streamd.storage.signals import Bells
from tests.simulation.counters import MemoryCounters
from tests.simulation.known import Row
from tests.simulation.loop import SeededLoop
from tests.simulation.worker import Worker
from tests.simulation.world import World

__all__ = ["LOST", "Machine", "Reply"]

LOST = "the connection was lost"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the document, and the error's name where it is one."""

    document: dict[str, Any]
    error: str = ""


class Machine:
    """A running server. Make it on its loop."""

    def __init__(self, world: World, loop: SeededLoop, metrics: Metrics) -> None:
        self._world = world
        self._loop = loop
        self._metrics = metrics
        self.is_on = True
        self._counters = MemoryCounters()
        self._bells = Bells(world.worker_count)
        self._workers = [self._made(number) for number in range(world.worker_count)]
        self._is_tidied = False

    @property
    def failures(self) -> list[StoreFailed]:
        """Why it can no longer be trusted; empty while it can."""
        return [failure for worker in self._workers for failure in worker.failures]

    def now_ms(self) -> int:
        """Give the time."""
        return self._world.now_ms()

    def tidy(self) -> None:
        """Have the first worker tidy for as long as it lives."""
        self._is_tidied = True
        janitor = self._workers[0].janitor
        self._janitor = self._workers[0].begin(janitor.run(transition_ms=self._world.transition_ms))

    async def ask(self, operation: str, headers: dict[str, str] | None = None, **members: Any) -> Reply:
        """Call an operation of any worker; LOST is the error where the worker is killed before it answers."""
        worker = self._world.random.choice(self._workers)
        answering = worker.begin(worker.dialect.answer(_request(operation, headers or {}, members)))
        await asyncio.wait([answering])
        if answering.cancelled():
            return Reply({}, LOST)
        reply = answering.result()
        document = orjson.loads(reply.body) if reply.body else {}
        return Reply(document, "" if reply.status == 200 else document["__type"])

    async def push(self, operation: str, *, count: int, **members: Any) -> tuple[str, list[dict[str, Any]]]:
        """Call an operation of any worker that pushes events: why it ended, and its first few events."""
        worker = self._world.random.choice(self._workers)
        events: list[dict[str, Any]] = []
        pushing = worker.begin(_pushed(worker, _request(operation, {}, members), events, count=count))
        await asyncio.wait([pushing])
        return LOST if pushing.cancelled() else pushing.result(), events

    async def rows(self, stream: str) -> list[Row] | None:
        """Read all of a stream, from every shard's beginning; None when it cannot be read now."""
        listed = await self.ask("ListShards", StreamName=stream)
        if listed.error:
            return None
        found: list[Row] = []
        for shard in listed.document["Shards"]:
            rows = await self._rows_of(stream, shard["ShardId"])
            if rows is None:
                return None
            found += rows
            end = int(shard["SequenceNumberRange"].get("EndingSequenceNumber", "0"))
            if end and rows and rows[-1].sequence_number > end:
                self._world.known.faults.append(f"{rows[-1]} is behind the end of its shard, {end}")
        return found

    async def close(self) -> None:
        """Stop as a server does that is told to."""
        self._janitor.cancel()
        for worker in self._workers:
            await worker.store.close()

    def kill_worker(self) -> bool:
        """End any one worker by ``kill -9``, and start another in its place; False where none can be started."""
        if self.failures or self._world.disk.is_broken:
            return False
        number = self._world.random.randrange(len(self._workers))
        self._workers[number].kill()
        self._note_bug(self._workers[number])
        self._workers[number] = self._made(number)
        if number == 0 and self._is_tidied:
            self.tidy()
        return True

    def end(self, *, is_killed: bool) -> None:
        """End everything where it stands: by a power cut, or by ``kill -9`` of all workers."""
        self.is_on = False
        for worker in self._workers:
            worker.stop()
        self._loop.drop()
        self._bells.close()
        if is_killed:
            self._world.disk.kill()
        else:
            self._world.disk.cut_power()
        self._world.known.faults += self._loop.faults
        for worker in self._workers:
            self._note_bug(worker)

    async def _rows_of(self, stream: str, shard_id: str) -> list[Row] | None:
        begun = await self.ask(
            "GetShardIterator", StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )
        if begun.error:
            return None if begun.error != "ResourceNotFoundException" else []
        life = self._world.known.lives[stream]
        place: str | None = begun.document["ShardIterator"]
        found: list[Row] = []
        while place is not None:
            got = await self.ask("GetRecords", ShardIterator=place, Limit=self._world.random.choice((1, 3, 10_000)))
            if got.error:
                return None
            found += rows_in(got.document, shard_id)
            is_at_end = not got.document["Records"] and not got.document["MillisBehindLatest"]
            following = got.document.get("NextShardIterator")
            if following is None and self.is_on and self._world.known.lives[stream] is life:
                self._world.known.note_end(stream, shard_id, found)
            place = None if is_at_end else following
        return found

    def _made(self, number: int) -> Worker:
        return Worker(self._world, self._loop, self._metrics, self._counters, self._bells, number)

    def _note_bug(self, worker: Worker) -> None:
        if worker.bug is not None:
            self._world.known.faults.append(repr(worker.bug))


async def _pushed(worker: Worker, request: SignedRequest, events: list[dict[str, Any]], *, count: int) -> str:
    """Add the events of an answer to a list, no more than so many; the error's name where it ended with one."""
    reply = await worker.dialect.answer(request)
    if reply.frames is None:
        return str(orjson.loads(reply.body)["__type"])
    async with aclosing(reply.frames) as frames:
        async for frame in frames:
            message = decode(frame)
            if ":exception-type" in message.headers:
                return message.headers[":exception-type"]
            if message.headers[":event-type"] == "SubscribeToShardEvent":
                events.append(orjson.loads(message.payload))
            if len(events) >= count:
                break
    return ""


def _request(operation: str, headers: Mapping[str, str], members: Mapping[str, Any]) -> SignedRequest:
    prefix = GROUP_TARGET_PREFIX if operation in GROUP_HANDLER_BY_OPERATION else TARGET_PREFIX
    of_all = {"content-type": "application/x-amz-json-1.1", "x-amz-target": prefix + operation}
    return SignedRequest(method="POST", path="/", query="", headers={**of_all, **headers}, body=orjson.dumps(members))


def rows_in(document: dict[str, Any], shard_id: str) -> list[Row]:
    """Read the records of an answer."""
    return [
        Row(
            shard_id,
            int(row["SequenceNumber"]),
            row["PartitionKey"],
            b64decode(row["Data"]),
            round(row["ApproximateArrivalTimestamp"] * 1000),
        )
        for row in document["Records"]
    ]
