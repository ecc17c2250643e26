"""The reader: one consumer of the SDK counts the mentions of each batch, and saves place and counts together.

The place lies with the counts and not with the lease, and is moved only by the lease's newest owner. So each post is
counted once, whatever dies: who comes next claims the shard and goes on where its counts end. Failures to read that
pass are the SDK's affair.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.mentions import MentionFinder
from streamd.demo.progress import Progress
from streamd.demo.verify import Place, ShardSpan, tally_batch
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Batch, Consumer

__all__ = ["PostReader"]

# A batch is counted in one go on the event loop: this many records keep it from the producers for some 15 ms.
BATCH_RECORD_COUNT_MAX: Final = 2_000


class PostReader:
    """Reads all shards of a stream."""

    def __init__(
        self,
        client: KinesisClient,
        *,
        stream: str,
        spans: Sequence[ShardSpan],
        finder: MentionFinder,
        checkpoints: Checkpoints,
        progress: Progress,
        batch_record_count_max: int = BATCH_RECORD_COUNT_MAX,
    ) -> None:
        self._client = client
        self._stream = stream
        self._span_by_shard = {span.shard_id: span for span in spans}
        self._finder = finder
        self._checkpoints = checkpoints
        self._progress = progress
        self._batch_record_count_max = batch_record_count_max
        # By shard and epoch: what a lease's last batch left is of no use to the next one, which reads the file.
        self._place_by_lease: dict[tuple[str, int], Place] = {}
        self._saved = asyncio.Event()
        # Set once every shard is being read.
        self.has_begun = asyncio.Event()

    async def run(self, all_put: asyncio.Event) -> None:
        """Read until the stream's end, as it is once everything was put.

        Raises what the SDK's consumer raises, and CheckpointsFailed.
        """
        async with (
            Consumer(
                self._stream,
                group="demo",
                client=self._client,
                checkpoint="manual",
                place_of=self._claim,
                deaggregate=False,
                batch_record_count_max=self._batch_record_count_max,
            ) as consumer,
            asyncio.TaskGroup() as group,
        ):
            for _ in self._span_by_shard:
                group.create_task(self._count(consumer))
            await all_put.wait()
            for shard_id in self._span_by_shard:
                await self._all_counted(shard_id)
            consumer.stop()

    async def _claim(self, shard_id: str, epoch: int) -> str | None:
        place = self._place_by_lease[shard_id, epoch] = await self._checkpoints.claim(shard_id, epoch=epoch)
        if {claimed for claimed, _ in self._place_by_lease} == self._span_by_shard.keys():
            self.has_begun.set()
        return place.sequence_number

    async def _count(self, consumer: Consumer) -> None:
        async for batch in consumer:
            await self._take(batch)

    async def _take(self, batch: Batch) -> None:
        lease = batch.shard_id, batch.epoch
        span = self._span_by_shard[batch.shard_id]
        tally = tally_batch(batch.records, self._place_by_lease[lease], span=span, finder=self._finder)
        if not await self._checkpoints.save(batch.shard_id, tally, epoch=batch.epoch):
            # The shard is another's by now, who reads and counts this again.
            return
        self._place_by_lease[lease] = tally.place
        # Only now: what a screen shows is also what the next consumer would know.
        self._progress.note_read(tally.post_count, tally.mentions)
        self._progress.note_lag(batch.shard_id, batch.lag_ms)
        self._saved.set()

    async def _all_counted(self, shard_id: str) -> None:
        """Wait until nothing follows the place that is saved."""
        while True:
            self._saved.clear()
            if not await self._is_followed(shard_id, await self._checkpoints.place_of(shard_id)):
                return
            await self._saved.wait()

    async def _is_followed(self, shard_id: str, place: Place) -> bool:
        iterator: str | None = await self._client.get_shard_iterator(
            self._stream,
            shard_id,
            "TRIM_HORIZON" if place.sequence_number is None else "AFTER_SEQUENCE_NUMBER",
            sequence_number=place.sequence_number,
        )
        while iterator is not None:
            answer = await self._client.get_records(iterator, limit=1)
            if answer["Records"] or not answer["MillisBehindLatest"]:
                return bool(answer["Records"])
            iterator = answer.get("NextShardIterator")
        return False
