"""Checkpoints: how far each shard was read, and what was counted up to there, in one SQLite file.

The place and the counts of a batch are saved in one transaction, and only for the newest lease of the shard: whoever
comes after a consumer that died or lost its lease at any moment goes on exactly where its counts end: nothing is
lost and nothing is counted twice. The counts grow in the file and not in memory. SQLite because its transactions are
what this needs, and because it is a file that users can look into.

All of it runs on one thread of its own: SQLite blocks, and one writer at a time is all it allows.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import orjson

from streamd.demo.failures import CheckpointsFailed
from streamd.demo.records import FINGERPRINT_MODULUS
from streamd.demo.verify import (
    CHUNK_POST_COUNT,
    FAULT_SENTENCE_COUNT_MAX,
    BatchTally,
    Fault,
    FaultKind,
    FaultList,
    Place,
    StreamTotals,
    late_fault,
)

__all__ = ["Checkpoints"]

_Result = TypeVar("_Result")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS place (
    shard TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence_number TEXT, index_by_producer TEXT NOT NULL DEFAULT '[]',
    post_count INTEGER NOT NULL DEFAULT 0, fingerprint_sum TEXT NOT NULL DEFAULT '0'
);
CREATE TABLE IF NOT EXISTS mention (
    name TEXT NOT NULL, minute INTEGER NOT NULL, shard TEXT NOT NULL, post_count INTEGER NOT NULL,
    PRIMARY KEY (name, minute, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    chunk INTEGER NOT NULL, shard TEXT NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (chunk, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fault (kind TEXT NOT NULL, sentence TEXT);
"""
_CHUNK_BYTE_COUNT: Final = CHUNK_POST_COUNT // 8


class Checkpoints:
    """The file of checkpoints; use it inside ``async with``, and share it between those who count.

    Every coroutine may raise CheckpointsFailed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._database: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        await self._on_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not awaited: a cancelled demo must close its file, too, and closing takes no time worth waiting for.
        self._thread.submit(self._close)
        self._thread.shutdown(wait=True)

    async def place_of(self, shard_id: str) -> Place:
        """Give how far a shard was read: its start if nothing was saved."""
        return await self._on_thread(lambda: self._place_of(shard_id))

    async def claim(self, shard_id: str, *, epoch: int) -> Place:
        """Give how far a shard was read; nothing of an older epoch is saved from here on."""
        return await self._on_thread(lambda: self._claim(shard_id, epoch))

    async def save(self, shard_id: str, tally: BatchTally, *, epoch: int) -> bool:
        """Add a batch to the counts and move the shard's place behind it: both, or neither.

        Tells whether it did: not when the shard was never claimed for this epoch, or since for a newer one.
        """
        return await self._on_thread(lambda: self._save(shard_id, tally, epoch))

    async def totals(self) -> StreamTotals:
        """Sum up all shards. What it gives reads on demand, so use it inside the same ``async with``."""
        return await self._on_thread(self._totals)

    async def _on_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise CheckpointsFailed(f"checkpoints in {self._path}: {error}") from error

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, isolation_level=None)
        # With a write-ahead log a commit survives the death of this process without a sync. After a power cut
        # the last ones may be missing, place and counts alike, and are then made again.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        assert self._database is not None, "checkpoints are used inside `async with`"
        return self._database.execute(query, values).fetchall()

    def _place_of(self, shard_id: str) -> Place:
        rows = self._rows("SELECT sequence_number, index_by_producer FROM place WHERE shard = ?", shard_id)
        if not rows:
            return Place()
        [(sequence_number, index_by_producer)] = rows
        indices = dict(orjson.loads(index_by_producer))
        return Place(sequence_number, indices)

    def _claim(self, shard_id: str, epoch: int) -> Place:
        self._rows(
            "INSERT INTO place (shard, epoch) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET epoch = excluded.epoch WHERE epoch < excluded.epoch",
            shard_id,
            epoch,
        )
        return self._place_of(shard_id)

    def _save(self, shard_id: str, tally: BatchTally, epoch: int) -> bool:
        assert self._database is not None, "checkpoints are used inside `async with`"
        self._database.execute("BEGIN IMMEDIATE")
        try:
            query = "SELECT post_count, fingerprint_sum FROM place WHERE shard = ? AND epoch = ?"
            rows = self._rows(query, shard_id, epoch)
            for post_count, fingerprint_sum in rows:
                self._add_counts(shard_id, tally, post_count=post_count, fingerprint_sum=int(fingerprint_sum))
                self._add_faults([*tally.faults, *self._add_seen(shard_id, tally)])
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return bool(rows)

    def _add_counts(self, shard_id: str, tally: BatchTally, *, post_count: int, fingerprint_sum: int) -> None:
        assert self._database is not None, "checkpoints are used inside `async with`"
        self._database.execute(
            "UPDATE place SET sequence_number = ?, index_by_producer = ?, post_count = ?, fingerprint_sum = ?"
            " WHERE shard = ?",
            (
                tally.place.sequence_number,
                # A list of pairs: the keys of a JSON object would come back as strings.
                orjson.dumps(list(tally.place.index_by_producer.items())).decode(),
                post_count + tally.post_count,
                # As text, because SQLite's integers have a sign.
                str((fingerprint_sum + tally.fingerprint_sum) % FINGERPRINT_MODULUS),
                shard_id,
            ),
        )
        self._database.executemany(
            "INSERT INTO mention VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET post_count = post_count + excluded.post_count",
            [(name, minute, shard_id, count) for (name, minute), count in tally.mentions.items()],
        )

    def _add_seen(self, shard_id: str, tally: BatchTally) -> list[Fault]:
        """Join the batch's bits to those of earlier batches, and tell what its late posts are."""
        assert self._database is not None, "checkpoints are used inside `async with`"
        earlier_by_chunk: dict[int, int] = {}
        for chunk, bits in tally.bits_by_chunk.items():
            rows = self._rows("SELECT bits FROM seen WHERE chunk = ? AND shard = ?", chunk, shard_id)
            earlier_by_chunk[chunk] = _bits_of(rows[0][0]) if rows else 0
            joined = (earlier_by_chunk[chunk] | bits).to_bytes(_CHUNK_BYTE_COUNT, "little")
            self._database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (chunk, shard_id, joined))
        faults: list[Fault] = []
        for index in tally.late_indices:
            chunk, offset = divmod(index, CHUNK_POST_COUNT)
            faults.append(late_fault(index, seen_before=bool(earlier_by_chunk[chunk] >> offset & 1)))
        return faults

    def _add_faults(self, faults: Sequence[Fault]) -> None:
        assert self._database is not None, "checkpoints are used inside `async with`"
        self._database.executemany(
            "INSERT INTO fault VALUES (?, ?)", [(fault.kind.value, fault.sentence) for fault in faults]
        )

    def _totals(self) -> StreamTotals:
        places = self._rows("SELECT post_count, fingerprint_sum FROM place")
        mentions = self._rows("SELECT name, minute, sum(post_count) FROM mention GROUP BY name, minute")
        faults = FaultList()
        for kind, count in self._rows("SELECT kind, count(*) FROM fault GROUP BY kind"):
            faults.count_by_kind[FaultKind(kind)] = count
        first = self._rows("SELECT kind, sentence FROM fault ORDER BY rowid LIMIT ?", FAULT_SENTENCE_COUNT_MAX)
        faults.first = [Fault(FaultKind(kind), sentence) for kind, sentence in first]
        return StreamTotals(
            post_count=sum(count for count, _ in places),
            fingerprint_sum=sum(int(part) for _, part in places) % FINGERPRINT_MODULUS,
            mentions={(name, minute): count for name, minute, count in mentions},
            faults=faults,
            bits_of_chunk=self._bits_of_chunk,
        )

    def _bits_of_chunk(self, chunk: int) -> list[int]:
        rows = self._thread.submit(self._rows, "SELECT bits FROM seen WHERE chunk = ?", chunk).result()
        return [_bits_of(bits) for (bits,) in rows]


def _bits_of(stored: object) -> int:
    assert isinstance(stored, bytes), "the column holds blobs"
    return int.from_bytes(stored, "little")
