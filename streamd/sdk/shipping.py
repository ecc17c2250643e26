"""Shipping: batches of parcels go out in requests, several at once; what fails for the moment goes out again.

A batch leaves as soon as it is full, or once its oldest parcel waited for the linger. A request whose answer did not
come, or that was refused as a whole for the moment, is repeated as it was. Of an answer with failures only the failed
parcels are sent again, after a pause with jitter and in whatever batch comes next. Parcels older than the deadline
are given up with their last error. A request that the service calls invalid is halved until the parcel is found
that made it so: the others are sent.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from streamd.errors import StreamdError
from streamd.sdk.answers import JsonObject
from streamd.sdk.failures import RequestInvalid, ServiceRefused, ServiceUnreachable
from streamd.sdk.ledger import Ledger
from streamd.sdk.outbox import Outbox
from streamd.sdk.parcels import Parcel, Stored, members_of
from streamd.sdk.put_requests import body_of, failure_of
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
    ) -> None:
        self._transport = transport
        self._stream = stream
        self._group = group
        self._outbox = outbox
        self._ledger = ledger
        self._config = config
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
        if self._outbox.add(parcel) or self._timer is None:
            self._dispatch()

    def hurry(self, *, begins: bool) -> None:
        """Send without lingering, from when one of those who want it begins until the last one ends."""
        self._hurry_count += 1 if begins else -1
        self._dispatch()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def parcels(self) -> list[Parcel]:
        """List all that are not answered, wherever they are now."""
        return [*self._outbox.parcels(), *(parcel for batch in self._under_way.values() for parcel in batch)]

    def _dispatch(self) -> None:
        """Start requests for what may go now."""
        outbox = self._outbox
        while not (self._is_stopped or outbox.is_empty) and self._request_count < self._config.request_count_max:
            if not (outbox.has_full_batch or self._is_due or self._hurry_count):
                break
            self._request_count += 1
            batch = outbox.take()
            self._under_way[id(batch)] = batch
            self._group.create_task(self._ship(batch))
        if outbox.is_empty:
            self._is_due = False
        elif self._timer is None and not (self._is_due or self._is_stopped):
            self._timer = self._loop.call_later(self._config.linger_s, self._linger_ended)

    def _linger_ended(self) -> None:
        self._timer = None
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
            self._settle(batch, answer)

    async def _answer_to(self, batch: Sequence[Parcel]) -> JsonObject:
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
                    return await self._transport.call_once("PutRecords", body)
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
        self._ledger.stored(parcels, [Stored(row["ShardId"], row["SequenceNumber"]) for row in rows])
        self._outbox.ended(parcels)

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
        del self._under_way[id(parcels)]
        self._outbox.again(parcels)
        self._is_due = True
        self._dispatch()

    def _give_up(self, parcels: Sequence[Parcel], failure: StreamdError) -> None:
        self._ledger.failed(members_of(parcels), failure)
        self._outbox.ended(parcels)


def _born_s(parcels: Sequence[Parcel]) -> float:
    """Tell when the oldest of the records was admitted."""
    return min([parcel.born_s for parcel in parcels])
