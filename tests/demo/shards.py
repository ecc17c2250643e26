"""Records as the demo stores them, and a Kinesis in memory whose reads fail."""

from collections.abc import Iterable, Sequence
from typing import Any

from streamd.demo.posts import Post
from streamd.demo.records import SentPost, encode_post, producer_of
from streamd.sdk.batch import Record
from streamd.sdk.client import KinesisClient, ServiceUnreachable
from streamd.sdk.testing import MemoryKinesis

__all__ = ["FaultyKinesis", "make_stream_of", "record_of", "records_of"]

SEQUENCE_NUMBER_BASE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_800
_PUT_COUNT_MAX = 500


def record_of(position: int, data: bytes, key: str) -> Record:
    """Make a record as a consumer gets it."""
    return Record(data, key, str(SEQUENCE_NUMBER_BASE + position), 0)


def records_of(posts: Iterable[Post], *, producer_count: int = 1) -> list[Record]:
    """Make the records that a faultless daemon would give for a whole input that fits one shard."""
    records = []
    for index, post in enumerate(posts):
        producer = producer_of(post.user, producer_count=producer_count)
        records.append(record_of(index, encode_post(SentPost(index, producer, post)), post.user))
    return records


class FaultyKinesis(MemoryKinesis):
    """Cuts off the reads of batches that it is told, counted from 1."""

    def __init__(self, *, failing_reads: Iterable[int]) -> None:
        super().__init__()
        self.read_count = 0
        self._failing_reads = frozenset(failing_reads)

    async def get_records(self, iterator: str, *, limit: int | None = None, wait_ms: int = 0) -> dict[str, Any]:
        """Read, or fail; a look at a single record is no read of a batch."""
        self.read_count += limit != 1
        if limit != 1 and self.read_count in self._failing_reads:
            raise ServiceUnreachable("http://shard.example", "cut off")
        return await super().get_records(iterator, limit=limit, wait_ms=wait_ms)


async def make_stream_of(client: KinesisClient, posts: Sequence[Post]) -> None:
    """Make the stream ``posts`` of one shard that holds these."""
    await client.create_stream("posts", shard_count=1)
    await client.wait_until_active("posts")
    entries = [{"Data": record.data, "PartitionKey": record.key} for record in records_of(posts)]
    for start in range(0, len(entries), _PUT_COUNT_MAX):
        answer = await client.put_records("posts", entries[start : start + _PUT_COUNT_MAX])
        assert answer["FailedRecordCount"] == 0
