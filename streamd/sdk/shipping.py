"""Shipping: batches of parcels go out in requests, several at once; what fails for the moment goes out again.

A batch leaves as soon as it is full, or once its oldest parcel waited for the linger. A request whose answer did not
come, or that was refused as a whole for the moment, is repeated as it was. Of an answer with failures only the failed
parcels are sent again, after a pause with jitter and in whatever batch comes next. Parcels older than the deadline
are given up with their last error. A request that the service calls invalid is halved until the parcel is found
that made it so: the others are sent.

With a packer, records are packed before they are parcels of the outbox (``aggregates``).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from streamd.core.limits import PUT_MEMORY_COUNT
from streamd.core.put_tokens import PRODUCER_HEADER, SEQUENCE_HEADER
from streamd.core.shard_ranges import ShardRanges
from streamd.errors import StreamdError
from streamd.sdk.aggregates import Packer
from streamd.sdk.answers import JsonObject
from streamd.sdk.failures import RequestInvalid, ServiceRefused, ServiceUnreachable
from streamd.sdk.ledger import Ledger
from streamd.sdk.outbox import Outbox
from streamd.sdk.parcels import PackedParcel, Parcel, Stored, members_of
from streamd.sdk.put_requests import body_of, failure_of
from streamd.sdk.stream_calls import StreamCalls
from streamd.sdk.transport import Transport, pause_s

__all__ = ["Shipping", "ShippingConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingConfig:
    """How long parcels linger, how many requests are under way, and when to give up."""

    linger_s: float
    request_count_max: int
    request_timeout_s: float
    give_up_after_s: float


class Shipping:
    """Sends what is added. Its requests are tasks of the group; after ``stop`` nothing is sent any more."""

    def __init__(
        self,
        transport: Transport,
        stream: str,
        group: asyncio.TaskGroup,
        *,
        outbox: Outbox,
        ledger: Ledger,
        config: ShippingConfig,
        packer: Packer | None,
        producer_id: str | None,
    ) -> None:
        self._transport = transport
        self._stream = stream
        self._group = group
        self._outbox = outbox
        self._ledger = ledger
        self._config = config
        self._packer = packer
        self._producer_id = producer_id
        self._sequence = 0
        self._open_sequences: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_stopped = False
        self._hurry_count = 0
        self._request_count = 0
        # Batches in requests, and those that wait to be sent again, by their identity.
        self._under_way: dict[int, Sequence[Parcel]] = {}

    def add(self, parcel: Parcel) -> None:
        """Send a parcel when its turn comes."""
        is_full = False
        if self._packer is None:
            is_full = self._outbox.add(parcel)
        else:
            for packed in self._packer.add(parcel):
                is_full |= self._outbox.add(packed)
        if is_full or self._timer is None:
            self._dispatch()

    def add_all(self, parcels: Sequence[Parcel]) -> None:
        """Send parcels when their turn comes."""
        if self._packer is not None:
            parcels = [packed for parcel in parcels for packed in self._packer.add(parcel)]
        is_full = self._outbox.add_all(parcels)
        if is_full or self._timer is None:
            self._dispatch()

    def hurry(self, *, begins: bool) -> None:
        """Send without lingering, from when one of those who want it begins until the last one ends."""
        self._hurry_count += 1 if begins else -1
        self._pack_all()
        self._dispatch()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def parcels(self) -> list[Parcel]:
        """List all that are not answered, wherever they are now."""
        unpacked = [] if self._packer is None else self._packer.members()
        under_way = [parcel for batch in self._under_way.values() for parcel in batch]
        return [*unpacked, *self._outbox.parcels(), *under_way]

    def _pack_all(self) -> None:
        if self._packer is not None:
            for packed in self._packer.close_all():
                self._outbox.add(packed)

    def _dispatch(self) -> None:
        """Start requests for what may go now, and the timer for what lingers."""
        outbox = self._outbox
        while not (self._is_stopped or outbox.is_empty) and self._request_count < self._config.request_count_max:
            if not (outbox.has_full_batch or self._is_due or self._hurry_count) or self._is_far_ahead():
                break
            self._request_count += 1
            batch = outbox.take()
            self._under_way[id(batch)] = batch
            self._group.create_task(self._ship(batch))
        if outbox.is_empty:
            self._is_due = False
        is_idle = outbox.is_empty and (self._packer is None or self._packer.is_empty)
        if self._timer is None and not (is_idle or self._is_due or self._is_stopped):
            self._timer = self._loop.call_later(self._config.linger_s, self._linger_ended)

    def _linger_ended(self) -> None:
        self._timer = None
        self._pack_all()
        self._is_due = True
        self._dispatch()

    async def _ship(self, batch: Sequence[Parcel]) -> None:
        try:
            await self._deliver(batch)
            del self._under_way[id(batch)]
        finally:
            self._request_count -= 1
            self._dispatch()

    async def _deliver(self, batch: Sequence[Parcel]) -> None:
        try:
            answer = await self._answer_to(batch)
        except RequestInvalid as refused:
            if len(batch) == 1:
                self._give_up(batch, refused)
                return
            middle = len(batch) // 2
            await self._deliver(batch[:middle])
            await self._deliver(batch[middle:])
        except StreamdError as failure:
            self._give_up(batch, failure)
        else:
            if self._packer is not None and _came_elsewhere(batch, answer["Records"]):
                await self._learn_ranges(self._packer)
            self._settle(batch, answer)

    async def _learn_ranges(self, packer: Packer) -> None:
        """Ask which shards there are, after a reshard. Where that fails they stay as they were, until the next time."""
        with suppress(StreamdError):
            packer.ranges = ShardRanges(await StreamCalls(self._transport).list_shards(self._stream))

    def _is_far_ahead(self) -> bool:
        """Tell whether the server might forget the oldest request under way if one more were begun."""
        return bool(self._open_sequences) and self._sequence - min(self._open_sequences) >= PUT_MEMORY_COUNT // 2

    async def _answer_to(self, batch: Sequence[Parcel]) -> JsonObject:
        """Send a request under a number of its own. Raises what it was refused with, or failed with for too long."""
        if self._producer_id is None:
            return await self._answered(batch, {})
        self._sequence += 1
        sequence = self._sequence
        self._open_sequences.add(sequence)
        try:
            return await self._answered(batch, {PRODUCER_HEADER: self._producer_id, SEQUENCE_HEADER: str(sequence)})
        finally:
            self._open_sequences.discard(sequence)

    async def _answered(self, batch: Sequence[Parcel], headers: Mapping[str, str]) -> JsonObject:
        """Send a request until it is answered. Raises what it was refused with, or failed with for too long."""
        body = body_of(self._stream, batch)
        deadline_s = _born_s(batch) + self._config.give_up_after_s
        retried_count = sum([1 for parcel in batch if parcel.attempt_count])
        attempt = 0
        while True:
            attempt += 1
            self._ledger.sent(record_count=len(batch), retried_record_count=retried_count)
            retried_count = len(batch)
            failure: StreamdError
            try:
                async with asyncio.timeout(self._config.request_timeout_s):
                    return await self._transport.call_once("PutRecords", body, headers=headers)
            except TimeoutError:
                failure = ServiceUnreachable(self._transport.endpoint, "timed out")
            except ServiceUnreachable as unreachable:
                failure = unreachable
            except ServiceRefused as refused:
                if not refused.is_temporary:
                    raise
                failure = refused
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise failure
            await asyncio.sleep(min(left_s, pause_s(failure, attempt=attempt)))

    def _settle(self, batch: Sequence[Parcel], answer: JsonObject) -> None:
        rows = answer["Records"]
        if not answer.get("FailedRecordCount"):
            self._stored(batch, rows)
            return
        pairs = list(zip(batch, rows, strict=True))
        stored = [(parcel, row) for parcel, row in pairs if row.get("SequenceNumber")]
        failed = [(parcel, row) for parcel, row in pairs if not row.get("SequenceNumber")]
        if stored:
            self._stored([parcel for parcel, _ in stored], [row for _, row in stored])
        if failed:
            self._repeat([parcel for parcel, _ in failed], failure_of(failed[0][1]))

    def _stored(self, parcels: Sequence[Parcel], rows: Sequence[JsonObject]) -> None:
        if self._packer is None:
            make = tuple.__new__
            places = [make(Stored, (row["ShardId"], row["SequenceNumber"], None)) for row in rows]
            self._ledger.stored(parcels, places)
            self._outbox.ended(parcels)
            return
        members: list[Parcel] = []
        places = []
        for parcel, row in zip(parcels, rows, strict=True):
            shard_id, number = row["ShardId"], row["SequenceNumber"]
            if not isinstance(parcel, PackedParcel):
                members.append(parcel)
                places.append(Stored(shard_id, number))
                continue
            strays = self._packer.strays_of(parcel, shard_id)
            if strays:
                self._send_strays(parcel, strays)
            strayed = set(map(id, strays))
            stayed = [(at, member) for at, member in enumerate(parcel.members) if id(member) not in strayed]
            members += [member for _, member in stayed]
            places += [Stored(shard_id, number, at) for at, _ in stayed]
        if members:
            self._ledger.stored(members, places)
        self._outbox.ended(parcels)

    def _send_strays(self, parcel: Parcel, strays: Sequence[Parcel]) -> None:
        """Send those members again that came to a shard that is not theirs; their keys stay held back."""
        assert self._packer is not None
        parts = self._packer.divided(strays)
        kept = {key for part in parts for key in part.order_keys}
        parcel.order_keys = tuple(key for key in parcel.order_keys if key not in kept)
        self._again(parts)

    def _repeat(self, parcels: Sequence[Parcel], failure: StreamdError) -> None:
        """Send parcels again after a pause, but not those that are too old."""
        now_s = time.monotonic()
        give_up_after_s = self._config.give_up_after_s
        expired = [parcel for parcel in parcels if parcel.born_s + give_up_after_s <= now_s]
        if expired:
            self._give_up(expired, failure)
        kept = [parcel for parcel in parcels if parcel.born_s + give_up_after_s > now_s]
        if not kept:
            return
        for parcel in kept:
            parcel.attempt_count += 1
        attempt = max(parcel.attempt_count for parcel in kept)
        left_s = _born_s(kept) + give_up_after_s - now_s
        self._under_way[id(kept)] = kept
        self._loop.call_later(min(left_s, pause_s(failure, attempt=attempt)), self._again, kept)

    def _again(self, parcels: Sequence[Parcel]) -> None:
        if self._is_stopped:
            return
        self._under_way.pop(id(parcels), None)
        if self._packer is not None:
            parcels = [part for parcel in parcels for part in self._divided(parcel)]
        self._outbox.again(parcels)
        self._is_due = True
        self._dispatch()

    def _divided(self, parcel: Parcel) -> Sequence[Parcel]:
        """Pack anew what was packed for a shard that is closed by now."""
        if self._packer is None or not isinstance(parcel, PackedParcel) or self._packer.is_open(parcel.shard_id):
            return [parcel]
        parts = self._packer.divided(parcel.members)
        for part in parts:
            part.attempt_count = parcel.attempt_count
        return parts

    def _give_up(self, parcels: Sequence[Parcel], failure: StreamdError) -> None:
        self._ledger.failed(members_of(parcels), failure)
        self._outbox.ended(parcels)


def _came_elsewhere(batch: Sequence[Parcel], rows: Sequence[JsonObject]) -> bool:
    return any(
        isinstance(parcel, PackedParcel) and row.get("SequenceNumber") and row["ShardId"] != parcel.shard_id
        for parcel, row in zip(batch, rows, strict=True)
    )


def _born_s(parcels: Sequence[Parcel]) -> float:
    """Tell when the oldest of the records was admitted."""
    return min([parcel.born_s for parcel in parcels])
