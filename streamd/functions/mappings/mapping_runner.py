"""Runs one mapping: a poller for each shard that may be read, children only after their parents are done.

A change of the mapping, or its end, stops the pollers when what they have in hand has answered; they begin again from
the stored progress. A stream that is gone is looked for now and then; one that was made anew begins at its start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from streamd.core.mapping import EventSourceMapping
from streamd.core.mapping_events import DynamoEvents, KinesisEvents, RecordEvents
from streamd.core.mapping_settings import StartingPosition
from streamd.core.mapping_steps import Failure, MappingCounters
from streamd.core.shard_progress import ShardProgress
from streamd.core.shard_succession import Lineage, succession
from streamd.engine.clock import Clock
from streamd.errors import OutsideUnreachable, SourceMissing, StreamdError
from streamd.functions.mappings.failures import FailureDelivery
from streamd.functions.mappings.members import kind_of
from streamd.functions.mappings.registry import MappingRegistry
from streamd.functions.mappings.shard_poller import ShardPoller, ShardWork
from streamd.functions.mappings.sources import Source, Start
from streamd.functions.running import Invokes

__all__ = ["MappingRunner", "MappingTools"]

_LOG = logging.getLogger(__name__)
_LOOK_PAUSE_S = 30.0
_TROUBLE_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingTools:
    """What runners share."""

    registry: MappingRegistry
    invoker: Invokes
    clock: Clock
    role_of: Callable[[str], str]
    stops_loops_of: Callable[[str], bool]
    retention_ms_of: Callable[[str], Awaitable[int]]
    failures: FailureDelivery
    note: Callable[[str, str], None]
    count: Callable[[EventSourceMapping, MappingCounters], None]
    note_age: Callable[[EventSourceMapping, int], None]


class MappingRunner:
    """Runs a mapping as it is now; another one runs it after a change."""

    def __init__(self, mapping: EventSourceMapping, source: Source, tools: MappingTools) -> None:
        self.mapping = mapping
        self._source = source
        self._tools = tools
        self._pollers: dict[str, ShardPoller] = {}
        self._progress: dict[str, ShardProgress] = {}
        self._is_stopping = False
        self._news = asyncio.Event()
        self._retention_ms = 0

    def stop(self) -> None:
        """Have it end once what is in hand has answered and is stored."""
        self._is_stopping = True
        self._news.set()
        for poller in self._pollers.values():
            poller.stop()

    async def run(self) -> None:
        """Work until ``stop``."""
        while not self._is_stopping:
            try:
                await self._begin()
                await self._work()
            except* SourceMissing as missing:
                self._trouble(f"PROBLEM: Stream not found: {self._source.arn}", missing)
            except* OutsideUnreachable as unreachable:
                self._trouble(f"PROBLEM: Cannot access stream {self._source.arn}", unreachable)
            except* StreamdError as error:
                self._trouble(f"PROBLEM: {error.exceptions[0]}", error)
            if not self._is_stopping:
                await self._rest(_TROUBLE_PAUSE_S)

    async def status(self) -> list[dict[str, Any]]:
        """Describe every shard that has a poller or progress."""
        shard_ids = sorted(self._pollers.keys() | self._progress.keys())
        return [await self._shard_status(shard_id) for shard_id in shard_ids]

    async def depth(self) -> tuple[int, int]:
        """Tell how many records wait in lanes, and how many are behind the checkpoints of shards at work."""
        waiting_count = lag_count = 0
        for shard_id, poller in list(self._pollers.items()):
            queued_count = poller.status().queued_count
            waiting_count += queued_count
            if queued_count:
                lag_count += await self._lag_count(shard_id)
        return waiting_count, lag_count

    async def _lag_count(self, shard_id: str) -> int:
        try:
            start = self._start(shard_id, self._progress.get(shard_id, ShardProgress()))
            return (await self._source.lag(shard_id, start)).record_count or 0
        except StreamdError:
            return 0

    async def _begin(self) -> None:
        """Read how far it is; a stream that was made anew begins at its start."""
        self._progress = await self._tools.registry.progress(self.mapping.uuid)
        identity = await self._source.identity()
        if identity == self.mapping.identity:
            return
        _LOG.warning("mapping %s: the stream %s was made anew", self.mapping.uuid, self._source.arn)
        for shard_id in self._progress:
            await self._tools.registry.forget(self.mapping.uuid, shard_id)
        self._progress = {}
        self.mapping = await self._tools.registry.change(
            self.mapping.uuid, lambda present: replace(present, identity=identity, starts={})
        )

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._is_stopping:
                self._news.clear()
                await self._start_ready(group)
                # A shard that ended wakes this; what rolls elsewhere, or another retention, is seen now and then.
                await self._rest(_LOOK_PAUSE_S)

    async def _start_ready(self, group: asyncio.TaskGroup) -> None:
        """Start a poller for each shard that may be read now."""
        shards = await self._source.shards()
        self._retention_ms = await self._tools.retention_ms_of(self.mapping.source_arn)
        done = {shard_id for shard_id, progress in self._progress.items() if progress.is_done}
        following = succession(
            [Lineage(shard.shard_id, shard.parent_ids) for shard in shards], done=done, known=self._progress.keys()
        )
        for shard_id in following.forgotten:
            if shard_id not in self._pollers:
                await self._tools.registry.forget(self.mapping.uuid, shard_id)
                del self._progress[shard_id]
        for shard_id in following.ready:
            if shard_id not in self._pollers and not self._is_stopping:
                poller = self._pollers[shard_id] = ShardPoller(self._shard_work(shard_id))
                group.create_task(self._see_through(shard_id, poller))

    async def _see_through(self, shard_id: str, poller: ShardPoller) -> None:
        """Run a shard's poller; its end is news, since children may start."""
        try:
            await poller.run()
        finally:
            del self._pollers[shard_id]
            self._news.set()

    def _shard_work(self, shard_id: str) -> ShardWork:
        mapping, tools = self.mapping, self._tools
        events = self._events(shard_id)
        progress = self._progress.get(shard_id, ShardProgress())

        async def save(progress: ShardProgress) -> None:
            await tools.registry.save(mapping.uuid, shard_id, progress)
            self._progress[shard_id] = progress

        async def deliver(failure: Failure) -> bool:
            return await tools.failures.deliver(mapping, events, failure)

        return ShardWork(
            mapping=mapping.uuid,
            shard_id=shard_id,
            function_arn=mapping.function_arn,
            settings=mapping.settings,
            events=events,
            progress=progress,
            open=lambda: self._source.open(shard_id, self._start(shard_id, progress)),
            invoker=tools.invoker,
            clock=tools.clock,
            save=save,
            deliver=deliver,
            horizon_ms=self._horizon_ms,
            stops_loops=lambda: tools.stops_loops_of(mapping.function_arn),
            note=lambda result: tools.note(mapping.uuid, result),
            count=lambda counters: tools.count(mapping, counters),
            note_age=lambda age_ms: tools.note_age(mapping, age_ms),
        )

    def _horizon_ms(self) -> int:
        """Tell since when records are kept; 0 where that is not known."""
        return self._tools.clock.now_ms() - self._retention_ms if self._retention_ms else 0

    def _start(self, shard_id: str, progress: ShardProgress) -> Start:
        """Tell where to read on: after the checkpoint, else where the mapping began, else at the first record."""
        if progress.checkpoint is not None:
            return Start(after=progress.checkpoint)
        told = self.mapping.starts.get(shard_id)
        return Start(StartingPosition.TRIM_HORIZON) if told is None else Start.from_text(told)

    def _events(self, shard_id: str) -> RecordEvents:
        arn = self.mapping.source_arn
        if kind_of(arn) == "dynamodb":
            return DynamoEvents(shard_id=shard_id, source_arn=arn)
        role = self._tools.role_of(self.mapping.function_arn)
        return KinesisEvents(shard_id=shard_id, source_arn=arn, role_arn=role, region=arn.split(":")[3])

    async def _shard_status(self, shard_id: str) -> dict[str, Any]:
        poller = self._pollers.get(shard_id)
        progress = self._progress.get(shard_id, ShardProgress())
        document: dict[str, Any] = {
            "shard_id": shard_id,
            "checkpoint": progress.checkpoint,
            "is_done": progress.is_done,
            "lag_records": None,
            "lag_ms": None,
            "lanes": [],
        }
        if not progress.is_done:
            with suppress(StreamdError):
                lag = await self._source.lag(shard_id, self._start(shard_id, progress))
                document |= {"lag_records": lag.record_count, "lag_ms": lag.ms}
        if poller is not None:
            document["lanes"] = [
                {
                    "lane": number,
                    "queued": lane.queued_count,
                    "blocked_since_ms": lane.blocked_since_ms,
                    "attempt": lane.attempt,
                    "error": lane.error or None,
                    "next_try_ms": lane.next_try_ms,
                }
                for number, lane in enumerate(poller.status().lanes)
            ]
        return document

    def _trouble(self, result: str, error: BaseExceptionGroup[BaseException]) -> None:
        self._tools.note(self.mapping.uuid, result)
        _LOG.warning("mapping %s: %s (%s)", self.mapping.uuid, result, error.exceptions[0])

    async def _rest(self, pause_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._news.wait()
