"""Lanes of plain puts, one for each stream that is being put to.

While a batch of a stream is being synced, the puts that arrive for that stream collect; they are the next batch. Once a
batch is answered its clients are given a moment to come back, so that they share the next sync too: without it half of
them would always miss it and every commit would be half as large. The moment ends when they and those that waited
already are all there, so a lone client never waits for others. The trouble of one stream (a reshard under way) holds up
no other. A batch is bounded by what one commit may hold, and what waits by the connections: each has one request in
hand.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from streamd.core.limits import COMMIT_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.kinesis.plain_puts import PLAIN_BYTE_COUNT_MAX, PlainPut

__all__ = ["AnswersPuts", "Asker", "PutLanes"]

# About what a commit takes on a quick disk: waiting longer for clients that do not come costs more than it gains.
_GATHER_S_MAX = 0.001
_BATCH_COUNT_MAX = COMMIT_BYTE_COUNT_MAX // PLAIN_BYTE_COUNT_MAX


class Asker(Protocol):
    """Who asked, and hears the answer."""

    def reply(self, reply: Reply) -> None:
        """Take the answer to the request in hand."""
        ...


class AnswersPuts(Protocol):
    """Stores plain puts. Never raises."""

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        """Store puts of one stream together and answer each, in order."""
        ...


class _Lane:
    """The puts of one stream that wait, and how many are waited for."""

    __slots__ = ("gathered", "waiting", "wanted_count")

    def __init__(self) -> None:
        self.waiting: list[tuple[Asker, PlainPut]] = []
        self.wanted_count = 0
        self.gathered = asyncio.Event()

    async def gather(self, count: int) -> None:
        """Wait until so many puts are there, or the moment for it is over."""
        if len(self.waiting) >= count:
            return
        self.wanted_count = count
        self.gathered.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S_MAX):
                await self.gathered.wait()
        self.wanted_count = 0


class PutLanes:
    """The lanes of a worker."""

    def __init__(self, dialect: AnswersPuts) -> None:
        self._dialect = dialect
        self._lane_by_stream: dict[str, _Lane] = {}

    def take(self, asker: Asker, put: PlainPut, group: asyncio.TaskGroup) -> None:
        """Put a put into its stream's lane; the group's task answers it."""
        lane = self._lane_by_stream.get(put.stream_name)
        if lane is None:
            lane = self._lane_by_stream[put.stream_name] = _Lane()
            # Its first step comes when the loop has read from every connection that has something to say now.
            group.create_task(self._run(put.stream_name, lane))
        lane.waiting.append((asker, put))
        if len(lane.waiting) == lane.wanted_count:
            lane.gathered.set()

    async def _run(self, stream_name: str, lane: _Lane) -> None:
        """Answer batch after batch, until nothing waits any more."""
        try:
            while taken := lane.waiting[:_BATCH_COUNT_MAX]:
                lane.waiting = lane.waiting[_BATCH_COUNT_MAX:]
                replies = await self._dialect.answer_plain_puts([put for _, put in taken])
                for (asker, _), reply in zip(taken, replies, strict=True):
                    asker.reply(reply)
                await lane.gather(min(len(taken) + len(lane.waiting), _BATCH_COUNT_MAX))
        finally:
            del self._lane_by_stream[stream_name]
