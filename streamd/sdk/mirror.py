"""Copying a stream into another, wherever either is: what a consumer reads, a producer puts.

    async with (
        Consumer("orders", group="copy", client=here, checkpoint="manual", deaggregate=False) as consumer,
        Producer("orders", client=there, ordered=True) as producer,
    ):
        await Mirror(consumer, producer).run()

The records of a partition key stay in order, across reshards of either stream too. A place is checkpointed once the
copies of all before it are stored, so a mirror that dies loses nothing and may repeat the batches in hand. Keys and
data are copied; numbers, times, and hash keys that chose a shard are the new stream's own.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamd.errors import LeaseLost
from streamd.sdk.consumer import Batch, Consumer, Record
from streamd.sdk.producer import Producer, Stored

__all__ = ["Copied", "Mirror"]

# Batches of so many shards are under way at once.
HAND_COUNT: Final = 16
_KEY_BYTE_COUNT: Final = 8


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied and checkpointed. ``lag_ms`` is how far the batch copied last lay behind its shard's newest."""

    record_count: int
    byte_count: int
    lag_ms: int


class Mirror:
    """Copies until the consumer is stopped."""

    def __init__(self, consumer: Consumer, producer: Producer) -> None:
        """Take a consumer whose checkpoints are the caller's, and an ordered producer, both open."""
        self._consumer = consumer
        self._producer = producer
        self._record_count = 0
        self._byte_count = 0
        self._lag_ms = 0

    @property
    def copied(self) -> Copied:
        """What was copied until now."""
        return Copied(self._record_count, self._byte_count, self._lag_ms)

    async def run(self) -> None:
        """Copy. Raises what ends the consumer, and what a record could not be put for."""
        async with asyncio.TaskGroup() as group:
            for _ in range(HAND_COUNT):
                group.create_task(self._copy_batches())

    async def _copy_batches(self) -> None:
        async for batch in self._consumer:
            await self._copy(batch)

    async def _copy(self, batch: Batch) -> None:
        stored = await self._put(batch.records)
        try:
            await asyncio.gather(*stored)
            await batch.checkpoint()
        except LeaseLost:
            # Another member has the shard, and copies these once more.
            return
        self._record_count += len(batch.records)
        self._byte_count += sum([len(record.data) for record in batch.records])
        self._lag_ms = batch.lag_ms

    async def _put(self, records: Sequence[Record]) -> list[asyncio.Future[Stored]]:
        put = self._producer.put
        # A stream that places records by itself may have some without a key; order among them was never promised.
        return [await put(record.data, record.key or secrets.token_hex(_KEY_BYTE_COUNT)) for record in records]
