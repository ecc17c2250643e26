"""A shard in memory that can misbehave: what the demo's consumers and producers are tried on without a daemon."""

import asyncio
from collections.abc import Iterable
from typing import Any

from streamd.demo.posts import Post
from streamd.demo.records import SentPost, encode_post, producer_of
from streamd.sdk.client import IteratorType, ServiceUnreachable

__all__ = ["MemoryShard", "record_of", "records_of"]

SEQUENCE_NUMBER_BASE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_800


def record_of(position: int, data: bytes, key: str) -> dict[str, Any]:
    """Make a record as GetRecords gives it."""
    return {"SequenceNumber": str(SEQUENCE_NUMBER_BASE + position), "Data": data, "PartitionKey": key}


def records_of(posts: Iterable[Post], *, producer_count: int = 1) -> list[dict[str, Any]]:
    """Make the records that a faultless daemon would give for a whole input that fits one shard."""
    records = []
    for index, post in enumerate(posts):
        producer = producer_of(post.user, producer_count=producer_count)
        records.append(record_of(index, encode_post(SentPost(index, producer, post)), post.user))
    return records


class MemoryShard:
    """A list of records behind the calls of the SDK's client; reads fail at the calls it is told."""

    def __init__(
        self, records: list[dict[str, Any]], *, batch_size: int = 50, failing_reads: Iterable[int] = ()
    ) -> None:
        self.records = records
        self.read_count = 0
        self.fifth_read = asyncio.Event()
        self._batch_size = batch_size
        self._failing_reads = frozenset(failing_reads)

    async def get_shard_iterator(
        self,
        stream: str,
        shard_id: str,
        iterator_type: IteratorType = "TRIM_HORIZON",
        *,
        sequence_number: str | None = None,
    ) -> str:
        """Give the index of the record that is read next."""
        assert (stream, shard_id) == ("posts", "shard-0")
        if iterator_type == "TRIM_HORIZON":
            return "0"
        numbers = [record["SequenceNumber"] for record in self.records]
        assert sequence_number is not None
        return str(numbers.index(sequence_number) + 1)

    async def get_records(self, iterator: str, *, limit: int | None = None, wait_ms: int = 0) -> dict[str, Any]:
        """Give the next few records."""
        assert limit is None or limit >= self._batch_size
        assert wait_ms >= 0
        self.read_count += 1
        if self.read_count == 5:
            self.fifth_read.set()
        await asyncio.sleep(0)
        if self.read_count in self._failing_reads:
            raise ServiceUnreachable("http://shard.example", "cut off")
        start = int(iterator)
        end = min(start + self._batch_size, len(self.records))
        return {
            "Records": self.records[start:end],
            "NextShardIterator": str(end),
            "MillisBehindLatest": len(self.records) - end,
        }
