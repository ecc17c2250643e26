"""What one client has not taken of its answer: counted in the worker's room, and whether it takes any of it."""

import asyncio
import fcntl
import struct
import termios
import time
from contextlib import suppress

from streamd.core.limits import SMALL_ANSWER_BYTE_COUNT_MAX
from streamd.engine.answer_room import AnswerRoom
from streamd.server.door_budget import STALLED_S

__all__ = ["Untaken", "untaken_byte_count"]

_COUNT = struct.Struct("i")


class Untaken:
    """The bytes in a connection's own buffer, from the moment at which it is full until it is nearly empty."""

    __slots__ = ("_byte_count", "_left_byte_count", "_moved_s", "_room")

    def __init__(self, room: AnswerRoom) -> None:
        self._room = room
        self._byte_count = 0
        self._left_byte_count = 0
        self._moved_s = 0.0

    def begin(self, transport: asyncio.Transport) -> None:
        """Count what the client is still to take."""
        self.end()
        self._byte_count = transport.get_write_buffer_size()
        self._left_byte_count = untaken_byte_count(transport)
        self._moved_s = time.monotonic()
        self._room.hold(self._byte_count)

    def end(self) -> None:
        """Count it as taken, or as dropped."""
        if self._byte_count:
            self._room.give_back(self._byte_count)
            self._byte_count = 0

    def is_stalling(self, transport: asyncio.Transport, now_s: float) -> bool:
        """Tell whether the room is full while the client hardly takes anything."""
        left_byte_count = untaken_byte_count(transport)
        if self._left_byte_count - left_byte_count >= SMALL_ANSWER_BYTE_COUNT_MAX:
            self._left_byte_count, self._moved_s = left_byte_count, now_s
        return self._room.is_full and now_s - self._moved_s > STALLED_S


def untaken_byte_count(transport: asyncio.Transport | None) -> int:
    """Count what waits for a client here and in the kernel, until the other side has it.

    The kernel holds up to some megabytes, and takes more only once it has got rid of a third: what waits here does not
    tell whether a client takes anything.
    """
    if transport is None:
        return 0
    connection = transport.get_extra_info("socket")
    count = _COUNT.pack(0)
    # Of a connection that is being closed there may be nothing left to ask.
    if connection is not None:
        with suppress(OSError, ValueError):
            count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return transport.get_write_buffer_size() + int(_COUNT.unpack(count)[0])
