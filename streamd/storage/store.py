"""The store behind one interface: a log for each shard, a catalog with compare-and-set, wake-ups.

Everything that waits for the disk is a coroutine. Nothing above may assume that positions have no gaps, that a shard
is local, or that a catalog write is instant: a distributed engine may stand here one day.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import lmdb

from streamd.core.limits import TRIM_BLOCK_COUNT_MAX, TRIM_BYTE_COUNT_MAX, TRIM_PUT_COUNT_MAX
from streamd.core.put_tokens import PutToken, Remembered
from streamd.errors import ShardMissing, StoreFailed
from streamd.metrics import Metrics
from streamd.storage.catalog import Catalog, Document
from streamd.storage.committer import AppendOutcome, Committer
from streamd.storage.environment import Environment, SpaceUse
from streamd.storage.event_queue import EVENTS, StoredEvents
from streamd.storage.put_memory import PutMemory
from streamd.storage.shard_log import ShardBatch, ShardKey, ShardLog, ShardState, StoredRun, Trimmed
from streamd.storage.signals import Bells, Wakeups
from streamd.storage.turns import ThreadTurns, Turns

__all__ = ["Store"]

T = TypeVar("T")
_READER_THREAD_COUNT = 2
# Streams are numbered from 1, so nothing is ever told of this one.
_NO_SHARD = ShardKey(0, 0)


class Store:
    """The embedded store, on an LMDB environment, which it closes. Make both after any fork, on the loop that uses it.

    Commits are made by a thread of its own, or where ``turns`` say.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        now_ms: Callable[[], int],
        metrics: Metrics,
        on_failure: Callable[[StoreFailed], None],
        bells: Bells | None = None,
        worker: int = 0,
        turns: Turns | None = None,
    ) -> None:
        self._environment = environment
        self._catalog = Catalog(self._environment)
        self._log = ShardLog(self._environment)
        self._puts = PutMemory(self._environment, self._log)
        # Those of a lone process are made here, and so are closed here.
        self._is_alone = bells is None
        self._bells = bells or Bells(1)
        self._wakeups = Wakeups(self._bells, worker=worker)
        self._wakeups.listen()
        self._readers = ThreadPoolExecutor(_READER_THREAD_COUNT, thread_name_prefix="reader")
        self._committer = Committer(
            self._environment,
            self._log,
            self._wakeups,
            turns or ThreadTurns("committer"),
            now_ms=now_ms,
            metrics=metrics,
            on_failure=on_failure,
        )
        self.events = StoredEvents(self._environment, self._committer)

    @property
    def failure(self) -> StoreFailed | None:
        """Why the store can no longer be trusted; None while it can."""
        return self._committer.failure

    async def close(self) -> None:
        """Commit what waits and close. Waiting readers are woken."""
        await self._committer.close()
        self._wakeups.close()
        if self._is_alone:
            self._bells.close()
        self._readers.shutdown(wait=True)
        self._environment.close()

    # The log

    async def append(self, batches: Sequence[ShardBatch]) -> list[AppendOutcome]:
        """Append batches, at most one for each shard: each is atomic and durable on return, or ShardClosed.

        Raises StoreFull and StoreFailed: then nothing was kept.
        """
        return await self._committer.append(batches)

    async def read(
        self, shard: ShardKey, *, after: int, byte_count_max: int, record_count_max: int, horizon_ms: int
    ) -> StoredRun:
        """Read whole verified blocks in order; an empty run means nothing yet, not the end.

        Raises ShardMissing, and BlockDamaged for the first block that is missing or damaged.
        """
        state = await self.state(shard)
        if after + 1 >= state.next_position:
            return StoredRun((), state)
        return await self._on_reader(
            lambda: self._read(
                shard,
                after=after,
                byte_count_max=byte_count_max,
                record_count_max=record_count_max,
                horizon_ms=horizon_ms,
            )
        )

    async def state(self, shard: ShardKey) -> ShardState:
        """Read a shard's state. Raises ShardMissing."""
        with self._environment.read() as transaction:
            return self._log.state(transaction, shard)

    async def states(self) -> list[tuple[ShardKey, ShardState]]:
        """Read the state of every shard whose state is not damaged, in order."""
        return await self._on_reader(self._states)

    async def expired(self, horizon_ms_by_stream: Mapping[int, int]) -> list[ShardKey]:
        """List the shards that may hold records from before the horizon of their stream."""
        return await self._on_reader(lambda: self._expired(horizon_ms_by_stream))

    async def position_at(self, shard: ShardKey, *, time_ms: int) -> int:
        """Give the first position that arrived at this time or later. Raises ShardMissing."""
        return await self._on_reader(lambda: self._position_at(shard, time_ms))

    async def open(self, shards: Iterable[ShardKey]) -> None:
        """Make shards; those that are there already stay as they are."""
        wanted = list(shards)

        def run(transaction: lmdb.Transaction) -> None:
            for shard in wanted:
                self._log.open(transaction, shard)

        await self._committer.change(run)

    async def seal(self, shards: Iterable[ShardKey]) -> dict[ShardKey, int]:
        """Close shards for ever: the last position each can hold. Sealing again gives the same. Raises ShardMissing."""
        wanted = list(shards)
        return await self._committer.change(
            lambda transaction: {s: self._log.seal(transaction, s) for s in wanted}, shards=wanted
        )

    async def trim(self, shard: ShardKey, *, before_ms: int) -> Trimmed:
        """Remove some of what arrived before a time. Raises ShardMissing."""
        return await self._committer.change(
            lambda transaction: self._log.trim(
                transaction,
                shard,
                before_ms=before_ms,
                block_count_max=TRIM_BLOCK_COUNT_MAX,
                byte_count_max=TRIM_BYTE_COUNT_MAX,
            )
        )

    async def drop(self, shard: ShardKey) -> bool:
        """Remove some of a shard; True once all of it is gone."""
        return await self._committer.change(
            lambda transaction: (
                self._puts.drop(transaction, shard, count_max=TRIM_PUT_COUNT_MAX)
                and self._log.drop(transaction, shard, block_count_max=TRIM_BLOCK_COUNT_MAX)
            ),
            shards=[shard],
        )

    async def remembered(self, shards: Iterable[ShardKey], token: PutToken) -> dict[ShardKey, Remembered]:
        """Tell what became of a producer's request in those of the shards that remember it. Raises BlockDamaged."""
        with self._environment.read() as transaction:
            found = {shard: self._puts.find(transaction, shard, token) for shard in shards}
        return {shard: remembered for shard, remembered in found.items() if remembered is not None}

    async def forget_puts(self, *, before_ms: int) -> None:
        """Forget the requests of producers from which nothing came since a time, a little at a time."""
        idle = await self._on_reader(lambda: self._idle_producers(before_ms))
        for prefix in idle:
            while not await self._committer.change(partial(self._forget, prefix=prefix, before_ms=before_ms)):
                pass

    async def wait_past(self, shard: ShardKey, *, after: int, timeout_s: float) -> bool:
        """Wait until the shard holds something after a position, or is sealed or gone; False when the time is up."""
        return await self._wakeups.wait(shard, lambda: self._is_past(shard, after), timeout_s=timeout_s)

    async def wait_for_news(self, shard: ShardKey, *, after: int, timeout_s: float) -> bool:
        """Wait until the shard holds something after a position, or a nudge; False when the time is up.

        Unlike ``wait_past`` it sleeps on at a sealed shard, whose way on is not known before a nudge tells so.
        """
        return await self._wakeups.wait(
            shard, lambda: self._has_more(shard, after), timeout_s=timeout_s, is_content_with_any=True
        )

    async def rest(self, *, timeout_s: float) -> None:
        """Wait for a while; no longer than until waits are ended."""
        await self._wakeups.wait(_NO_SHARD, lambda: False, timeout_s=timeout_s)

    def last_commit(self) -> int:
        """Give the number of the last commit of any process."""
        return self._environment.last_commit()

    async def wait_for_events(self, *, after: int, timeout_s: float) -> None:
        """Wait until an event was put in any process, if nothing was committed since ``after``; or until the end."""
        await self._wakeups.wait(
            EVENTS, lambda: self._environment.last_commit() > after, timeout_s=timeout_s, is_content_with_any=True
        )

    def wake_for_events(self) -> None:
        """Have whoever waits for events in this process look again."""
        self._wakeups.wake_here({EVENTS})

    def nudge(self, shards: Iterable[ShardKey]) -> None:
        """Have everybody who waits for these shards, in any process, look again: what is above the log changed."""
        wanted = set(shards)
        self._wakeups.committed(wanted)
        self._wakeups.wake_here(wanted)

    @property
    def is_ending(self) -> bool:
        """Whether nobody may wait here any more."""
        return self._wakeups.is_ending

    def end_waits(self) -> None:
        """Wake every waiting reader of this process, for good: it is about to stop."""
        self._wakeups.end_waits()

    # The catalog

    async def get(self, key: str) -> Document | None:
        """Read a document."""
        with self._environment.read() as transaction:
            return self._catalog.get(transaction, key)

    async def version(self, key: str) -> int | None:
        """Read a document's version; None when there is none."""
        with self._environment.read() as transaction:
            return self._catalog.version(transaction, key)

    async def versions(self, prefix: str) -> dict[str, int]:
        """Read the version of every document under a prefix, by key without it, in one moment."""
        with self._environment.read() as transaction:
            return self._catalog.versions(transaction, prefix)

    async def documents(self, prefix: str, *, limit: int) -> list[Document]:
        """Read the documents under a prefix, in order of key, in one moment. Raises CatalogDamaged."""
        with self._environment.read() as transaction:
            return self._catalog.documents(transaction, prefix, limit=limit)

    async def scan(self, prefix: str, *, after: str = "", limit: int) -> list[str]:
        """List the keys under a prefix, without it, in order, those above ``after``."""
        with self._environment.read() as transaction:
            return self._catalog.scan(transaction, prefix, after=after, limit=limit)

    async def compare_and_set(self, key: str, content: bytes | None, *, expected: int | None) -> int:
        """Write (None: remove) a document that still has the expected version. Raises CatalogConflict."""
        return await self._committer.change(
            lambda transaction: self._catalog.compare_and_set(transaction, key, content, expected=expected)
        )

    # The rest

    def space(self) -> SpaceUse:
        """Tell how much space the store takes, and how much it may."""
        return self._environment.space()

    def reap_readers(self) -> None:
        """Free what workers that died in the middle of a read still hold."""
        self._environment.reap_readers()

    async def _on_reader(self, run: Callable[[], T]) -> T:
        """Run a read that may touch the disk on a thread, so that it holds nobody up."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _read(
        self, shard: ShardKey, *, after: int, byte_count_max: int, record_count_max: int, horizon_ms: int
    ) -> StoredRun:
        with self._environment.read() as transaction:
            return self._log.read(
                transaction,
                shard,
                after=after,
                byte_count_max=byte_count_max,
                record_count_max=record_count_max,
                horizon_ms=horizon_ms,
            )

    def _states(self) -> list[tuple[ShardKey, ShardState]]:
        with self._environment.read() as transaction:
            return [(shard, state) for shard, state in self._log.states(transaction) if state is not None]

    def _expired(self, horizon_ms_by_stream: Mapping[int, int]) -> list[ShardKey]:
        found = []
        with self._environment.read() as transaction:
            for shard, state in self._log.states(transaction):
                horizon_ms = horizon_ms_by_stream.get(shard.stream_number)
                if horizon_ms is None or state is None:
                    continue
                if self._log.may_hold_expired(transaction, shard, state, horizon_ms=horizon_ms):
                    found.append(shard)
        return found

    def _position_at(self, shard: ShardKey, time_ms: int) -> int:
        with self._environment.read() as transaction:
            return self._log.position_at(transaction, shard, time_ms=time_ms)

    def _is_past(self, shard: ShardKey, after: int) -> bool:
        state = self._state_or_none(shard)
        return state is None or not state.is_open or after + 1 < state.next_position

    def _has_more(self, shard: ShardKey, after: int) -> bool:
        state = self._state_or_none(shard)
        return state is None or after + 1 < state.next_position

    def _idle_producers(self, before_ms: int) -> list[bytes]:
        with self._environment.read() as transaction:
            return self._puts.idle_producers(transaction, before_ms=before_ms)

    def _forget(self, transaction: lmdb.Transaction, *, prefix: bytes, before_ms: int) -> bool:
        return self._puts.forget(transaction, prefix, before_ms=before_ms, count_max=TRIM_PUT_COUNT_MAX)

    def _state_or_none(self, shard: ShardKey) -> ShardState | None:
        with self._environment.read() as transaction:
            try:
                return self._log.state(transaction, shard)
            except ShardMissing:
                return None
