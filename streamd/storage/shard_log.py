"""The log of a shard, inside an LMDB transaction: open, append, read, find by time, trim, seal, drop.

Positions are given here, in the write transaction, from the shard's own state, so any number of processes may append.
Positions start at 1 and have no gaps, so a missing block is noticed. A block's arrival time never runs backwards
inside a shard, whatever the clock does, so a time is found by halving.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import lmdb

from streamd.core.blocks import (
    BlockHeader,
    RecordColumns,
    body_of,
    encode,
    header_of,
    is_intact,
    joined,
)
from streamd.core.checksums import stamped, unstamped
from streamd.core.put_tokens import PutToken
from streamd.core.sealing import DataKey
from streamd.errors import BlockDamaged, FormatUnknown, ShardClosed, ShardMissing, StoreFailed
from streamd.storage.block_walk import BlockWalk
from streamd.storage.environment import Environment

__all__ = [
    "BLOCK_KEY",
    "Appended",
    "ShardBatch",
    "ShardKey",
    "ShardLog",
    "ShardState",
    "StoredBlock",
    "StoredRun",
    "Trimmed",
]

_SHARD = struct.Struct(">QI")
BLOCK_KEY = struct.Struct(">QIQ")
_STATE = struct.Struct("<BBQQQQQQQ")
_STATE_VERSION = 1


class ShardKey(NamedTuple):
    """The store's name for a shard."""

    stream_number: int
    shard_index: int

    def pack(self) -> bytes:
        """Write the key as it orders in the store."""
        return _SHARD.pack(self.stream_number, self.shard_index)

    @classmethod
    def unpack_all(cls, keys: bytes) -> "Iterator[ShardKey]":
        """Read keys that were written one after another."""
        return map(cls._make, _SHARD.iter_unpack(keys))


class ShardState(NamedTuple):
    """What the store knows of a shard: counts since its beginning, and where its live part starts and ends."""

    is_open: bool = True
    next_position: int = 1
    first_position: int = 1
    last_arrival_ms: int = 0
    appended_record_count: int = 0
    appended_byte_count: int = 0
    trimmed_record_count: int = 0
    trimmed_byte_count: int = 0

    def pack(self) -> bytes:
        """Write the state."""
        return _STATE.pack(
            _STATE_VERSION,
            self.is_open,
            self.next_position,
            self.first_position,
            self.last_arrival_ms,
            self.appended_record_count,
            self.appended_byte_count,
            self.trimmed_record_count,
            self.trimmed_byte_count,
        )

    @classmethod
    def unpack(cls, value: bytes | memoryview) -> "ShardState":
        """Read what ``pack`` wrote."""
        _, is_open, *counts = _STATE.unpack(value)
        return cls(bool(is_open), *counts)

    @property
    def live_record_count(self) -> int:
        """Records held now."""
        return self.appended_record_count - self.trimmed_record_count

    @property
    def live_byte_count(self) -> int:
        """Bytes of keys and data held now."""
        return self.appended_byte_count - self.trimmed_byte_count


class ShardBatch(NamedTuple):
    """Records for one shard, to be sealed when there is a data key; ``byte_count`` is what Kinesis counts.

    ``depth`` is how deep in a chain of invocations they are put. With a token they are appended once; ``asked`` tells
    the records and bytes that the request had for the shard, more than these where some were refused.
    """

    shard: ShardKey
    records: RecordColumns
    byte_count: int
    data_key: DataKey | None = None
    depth: int = 0
    token: PutToken | None = None
    asked: tuple[int, int] = (0, 0)


class Appended(NamedTuple):
    """Where a batch went: its first position (the others follow on), and when."""

    first_position: int
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A verified block and its first position."""

    position: int
    header: BlockHeader
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Blocks in order, and the shard's state at the same moment."""

    blocks: Sequence[StoredBlock]
    state: ShardState


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What one trim removed, and whether more could be removed now."""

    record_count: int
    byte_count: int
    has_more: bool


class ShardLog:
    """The shards' tables of an environment."""

    def __init__(self, environment: Environment) -> None:
        self._shards = environment.shards
        self._blocks = environment.blocks

    def state(self, transaction: lmdb.Transaction, shard: ShardKey) -> ShardState:
        """Read a shard's state. Raises ShardMissing, BlockDamaged."""
        value = transaction.get(shard.pack(), db=self._shards)
        if value is None:
            raise ShardMissing
        content = unstamped(shard.pack(), value)
        if content is None:
            raise _damaged(shard, 0, "the shard's own record does not match its checksum")
        return ShardState.unpack(content)

    def states(self, transaction: lmdb.Transaction) -> Iterator[tuple[ShardKey, ShardState | None]]:
        """Walk all shards, in order; the state is None where it is damaged."""
        for key, value in transaction.cursor(db=self._shards):
            content = unstamped(bytes(key), value)
            yield ShardKey(*_SHARD.unpack(key)), None if content is None else ShardState.unpack(content)

    def open(self, transaction: lmdb.Transaction, shard: ShardKey) -> None:
        """Make a shard; nothing happens when it is there already."""
        key = shard.pack()
        transaction.put(key, stamped(key, ShardState().pack()), db=self._shards, overwrite=False)

    def may_hold_expired(
        self, transaction: lmdb.Transaction, shard: ShardKey, state: ShardState, *, horizon_ms: int
    ) -> bool:
        """Tell whether a trim may find something that arrived before a time."""
        if state.first_position >= state.next_position:
            return False
        key = BLOCK_KEY.pack(shard.stream_number, shard.shard_index, state.first_position)
        try:
            arrival_ms = header_of(transaction.get(key, default=b"", db=self._blocks)).arrival_ms
        except (struct.error, FormatUnknown):
            # The oldest block is missing or damaged: only a closer look tells.
            return True
        return arrival_ms < horizon_ms or arrival_ms > state.last_arrival_ms

    def seal(self, transaction: lmdb.Transaction, shard: ShardKey) -> int:
        """Close a shard for ever and give the last position it can hold; sealing again gives the same.

        Raises ShardMissing.
        """
        state = self.state(transaction, shard)
        if state.is_open:
            self._put_state(transaction, shard, state._replace(is_open=False))
        return state.next_position

    def append(
        self,
        transaction: lmdb.Transaction,
        batches: Sequence[ShardBatch],
        *,
        now_ms: int,
        nonces: Iterator[bytes],
    ) -> list[Appended]:
        """Append batches of one shard, one data key and one depth, in order.

        ``nonces`` gives fresh random ones for sealing. Raises ShardClosed and ShardMissing, before any write.
        """
        shard = batches[0].shard
        state = self.state(transaction, shard)
        if not state.is_open:
            raise ShardClosed
        arrival_ms = max(now_ms, state.last_arrival_ms)
        position = state.next_position
        answers = []
        for batch in batches:
            answers.append(Appended(position, arrival_ms))
            position += len(batch.records.data)
        written = state.next_position
        for records in joined([(batch.records, batch.byte_count) for batch in batches]):
            block_key = BLOCK_KEY.pack(shard.stream_number, shard.shard_index, written)
            block = _block(batches[0], records, arrival_ms=arrival_ms, key=block_key, nonces=nonces)
            if not transaction.put(block_key, block, db=self._blocks, overwrite=False):
                # What is acknowledged is never written over, whatever became of the shard's own record.
                raise StoreFailed(f"shard {shard} has a block at position {written} already")
            written += len(records.data)
        state = state._replace(
            next_position=position,
            last_arrival_ms=arrival_ms,
            appended_record_count=state.appended_record_count + position - state.next_position,
            appended_byte_count=state.appended_byte_count + sum(batch.byte_count for batch in batches),
        )
        self._put_state(transaction, shard, state)
        return answers

    def read(
        self,
        transaction: lmdb.Transaction,
        shard: ShardKey,
        *,
        after: int,
        byte_count_max: int,
        record_count_max: int,
        horizon_ms: int,
    ) -> StoredRun:
        """Read verified blocks in order from position ``after + 1``, or from the first that has not expired.

        The first block may begin before ``after + 1``. Stops once a bound is passed. Raises ShardMissing, and
        BlockDamaged when the very first block wanted is missing or damaged (one further on ends the run before it).
        """
        state = self.state(transaction, shard)
        expected = max(after + 1, state.first_position)
        cursor = transaction.cursor(db=self._blocks)
        blocks: list[StoredBlock] = []
        byte_count = record_count = 0
        while expected < state.next_position and byte_count < byte_count_max and record_count < record_count_max:
            try:
                block = self._block_at(cursor, shard, expected)
            except BlockDamaged:
                if blocks:
                    break
                raise
            if block.header.arrival_ms < horizon_ms:
                # Always forward, whatever damage the search met on its way.
                first_kept = self.position_at(transaction, shard, time_ms=horizon_ms)
                expected = max(first_kept, block.position + block.header.record_count)
                continue
            blocks.append(block)
            following = block.position + block.header.record_count
            record_count += following - expected
            byte_count += len(block.content)
            expected = following
        return StoredRun(blocks, state)

    def position_at(self, transaction: lmdb.Transaction, shard: ShardKey, *, time_ms: int) -> int:
        """Give the first position that arrived at ``time_ms`` or later; the next position when none did.

        Never skips what may have arrived then: where damage hides it, gives the damage. Raises ShardMissing.
        """
        return self._walk(transaction, shard, self.state(transaction, shard)).first_at(time_ms=time_ms)

    def trim(
        self,
        transaction: lmdb.Transaction,
        shard: ShardKey,
        *,
        before_ms: int,
        block_count_max: int,
        byte_count_max: int,
    ) -> Trimmed:
        """Remove blocks that arrived before a time, oldest first, within bounds. Raises ShardMissing."""
        state = self.state(transaction, shard)
        expired = self._walk(transaction, shard, state).expired(
            before_ms=before_ms, block_count_max=block_count_max, byte_count_max=byte_count_max
        )
        if not expired.starts:
            return Trimmed(0, 0, has_more=False)
        for start in expired.starts:
            transaction.delete(BLOCK_KEY.pack(shard.stream_number, shard.shard_index, start), db=self._blocks)
        record_count = expired.first_position - state.first_position
        byte_count = min(expired.byte_count, state.live_byte_count)
        trimmed = state._replace(
            first_position=expired.first_position,
            trimmed_record_count=state.trimmed_record_count + record_count,
            trimmed_byte_count=state.trimmed_byte_count + byte_count,
        )
        self._put_state(transaction, shard, trimmed)
        return Trimmed(record_count, byte_count, expired.has_more)

    def drop(self, transaction: lmdb.Transaction, shard: ShardKey, *, block_count_max: int) -> bool:
        """Remove a shard and its blocks, so many at a time; True once nothing of it is left."""
        cursor = transaction.cursor(db=self._blocks)
        prefix = shard.pack()
        for _ in range(block_count_max):
            if not cursor.set_range(prefix) or bytes(cursor.key()[: len(prefix)]) != prefix:
                transaction.delete(prefix, db=self._shards)
                return True
            cursor.delete()
        return False

    def _block_at(self, cursor: lmdb.Cursor, shard: ShardKey, position: int) -> StoredBlock:
        """Read and verify the block that holds a position. Raises BlockDamaged."""
        start, header = self._header_at(cursor, shard, position)
        content = bytes(cursor.value())
        key = BLOCK_KEY.pack(shard.stream_number, shard.shard_index, start)
        if not is_intact(content, key=key):
            raise _damaged(shard, start, "its checksum does not match")
        return StoredBlock(start, header, content)

    def _header_at(self, cursor: lmdb.Cursor, shard: ShardKey, position: int) -> tuple[int, BlockHeader]:
        """Move to the block that holds a position; its start and (unverified) header. Raises BlockDamaged."""
        key = BLOCK_KEY.pack(shard.stream_number, shard.shard_index, position)
        found = cursor.set_range(key)
        if not found or bytes(cursor.key()) != key:
            found = cursor.prev() if found else cursor.last()
        if not found:
            raise _damaged(shard, position, "it is missing")
        stream_number, shard_index, start = BLOCK_KEY.unpack(cursor.key())
        if (stream_number, shard_index) != (shard.stream_number, shard.shard_index):
            raise _damaged(shard, position, "it is missing")
        header = _header(cursor, shard, start)
        if not start <= position < start + header.record_count:
            raise _damaged(shard, position, "it is missing")
        return start, header

    def _put_state(self, transaction: lmdb.Transaction, shard: ShardKey, state: ShardState) -> None:
        key = shard.pack()
        transaction.put(key, stamped(key, state.pack()), db=self._shards)

    def _walk(self, transaction: lmdb.Transaction, shard: ShardKey, state: ShardState) -> BlockWalk:
        return BlockWalk(
            transaction.cursor(db=self._blocks),
            prefix=shard.pack(),
            first=state.first_position,
            following=state.next_position,
        )


def _header(cursor: lmdb.Cursor, shard: ShardKey, start: int) -> BlockHeader:
    try:
        return header_of(cursor.value())
    except (struct.error, FormatUnknown) as error:
        raise _damaged(shard, start, f"its header cannot be read ({error})") from error


def _damaged(shard: ShardKey, position: int, reason: str) -> BlockDamaged:
    return BlockDamaged(
        stream_number=shard.stream_number, shard_index=shard.shard_index, position=position, reason=reason
    )


def _block(first: ShardBatch, records: RecordColumns, *, arrival_ms: int, key: bytes, nonces: Iterator[bytes]) -> bytes:
    """Write one block, sealed when its shard's stream is encrypted."""
    body = body_of(records)
    count = len(records.data)
    data_key = first.data_key
    if data_key is None:
        header = BlockHeader(record_count=count, arrival_ms=arrival_ms, depth=first.depth)
        return encode(header, body, key=key)
    index = first.shard.shard_index
    sealed = data_key.seal(body, nonce=next(nonces), shard_index=index, record_count=count)
    header = BlockHeader(
        record_count=count, arrival_ms=arrival_ms, key_generation=data_key.generation, depth=first.depth
    )
    return encode(header, sealed, key=key)
