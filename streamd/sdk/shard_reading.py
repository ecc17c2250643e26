"""Reading shards into feeds, by asking (GetRecords) or by being told (SubscribeToShard).

A reader goes on through whatever passes: lost connections, a service that falters or slows it down, iterators and
subscriptions that end. It always goes on after the last record that it put into the feed, so nothing is left out and
nothing of one feed comes twice. It returns at the shard's end; what will not pass it raises.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final, Protocol

from streamd.core.lease import AT_END, TRIM_HORIZON, Place, time_of_place
from streamd.errors import StreamdError
from streamd.sdk.answers import JsonObject
from streamd.sdk.backoff import Backoff, is_passing
from streamd.sdk.batch import records_of
from streamd.sdk.byte_budget import ByteBudget
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import InUse, IteratorExpired, NotFound, RequestInvalid, ServiceRefused, ServiceUnreachable
from streamd.sdk.record_calls import IteratorType
from streamd.sdk.shard_feed import Page, ShardFeed

__all__ = ["PollReader", "PushReader", "ShardReader"]

# A shard allows five reads a second. A reader that is behind reads at once until it is told to slow down.
READ_INTERVAL_S: Final = 0.2
READ_INTERVAL_S_MAX: Final = 2.0
# A streamd holds an empty answer for this long; with very many shards for less, so that each has its turn.
WAIT_MS_MAX: Final = 5000
WAIT_MS_SUM_MAX: Final = 64_000
# Connections that reads may take: the client's other ones stay free for beats and checkpoints.
READ_SLOT_COUNT: Final = 48
# What little came at one moment says nothing of the next: an answer may always hold so much, where the shard's share
# does. With less a shard that fills in bursts is read in many small answers, which together cost more than a large one.
ANSWER_BYTE_COUNT_MIN: Final = 1024 * 1024
# Until a record was seen it may be large, so the first answer has few; but who begins is often far behind.
ANSWER_BYTE_COUNT_FIRST: Final = 4 * 1024 * 1024
RECORD_BYTE_COUNT_GUESS: Final = 16 * 1024
# A clock that is ahead of the service's by so much is waited for.
CLOCK_SKEW_MS_MAX: Final = 300_000


class ShardReader(Protocol):
    """What fills feeds."""

    async def run(self, feed: ShardFeed) -> None:
        """Read until the shard's end."""
        ...


class PollReader:
    """Reads all shards of one consumer by GetRecords."""

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        *,
        budget: ByteBudget,
        record_count_max: int,
        deaggregates: bool,
    ) -> None:
        self.deaggregates = deaggregates
        self._client = client
        self._stream = stream
        self._budget = budget
        self._record_count_max = record_count_max
        self.record_byte_count = RECORD_BYTE_COUNT_GUESS
        self._slots = asyncio.Semaphore(READ_SLOT_COUNT)
        self._feed_count = 0

    async def run(self, feed: ShardFeed) -> None:
        """Read a shard until its end. Raises ServiceRefused for what will not pass."""
        self._feed_count += 1
        try:
            await _Polling(self._client, self._stream, feed, self).run()
        finally:
            self._feed_count -= 1

    @property
    def share_byte_count(self) -> int:
        """How much one answer may hold, so that every shard can have one given out and one under way."""
        return max(1, self._budget.byte_count_max // (2 * max(1, self._feed_count)))

    async def read(self, iterator: str, *, byte_count: int, record_byte_count: int) -> JsonObject:
        """Read records of about so many bytes in memory."""
        limit = max(1, min(self._record_count_max, byte_count // record_byte_count))
        wait_ms = min(WAIT_MS_MAX, WAIT_MS_SUM_MAX // max(1, self._feed_count))
        async with self._slots:
            return await self._client.get_records(iterator, limit=limit, wait_ms=wait_ms)

    @property
    def budget(self) -> ByteBudget:
        """The bytes that all shards share."""
        return self._budget


class _Polling:
    """One shard's series of reads."""

    def __init__(self, client: KinesisClient, stream: str, feed: ShardFeed, shared: PollReader) -> None:
        self._client = client
        self._stream = stream
        self._feed = feed
        self._shared = shared
        self._iterator: str | None = None
        self._backoff = Backoff()
        self._interval_s = 0.0
        # What the other shards hold is the best guess for this one.
        self._record_byte_count = shared.record_byte_count
        self._answer_byte_count = ANSWER_BYTE_COUNT_FIRST

    async def run(self) -> None:
        feed = self._feed
        while not feed.is_read_out:
            await feed.room()
            began_s = time.monotonic()
            try:
                page = await self._page()
            except (ServiceRefused, ServiceUnreachable) as failure:
                await self._meet(failure)
                continue
            self._backoff.succeeded()
            feed.put(page)
            is_at_tip = page.behind_ms == 0 and not page.ends_shard
            pause_s = began_s + max(self._interval_s, READ_INTERVAL_S if is_at_tip else 0.0) - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)

    async def _page(self) -> Page:
        feed, shared, budget = self._feed, self._shared, self._shared.budget
        if self._iterator is None:
            if feed.read_place == AT_END:
                return _end()
            self._iterator = await _iterator_at(self._client, self._stream, feed.shard_id, feed.read_place)
        reserved = min(self._answer_byte_count, shared.share_byte_count)
        await budget.reserve(reserved)
        try:
            answer = await shared.read(self._iterator, byte_count=reserved, record_byte_count=self._record_byte_count)
            page = _page_of(
                answer,
                after=feed.read_place,
                ends=answer.get("NextShardIterator") is None,
                deaggregates=shared.deaggregates,
            )
            budget.hold(page.byte_count)
        finally:
            budget.release(reserved)
        self._iterator = answer.get("NextShardIterator")
        if page.records:
            self._record_byte_count = shared.record_byte_count = page.byte_count // len(page.records)
        self._answer_byte_count = max(ANSWER_BYTE_COUNT_MIN, 2 * page.byte_count)
        return page

    async def _meet(self, failure: ServiceRefused | ServiceUnreachable) -> None:
        """Decide what a failure means; raises it when it will not pass."""
        if isinstance(failure, IteratorExpired) or (isinstance(failure, RequestInvalid) and self._iterator is not None):
            self._iterator = None
            return
        if isinstance(failure, ServiceRefused) and failure.is_throttle:
            self._interval_s = min(max(READ_INTERVAL_S, self._interval_s * 2), READ_INTERVAL_S_MAX)
        await _wait_out(failure, self._client, self._stream, self._feed, self._backoff)


class PushReader:
    """Reads all shards of one consumer by subscriptions of a registered consumer."""

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        *,
        budget: ByteBudget,
        consumer_arn: str | None,
        name: str | None,
        deaggregates: bool,
    ) -> None:
        """Take the registered consumer's ARN, or its name, which is looked up when it is first needed."""
        self._deaggregates = deaggregates
        self._client = client
        self._stream = stream
        self._budget = budget
        self._consumer_arn = consumer_arn
        self._name = name

    async def run(self, feed: ShardFeed) -> None:
        """Read a shard until its end. Raises ServiceRefused for what will not pass."""
        backoff = Backoff()
        while not feed.is_read_out:
            try:
                await self._subscribe(feed, backoff)
            except (ServiceRefused, ServiceUnreachable) as failure:
                if not isinstance(failure, InUse):
                    await _wait_out(failure, self._client, self._stream, feed, backoff)
            # The service ends a subscription after 5 minutes, or because another one began: not in a tight loop.
            await backoff.pause()

    async def _subscribe(self, feed: ShardFeed, backoff: Backoff) -> None:
        if feed.read_place == AT_END:
            feed.put(_end())
            return
        position = _position(feed.read_place)
        arn = await self._arn()
        async with aclosing(self._client.subscribe_to_shard(arn, feed.shard_id, position)) as events:
            async for event in events:
                backoff.succeeded()
                page = _page_of(
                    event,
                    after=event.get("ContinuationSequenceNumber") or feed.read_place,
                    ends=event.get("ContinuationSequenceNumber") is None,
                    deaggregates=self._deaggregates,
                )
                # An event is there already when its size is known; while it waits here, no other is taken.
                await self._budget.reserve(page.byte_count)
                feed.put(page)
                await feed.room()

    async def _arn(self) -> str:
        if self._consumer_arn is None:
            summary = await self._client.describe_stream_summary(self._stream)
            found = await self._client.describe_stream_consumer(stream_arn=summary["StreamARN"], consumer=self._name)
            self._consumer_arn = str(found["ConsumerARN"])
        return self._consumer_arn


def _page_of(answer: JsonObject, *, after: Place, ends: bool, deaggregates: bool) -> Page:
    records, byte_count = records_of(answer["Records"], deaggregates=deaggregates)
    last = answer["Records"][-1]["SequenceNumber"] if answer["Records"] else after
    return Page(
        records=records,
        byte_count=byte_count,
        place=AT_END if ends else last,
        behind_ms=int(answer.get("MillisBehindLatest") or 0),
        ends_shard=ends,
    )


def _end() -> Page:
    return Page(records=(), byte_count=0, place=AT_END, behind_ms=0, ends_shard=True)


async def _iterator_at(client: KinesisClient, stream: str, shard_id: str, place: Place) -> str:
    time_ms = time_of_place(place)
    kind: IteratorType = "AFTER_SEQUENCE_NUMBER"
    if time_ms is not None:
        kind = "AT_TIMESTAMP"
    elif place == TRIM_HORIZON:
        kind = "TRIM_HORIZON"
    number = place if kind == "AFTER_SEQUENCE_NUMBER" else None
    return await client.get_shard_iterator(stream, shard_id, kind, sequence_number=number, timestamp_ms=time_ms)


def _position(place: Place) -> JsonObject:
    time_ms = time_of_place(place)
    if time_ms is not None:
        return {"Type": "AT_TIMESTAMP", "Timestamp": time_ms / 1000}
    if place == TRIM_HORIZON:
        return {"Type": "TRIM_HORIZON"}
    return {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": place}


async def _wait_out(
    failure: StreamdError, client: KinesisClient, stream: str, feed: ShardFeed, backoff: Backoff
) -> None:
    """Wait after a failure that passes; note the end of a shard that expired; raise any other failure."""
    if is_passing(failure) or (isinstance(failure, RequestInvalid) and _is_ahead(feed.read_place)):
        await backoff.pause()
        return
    if not isinstance(failure, NotFound):
        raise failure
    try:
        await client.describe_stream_summary(stream)
        shards = await client.list_shards(stream)
    except (ServiceRefused, ServiceUnreachable) as other:
        if not is_passing(other):
            raise
        await backoff.pause()
        return
    if any(shard["ShardId"] == feed.shard_id for shard in shards):
        raise failure
    # The stream is there and the shard is not: all it held has expired, so this is its end.
    feed.put(_end())


def _is_ahead(place: Place) -> bool:
    """Tell whether a place is a time that the service's clock may not have reached yet."""
    time_ms = time_of_place(place)
    return time_ms is not None and time_ms > time.time_ns() // 1_000_000 - CLOCK_SKEW_MS_MAX
