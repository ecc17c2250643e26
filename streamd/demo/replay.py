"""The replay: takes posts from the input, at the pace asked for, and puts them into the stream in order.

One task reads the input and deals the posts out to producers by their user; each producer has one PutRecords
under way at a time, and sends again what was refused before it sends anything newer. So the posts of a user
stay in order: streamd refuses or takes the entries of one shard in one request together. (Kinesis may take a
later one and refuse an earlier one; there, only a request with no more than one post of a user would keep
their order.)

Bounded everywhere: a few pieces of input, and two batches for each producer, are in memory; full means wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from streamd.demo.failures import PostsRefused
from streamd.demo.posts import Post
from streamd.demo.progress import Progress
from streamd.demo.reading import ReadAhead
from streamd.demo.records import SentPost, encode_post, producer_of
from streamd.demo.verify import DirectCount

__all__ = ["RecordSink", "Replay"]

# The bounds of PutRecords, the bytes with room to spare.
ENTRY_COUNT_MAX: Final = 500
BATCH_BYTE_COUNT_MAX: Final = 4 * 1_048_576
# Several seconds of refusals in all: a daemon that restarts is back before that.
PUT_ATTEMPT_COUNT_MAX: Final = 12

_BATCHES_WAITING_MAX: Final = 2
_PAUSE_S_BASE: Final = 0.02
_PAUSE_S_MAX: Final = 1.0
# Posts are let go this often when a pace is asked for: often enough to look steady, seldom enough to fill
# batches.
_TICK_S: Final = 0.05

Entry = dict[str, Any]


class RecordSink(Protocol):
    """What takes records: the SDK's client, or a list in a test."""

    async def put_records(self, stream: str, entries: Sequence[Entry]) -> dict[str, Any]:
        """Put entries and give the answer of PutRecords."""


@dataclass(slots=True)
class _Batch:
    entries: list[Entry] = field(default_factory=list)
    byte_count: int = 0


class Replay:
    """One run of an input through a stream."""

    def __init__(
        self,
        sink: RecordSink,
        *,
        stream: str,
        producer_count: int,
        posts_per_s: float | None,
        progress: Progress,
        count_while_reading: DirectCount | None,
        put_attempt_count_max: int = PUT_ATTEMPT_COUNT_MAX,
    ) -> None:
        self._sink = sink
        self._stream = stream
        self._posts_per_s = posts_per_s
        self._progress = progress
        self._direct = count_while_reading
        self._put_attempt_count_max = put_attempt_count_max
        self._batches = [_Batch() for _ in range(producer_count)]
        self._queues: list[asyncio.Queue[_Batch | None]] = [
            asyncio.Queue(_BATCHES_WAITING_MAX) for _ in range(producer_count)
        ]
        self._index_next = 0

    async def run(self, read: Callable[[], Iterator[Sequence[Post]]]) -> None:
        """Put the whole input; returns when its last post was acknowledged.

        Raises PostsRefused, and whatever reading the input or calling the daemon raises.
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
            batch.entries.append({"Data": data, "PartitionKey": post.user})
            batch.byte_count += byte_count

    async def _flush(self) -> None:
        for producer, batch in enumerate(self._batches):
            if batch.entries:
                await self._hand_over(producer)

    async def _hand_over(self, producer: int) -> None:
        await self._queues[producer].put(self._batches[producer])
        self._batches[producer] = _Batch()

    async def _produce(self, queue: asyncio.Queue[_Batch | None]) -> None:
        while (batch := await queue.get()) is not None:
            await self._put(batch.entries)

    async def _put(self, entries: Sequence[Entry]) -> None:
        """Put a batch until all of it is acknowledged. Raises PostsRefused when that takes too long."""
        reason = ""
        for attempt in range(self._put_attempt_count_max):
            answer = await self._sink.put_records(self._stream, entries)
            refused = [
                (entry, result)
                for entry, result in zip(entries, answer["Records"], strict=True)
                if result.get("ErrorCode")
            ]
            self._progress.posts_put += len(entries) - len(refused)
            if not refused:
                return
            self._progress.refused_entries += len(refused)
            reason = f"{refused[0][1]['ErrorCode']}: {refused[0][1].get('ErrorMessage', '')}"
            entries = [entry for entry, _ in refused]
            await asyncio.sleep(min(_PAUSE_S_MAX, _PAUSE_S_BASE * 2**attempt))
        raise PostsRefused(post_count=len(entries), attempt_count=self._put_attempt_count_max, reason=reason)
