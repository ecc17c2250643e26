"""A consumer: one member of a group that reads a stream together, as an asynchronous iterator of batches.

    async with KinesisClient() as client, Consumer("orders", group="billing", client=client) as consumer:
        async for batch in consumer:
            for record in batch.records:
                print(record.key, record.data)

Every member runs the same lines, in a process of its own. The shards are shared so that none has more than one above
another; the children of a split or merge are read after their parents. Each record comes **at least once**, and the
records of a shard in order: of each shard one batch at most is in the caller's hands, also when several tasks iterate
over one consumer. A member that dies is silent for ``member_timeout_s`` before its shards are read by others, from what
it checkpointed last. One that was only stopped finds them gone when it wakes: it gives out nothing more of them, and
``batch.checkpoint()`` raises LeaseLost. A body that keeps the event loop from running for that long stops its own
member: what takes long belongs on a thread.

With ``checkpoint="auto"`` asking for the next batch says that the last one is done; a loop that is left by ``break`` or
by an error leaves its batch undone, and it comes again. ``await batch.checkpoint()`` says it at once.

A program that keeps its places in its own store, in one transaction with what it makes of the records, sees each
exactly once: it gives ``place_of``, which claims a shard for an epoch and gives the place after what the store holds.
"""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self

from streamd.core.lease import Lease
from streamd.core.limits import GET_RECORDS_COUNT_MAX, MIB
from streamd.errors import LeaseLost, StreamdError
from streamd.sdk.batch import Batch, Record
from streamd.sdk.byte_budget import ByteBudget
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer_settings import CheckpointMode, ConsumerSettings, PlaceOf, StartWord, start_of
from streamd.sdk.leases import LeaseStore
from streamd.sdk.leases_streamd import StreamdLeases
from streamd.sdk.membership import Membership
from streamd.sdk.shard_feed import ShardFeed
from streamd.sdk.shard_reading import PollReader, PushReader, ShardReader

__all__ = ["Batch", "Consumer", "Record"]


class Consumer:
    """One member; use it inside ``async with``. Iterating raises what ended it, and ends after ``stop``."""

    def __init__(
        self,
        stream: str,
        *,
        group: str,
        client: KinesisClient,
        leases: LeaseStore | None = None,
        start: StartWord | datetime = "TRIM_HORIZON",
        checkpoint: CheckpointMode = "auto",
        place_of: PlaceOf | None = None,
        consumer_arn: str | None = None,
        consumer_name: str | None = None,
        deaggregate: bool = True,
        member_id: str | None = None,
        member_timeout_s: float = 10.0,
        batch_record_count_max: int = GET_RECORDS_COUNT_MAX,
        buffer_byte_count_max: int = 64 * MIB,
    ) -> None:
        """Take a stream and a group's name; ``start`` counts for the first member that a group ever has.

        Leases are kept by the streamd that the client calls, unless another store is given, as AWS needs it.
        With a registered consumer's ARN or name records are pushed (SubscribeToShard), else they are asked for. What
        is read and not yet done takes about ``buffer_byte_count_max`` bytes at most. With ``deaggregate=False`` records
        of the KPL stay packed. Raises ConfigInvalid.
        """
        self._settings = ConsumerSettings(
            stream=stream,
            group=group,
            member_id=member_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            about=f"{socket.gethostname()} process {os.getpid()}",
            start=start_of(start, now_ms=time.time_ns() // 1_000_000),
            checkpoint=checkpoint,
            place_of=place_of,
            member_timeout_s=member_timeout_s,
            batch_record_count_max=batch_record_count_max,
            buffer_byte_count_max=buffer_byte_count_max,
            consumer_arn=consumer_arn,
            consumer_name=consumer_name,
            deaggregates=deaggregate,
        )
        self._budget = ByteBudget(buffer_byte_count_max)
        self._reader = self._reader_of(client)
        self._changed = asyncio.Event()
        self._membership = Membership(
            self._settings,
            client=client,
            leases=leases or StreamdLeases(client),
            begin=self._begin,
            changed=self._changed,
        )
        self._failure: StreamdError | None = None
        self._is_stopping = False
        self._is_closed = False
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def member_id(self) -> str:
        """The name of this member in its group."""
        return self._settings.member_id

    @property
    def shard_ids(self) -> list[str]:
        """The shards that this member owns now, sorted."""
        return sorted(self._membership.feeds)

    @property
    def buffered_byte_count(self) -> int:
        """About how many bytes of memory hold records that are read and not yet done, or are being read."""
        return self._budget.held_byte_count

    def lag(self) -> dict[str, int]:
        """Tell by shard how many milliseconds the first record that was not yet given out lies behind."""
        return {shard_id: feed.lag_ms for shard_id, feed in sorted(self._membership.feeds.items())}

    def stop(self) -> None:
        """Let every iteration end when it next asks for a batch; what it did until then is checkpointed."""
        self._is_stopping = True
        self._changed.set()

    async def aclose(self) -> None:
        """Stop, wait for batches in other tasks' hands as long as a member may be silent, give all up, and leave."""
        if self._is_closed:
            return
        self._is_closed = True
        self.stop()
        # What is in a hand longer than that is lost to it, which is what a lease's end means.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.member_timeout_s):
                while self._hands_are_full():
                    self._changed.clear()
                    await self._changed.wait()
        await self._end_tasks()

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Iterate over batches; several tasks may, and share the shards."""
        return _Hand(self)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._start(self._run_membership())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        finally:
            # The group would wrap the caller's own error, which is not the group's; of a cancellation it must know.
            is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
            ending = (kind, error, trace) if is_cancelled else (None, None, None)
            await self._group.__aexit__(*ending)

    async def _take(self) -> tuple[ShardFeed, Batch] | None:
        """Give the next batch, of a shard whose turn it is; None once iteration is to end."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._is_stopping:
                return None
            if self._membership.may_deliver and (feed := self._membership.next_ready()) is not None:
                feed.holder = asyncio.current_task()
                return feed, feed.take(self._membership.commit)
            self._changed.clear()
            await self._changed.wait()

    async def _finish(self, feed: ShardFeed, batch: Batch) -> None:
        """Take note that the caller is done with a batch."""
        if self._settings.is_automatic and not feed.is_lost:
            # Whoever has the shard now reads these records again: nothing can be done about it here.
            with suppress(LeaseLost):
                await self._membership.commit(batch)
        feed.finish(batch)
        if feed.is_leaving and not feed.is_lost:
            await self._membership.release(feed)

    def _begin(self, lease: Lease) -> ShardFeed:
        feed = ShardFeed(
            lease,
            budget=self._budget,
            changed=self._changed,
            gives_empty_end=not self._settings.is_automatic,
        )
        feed.task = self._start(self._run_feed(feed))
        return feed

    async def _run_feed(self, feed: ShardFeed) -> None:
        try:
            if self._settings.place_of is not None:
                feed.read_place = await self._settings.place_of(feed.shard_id, feed.epoch) or feed.read_place
            await self._reader.run(feed)
            await feed.over()
            if not feed.is_lost:
                await self._membership.end(feed)
        except LeaseLost:
            return
        except StreamdError as failure:
            self._fail(failure)

    async def _run_membership(self) -> None:
        try:
            await self._membership.run()
        except StreamdError as failure:
            self._fail(failure)

    def _fail(self, failure: StreamdError) -> None:
        self._failure = self._failure or failure
        self._changed.set()

    def _start(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # A member that cannot say so is seen silent a little later.
        with suppress(StreamdError, TimeoutError):
            async with asyncio.timeout(self._settings.member_timeout_s):
                await self._membership.leave()

    def _hands_are_full(self) -> bool:
        here = asyncio.current_task()
        holders = [feed.holder for feed in self._membership.feeds.values() if feed.in_hand is not None]
        return any(holder is not here and holder is not None and not holder.done() for holder in holders)

    def _reader_of(self, client: KinesisClient) -> ShardReader:
        settings = self._settings
        if settings.consumer_arn is None and settings.consumer_name is None:
            return PollReader(
                client,
                settings.stream,
                budget=self._budget,
                record_count_max=settings.batch_record_count_max,
                deaggregates=settings.deaggregates,
            )
        return PushReader(
            client,
            settings.stream,
            budget=self._budget,
            consumer_arn=settings.consumer_arn,
            name=settings.consumer_name,
            deaggregates=settings.deaggregates,
        )


class _Hand(AsyncIterator[Batch]):
    """One iteration, and the batch that it gave out last."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._held: tuple[ShardFeed, Batch] | None = None

    async def __anext__(self) -> Batch:
        if self._held is not None:
            await self._consumer._finish(*self._held)  # noqa: SLF001 - the other half of one class
        self._held = None
        self._held = await self._consumer._take()  # noqa: SLF001
        if self._held is None:
            raise StopAsyncIteration
        return self._held[1]

    def __del__(self) -> None:
        # A loop that was left by `break` or an error did not finish its batch: it is given out again.
        if self._held is not None:
            feed, batch = self._held
            feed.abandon(batch)
