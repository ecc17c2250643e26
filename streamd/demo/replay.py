"""The replay: takes posts from the input, at the pace asked for, and puts them into the stream in order.

One task reads the input and deals the posts out to producers by their user; each producer has one request under way at
a time, and puts nothing newer before all of it is stored, what was refused too. So the posts of a user stay in order:
streamd refuses or takes the entries of one shard in one request together. (Kinesis may take a later one and refuse an
earlier one; there, only ``ordered=True`` would keep their order. It keeps that of a user, and what is verified here is
more: that of all posts of a producer in a shard.)

Bounded everywhere: a few pieces of input, and two batches for each producer, are in memory; full means wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamd.demo.posts import Post
from streamd.demo.progress import Progress
from streamd.demo.reading import ReadAhead
from streamd.demo.records import SentPost, encode_post, producer_of
from streamd.demo.verify import DirectCount
from streamd.sdk.client import KinesisClient
from streamd.sdk.producer import Producer

__all__ = ["Replay"]

# The bounds of PutRecords, the bytes with room to spare.
ENTRY_COUNT_MAX: Final = 500
BATCH_BYTE_COUNT_MAX: Final = 4 * 1_048_576
# A daemon that restarts is back before that.
GIVE_UP_AFTER_S: Final = 10.0

_BATCHES_WAITING_MAX: Final = 2
# Posts are let go this often when a pace is asked for: often enough to look steady, seldom enough to fill
# batches.
_TICK_S: Final = 0.05


@dataclass(slots=True)
class _Batch:
    entries: list[tuple[bytes, str]] = field(default_factory=list)
    byte_count: int = 0


class Replay:
    """One run of an input through a stream."""

    def __init__(
        self,
        client: KinesisClient,
        *,
        stream: str,
        producer_count: int,
        posts_per_s: float | None,
        progress: Progress,
        count_while_reading: DirectCount | None,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self._client = client
        self._stream = stream
        self._posts_per_s = posts_per_s
        self._progress = progress
        self._direct = count_while_reading
        self._give_up_after_s = give_up_after_s
        self._batches = [_Batch() for _ in range(producer_count)]
        self._queues: list[asyncio.Queue[_Batch | None]] = [
            asyncio.Queue(_BATCHES_WAITING_MAX) for _ in range(producer_count)
        ]
        self._index_next = 0

    async def run(self, read: Callable[[], Iterator[Sequence[Post]]]) -> None:
        """Put the whole input; returns when its last post was acknowledged.

        Raises whatever reading the input raises, and with what posts were refused for longer than a producer waits.
        """
        async with asyncio.TaskGroup() as group:
            for queue in self._queues:
                group.create_task(self._produce(queue))
            with ReadAhead(read) as reading:
                await self._deal(reading)

    async def _deal(self, reading: ReadAhead) -> None:
        started_s = time.monotonic()
        while (piece := await reading.next_piece()) is not None:
            if self._direct is not None:
                self._direct.take(piece)
            await self._deal_at_pace(piece, started_s)
            if reading.is_behind:
                # The input is slower than the producers: what has arrived goes now and not when a batch is
                # full.
                await self._flush()
        await self._flush()
        for queue in self._queues:
            await queue.put(None)

    async def _deal_at_pace(self, posts: Sequence[Post], started_s: float) -> None:
        if self._posts_per_s is None:
            await self._deal_out(posts)
            return
        while posts:
            due_count = int((time.monotonic() - started_s) * self._posts_per_s) + 1 - self._index_next
            await self._deal_out(posts[: max(0, due_count)])
            posts = posts[max(0, due_count) :]
            await self._flush()
            if posts:
                due_s = started_s + self._index_next / self._posts_per_s
                await asyncio.sleep(max(_TICK_S, due_s - time.monotonic()))

    async def _deal_out(self, posts: Sequence[Post]) -> None:
        producer_count = len(self._queues)
        for post in posts:
            producer = producer_of(post.user, producer_count=producer_count)
            data = encode_post(SentPost(self._index_next, producer, post))
            self._index_next += 1
            byte_count = len(data) + len(post.user.encode())
            batch = self._batches[producer]
            if len(batch.entries) == ENTRY_COUNT_MAX or batch.byte_count + byte_count > BATCH_BYTE_COUNT_MAX:
                await self._hand_over(producer)
                batch = self._batches[producer]
            batch.entries.append((data, post.user))
            batch.byte_count += byte_count

    async def _flush(self) -> None:
        for producer, batch in enumerate(self._batches):
            if batch.entries:
                await self._hand_over(producer)

    async def _hand_over(self, producer: int) -> None:
        await self._queues[producer].put(self._batches[producer])
        self._batches[producer] = _Batch()

    async def _produce(self, queue: asyncio.Queue[_Batch | None]) -> None:
        # A batch fills a request, or is all there is: nothing is gained by waiting for more.
        producer = Producer(
            self._stream,
            client=self._client,
            linger_ms=0,
            request_count_max=1,
            give_up_after_s=self._give_up_after_s,
        )
        async with producer:
            while (batch := await queue.get()) is not None:
                await (await producer.put_many(batch.entries))
                self._progress.posts_put += len(batch.entries)
        self._progress.entries_put_again += producer.counters().retried_record_count
