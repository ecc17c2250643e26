"""A stream of this server as a source: whole blocks read past a position, woken by the commit that brings them.

Nothing is polled. An idle shard is one waiter, whatever the number of mappings, until its next commit. A stream that
was deleted, and made again under its name, is missing from then on: whoever reads it asks for its identity.
"""

import asyncio
import logging
from typing import Final

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition
from streamd.core.sequence_numbers import parse
from streamd.core.shard_tree import Shard, shard_id, shard_index
from streamd.core.stream import Status, Stream
from streamd.engine.engine import Engine
from streamd.engine.shards import ReadBatch
from streamd.errors import ShardMissing, SourceMissing, StreamNotFound
from streamd.functions.mappings.sources import NO_RECORDS, Lag, SourceBatch, SourceShard, Start
from streamd.storage.shard_log import ShardKey

__all__ = ["LocalCursor", "LocalKinesis"]

_LOG = logging.getLogger(__name__)
_ENDING_PAUSE_S: Final = 0.05


class LocalKinesis:
    """A stream of this account and region; ``arn`` may be a consumer's, and then its stream is read."""

    def __init__(self, engine: Engine, arn: str, *, region: str, stream_name: str, consumer_name: str = "") -> None:
        self.arn = arn
        self.region = region
        self._engine = engine
        self._stream_name = stream_name
        self._consumer_name = consumer_name

    async def identity(self) -> str:
        """Give the stream's own number, which no other ever gets. Raises SourceMissing."""
        return str((await self._load()).number)

    async def shards(self) -> list[SourceShard]:
        """List the shards that have not expired. Raises SourceMissing."""
        stream = await self._load()
        return [
            SourceShard(shard_id=shard.id, parent_ids=tuple(map(shard_id, shard.parent_indexes)), is_open=shard.is_open)
            for shard in stream.visible_shards(self._engine.clock.now_ms())
        ]

    async def pin(self, shard_id: str, start: Start) -> Start:
        """Turn LATEST into the place after the last record there is. Raises SourceMissing."""
        if start.after is not None or start.position is not StartingPosition.LATEST:
            return start
        stream = await self._load()
        shard = _find(stream, shard_id)
        if shard is None:
            return Start()
        return Start(after=str(shard.number_after(await self._position(stream, shard, start))))

    async def open(self, shard_id: str, start: Start) -> "LocalCursor":
        """Open a shard. Raises SourceMissing."""
        stream = await self._load()
        shard = _find(stream, shard_id)
        after = 0 if shard is None else await self._position(stream, shard, start)
        return LocalCursor(self._engine, self, stream=stream, shard_id=shard_id, after=after)

    async def lag(self, shard_id: str, start: Start) -> Lag:
        """Tell how many records come after a place, and how old the first of them is. Raises as ``Cursor.read``."""
        stream = await self._load()
        shard = _find(stream, shard_id)
        if shard is None:
            return Lag(0, 0)
        after = await self._position(stream, shard, start)
        try:
            batch = await self._engine.shards.read(stream, shard, after=after, limit=1)
            tip = await self._engine.shards.tip(stream, shard)
        except ShardMissing:
            return Lag(0, 0)
        if not batch.data:
            return Lag(0, 0)
        number = parse(batch.sequence_numbers[0])
        assert number is not None, "the engine wrote it"
        return Lag(tip - number.position + 1, max(0, self._engine.clock.now_ms() - batch.arrivals_ms[0]))

    async def load(self, number: int) -> Stream:
        """Give the stream as it is now, if it still is the one of this number. Raises SourceMissing."""
        stream = await self._load()
        if stream.number != number:
            raise SourceMissing(self.arn)
        return stream

    async def _load(self) -> Stream:
        try:
            stream = await self._engine.streams.load(self._stream_name)
        except StreamNotFound:
            raise SourceMissing(self.arn) from None
        now_ms = self._engine.clock.now_ms()
        if stream.status(now_ms) is Status.DELETING or not self._has_consumer(stream, now_ms):
            raise SourceMissing(self.arn)
        return stream

    def _has_consumer(self, stream: Stream, now_ms: int) -> bool:
        """Tell whether the consumer of the ARN is still that one: made again, it has another time in its ARN."""
        if not self._consumer_name:
            return True
        name, _, made_s = self._consumer_name.partition(":")
        return any(
            consumer.name == name and consumer.created_ms // 1000 == int(made_s)
            for consumer in stream.live_consumers(now_ms)
        )

    async def _position(self, stream: Stream, shard: Shard, start: Start) -> int:
        """Give the position after which to read."""
        if start.after is not None:
            number = parse(start.after) if start.after.isascii() and start.after.isdigit() else None
            if number is None or (number.shard_index, number.shard_created_s) != (shard.index, shard.created_s):
                _LOG.warning(
                    "%s, %s: the place %s is not of this shard; it is read from its first record",
                    self.arn,
                    shard.id,
                    start.after,
                )
                return 0
            return number.position
        try:
            match start.position:
                case StartingPosition.LATEST:
                    return await self._engine.shards.tip(stream, shard)
                case StartingPosition.AT_TIMESTAMP:
                    return await self._engine.shards.before_time(stream, shard, time_ms=start.time_ms or 0)
                case StartingPosition.TRIM_HORIZON:
                    return 0
        except ShardMissing:
            # Deleted or expired this moment: the next look at the stream will tell which.
            return 0


class LocalCursor:
    """A place in a shard of this server."""

    def __init__(self, engine: Engine, source: LocalKinesis, *, stream: Stream, shard_id: str, after: int) -> None:
        self._engine = engine
        self._source = source
        self._number = stream.number
        self._shard_id = shard_id
        self._after = after
        self._is_first = True
        self._is_end = False

    async def read(self, *, record_count_max: int, byte_count_max: int, wait_s: float) -> SourceBatch:
        """Read what comes next, and wait for it at most so long. Raises SourceMissing, BlockDamaged, MasterKeyMissing.

        Of a shard that has expired nothing is left: it is at its end.
        """
        batch = None if self._is_end else await self._wait_and_read(record_count_max, byte_count_max, wait_s)
        if batch is None:
            self._is_end = True
            return SourceBatch(NO_RECORDS, is_end=True)
        self._note_gap(batch)
        if batch.next_after is None:
            self._is_end = True
        else:
            self._after = batch.next_after
        records = SourceRecords(batch.sequence_numbers, batch.keys, batch.data, batch.arrivals_ms, batch.depths)
        return SourceBatch(records, is_end=self._is_end)

    async def _wait_and_read(self, record_count_max: int, byte_count_max: int, wait_s: float) -> ReadBatch | None:
        """Read until there is something, or the time is up; None when the shard is gone."""
        store = self._engine.store
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while True:
            batch = await self._read(record_count_max, byte_count_max)
            left_s = deadline_s - loop.time()
            if batch is None or batch.data or batch.next_after is None or left_s <= 0:
                return batch
            if store.is_ending:
                # Nobody may wait for the store any more, and whoever asks again and again must not hold up its end.
                await asyncio.sleep(min(left_s, _ENDING_PAUSE_S))
                return batch
            # Not ``wait_past``: a shard that is sealed already, but has no children yet, would have us spin.
            key = ShardKey(self._number, batch.shard.index)
            await store.wait_for_news(key, after=batch.next_after, timeout_s=left_s)

    async def _read(self, record_count_max: int, byte_count_max: int) -> ReadBatch | None:
        stream = await self._source.load(self._number)
        shard = _find(stream, self._shard_id)
        if shard is None:
            return None
        try:
            return await self._engine.shards.read(
                stream, shard, after=self._after, limit=record_count_max, byte_count_max=byte_count_max
            )
        except ShardMissing:
            return None

    def _note_gap(self, batch: ReadBatch) -> None:
        """Log what expired before it was read: positions have no gaps of their own inside a shard."""
        is_first, self._is_first = self._is_first, False
        if not batch.data:
            return
        number = parse(batch.sequence_numbers[0])
        assert number is not None, "the engine wrote it"
        lost = number.position - self._after - 1
        if lost > 0 and not (is_first and self._after == 0):
            _LOG.warning("%s, %s: %d records expired before they were read", self._source.arn, self._shard_id, lost)


def _find(stream: Stream, identity: str) -> Shard | None:
    index = shard_index(identity)
    return None if index is None else stream.tree.shard_by_index.get(index)
