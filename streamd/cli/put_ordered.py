"""Puts records through the SDK's producer in order of their keys: ``streamd put --ordered``.

A record waits while an earlier one of its key has no place yet, so the keys keep their order whatever the server
refuses for the moment; records of different keys go side by side. What became of each is told in the order of the
input. A record that is given up is told and the later ones of its key go on.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from streamd.cli.put_batches import Counts, Draft, Failed, Stored
from streamd.core.limits import PUT_RECORDS_BYTE_COUNT_MAX
from streamd.sdk import producer as sdk
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import RequestInvalid, ServiceFaltered, Throttled

__all__ = ["OrderedSender"]

# What is told must wait for the record before it: so many may wait, then reading the input waits too.
_UNTOLD_COUNT_MAX: Final = 50_000
_TOLD_AT_ONCE_COUNT: Final = 500


class OrderedSender:
    """Sends records of one stream; use it inside ``async with``. ``tell`` hears what became of each, in order."""

    def __init__(
        self, client: KinesisClient, stream: str, counts: Counts, *, tell: Callable[[list[Stored | Failed]], None]
    ) -> None:
        self.counts = counts
        self._producer = sdk.Producer(
            stream, client=client, ordered=True, batch_byte_count_max=PUT_RECORDS_BYTE_COUNT_MAX
        )
        self._tell = tell
        self._untold: deque[tuple[Draft, asyncio.Future[sdk.Stored]]] = deque()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._exits.enter_async_context(self._producer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._exits.__aexit__(kind, error, trace)
        finally:
            self.counts.call_count = self._producer.counters().request_count
            # Also after an error: what is stored is stored.
            await self._tell_last(count_max=0 if kind is None else len(self._untold))

    async def add(self, draft: Draft) -> None:
        """Take a record, once there is room for it. Raises what the client raises."""
        self._untold.append((draft, await self._producer.put(draft.line.data, draft.key)))
        if len(self._untold) % _TOLD_AT_ONCE_COUNT == 0:
            await self._tell_done(count_max=_UNTOLD_COUNT_MAX)

    async def flush(self) -> None:
        """Send what was taken and tell what became of it. Raises what the client raises."""
        await self._producer.flush()
        await self._tell_done(count_max=0)

    async def _tell_last(self, *, count_max: int) -> None:
        try:
            await self._tell_done(count_max=count_max)
        finally:
            for _, future in self._untold:
                # One error ends the command: the same one of the others is not told once more for each.
                if future.done() and not future.cancelled():
                    future.exception()

    async def _tell_done(self, *, count_max: int) -> None:
        """Tell of the records that are done, waiting while more than so many are not told of."""
        outcomes: list[Stored | Failed] = []
        while self._untold and (len(self._untold) > count_max or self._untold[0][1].done()):
            draft, future = self._untold.popleft()
            if not future.cancelled():
                outcomes.append(await self._outcome_of(draft, future))
        if outcomes:
            self._tell(outcomes)

    async def _outcome_of(self, draft: Draft, future: "asyncio.Future[sdk.Stored]") -> Stored | Failed:
        try:
            place = await future
        except (RequestInvalid, ServiceFaltered, Throttled) as refused:
            self.counts.failed_count += 1
            return Failed(draft, refused.code, refused.sentence)
        self.counts.record_count += 1
        self.counts.byte_count += draft.byte_count
        return Stored(draft, place.shard_id, place.sequence_number)
