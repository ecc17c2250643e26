"""The memory of puts: what became of a producer's requests, shard by shard, so that a repeated one is stored once.

An entry is written in the transaction that stores the records, so both are on disk or neither is. It holds how many
of the request's records for the shard are stored, and where: a request that comes again, over whatever connection, to
whatever worker, is answered with that. A request all of whose records were refused is remembered too: its twin that
is still on its way must not be stored after its sender was told that it was not.

Bounded: of each producer a shard remembers the requests of the last ``PUT_MEMORY_COUNT`` numbers, and all of them until
nothing came from the producer for ``PUT_MEMORY_MS``. A request with a number before these is refused.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import lmdb

from streamd.core.checksums import stamped, unstamped
from streamd.core.limits import PUT_MEMORY_COUNT
from streamd.core.put_tokens import PutToken, Remembered
from streamd.errors import BlockDamaged, PutForgotten, PutMismatched, ShardClosed, ShardMissing
from streamd.storage.environment import Environment
from streamd.storage.shard_log import Appended, ShardBatch, ShardKey, ShardLog

__all__ = ["PutMemory", "PutOutcome"]

_KEY = struct.Struct(">QI16sQ")
_PREFIX_BYTE_COUNT = 28
_LAST = b"\xff" * 8
# First position, arrival, records stored, records and bytes that the request had for the shard.
_ENTRY = struct.Struct("<QQIIQ")

PutOutcome: TypeAlias = Appended | Remembered | ShardClosed | ShardMissing | BlockDamaged | PutForgotten | PutMismatched


class PutMemory:
    """Appends to the log, and remembers the appends that have a token."""

    def __init__(self, environment: Environment, log: ShardLog) -> None:
        self._puts = environment.puts
        self._log = log

    def append(
        self, transaction: lmdb.Transaction, batches: Sequence[ShardBatch], *, now_ms: int, nonces: Iterator[bytes]
    ) -> Sequence[PutOutcome]:
        """Append batches of one shard and one data key, in order, each token once; an outcome for each.

        Raises what the log's own append raises when no batch has a token.
        """
        if not any(batch.token for batch in batches):
            return self._log.append(transaction, batches, now_ms=now_ms, nonces=nonces)
        # Twins may come in one commit: each waits for the one before it.
        return [self._append_one(transaction, batch, now_ms=now_ms, nonces=nonces) for batch in batches]

    def find(self, transaction: lmdb.Transaction, shard: ShardKey, token: PutToken) -> Remembered | None:
        """Tell what became of a request in a shard; None where that is not remembered. Raises BlockDamaged."""
        found = self._entry(transaction, shard, token)
        return None if found is None else found[0]

    def drop(self, transaction: lmdb.Transaction, shard: ShardKey, *, count_max: int) -> bool:
        """Forget some of a shard's puts; True once none is left."""
        return self._delete(transaction, shard.pack(), count_max=count_max)

    def idle_producers(self, transaction: lmdb.Transaction, *, before_ms: int) -> list[bytes]:
        """List the places, shard and producer, at which nothing came since a time."""
        found = []
        cursor = transaction.cursor(db=self._puts)
        is_there = cursor.first()
        while is_there:
            prefix = bytes(cursor.key()[:_PREFIX_BYTE_COUNT])
            if not cursor.set_range(prefix + _LAST):
                cursor.last()
            elif bytes(cursor.key()) != prefix + _LAST:
                cursor.prev()
            if _is_before(bytes(cursor.key()), bytes(cursor.value()), before_ms=before_ms):
                found.append(prefix)
            is_there = cursor.next()
        return found

    def forget(self, transaction: lmdb.Transaction, prefix: bytes, *, before_ms: int, count_max: int) -> bool:
        """Forget some of what a producer put into a shard, if still nothing came since a time; True at the end."""
        newest = self._newest(transaction, prefix)
        if newest is None or not _is_before(*newest, before_ms=before_ms):
            return True
        return self._delete(transaction, prefix, count_max=count_max)

    def _append_one(
        self, transaction: lmdb.Transaction, batch: ShardBatch, *, now_ms: int, nonces: Iterator[bytes]
    ) -> PutOutcome:
        token = batch.token
        try:
            if token is None:
                return self._log.append(transaction, [batch], now_ms=now_ms, nonces=nonces)[0]
            found = self._entry(transaction, batch.shard, token)
            if found is not None:
                remembered, asked = found
                return remembered if asked == batch.asked else PutMismatched(token.sequence)
            self._require_recent(transaction, batch.shard, token)
            return self._stored(transaction, batch, token, now_ms=now_ms, nonces=nonces)
        except (ShardClosed, ShardMissing, BlockDamaged, PutForgotten) as refusal:
            return refusal

    def _stored(
        self,
        transaction: lmdb.Transaction,
        batch: ShardBatch,
        token: PutToken,
        *,
        now_ms: int,
        nonces: Iterator[bytes],
    ) -> Remembered:
        if batch.records.data:
            (appended,) = self._log.append(transaction, [batch], now_ms=now_ms, nonces=nonces)
        elif self._log.state(transaction, batch.shard).is_open:
            appended = Appended(0, now_ms)
        else:
            raise ShardClosed
        count = len(batch.records.data)
        key = _KEY.pack(*batch.shard, *token)
        entry = _ENTRY.pack(appended.first_position, appended.arrival_ms, count, *batch.asked)
        transaction.put(key, stamped(key, entry), db=self._puts)
        self._trim(transaction, key[:_PREFIX_BYTE_COUNT], before=token.sequence - PUT_MEMORY_COUNT)
        return Remembered(appended.first_position, appended.arrival_ms, count, is_repeat=False)

    def _entry(
        self, transaction: lmdb.Transaction, shard: ShardKey, token: PutToken
    ) -> tuple[Remembered, tuple[int, int]] | None:
        key = _KEY.pack(*shard, *token)
        value = transaction.get(key, db=self._puts)
        if value is None:
            return None
        content = unstamped(key, value)
        if content is None:
            raise BlockDamaged(
                stream_number=shard.stream_number,
                shard_index=shard.shard_index,
                position=0,
                reason="the memory of a put does not match its checksum",
            )
        first_position, arrival_ms, count, asked_count, asked_byte_count = _ENTRY.unpack(content)
        return Remembered(first_position, arrival_ms, count, is_repeat=True), (asked_count, asked_byte_count)

    def _require_recent(self, transaction: lmdb.Transaction, shard: ShardKey, token: PutToken) -> None:
        """Refuse a number so old that its entry may be gone. Raises PutForgotten."""
        newest = self._newest(transaction, _KEY.pack(*shard, *token)[:_PREFIX_BYTE_COUNT])
        if newest is not None and token.sequence <= _KEY.unpack(newest[0])[3] - PUT_MEMORY_COUNT:
            raise PutForgotten(token.sequence)

    def _newest(self, transaction: lmdb.Transaction, prefix: bytes) -> tuple[bytes, bytes] | None:
        cursor = transaction.cursor(db=self._puts)
        is_there = cursor.prev() if cursor.set_range(prefix + _LAST) else cursor.last()
        if not is_there or bytes(cursor.key()[:_PREFIX_BYTE_COUNT]) != prefix:
            return None
        return bytes(cursor.key()), bytes(cursor.value())

    def _trim(self, transaction: lmdb.Transaction, prefix: bytes, *, before: int) -> None:
        cursor = transaction.cursor(db=self._puts)
        while cursor.set_range(prefix):
            key = bytes(cursor.key())
            if key[:_PREFIX_BYTE_COUNT] != prefix or _KEY.unpack(key)[3] > before:
                return
            cursor.delete()

    def _delete(self, transaction: lmdb.Transaction, prefix: bytes, *, count_max: int) -> bool:
        cursor = transaction.cursor(db=self._puts)
        for _ in range(count_max):
            if not cursor.set_range(prefix) or bytes(cursor.key()[: len(prefix)]) != prefix:
                return True
            cursor.delete()
        return False


def _is_before(key: bytes, value: bytes, *, before_ms: int) -> bool:
    content = unstamped(key, value)
    return content is None or int(_ENTRY.unpack(content)[1]) < before_ms
