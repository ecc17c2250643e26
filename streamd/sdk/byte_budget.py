"""Bytes that may be held at once: who wants to hold more waits until others let go."""

import asyncio
from collections import deque

__all__ = ["ByteBudget"]


class ByteBudget:
    """A count of bytes with a bound; who waits is served in the order of asking.

    What turns out larger than was reserved is held all the same, since it is in memory already: the bound is passed by
    no more than was under way at that moment, and nothing new begins until it holds again.
    """

    def __init__(self, byte_count_max: int) -> None:
        self.byte_count_max = byte_count_max
        self.held_byte_count = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, byte_count: int) -> None:
        """Wait until so many bytes may be held too, and hold them; what is larger than the bound waits to be alone."""
        if not self._waiting and self._fits(byte_count):
            self.held_byte_count += byte_count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((byte_count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(byte_count)
            else:
                self._waiting.remove((byte_count, turn))
                self._serve()
            raise

    def hold(self, byte_count: int) -> None:
        """Hold bytes that are there already."""
        self.held_byte_count += byte_count

    def release(self, byte_count: int) -> None:
        """Let go of bytes."""
        self.held_byte_count -= byte_count
        self._serve()

    def _fits(self, byte_count: int) -> bool:
        return not self.held_byte_count or self.held_byte_count + byte_count <= self.byte_count_max

    def _serve(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            byte_count, turn = self._waiting.popleft()
            self.held_byte_count += byte_count
            turn.set_result(None)
