"""A consumer: reads one shard in order, counts mentions, and saves place and counts after every batch.

It knows nothing between two batches that its checkpoint does not know, so one that died is replaced by
another that goes on from there. Its own failures to read are handled the same way: it forgets everything and
starts again from the checkpoint, a bounded number of times in a row.
"""

import asyncio
import time
from typing import Any, Final, Protocol

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.mentions import MentionFinder
from streamd.demo.progress import Progress
from streamd.demo.verify import Place, ShardSpan, StoredRecord, tally_batch
from streamd.sdk.client import IteratorType, ServiceRefused, ServiceUnreachable

__all__ = ["Consumer", "RecordSource"]

# A batch is counted in one go on the event loop: this many records keep it from the producers for some 15 ms.
RECORD_COUNT_MAX: Final = 2_000
RESTART_COUNT_MAX: Final = 5
# A shard allows five reads a second. Keeping to it also lets a batch fill, which costs everybody less than
# many small ones; a consumer that is behind does not wait.
READ_INTERVAL_S: Final = 0.2

_WAIT_MS: Final = 300
_RESTART_PAUSE_S: Final = 0.2


class RecordSource(Protocol):
    """What gives records: the SDK's client, or a list in a test."""

    async def get_shard_iterator(
        self,
        stream: str,
        shard_id: str,
        iterator_type: IteratorType = "TRIM_HORIZON",
        *,
        sequence_number: str | None = None,
    ) -> str:
        """Give an iterator at a place in a shard."""

    async def get_records(self, iterator: str, *, limit: int | None = None, wait_ms: int = 0) -> dict[str, Any]:
        """Give the answer of GetRecords, with ``Data`` as bytes."""


class Consumer:
    """Reads one shard."""

    def __init__(
        self,
        source: RecordSource,
        *,
        stream: str,
        span: ShardSpan,
        finder: MentionFinder,
        checkpoints: Checkpoints,
        progress: Progress,
    ) -> None:
        self._source = source
        self._stream = stream
        self._span = span
        self._finder = finder
        self._checkpoints = checkpoints
        self._progress = progress

    async def run(self, all_put: asyncio.Event) -> None:
        """Read until the shard's end, as it is once everything was put.

        Raises ServiceRefused or ServiceUnreachable when reading fails again and again without getting
        anywhere.
        """
        restart_count = 0
        while True:
            place_before = await self._checkpoints.place_of(self._span.shard_id)
            try:
                await self._read_on_from(place_before, all_put)
            except (ServiceRefused, ServiceUnreachable):
                place = await self._checkpoints.place_of(self._span.shard_id)
                restart_count = restart_count + 1 if place == place_before else 1
                if restart_count > RESTART_COUNT_MAX:
                    raise
                self._progress.consumer_restarts += 1
                await asyncio.sleep(_RESTART_PAUSE_S * restart_count)
            else:
                return

    async def _read_on_from(self, place: Place, all_put: asyncio.Event) -> None:
        iterator: str | None = await self._iterator_at(place)
        while iterator is not None:
            started_s = time.monotonic()
            # Asked before the read: only an answer from after the last put can show that nothing is left.
            was_all_put = all_put.is_set()
            answer = await self._source.get_records(iterator, limit=RECORD_COUNT_MAX, wait_ms=_WAIT_MS)
            if answer["Records"]:
                place = await self._take(answer["Records"], place)
            lag_ms = answer["MillisBehindLatest"]
            self._progress.note_lag(self._span.shard_id, lag_ms)
            if was_all_put and not answer["Records"] and lag_ms == 0:
                return
            iterator = answer.get("NextShardIterator")
            if lag_ms == 0 and not was_all_put:
                await asyncio.sleep(max(0.0, READ_INTERVAL_S - (time.monotonic() - started_s)))

    async def _iterator_at(self, place: Place) -> str:
        shard_id = self._span.shard_id
        if place.sequence_number is None:
            return await self._source.get_shard_iterator(self._stream, shard_id, "TRIM_HORIZON")
        return await self._source.get_shard_iterator(
            self._stream, shard_id, "AFTER_SEQUENCE_NUMBER", sequence_number=place.sequence_number
        )

    async def _take(self, records: list[dict[str, Any]], place: Place) -> Place:
        stored = [StoredRecord(record["SequenceNumber"], record["PartitionKey"], record["Data"]) for record in records]
        tally = tally_batch(stored, place, span=self._span, finder=self._finder)
        await self._checkpoints.save(self._span.shard_id, tally)
        # Only now: what a screen shows is also what the next consumer would know.
        self._progress.note_read(tally.post_count, tally.mentions)
        return tally.place
