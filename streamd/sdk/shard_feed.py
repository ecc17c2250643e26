"""One owned shard: what was read of it and waits for the caller, what the caller holds, and how far it came.

Nothing here waits for the network: a reader fills a feed, the consumer empties it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamd.core.lease import Lease, Place
from streamd.sdk.batch import Batch, Record
from streamd.sdk.byte_budget import ByteBudget

__all__ = ["Page", "ShardFeed"]

# One page is given out while the next is fetched; more of one shard would only take the room of the others.
PAGE_COUNT_MAX: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one answer brought."""

    records: Sequence[Record]
    byte_count: int
    place: Place
    behind_ms: int
    ends_shard: bool


class ShardFeed:
    """The state of one lease while this member owns it."""

    def __init__(self, lease: Lease, *, budget: ByteBudget, changed: asyncio.Event, gives_empty_end: bool) -> None:
        """Begin at the lease's place, unless ``read_place`` is moved; ``changed`` is set at each change."""
        self.shard_id = lease.shard_id
        self.epoch = lease.epoch
        self.committed_place: Place = lease.place
        self.read_place: Place = lease.place
        self.behind_ms = 0
        self.task: asyncio.Task[None] | None = None
        self.in_hand: Batch | None = None
        self.holder: asyncio.Task[object] | None = None
        self.is_leaving = False
        self.is_lost = False
        self.is_read_out = False
        self.committing = asyncio.Lock()
        self._committed_number = 0
        self._batch_count = 0
        self._again: Batch | None = None
        self._pages: deque[Page] = deque()
        self._over = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._budget = budget
        self._changed = changed
        self._gives_empty_end = gives_empty_end

    @property
    def is_ready(self) -> bool:
        """Whether a batch may be given out now."""
        is_free = self.in_hand is None and not self.is_leaving and not self.is_lost
        return is_free and (self._again is not None or bool(self._pages))

    @property
    def lag_ms(self) -> int:
        """How far the oldest record that was not given out lies behind; how far reading does, when all was."""
        if not self._pages or not self._pages[0].records:
            return self.behind_ms
        return max(self.behind_ms, time.time_ns() // 1_000_000 - self._pages[0].records[0].arrival_ms)

    async def room(self) -> None:
        """Wait until another page may be read."""
        await self._room.wait()

    async def over(self) -> None:
        """Wait until the end was reached and everything before it is done, or the lease is lost."""
        await self._over.wait()

    def put(self, page: Page) -> None:
        """Add a page, whose bytes are held from the budget already."""
        self.read_place = page.place
        self.behind_ms = page.behind_ms
        self.is_read_out = page.ends_shard
        if self.is_lost:
            self._budget.release(page.byte_count)
        elif page.records or (page.ends_shard and self._gives_empty_end):
            self._pages.append(page)
            if len(self._pages) >= PAGE_COUNT_MAX:
                self._room.clear()
        if page.records or page.ends_shard:
            self._changed.set()
            self._look_for_end()

    def take(self, commit: Callable[[Batch, str | None], Awaitable[None]]) -> Batch:
        """Give out the next batch of a ready feed."""
        assert self.is_ready
        if self._again is not None:
            self.in_hand, self._again = self._again, None
            return self.in_hand
        page = self._pages.popleft()
        self._room.set()
        self._batch_count += 1
        self.in_hand = Batch(
            page.records,
            shard_id=self.shard_id,
            epoch=self.epoch,
            place=page.place,
            lag_ms=page.behind_ms,
            ends_shard=page.ends_shard,
            byte_count=page.byte_count,
            number=self._batch_count,
            commit=commit,
        )
        return self.in_hand

    def finish(self, batch: Batch) -> None:
        """Take note that the caller is done with a batch."""
        if self.in_hand is batch:
            self.in_hand = None
            self._budget.release(batch.byte_count)
            self._changed.set()
            self._look_for_end()

    def abandon(self, batch: Batch) -> None:
        """Take a batch back that the caller left in the midst: it is given out again, unless it was checkpointed."""
        if self.in_hand is not batch:
            return
        if self.is_lost or self.is_committed(batch):
            self.finish(batch)
            return
        self.in_hand, self._again = None, batch
        self._changed.set()

    def is_committed(self, batch: Batch) -> bool:
        """Tell whether this batch or a later one was checkpointed."""
        return batch.number <= self._committed_number

    def committed(self, batch: Batch, place: Place) -> None:
        """Take note of an accepted checkpoint, at the end of a batch or in its midst."""
        self._committed_number = batch.number if place == batch.place else batch.number - 1
        self.committed_place = place

    def lose(self) -> None:
        """Drop what was read, and give out nothing more: the lease is no longer this member's."""
        if self.is_lost:
            return
        self.is_lost = True
        kept = [page.byte_count for page in self._pages]
        if self._again is not None:
            kept.append(self._again.byte_count)
        self._pages.clear()
        self._again = None
        self._room.set()
        self._over.set()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        self._budget.release(sum(kept))
        self._changed.set()

    def _look_for_end(self) -> None:
        is_empty = self.in_hand is None and self._again is None and not self._pages
        if self.is_read_out and is_empty and not self._gives_empty_end:
            self._over.set()
