"""A producer: puts many records into one stream, in few requests, within bounded memory.

    async with Producer("orders") as producer:
        stored = await producer.put(b"one", "customer-7")     # admitted; waits here while the buffer is full
        place = await stored                                  # on disk: its shard and its sequence number

``put`` admits a record and gives a future for what becomes of it. Records that wait go out together, as soon as they
fill a request or the oldest waited for ``linger_ms``; several requests are under way at once. The end of the ``async
with`` sends what is left and waits for the answers. After a cancellation nothing more is sent, and no future is left
pending: those without an answer are cancelled, and whether their records are stored is unknown.

What the service refuses for the moment (a shard over its limits) is sent again, only the records that were refused;
so is a request whose answer did not come, which then may be stored twice, as with every Kinesis producer. Once a
record is older than ``give_up_after_s`` its future fails with the last error. A failure that nobody asks the future
for is logged by asyncio.

``ordered=True`` keeps the records of each partition key in order, whatever fails: a record is held back while an
earlier one of its key has no answer or is to be sent again. So one record of a key is on its way at a time; few keys
are slow then. A record that is given up lets the next one of its key go.

``aggregate=True`` packs many records into one of the stream, in the form of the Kinesis Producer Library, each for the
shard of its own key (``aggregates``; needs ``pip install 'streamd[kpl]'``): fewer records to pay for and to store, and
with ``ordered=True`` many records of a key in one request. Who reads must take them apart.

``idempotent=True`` gives each request a number by which a streamd knows it again (an extension; other services pass
over it): a request that is repeated because its answer did not come is stored once, also when the server was killed in
between, and its futures get the places of the first time. Records that were refused go out in a new request. It holds
for as long as the producer lives and repeats; what is put anew after a failed future may be there twice.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.core.limits import (
    KIB,
    MIB,
    PARTITION_KEY_LENGTH_MAX,
    PUT_MEMORY_COUNT,
    PUT_RECORDS_BYTE_COUNT_MAX,
    PUT_RECORDS_COUNT_MAX,
    RECORD_KIB_MAX,
)
from streamd.core.shard_ranges import ShardRanges
from streamd.errors import ConfigInvalid
from streamd.sdk.aggregates import Packer
from streamd.sdk.client import KinesisClient
from streamd.sdk.counters import Counters
from streamd.sdk.failures import ProducerClosed, RecordInvalid
from streamd.sdk.ledger import Ledger
from streamd.sdk.outbox import Outbox
from streamd.sdk.parcels import RECORD_OVERHEAD_BYTE_COUNT, Lot, Parcel, Stored, members_of
from streamd.sdk.room import Room
from streamd.sdk.shipping import Shipping, ShippingConfig

__all__ = ["Producer", "Stored"]

# Older services take half of what Kinesis takes today, and a request of this size gains little by growing.
BATCH_BYTE_COUNT_MAX: Final = 5 * MIB
BUFFER_BYTE_COUNT_MAX: Final = 32 * MIB
REQUEST_COUNT_MAX: Final = 8
LINGER_MS: Final = 5.0
GIVE_UP_AFTER_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 30.0
# A caller that puts without ever waiting lets the requests go out after so many records.
_TURN_RECORD_COUNT: Final = 250
_RECORD_BYTE_COUNT_MAX: Final = RECORD_KIB_MAX * KIB
# Looked up once: each is used for every record.
_Future = asyncio.Future
_monotonic = time.monotonic


class Producer:
    """Puts records into one stream; use it inside ``async with``, and share it between tasks."""

    def __init__(
        self,
        stream: str,
        *,
        client: KinesisClient | None = None,
        ordered: bool = False,
        aggregate: bool = False,
        idempotent: bool = False,
        linger_ms: float = LINGER_MS,
        batch_record_count_max: int = PUT_RECORDS_COUNT_MAX,
        batch_byte_count_max: int = BATCH_BYTE_COUNT_MAX,
        buffer_byte_count_max: int = BUFFER_BYTE_COUNT_MAX,
        request_count_max: int = REQUEST_COUNT_MAX,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        """Take the stream's name; without a client one is made, with what its own defaults find, and closed at the end.

        ``buffer_byte_count_max`` bounds the memory of what is admitted and not answered: data, keys, and 1 KiB for each
        record. Raises ConfigInvalid for bounds that cannot be.
        """
        _check_bounds(batch_record_count_max, batch_byte_count_max, request_count_max)
        if idempotent and request_count_max > PUT_MEMORY_COUNT // 4:
            raise ConfigInvalid(f"with idempotent=True request_count_max must be 1 to {PUT_MEMORY_COUNT // 4}")
        self.stream = stream
        self._client = client
        self._is_ordered = ordered
        self._is_aggregating = aggregate
        self._producer_id = uuid4().hex if idempotent else None
        self._room = Room(buffer_byte_count_max)
        self._ledger = Ledger(self._room)
        self._outbox = Outbox(count_max=batch_record_count_max, byte_count_max=batch_byte_count_max)
        self._config = ShippingConfig(
            linger_s=linger_ms / 1000,
            request_count_max=request_count_max,
            request_timeout_s=request_timeout_s,
            give_up_after_s=give_up_after_s,
        )
        self._turn_count = 0
        self._is_open = False
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            client = self._client
            if client is None:
                client = await exits.enter_async_context(KinesisClient())
            packer = None
            if self._is_aggregating:
                packer = Packer(ShardRanges(await client.list_shards(self.stream)), ordered=self._is_ordered)
            await self._group.__aenter__()
            self._exits = exits.pop_all()
        self._loop = asyncio.get_running_loop()
        self._shipping = Shipping(
            client.transport,
            self.stream,
            self._group,
            outbox=self._outbox,
            ledger=self._ledger,
            config=self._config,
            packer=packer,
            producer_id=self._producer_id,
        )
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._room.close(ProducerClosed(f"the producer of {self.stream} is closed"))
        async with self._exits:
            if kind is not None and not issubclass(kind, Exception):
                await self._stop(error)
                return
            try:
                await self.flush()
            except BaseException as interruption:
                await self._stop(interruption)
                raise
            # An error of the user's own is not the group's affair: it would come out wrapped.
            await self._stop(None)

    async def _stop(self, interruption: BaseException | None) -> None:
        self._shipping.stop()
        self._ledger.abandon(members_of(self._shipping.parcels()))
        await self._group.__aexit__(type(interruption) if interruption else None, interruption, None)

    async def put(self, data: bytes, key: str, *, hash_key: int | None = None) -> "asyncio.Future[Stored]":
        """Admit a record, once there is room for it, and give a future for the place at which it is stored.

        ``hash_key`` (0 to 2^128 - 1) chooses the shard instead of the key. The future raises ServiceRefused or
        ServiceUnreachable when the record is given up. Raises RecordInvalid for what no stream takes, and
        ProducerClosed.
        """
        byte_count = len(data) + (len(key) if key.isascii() else len(key.encode()))
        # One look for all that is well formed: this is done for each record.
        if not (0 < len(key) <= PARTITION_KEY_LENGTH_MAX and byte_count <= _RECORD_BYTE_COUNT_MAX):
            raise _refusal(key, byte_count)
        hash_key_text = None if hash_key is None else _hash_key_text(hash_key)
        room_byte_count = byte_count + RECORD_OVERHEAD_BYTE_COUNT
        if not self._room.take(room_byte_count):
            await self._room.wait(room_byte_count)
        if not self._is_open:
            self._room.give(room_byte_count)
            raise ProducerClosed(f"the producer of {self.stream} is closed")
        future: asyncio.Future[Stored] = _Future(loop=self._loop)
        order_keys = (key,) if self._is_ordered else ()
        self._ledger.open_count += 1
        self._shipping.add(Parcel(data, key, hash_key_text, byte_count, _monotonic(), future, order_keys))
        self._turn_count += 1
        if self._turn_count >= _TURN_RECORD_COUNT:
            self._turn_count = 0
            await asyncio.sleep(0)
        return future

    async def put_many(self, records: Sequence[tuple[bytes, str]]) -> "asyncio.Future[list[Stored]]":
        """Admit records (data and key) in their order, as ``put`` does, and give one future for the places of all.

        It is quicker than as many calls of ``put``. The future is answered once none of them is under way any more; it
        raises what the first of those failed with that were given up, and then the others may be stored or not. Raises
        RecordInvalid before anything is admitted, and ProducerClosed.
        """
        byte_counts = [len(data) + (len(key) if key.isascii() else len(key.encode())) for data, key in records]
        for (_, key), byte_count in zip(records, byte_counts, strict=True):
            if not (0 < len(key) <= PARTITION_KEY_LENGTH_MAX and byte_count <= _RECORD_BYTE_COUNT_MAX):
                raise _refusal(key, byte_count)
        lot = Lot(self._loop.create_future(), record_count=len(records))
        try:
            for part in self._room.parts(byte_counts, each_byte_count=RECORD_OVERHEAD_BYTE_COUNT):
                if not self._room.take(part.byte_count):
                    await self._room.wait(part.byte_count)
                if not self._is_open:
                    self._room.give(part.byte_count)
                    raise ProducerClosed(f"the producer of {self.stream} is closed")
                self._admit(records, byte_counts, part.numbers, lot)
                if part.numbers.stop < len(records):
                    await asyncio.sleep(0)
        finally:
            # Interrupted, too: those who flush wait for what was admitted.
            lot.whole()
        return lot.future

    def _admit(
        self, records: Sequence[tuple[bytes, str]], byte_counts: Sequence[int], numbers: range, lot: Lot
    ) -> None:
        """Admit the records of a lot that have these numbers, whose room is taken already."""
        is_ordered, future, born_s = self._is_ordered, lot.future, _monotonic()
        parcels: list[Parcel] = []
        for number in numbers:
            data, key = records[number]
            order_keys = (key,) if is_ordered else ()
            parcels.append(Parcel(data, key, None, byte_counts[number], born_s, future, order_keys, lot, number))
        self._ledger.open_count += len(parcels)
        lot.open_count += len(parcels)
        self._shipping.add_all(parcels)

    async def flush(self) -> None:
        """Send what was admitted until now, without lingering, and wait until all of it is stored or given up."""
        self._shipping.hurry(begins=True)
        try:
            futures = [member.future for member in members_of(self._shipping.parcels())]
            if futures:
                await asyncio.wait(futures)
        finally:
            self._shipping.hurry(begins=False)

    def counters(self) -> Counters:
        """Tell what was done until now."""
        return self._ledger.counters()


def _check_bounds(record_count_max: int, byte_count_max: int, request_count_max: int) -> None:
    if not 1 <= record_count_max <= PUT_RECORDS_COUNT_MAX:
        raise ConfigInvalid(f"batch_record_count_max must be 1 to {PUT_RECORDS_COUNT_MAX}")
    if not 1 <= byte_count_max <= PUT_RECORDS_BYTE_COUNT_MAX:
        raise ConfigInvalid(f"batch_byte_count_max must be 1 to {PUT_RECORDS_BYTE_COUNT_MAX}")
    if request_count_max < 1:
        raise ConfigInvalid("request_count_max must be 1 at least")


def _refusal(key: str, byte_count: int) -> RecordInvalid:
    """Say what is wrong with a record that no stream takes."""
    if not 1 <= len(key) <= PARTITION_KEY_LENGTH_MAX:
        return RecordInvalid(f"a partition key has 1 to {PARTITION_KEY_LENGTH_MAX} characters, this one {len(key)}")
    return RecordInvalid(f"a record has {_RECORD_BYTE_COUNT_MAX} bytes at most, this one {byte_count}")


def _hash_key_text(hash_key: int) -> str:
    if not 0 <= hash_key <= HASH_KEY_MAX:
        raise RecordInvalid(f"hash_key {hash_key} is not in 0 to 2^128 - 1")
    return str(hash_key)
