"""One life of a server: the real engine, store and committer of each worker, from its start to a power cut or kill."""

from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from streamd.config import AccountConfig
from streamd.core.sigv4 import SignedRequest
from streamd.engine.engine import Engine
from streamd.engine.retention import Janitor
from streamd.errors import StoreFailed
from streamd.kinesis.operation import KinesisDialect
from streamd.metrics import Metrics
from streamd.server.auth import Authenticator
from streamd.storage.counters import Counters
from streamd.storage.signals import Bells
from streamd.storage.store import Store
from tests.simulation.environment import MemoryEnvironment
from tests.simulation.known import Row
from tests.simulation.loop import SeededLoop
from tests.simulation.turns import SeededTurns
from tests.simulation.world import World

__all__ = ["Machine", "Reply", "Spares"]

_SECRET = bytes(32)


@dataclass(frozen=True, slots=True)
class Spares:
    """What every life of a process shares, since it is costly to make and decides nothing."""

    metrics: Metrics
    counters: Counters

    @classmethod
    def made(cls, folder: Path) -> "Spares":
        """Make them, in a folder."""
        return cls(Metrics(), Counters(folder))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the document, and the error's name where it is one."""

    document: dict[str, Any]
    error: str = ""


class Machine:
    """A running server. Make it on its loop."""

    def __init__(self, world: World, loop: SeededLoop, spares: Spares) -> None:
        self._world = world
        self._loop = loop
        self.failures: list[StoreFailed] = []
        self.is_on = True
        self._bells = Bells(world.worker_count)
        self._turns = [SeededTurns(loop, world.random) for _ in range(world.worker_count)]
        self._stores = [self._store(worker, spares) for worker in range(world.worker_count)]
        engines = [self._engine(store, spares) for store in self._stores]
        self._dialects = [
            KinesisDialect(engine, Authenticator(None, self.now_ms, region="us-east-1")) for engine in engines
        ]
        first = engines[0]
        self.janitor = Janitor(first.store, first.streams, first.resharder, self, spares.metrics)

    def now_ms(self) -> int:
        """Give the time; this is the engine's clock."""
        return self._world.now_ms()

    def ticks_ms(self) -> int:
        """Give a time that only grows: the same one, since nobody sets the clock here."""
        return self._world.now_ms()

    async def ask(self, operation: str, headers: dict[str, str] | None = None, **members: Any) -> Reply:
        """Call an operation of any worker."""
        request = SignedRequest(
            method="POST",
            path="/",
            query="",
            headers={
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": f"Kinesis_20131202.{operation}",
                **(headers or {}),
            },
            body=orjson.dumps(members),
        )
        dialect = self._world.random.choice(self._dialects)
        reply = await dialect.answer(request)
        document = orjson.loads(reply.body) if reply.body else {}
        return Reply(document, "" if reply.status == 200 else document["__type"])

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
        for store in self._stores:
            await store.close()

    def end(self, *, is_killed: bool) -> None:
        """End everything where it stands: by a power cut, or by ``kill -9`` of all workers."""
        self.is_on = False
        for turns in self._turns:
            turns.stop()
        self._loop.drop()
        self._bells.close()
        if is_killed:
            self._world.disk.kill()
        else:
            self._world.disk.cut_power()
        bugs = [repr(turns.bug) for turns in self._turns if turns.bug is not None]
        self._world.known.faults += self._loop.faults + bugs

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

    def _store(self, worker: int, spares: Spares) -> Store:
        turns = self._turns[worker]
        environment = MemoryEnvironment(self._world.disk, size_max=self._world.size_max, pause=turns.pause)
        return Store(
            environment,
            now_ms=self.now_ms,
            metrics=spares.metrics,
            on_failure=self.failures.append,
            bells=self._bells,
            worker=worker,
            turns=turns,
        )

    def _engine(self, store: Store, spares: Spares) -> Engine:
        return Engine.on(
            store,
            counters=spares.counters,
            clock=self,
            metrics=spares.metrics,
            account=AccountConfig(limits_mode="off", transition_ms=self._world.transition_ms),
            master_key=lambda: _SECRET,
            token_secret=_SECRET,
        )


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
