"""What answers hold of a worker's memory, from their making until clients have taken them.

Clients ask for ten megabytes in a hundred bytes, from as many connections as there are, and need not take what they
asked for. So answers share a room. Large ones are made a few at a time. Once the room is full reads give little, which
Kinesis allows: callers read on from where they are. Past twice the room they are refused or wait. While it is full a
door gives up clients that hardly take anything.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from streamd.core.limits import ANSWER_ROOM_BYTE_COUNT_MAX, SMALL_ANSWER_BYTE_COUNT_MAX

__all__ = ["AnswerRoom"]

# One is read from the disk while another is written as text.
_MAKING_COUNT_MAX: Final = 2


class AnswerRoom:
    """The room of a worker. ``byte_count`` is what its clients have not taken yet."""

    def __init__(self, byte_count_max: int = ANSWER_ROOM_BYTE_COUNT_MAX) -> None:
        self._byte_count_max = byte_count_max
        self._making = asyncio.Semaphore(_MAKING_COUNT_MAX)
        self._emptied: asyncio.Event | None = None
        self.byte_count = 0

    @property
    def is_full(self) -> bool:
        """Tell whether answers have to be small, and whoever takes nothing is given up."""
        return self.byte_count > self._byte_count_max

    @property
    def is_overfull(self) -> bool:
        """Tell whether nothing more may be read for anybody."""
        return self.byte_count > 2 * self._byte_count_max

    def hold(self, byte_count: int) -> None:
        """Count what a client has not taken."""
        self.byte_count += byte_count

    def give_back(self, byte_count: int) -> None:
        """Count it as taken, or as dropped."""
        self.byte_count -= byte_count
        if self._emptied is not None and not self.is_overfull:
            self._emptied.set()
            self._emptied = None

    @asynccontextmanager
    async def share(self, byte_count_max: int) -> AsyncGenerator[int, None]:
        """Wait for one's turn to make an answer; gives how many bytes of records it may have, 0 for none at all."""
        async with self._making:
            if self.is_overfull:
                yield 0
            else:
                yield min(byte_count_max, SMALL_ANSWER_BYTE_COUNT_MAX) if self.is_full else byte_count_max

    async def until_room(self, *, timeout_s: float) -> bool:
        """Wait until something may be read again, or the time is up; tells which."""
        if self.is_overfull:
            if self._emptied is None:
                self._emptied = asyncio.Event()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._emptied.wait()
            except TimeoutError:
                return False
        return True
