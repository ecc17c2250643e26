"""A consumer as a member of its group: it beats, takes and gives up leases, and stores how far it came.

Rounds follow each other at the pace of the beats, and at once when a shard ended or a batch was given back. What a
round does is decided by ``core.lease_balance``; what the store refuses another member did first, and the next round
sees it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from streamd.core.lease import AT_END, Lease, Place, Snapshot
from streamd.core.lease_balance import (
    FORGET_TIMEOUT_COUNT,
    Pulses,
    expired_leases,
    missing_leases,
    plan_leases,
)
from streamd.core.shard_succession import Lineage
from streamd.errors import LeaseLost, PlaceBehind, StreamdError
from streamd.sdk.backoff import Backoff, is_passing
from streamd.sdk.batch import Batch
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer_settings import ConsumerSettings
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable
from streamd.sdk.leases import LeaseStore
from streamd.sdk.shard_feed import ShardFeed

__all__ = ["Membership"]

# Shards are listed when one ended, and this often because another member's reader may have died just then.
LIST_INTERVAL_S: Final = 30.0
# A round must not take so long that the next beat is late.
ACQUIRE_COUNT_MAX: Final = 64


class Membership:
    """One member of a group, and the feeds of the leases that it owns."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        client: KinesisClient,
        leases: LeaseStore,
        begin: Callable[[Lease], ShardFeed],
        changed: asyncio.Event,
    ) -> None:
        """``begin`` starts to read a lease that was just acquired; ``changed`` is set when batches may flow again."""
        self._settings = settings
        self._client = client
        self._leases = leases
        self._begin = begin
        self._changed = changed
        self._pulses = Pulses(timeout_ms=round(settings.member_timeout_s * 1000))
        self.feeds: dict[str, ShardFeed] = {}
        self._past_epochs: dict[str, int] = {}
        self._alive_until_s = 0.0
        self._listed_s: float | None = None
        self._wake = asyncio.Event()

    @property
    def may_deliver(self) -> bool:
        """Whether this member beat so recently that nobody can have taken its leases."""
        return time.monotonic() < self._alive_until_s

    async def run(self) -> None:
        """Beat and balance until cancelled. Raises GroupNotFound, and ServiceRefused for what will not pass."""
        settings = self._settings
        backoff = Backoff()
        await self._open(backoff)
        while True:
            began_s = time.monotonic()
            self._wake.clear()
            try:
                await self._round(began_s)
            except (ServiceRefused, ServiceUnreachable, TimeoutError) as failure:
                if isinstance(failure, StreamdError) and not is_passing(failure):
                    raise
                await backoff.pause()
                continue
            backoff.succeeded()
            await self._rest(began_s + settings.beat_interval_s - time.monotonic())

    def wake(self) -> None:
        """Begin the next round now."""
        self._wake.set()

    def next_ready(self) -> ShardFeed | None:
        """Give a feed that has a batch to give out, and let it be the last to have its turn again."""
        for shard_id, feed in self.feeds.items():
            if feed.is_ready:
                self.feeds[shard_id] = self.feeds.pop(shard_id)
                return feed
        return None

    async def commit(self, batch: Batch, through: str | None = None) -> None:
        """Checkpoint a batch of a feed, or a part of it. Raises LeaseLost and GroupNotFound."""
        place = batch.place if through is None else through
        feed = self.feeds.get(batch.shard_id)
        if feed is None or feed.epoch != batch.epoch:
            raise LeaseLost(batch.shard_id, member_id=self._settings.member_id, epoch=batch.epoch)
        async with feed.committing:
            if feed.is_committed(batch):
                return
            await self._store(feed, place, release=place == AT_END)
            feed.committed(batch, place)
        if place == AT_END:
            self._retire(feed)

    async def end(self, feed: ShardFeed) -> None:
        """Store that a shard was read to its end, and give its lease up. Raises LeaseLost and GroupNotFound."""
        async with feed.committing:
            await self._store(feed, AT_END, release=True)
        self._retire(feed)

    async def release(self, feed: ShardFeed) -> None:
        """Give a lease up at the place that was checkpointed last; losing it meanwhile comes to the same."""
        async with feed.committing:
            try:
                await self._store(feed, feed.committed_place, release=True)
            except LeaseLost:
                return
        self._retire(feed)

    async def leave(self) -> None:
        """Give all leases up, and leave the group."""
        for feed in list(self.feeds.values()):
            self._drop(feed)
        await self._leases.leave(self._settings.stream, self._settings.group, member_id=self._settings.member_id)

    async def _open(self, backoff: Backoff) -> None:
        settings = self._settings
        while True:
            try:
                await self._leases.open_group(settings.stream, settings.group, start=settings.start)
            except (ServiceRefused, ServiceUnreachable) as failure:
                if not is_passing(failure):
                    raise
                await backoff.pause()
            else:
                return

    async def _rest(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _round(self, began_s: float) -> None:
        settings = self._settings
        # A beat that hangs is given up, so that another can be tried before the member is taken for dead.
        async with asyncio.timeout(settings.member_timeout_s / 2):
            snapshot = await self._leases.beat(
                settings.stream, settings.group, member_id=settings.member_id, about=settings.about
            )
        self._keep(snapshot)
        # Only now may batches be given out again: what others took while this member was stopped has been dropped.
        self._alive_until_s = began_s + settings.fence_s
        self._changed.set()
        self._pulses.note(snapshot, now_ms=round(time.monotonic() * 1000))
        if self._listed_s is None or began_s - self._listed_s >= LIST_INTERVAL_S:
            snapshot = await self._list_shards(snapshot)
            self._listed_s = began_s
        plan = plan_leases(
            snapshot,
            member_id=settings.member_id,
            silent=self._pulses.silent(),
            forgettable=self._pulses.silent(timeout_count=FORGET_TIMEOUT_COUNT),
            giving_up=[feed.shard_id for feed in self.feeds.values() if feed.is_leaving],
        )
        for shard_id in plan.give_up:
            if (feed := self.feeds.get(shard_id)) is not None:
                feed.is_leaving = True
        for feed in [feed for feed in self.feeds.values() if feed.is_leaving and feed.in_hand is None]:
            await self.release(feed)
        for lease in plan.acquire[:ACQUIRE_COUNT_MAX]:
            await self._acquire(lease)
        for member_id in plan.forget:
            await self._leases.leave(settings.stream, settings.group, member_id=member_id)

    def _keep(self, snapshot: Snapshot) -> None:
        """Drop the feeds of leases that are no longer this member's; begin those whose answer was lost on its way."""
        owned = {lease.shard_id: lease for lease in snapshot.leases if lease.owner == self._settings.member_id}
        for feed in list(self.feeds.values()):
            if feed.shard_id not in owned or owned[feed.shard_id].epoch != feed.epoch:
                self._drop(feed)
        for lease in owned.values():
            if lease.shard_id not in self.feeds and lease.epoch > self._past_epochs.get(lease.shard_id, 0):
                self._start(lease)

    async def _list_shards(self, snapshot: Snapshot) -> Snapshot:
        settings = self._settings
        rows = await self._client.list_shards(settings.stream)
        shards = [
            Lineage(
                row["ShardId"],
                tuple(row[name] for name in ("ParentShardId", "AdjacentParentShardId") if row.get(name)),
            )
            for row in rows
        ]
        missing = missing_leases(snapshot, shards)
        if missing:
            await self._leases.add_leases(settings.stream, settings.group, leases=missing)
        expired = expired_leases(snapshot, shards)
        if expired:
            await self._leases.drop_leases(settings.stream, settings.group, shard_ids=expired)
        if missing or expired:
            return await self._leases.snapshot(settings.stream, settings.group)
        return snapshot

    async def _acquire(self, lease: Lease) -> None:
        settings = self._settings
        try:
            taken = await self._leases.acquire(
                *(settings.stream, settings.group),
                shard_id=lease.shard_id,
                member_id=settings.member_id,
                epoch=lease.epoch,
            )
        except LeaseLost:
            return
        self._start(taken)

    def _start(self, lease: Lease) -> None:
        self.feeds[lease.shard_id] = self._begin(lease)

    async def _store(self, feed: ShardFeed, place: Place, *, release: bool) -> None:
        """Store a place, however often it takes. Raises LeaseLost once the lease is another's, and GroupNotFound."""
        settings = self._settings
        backoff = Backoff()
        while not feed.is_lost:
            try:
                await self._leases.checkpoint(
                    *(settings.stream, settings.group),
                    shard_id=feed.shard_id,
                    member_id=settings.member_id,
                    epoch=feed.epoch,
                    place=place,
                    release=release,
                )
            except LeaseLost:
                self._drop(feed)
                raise
            except PlaceBehind:
                if settings.place_of is None:
                    raise
                # The caller's own store is what counts, and it was set back: the lease's place is only a hint here.
                return
            except (ServiceRefused, ServiceUnreachable) as failure:
                if not is_passing(failure):
                    raise
                await backoff.pause()
            else:
                return
        raise LeaseLost(feed.shard_id, member_id=settings.member_id, epoch=feed.epoch)

    def _retire(self, feed: ShardFeed) -> None:
        """End a feed whose lease was given up; after a shard's end its children are looked for."""
        if feed.is_read_out:
            self._listed_s = None
        self._drop(feed)
        self.wake()

    def _drop(self, feed: ShardFeed) -> None:
        if self.feeds.get(feed.shard_id) is feed:
            del self.feeds[feed.shard_id]
        self._past_epochs[feed.shard_id] = max(feed.epoch, self._past_epochs.get(feed.shard_id, 0))
        feed.lose()
