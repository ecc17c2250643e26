"""The janitor: removes what has expired and what was deleted, and finishes what a crash interrupted.

It runs in one worker. Each removal is a small transaction, so puts never wait long behind it. Readers do not depend on
it: an expired record is never returned, removed or not.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import orjson

from streamd.core.limits import PUT_MEMORY_MS
from streamd.core.stream import Stream
from streamd.core.wall_clock import RecentSpan
from streamd.engine.clock import Clock
from streamd.engine.groups import forget_groups
from streamd.engine.reshard import Resharder
from streamd.engine.streams import GRAVE_PREFIX, Streams
from streamd.errors import CatalogConflict, ShardMissing, StreamdError, StreamNotFound
from streamd.metrics import Metrics
from streamd.storage.shard_log import ShardKey
from streamd.storage.store import Store

__all__ = ["Janitor"]

_LOG = logging.getLogger(__name__)
_GRAVE_COUNT_MAX = 1000
_TRANSITION_PAUSE_S = 0.05
_SWEEP_PAUSE_S = 5.0


class Janitor:
    """Tidies the store for as long as it runs."""

    def __init__(self, store: Store, streams: Streams, resharder: Resharder, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._streams = streams
        self._resharder = resharder
        self._clock = clock
        self._metrics = metrics
        # What is forgotten early may be stored twice.
        self._puts_span = RecentSpan(PUT_MEMORY_MS)

    async def run(self, *, transition_ms: int) -> NoReturn:
        """Tidy for ever; with a transition time, look often for reshards and deletions that became due."""
        pause_s = _TRANSITION_PAUSE_S if transition_ms else _SWEEP_PAUSE_S
        loop = asyncio.get_running_loop()
        swept_at = -_SWEEP_PAUSE_S
        while True:
            try:
                await self.finish_due()
                if loop.time() - swept_at >= _SWEEP_PAUSE_S:
                    await self.sweep()
                    swept_at = loop.time()
            except StreamdError as error:
                # Full, damaged, or about to stop: nothing to do but say so and look again. Room may come back, and
                # what is damaged stays for whoever repairs it.
                _LOG.warning("tidying was cut short: %s", error)
                swept_at = loop.time()
            await asyncio.sleep(pause_s)

    async def finish_due(self) -> None:
        """Finish the reshards and deletions whose time has come."""
        await self._resharder.finish_due()
        await self._streams.finish_deletions()

    async def sweep(self) -> None:
        """Remove all that is expired or deleted by now."""
        self._store.reap_readers()
        await self._bury_all()
        now_ms = self._clock.now_ms()
        streams = await self._streams.all()
        by_number = {stream.number: stream for stream in streams}
        # A stream that is younger than its retention holds nothing expired, so its shards need not be looked at.
        horizons = {
            number: horizon_ms
            for number, stream in by_number.items()
            if stream.created_ms < (horizon_ms := stream.horizon_ms(now_ms))
        }
        for shard in await self._store.expired(horizons):
            await self._trim(by_number[shard.stream_number], shard, before_ms=horizons[shard.stream_number])
        for stream in streams:
            await self._forget_closed(stream)
        since_ms = self._puts_span.since_ms(now_ms=now_ms, ticks_ms=self._clock.ticks_ms())
        if since_ms is not None:
            await self._store.forget_puts(before_ms=since_ms)

    async def _trim(self, stream: Stream, shard: ShardKey, *, before_ms: int) -> None:
        has_more = True
        while has_more:
            try:
                trimmed = await self._store.trim(shard, before_ms=before_ms)
            except ShardMissing:
                # Deleted meanwhile.
                return
            self._metrics.expired(stream.name, record_count=trimmed.record_count, byte_count=trimmed.byte_count)
            has_more = trimmed.has_more

    async def _forget_closed(self, stream: Stream) -> None:
        """Take the closed shards that hold nothing any more out of the stream."""
        visible = set(stream.visible_shards(self._clock.now_ms()))
        gone = [shard.index for shard in stream.tree if shard not in visible]
        if not gone:
            return
        if not await self._dig(f"{GRAVE_PREFIX}{stream.number}-{gone[0]}", gone):
            # A grave that a crash left open may name fewer shards than are gone by now: it is filled first.
            return
        try:
            await self._streams.change(stream.name, lambda current: _without(current, stream, gone))
        except StreamNotFound:
            return

    async def _dig(self, key: str, indexes: Sequence[int]) -> bool:
        try:
            await self._store.compare_and_set(key, orjson.dumps(indexes), expected=None)
        except CatalogConflict:
            return False
        return True

    async def _bury_all(self) -> None:
        for name in await self._store.scan(GRAVE_PREFIX, limit=_GRAVE_COUNT_MAX):
            document = await self._store.get(GRAVE_PREFIX + name)
            if document is None:
                continue
            number = int(name.partition("-")[0])
            if "-" not in name:
                # The stream itself is gone, not only some of its shards.
                await forget_groups(self._store, number)
            for index in orjson.loads(document.content):
                while not await self._store.drop(ShardKey(number, index)):
                    pass
            await self._store.compare_and_set(document.key, None, expected=document.version)


def _without(current: Stream, seen: Stream, gone: Sequence[int]) -> Stream:
    if current.number != seen.number:
        return current
    still_there = [index for index in gone if index in current.tree.shard_by_index]
    return replace(current, tree=current.tree.without(still_there)) if still_there else current
