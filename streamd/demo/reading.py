"""Reading ahead: an input that blocks, read on a thread of its own, a few pieces ahead of who takes them.

A daemon thread and not the event loop's pool: it may be blocked in a read of a terminal when the demo is
interrupted, and the pool would be waited for at exit.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from streamd.demo.posts import Post

__all__ = ["ReadAhead"]

_PIECES_AHEAD_MAX: Final = 3


class ReadAhead:
    """An input being read; use it inside ``with``, on a running event loop."""

    def __init__(self, read: Callable[[], Iterator[Sequence[Post]]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        # A piece, the error that ended the input, or its end. The semaphore bounds it, not the queue, because
        # the thread can wait only for the former.
        self._pieces: asyncio.Queue[Sequence[Post] | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(_PIECES_AHEAD_MAX)
        self._stopped = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._pump, name="input", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._room.release()

    @property
    def is_behind(self) -> bool:
        """Tell whether the next piece has yet to arrive."""
        return self._pieces.empty()

    async def next_piece(self) -> Sequence[Post] | None:
        """Wait for the next piece; None is the end. Raises what reading raised."""
        piece = await self._pieces.get()
        self._room.release()
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def _pump(self) -> None:
        try:
            for piece in self._read():
                if not self._hand_over(piece):
                    return
        except BaseException as error:
            # next_piece raises it, where somebody can act on it.
            self._hand_over(error)
        else:
            self._hand_over(None)

    def _hand_over(self, piece: Sequence[Post] | BaseException | None) -> bool:
        """Wait for room and leave a piece there; tell whether anybody still wants one."""
        self._room.acquire()
        if self._stopped:
            return False
        try:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
        except RuntimeError:
            # The loop was closed between the two lines above.
            return False
        return True
