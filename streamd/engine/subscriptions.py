"""Subscriptions: a registered consumer has a shard's records pushed to it as they come (enhanced fan-out).

Of one consumer there is one subscription to a shard at any time, in whatever worker: the latest, unless the one before
is still too young to be taken over. It is held by a claim that all workers see, and whoever lost it hears so before
anything more is read for it. A subscription reads on only when the former batch was taken, waits for commits of its
shard without looking, says now and then that there is nothing new, and ends after a while of its own accord, at the
end of a closed shard, or when its stream or consumer is going.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from streamd.core.limits import (
    GET_RECORDS_COUNT_MAX,
    PUSH_BYTE_COUNT_MAX,
    SHARD_READ_BYTE_RATE,
    SUBSCRIPTION_GUARD_MS,
    SUBSCRIPTION_IDLE_MS,
    SUBSCRIPTION_MS_MAX,
)
from streamd.core.shard_tree import Shard, shard_id
from streamd.core.stream import Consumer, Status, Stream
from streamd.engine.answer_room import AnswerRoom
from streamd.engine.clock import Clock
from streamd.engine.quotas import Quotas
from streamd.engine.shards import ReadBatch, Shards
from streamd.engine.streams import Streams
from streamd.errors import ConsumerNotFound, ShardMissing, ShardNotFound, StreamNotFound, SubscriptionTaken
from streamd.metrics import Metrics
from streamd.storage.counters import Counters
from streamd.storage.shard_log import ShardKey
from streamd.storage.store import Store

__all__ = ["Push", "Subscription", "SubscriptionRules", "Subscriptions"]

# Two minutes of saying that nothing came; then everything is looked at anew.
_QUIET_COUNT_MAX = 24
# A quarter of a second more or less of silence is nothing to a consumer.
_BEAT_S = 0.25
# How often a subscription that waits for room looks whether it may still last.
_ROOM_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRules:
    """How long one lasts, how long none can take it over, and how long it says nothing."""

    duration_ms: int = SUBSCRIPTION_MS_MAX
    guard_ms: int = SUBSCRIPTION_GUARD_MS
    idle_ms: int = SUBSCRIPTION_IDLE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A consumer's claim to a shard; ``since_ms`` is in the clock's ticks."""

    stream_name: str
    shard: ShardKey
    consumer_name: str
    consumer_created_ms: int
    since_ms: int

    @property
    def name(self) -> str:
        """The claim's name, which no other consumer or shard ever had."""
        shard = self.shard
        return f"subscription/{shard.stream_number}/{shard.shard_index}/{self.consumer_created_ms}/{self.consumer_name}"


class Push(NamedTuple):
    """What is pushed at a time, and the stream as it was then. The batch is empty when nothing came for a while."""

    stream: Stream
    batch: ReadBatch


class Subscriptions:
    """Opens subscriptions and reads for them."""

    def __init__(
        self,
        store: Store,
        streams: Streams,
        shards: Shards,
        answers: AnswerRoom,
        quotas: Quotas,
        counters: Counters,
        clock: Clock,
        metrics: Metrics,
        *,
        rules: SubscriptionRules | None = None,
    ) -> None:
        self._store = store
        self._streams = streams
        self._shards = shards
        self._answers = answers
        self._quotas = quotas
        self._counters = counters
        self._clock = clock
        self._metrics = metrics
        self._rules = rules or SubscriptionRules()

    def begin(self, stream: Stream, shard: Shard, consumer: Consumer) -> Subscription:
        """Claim a shard for a consumer; its former subscription ends. Raises SubscriptionTaken: that one is too young.

        The claim outlives whoever made it: a client that hangs up waits, too, until it is old enough.
        """
        # In ticks: a clock that is set ends no subscription, makes none last, and makes no claim look young.
        now_ms = self._clock.ticks_ms()
        subscription = Subscription(
            stream_name=stream.name,
            shard=ShardKey(stream.number, shard.index),
            consumer_name=consumer.name,
            consumer_created_ms=consumer.created_ms,
            since_ms=now_ms,
        )
        until_ms = now_ms + self._rules.duration_ms
        guard_ms = self._rules.guard_ms
        if not self._counters.claim(subscription.name, now_ms=now_ms, until_ms=until_ms, guard_ms=guard_ms):
            raise SubscriptionTaken(stream.name, shard.id, consumer.name)
        self._store.nudge([subscription.shard])
        return subscription

    async def pushes(self, subscription: Subscription, *, after: int) -> AsyncGenerator[Push, None]:
        """Give what comes after a position, from now on, and at once what the place is even if there is nothing.

        Raises SubscriptionTaken, ConsumerNotFound, StreamNotFound, ShardNotFound, BlockDamaged and MasterKeyMissing.
        """
        self._metrics.subscribed(1)
        try:
            async with aclosing(self._pushed(subscription, after=after)) as pushes:
                async for push in pushes:
                    # Given away: whoever is slow to take it shall not have us hold it a second time.
                    last = [push]
                    del push
                    yield last.pop()
        finally:
            self._metrics.subscribed(-1)

    def nudge(self, stream: Stream) -> None:
        """Have every subscription to a stream look at once whether it may go on."""
        self._store.nudge(ShardKey(stream.number, shard.index) for shard in stream.tree)

    async def _pushed(self, subscription: Subscription, *, after: int) -> AsyncGenerator[Push, None]:
        pace = _Pace()
        while self._left_s(subscription) > 0:
            push = await self._read(subscription, after=after)
            if push is None:
                await self._answers.until_room(timeout_s=_ROOM_PAUSE_S)
                continue
            if push.batch.next_after is None:
                yield push
                return
            after = push.batch.next_after
            if push.batch.data or pace.is_due:
                byte_count = push.batch.byte_count
                last = [push]
                del push
                yield last.pop()
                pace.said(idle_s=self._rules.idle_ms / 1000)
                await self._slow_down(pace, byte_count)
                continue
            async with aclosing(self._quiet_times(subscription, pace, after=after)) as moments:
                async for _ in moments:
                    yield push

    def _left_s(self, subscription: Subscription) -> float:
        """Tell how long a subscription may still last."""
        if self._store.is_ending:
            return 0
        return (subscription.since_ms + self._rules.duration_ms - self._clock.ticks_ms()) / 1000

    async def _read(self, subscription: Subscription, *, after: int) -> Push | None:
        """Read for a subscription that still holds; None while answers that nobody takes leave no room."""
        index = subscription.shard.shard_index
        if self._counters.claimed_ms(subscription.name) != subscription.since_ms:
            raise SubscriptionTaken(subscription.stream_name, shard_id(index), subscription.consumer_name)
        stream = await self._streams.load(subscription.stream_name)
        self._require_consumer(stream, subscription)
        shard = stream.tree.shard_by_index.get(index)
        if shard is None or not stream.shows(shard, now_ms=self._clock.now_ms()):
            raise ShardNotFound(stream.name, shard_id(index))
        try:
            async with self._answers.share(PUSH_BYTE_COUNT_MAX) as byte_count_max:
                if not byte_count_max:
                    return None
                batch = await self._shards.read(
                    stream, shard, after=after, limit=GET_RECORDS_COUNT_MAX, byte_count_max=byte_count_max
                )
        except ShardMissing:
            raise StreamNotFound(stream.name) from None
        return Push(stream, batch)

    def _require_consumer(self, stream: Stream, subscription: Subscription) -> None:
        now_ms = self._clock.now_ms()
        if stream.number != subscription.shard.stream_number or stream.status(now_ms) is Status.DELETING:
            raise StreamNotFound(stream.name)
        for consumer in stream.live_consumers(now_ms):
            is_it = (consumer.name, consumer.created_ms) == (
                subscription.consumer_name,
                subscription.consumer_created_ms,
            )
            if is_it and consumer.status(now_ms) is not Status.DELETING:
                return
        raise ConsumerNotFound(stream.name, subscription.consumer_name)

    async def _quiet_times(
        self, subscription: Subscription, pace: "_Pace", *, after: int
    ) -> AsyncGenerator[None, None]:
        """Give each moment at which to say that nothing came, until there is news, or for some minutes.

        Each was looked for just before, so nothing is read for it. News may be lost when a worker dies: hence the end.
        """
        for _ in range(_QUIET_COUNT_MAX):
            timeout_s = min(pace.quiet_s(), self._left_s(subscription))
            if await self._store.wait_for_news(subscription.shard, after=after, timeout_s=max(0.0, timeout_s)):
                return
            if self._left_s(subscription) <= 0 or not pace.is_due:
                return
            yield
            pace.said(idle_s=self._rules.idle_ms / 1000)

    async def _slow_down(self, pace: "_Pace", byte_count: int) -> None:
        """Keep to AWS's rate of bytes, if limits are enforced."""
        if self._quotas.is_enforced:
            await self._store.rest(timeout_s=pace.pause_s(byte_count))


class _Pace:
    """When a subscription says something next; in the loop's time, which never jumps."""

    __slots__ = ("_due_s", "_loop", "_paid_s")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_s = self._paid_s = 0.0

    def said(self, *, idle_s: float) -> None:
        """Note that something was said just now."""
        # Subscriptions speak up together: a thousand of them wake the processor a few times a second, and not each.
        due_s = self._loop.time() + idle_s
        self._due_s = ceil(due_s / _BEAT_S) * _BEAT_S if idle_s > _BEAT_S else due_s

    @property
    def is_due(self) -> bool:
        """Whether it is time to say something, if only that there is nothing."""
        return self.quiet_s() <= 0

    def quiet_s(self) -> float:
        """Give how long nothing need be said."""
        return self._due_s - self._loop.time()

    def pause_s(self, byte_count: int) -> float:
        """Charge some bytes; how long to pause. What is pushed within a second need not be even."""
        now_s = self._loop.time()
        self._paid_s = max(self._paid_s, now_s) + byte_count / SHARD_READ_BYTE_RATE
        return max(0.0, self._paid_s - now_s - 1)
