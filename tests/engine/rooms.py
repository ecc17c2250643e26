"""The engine with its real store, in this process, under a clock that the test moves.

Closing the rooms and opening them again on the same directory is a crash between two steps: what was committed is
there, what was only in memory is gone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streamd.config import AccountConfig
from streamd.core.blocks import RecordColumns
from streamd.core.shard_tree import first_shards
from streamd.core.sigv4 import SignedRequest
from streamd.core.stream import Stream, StreamMode
from streamd.engine.engine import Engine
from streamd.engine.on_demand import OnDemandScaler
from streamd.engine.quotas import LimitsMode
from streamd.engine.retention import Janitor
from streamd.engine.subscriptions import SubscriptionRules
from streamd.errors import ConfigInvalid, StoreFailed
from streamd.kinesis.operation import KinesisDialect
from streamd.metrics import Metrics
from streamd.server.auth import Authenticator
from streamd.storage.counters import Counters
from streamd.storage.directory import DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.store import Store
from tests.clocks import ManualClock

__all__ = ["HOUR_MS", "Placed", "Refusal", "Rooms", "open_rooms"]

HOUR_MS = 3_600_000
_SIZE_MAX = 1 << 30
# Nothing is said of its own accord: a test sees what its own steps brought about.
QUIET_RULES = SubscriptionRules(idle_ms=HOUR_MS)


class Placed(NamedTuple):
    """Where a record was stored."""

    shard_id: str
    sequence_number: str


class Refusal(Exception):
    """An answer that said no."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        self.code = document["__type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The engine's services, the janitor and the scaler, and a door for single operations."""

    engine: Engine
    janitor: Janitor
    scaler: OnDemandScaler
    dialect: KinesisDialect
    clock: ManualClock

    @property
    def store(self) -> Store:
        """The real store."""
        return self.engine.store

    async def ask(self, operation: str, **members: Any) -> Any:
        """Call an operation as a client does; Data goes in as base64. Raises Refusal."""
        reply = await self.dialect.answer(
            SignedRequest(
                method="POST",
                path="/",
                query="",
                headers={
                    "content-type": "application/x-amz-json-1.1",
                    "x-amz-target": f"Kinesis_20131202.{operation}",
                },
                body=orjson.dumps(members),
            )
        )
        document = orjson.loads(reply.body) if reply.body else {}
        if reply.status != 200:
            raise Refusal(document)
        return document

    async def create(self, name: str, *, shard_count: int = 1, mode: StreamMode = StreamMode.PROVISIONED) -> Stream:
        """Make a stream that is active at once."""
        now_ms = self.clock.now_ms()
        return await self.engine.streams.create(
            Stream(
                number=0,
                name=name,
                created_ms=now_ms,
                active_ms=now_ms,
                tree=first_shards(shard_count, now_ms=now_ms),
                mode=mode,
            )
        )

    async def put(self, name: str, *payloads: bytes, hash_keys: list[int | None] | None = None) -> list[Placed]:
        """Put one record for each payload, under a key of its own."""
        stream = await self.engine.streams.load(name)
        columns = RecordColumns([b"key-%d" % place for place in range(len(payloads))], list(payloads))
        outcomes = await self.engine.shards.put(stream, columns, hash_keys=hash_keys)
        return [
            Placed(shard_id, number)
            for shard_id, number in zip(outcomes.shard_ids, outcomes.sequence_numbers, strict=True)
            if number is not None
        ]

    async def payloads(self, name: str, *, shard_index: int = 0, after: int = 0) -> list[bytes]:
        """Read what a shard gives now, from a position on."""
        stream = await self.engine.streams.load(name)
        shard = stream.tree.shard_by_index[shard_index]
        found: list[bytes] = []
        place: int | None = after
        while place is not None:
            batch = await self.engine.shards.read(stream, shard, after=place, limit=10_000)
            found += batch.data
            if not batch.data:
                break
            place = batch.next_after
        return found


@asynccontextmanager
async def open_rooms(
    path: Path,
    clock: ManualClock,
    *,
    transition_ms: int = 0,
    limits: LimitsMode = LimitsMode.OFF,
    rules: SubscriptionRules = QUIET_RULES,
    size_max: int = _SIZE_MAX,
) -> AsyncIterator[Rooms]:
    """Open the rooms on a data directory, and close them again."""
    directory = await asyncio.to_thread(DataDirectory(path).open)
    metrics = Metrics()
    failures: list[StoreFailed] = []
    try:
        store = Store(
            Environment(directory.log_path, size_max=size_max),
            now_ms=clock.now_ms,
            metrics=metrics,
            on_failure=failures.append,
        )
    except ConfigInvalid:
        directory.close()
        raise
    counters = Counters(directory.counters_path)
    engine = Engine.on(
        store,
        counters=counters,
        clock=clock,
        metrics=metrics,
        account=AccountConfig(limits_mode=limits, transition_ms=transition_ms),
        master_key=lambda: directory.master_key(None),
        token_secret=directory.token_secret(),
        rules=rules,
    )
    try:
        yield Rooms(
            engine=engine,
            janitor=Janitor(store, engine.streams, engine.resharder, clock, metrics),
            scaler=OnDemandScaler(store, engine.streams, engine.resharder, clock, shard_quota=engine.shard_quota),
            dialect=KinesisDialect(engine, Authenticator(None, clock.now_ms, region="us-east-1")),
            clock=clock,
        )
    finally:
        await store.close()
        counters.close()
        directory.close()
    assert not failures
