"""Splits the shards of on-demand streams that stay over their write limit.

Kinesis doubles an on-demand stream's capacity as it needs it; here a shard that took more than its limit for several
samples in a row is cut in half. Rates come from the store's own counts, so they hold over all workers.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import NoReturn

from streamd.core.limits import SHARD_WRITE_BYTE_RATE, SHARD_WRITE_RECORD_RATE
from streamd.core.scaling import split_all
from streamd.core.stream import Stream, StreamMode
from streamd.engine.clock import Clock
from streamd.engine.reshard import Resharder
from streamd.engine.streams import Streams
from streamd.errors import ShardMissing, StreamdError, StreamNotFound
from streamd.storage.shard_log import ShardKey, ShardState
from streamd.storage.store import Store

__all__ = ["OnDemandScaler"]

_LOG = logging.getLogger(__name__)
_SAMPLE_PAUSE_S = 1.0
_SAMPLE_COUNT = 5
# Below this many hash keys a shard cannot be cut in two that take records.
_WIDTH_MIN = 4


class OnDemandScaler:
    """Watches on-demand streams for as long as it runs."""

    def __init__(self, store: Store, streams: Streams, resharder: Resharder, clock: Clock, *, shard_quota: int) -> None:
        self._store = store
        self._streams = streams
        self._resharder = resharder
        self._clock = clock
        self._shard_quota = shard_quota
        self._seen_ticks_ms = 0
        self._seen: Mapping[ShardKey, ShardState] = {}
        self._busy_samples: dict[ShardKey, int] = {}

    async def run(self) -> NoReturn:
        """Sample for ever."""
        while True:
            await asyncio.sleep(_SAMPLE_PAUSE_S)
            try:
                await self.sample()
            except StreamdError as error:
                # Full, damaged, or about to stop: a shard that takes no puts does not stay over its limit for long.
                _LOG.warning("on-demand streams were not looked at: %s", error)

    async def sample(self) -> None:
        """Compare the counts with those of the last call; split what was over its limit for long enough."""
        streams = await self._streams.all()
        watched = {s.number: s for s in streams if s.mode is StreamMode.ON_DEMAND and s.reshard is None}
        if not watched:
            self._seen = {}
            return
        ticks_ms = self._clock.ticks_ms()
        states = await self._states(watched.values())
        elapsed_s = (ticks_ms - self._seen_ticks_ms) / 1000
        busy = {
            key: self._busy_samples.get(key, 0) + 1
            for key, state in states.items()
            if key in self._seen and _is_over(state, self._seen[key], elapsed_s=elapsed_s)
        }
        self._seen, self._seen_ticks_ms, self._busy_samples = states, ticks_ms, busy
        open_count = sum(len(stream.tree.open_shards) for stream in streams)
        ripe_numbers = {key.stream_number for key, samples in busy.items() if samples >= _SAMPLE_COUNT}
        for number in ripe_numbers:
            indexes = [k.shard_index for k, n in busy.items() if k.stream_number == number and n >= _SAMPLE_COUNT]
            if open_count + len(indexes) <= self._shard_quota:
                await self._split(watched[number], indexes)
                open_count += len(indexes)

    async def _states(self, streams: Iterable[Stream]) -> dict[ShardKey, ShardState]:
        """Read the states of these streams' open shards; an account has few on-demand streams, and many others."""
        states: dict[ShardKey, ShardState] = {}
        for stream in streams:
            for shard in stream.tree.open_shards:
                key = ShardKey(stream.number, shard.index)
                try:
                    states[key] = await self._store.state(key)
                except ShardMissing:
                    # Deleted meanwhile.
                    continue
            await asyncio.sleep(0)
        return states

    async def _split(self, stream: Stream, indexes: list[int]) -> None:
        def decide(current: Stream) -> Stream:
            if current.number != stream.number or current.reshard is not None:
                return current
            ripe = [
                shard.index
                for shard in current.tree.open_shards
                if shard.index in indexes and shard.hash_range.end - shard.hash_range.start >= _WIDTH_MIN
            ]
            return self._resharder.intend(current, split_all(current.tree, ripe, now_ms=self._clock.now_ms()))

        try:
            await self._streams.change(stream.name, decide)
            await self._resharder.finish(stream.name)
        except StreamNotFound:
            return


def _is_over(now: ShardState, before: ShardState, *, elapsed_s: float) -> bool:
    byte_count = now.appended_byte_count - before.appended_byte_count
    record_count = now.appended_record_count - before.appended_record_count
    return byte_count > SHARD_WRITE_BYTE_RATE * elapsed_s or record_count > SHARD_WRITE_RECORD_RATE * elapsed_s
