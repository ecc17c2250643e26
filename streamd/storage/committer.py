"""The committer: the one writing thread of a process.

Work that arrives while the last commit syncs is committed together, in the order it arrived, with one sync: so many
small puts share a sync, and none waits for more than the commit before. A commit is bounded in bytes, and so is what
may wait for one. What a commit holds is durable before anybody is answered. When space runs out the commit is undone
as a whole and its callers hear StoreFull; any other failure to write or sync ends the committer for good: nothing is
retried, because after a failed sync nobody knows what the disk holds.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

import lmdb

from streamd.core.limits import ADMITTED_BYTE_COUNT_MAX, COMMIT_BYTE_COUNT_MAX
from streamd.core.sealing import NONCE_BYTE_COUNT
from streamd.errors import BlockDamaged, ShardClosed, ShardMissing, StoreFailed, StoreFull, StreamdError
from streamd.metrics import Metrics
from streamd.storage.environment import Environment
from streamd.storage.put_memory import PutMemory, PutOutcome
from streamd.storage.shard_log import ShardBatch, ShardKey, ShardLog
from streamd.storage.signals import Wakeups
from streamd.storage.turns import Turns

__all__ = ["AppendOutcome", "Committer"]

AppendOutcome: TypeAlias = PutOutcome
T = TypeVar("T")
_GroupKey: TypeAlias = tuple[ShardKey, int, int]


@dataclass(slots=True, eq=False)
class _Append:
    batches: Sequence[ShardBatch]
    byte_count: int
    done: asyncio.Future[object]


@dataclass(slots=True, eq=False)
class _Change:
    run: Callable[[lmdb.Transaction], object]
    shards: Sequence[ShardKey]
    done: asyncio.Future[object]


_Work: TypeAlias = _Append | _Change


class Committer:
    """Commits in the background. ``on_failure`` is called once, on the loop, when nothing can be trusted any more."""

    def __init__(
        self,
        environment: Environment,
        log: ShardLog,
        wakeups: Wakeups,
        turns: Turns,
        *,
        now_ms: Callable[[], int],
        metrics: Metrics,
        on_failure: Callable[[StoreFailed], None],
    ) -> None:
        self._environment = environment
        self._puts = PutMemory(environment, log)
        self._wakeups = wakeups
        self._now_ms = now_ms
        self._metrics = metrics
        self._on_failure = on_failure
        self._queue: deque[_Work] = deque()
        self._is_stopping = False
        self._failure: StoreFailed | None = None
        self._admitted_byte_count = 0
        self._room_waiters: deque[asyncio.Future[None]] = deque()
        self._nonces: Iterator[bytes] = iter(lambda: os.urandom(NONCE_BYTE_COUNT), None)
        self._loop = asyncio.get_running_loop()
        self._turns = turns
        self._turns.begin(self._take_turn, has_work=lambda: bool(self._queue))

    @property
    def failure(self) -> StoreFailed | None:
        """Why nothing is committed any more; None while all is well."""
        return self._failure

    async def append(self, batches: Sequence[ShardBatch]) -> list[AppendOutcome]:
        """Append batches, at most one for each shard, and wait until they are on disk; an outcome for each.

        Waits while too much is not yet on disk. Raises StoreFull and StoreFailed, nothing of the batches kept.
        """
        byte_count = sum(batch.byte_count for batch in batches)
        await self._admit(byte_count)
        work = _Append(batches, byte_count, self._loop.create_future())
        self._submit(work)
        # The records are committed whether or not the caller still waits, and its bytes are given back then.
        return cast("list[AppendOutcome]", await work.done)

    async def change(self, run: Callable[[lmdb.Transaction], T], *, shards: Sequence[ShardKey] = ()) -> T:
        """Run a change in a write transaction and wait until it is on disk; wakes who waits for these shards.

        The change raises its errors before it writes anything: they reach the caller and undo nobody else's work.
        """
        work = _Change(run, shards, self._loop.create_future())
        self._submit(work)
        return cast("T", await work.done)

    async def close(self) -> None:
        """Commit what waits, then end the thread."""
        self._is_stopping = True
        await self._turns.end()

    async def _admit(self, byte_count: int) -> None:
        while self._admitted_byte_count and self._admitted_byte_count + byte_count > ADMITTED_BYTE_COUNT_MAX:
            if self._failure is not None:
                raise self._failure
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._room_waiters.append(waiter)
            await waiter
        self._admitted_byte_count += byte_count

    def _submit(self, work: _Work) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_stopping:
            raise StoreFailed("the server is stopping")
        self._queue.append(work)
        self._turns.work_came()

    def _take_turn(self) -> bool:
        """Make one commit and answer, on the thread; False after a failure: nothing is committed any more."""
        works: list[_Work] = []
        try:
            # Another process may have its turn for a whole sync: what arrives meanwhile joins this commit.
            with self._environment.turn():
                transaction = self._environment.write()
                # The loop only adds at the queue's other end, and clears it only after the last turn.
                works = _group(self._queue)
                answers = self._commit(transaction, works)
        except StoreFull as full:
            answers = [full] * len(works)
        except BaseException as error:
            # Without this thread every caller would wait for ever, so the daemon ends whatever went wrong.
            self._loop.call_soon_threadsafe(self._fail, works, _failure_of(error))
            if isinstance(error, StoreFailed | lmdb.Error | OSError):
                return False
            raise
        shards = _shards_of(works)
        self._loop.call_soon_threadsafe(self._answer, works, answers, shards)
        self._wakeups.committed(shards)
        return True

    def _commit(self, transaction: lmdb.Transaction, works: Sequence[_Work]) -> list[object]:
        """Do the work in a transaction and sync it. Raises StoreFull, with nothing done, and LMDB's errors."""
        try:
            answers, byte_count = self._do(transaction, works)
            started = time.perf_counter()
            transaction.commit()
        except BaseException as error:
            transaction.abort()
            if reason := self._out_of_space(error):
                raise StoreFull(reason) from error
            raise
        self._metrics.committed(byte_count=byte_count, duration_s=time.perf_counter() - started)
        return answers

    def _do(self, transaction: lmdb.Transaction, works: Sequence[_Work]) -> tuple[list[object], int]:
        """Do appends, or changes; their answers, and the bytes that were added. Raises StoreFull."""
        appends = [work for work in works if isinstance(work, _Append)]
        if not appends:
            return [_outcome_of(work, transaction) for work in works if isinstance(work, _Change)], 0
        answers: list[object] = list(self._append_all(transaction, appends))
        if self._environment.used_byte_count(transaction) > self._environment.size_max:
            raise StoreFull("the store has reached its size limit")
        return answers, sum(work.byte_count for work in appends)

    def _append_all(self, transaction: lmdb.Transaction, appends: Sequence[_Append]) -> list[list[AppendOutcome]]:
        """Append the batches of all callers, those for one shard as one run; outcomes by caller."""
        groups: dict[_GroupKey, list[tuple[int, int, ShardBatch]]] = {}
        for caller, work in enumerate(appends):
            for place, batch in enumerate(work.batches):
                key = batch.shard, batch.data_key.generation if batch.data_key else 0, batch.depth
                groups.setdefault(key, []).append((caller, place, batch))
        outcomes: list[list[AppendOutcome]] = [[ShardMissing()] * len(work.batches) for work in appends]
        now_ms = self._now_ms()
        for group in groups.values():
            batches = [batch for _, _, batch in group]
            found: Sequence[AppendOutcome]
            try:
                found = self._puts.append(transaction, batches, now_ms=now_ms, nonces=self._nonces)
            except (ShardClosed, ShardMissing, BlockDamaged) as refusal:
                found = [refusal] * len(batches)
            for (caller, place, _), outcome in zip(group, found, strict=True):
                outcomes[caller][place] = outcome
        return outcomes

    def _out_of_space(self, error: BaseException) -> str | None:
        if isinstance(error, lmdb.MapFullError):
            return "the store has reached its size limit"
        # LMDB reports a write that was cut short by a full disk as an I/O error, so the disk itself is asked.
        is_full = isinstance(error, lmdb.DiskError) or (
            isinstance(error, lmdb.Error) and self._environment.disk_is_full()
        )
        return "the disk that holds the data directory is full" if is_full else None

    def _answer(self, works: Sequence[_Work], answers: Sequence[object], shards: AbstractSet[ShardKey]) -> None:
        for work, answer in zip(works, answers, strict=True):
            if isinstance(work, _Append):
                self._admitted_byte_count -= work.byte_count
            if work.done.done():
                # The caller went away; what it asked for is done all the same.
                continue
            if isinstance(answer, StreamdError):
                work.done.set_exception(answer)
            else:
                work.done.set_result(answer)
        self._wakeups.wake_here(shards)
        self._room_changed()

    def _room_changed(self) -> None:
        waiters, self._room_waiters = self._room_waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, works: Sequence[_Work], failure: StoreFailed) -> None:
        self._failure = failure
        waiting, self._queue = list(self._queue), deque()
        for work in (*works, *waiting):
            if not work.done.done():
                work.done.set_exception(failure)
        self._room_changed()
        self._on_failure(failure)


def _failure_of(error: BaseException) -> StoreFailed:
    match error:
        case StoreFailed():
            return error
        case lmdb.Error() | OSError():
            return StoreFailed(f"the store could not write: {error}")
        case _:
            return StoreFailed(f"the store could not write, by a bug in streamd: {error!r}")


def _shards_of(works: Sequence[_Work]) -> set[ShardKey]:
    """Name the shards for which there is something new."""
    found: set[ShardKey] = set()
    for work in works:
        found.update(work.shards if isinstance(work, _Change) else [batch.shard for batch in work.batches])
    return found


def _group(queue: deque[_Work]) -> list[_Work]:
    """Take from a queue's head what one commit may hold: works of one kind, within the bound on bytes."""
    works: list[_Work] = []
    byte_count = 0
    while queue and (not works or type(queue[0]) is type(works[0])):
        work = queue[0]
        byte_count += work.byte_count if isinstance(work, _Append) else 0
        if works and byte_count > COMMIT_BYTE_COUNT_MAX:
            break
        works.append(queue.popleft())
    return works


def _outcome_of(work: _Change, transaction: lmdb.Transaction) -> object:
    try:
        return work.run(transaction)
    except StreamdError as error:
        return error
