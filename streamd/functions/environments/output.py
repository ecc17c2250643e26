"""What a process prints, read as it comes and cut in lines; and the framed records of awslambdaric beside it.

The socket is always read, so that no function waits for its log, and never for long at a time, so that the server does
not wait either. A process may print more than anybody keeps: each has an allowance of bytes that fills again with
time, and past it lines are counted and thrown away. A line is at most 256 KB; a longer one becomes several. The last
4 KB of an invocation are always kept, for its caller.
"""

import asyncio
import socket
from collections.abc import Callable

__all__ = ["LINE_BYTE_COUNT_MAX", "TAIL_BYTE_COUNT_MAX", "Frames", "Lines", "Reading", "Takes"]

LINE_BYTE_COUNT_MAX = 256 << 10
TAIL_BYTE_COUNT_MAX = 4 << 10

_READ_BYTE_COUNT = 64 << 10
# An invocation that ended has its last lines read at once; a flood is not read to its end then.
_DRAIN_READ_COUNT_MAX = 8
_ALLOWANCE_BYTE_COUNT = 8 << 20
_ALLOWANCE_BYTE_COUNT_PER_S = 1 << 20
# A short line costs more than its bytes: it is kept with its time, its stream and its request.
_LINE_COST_BYTE_COUNT = 64

_FRAME_MARK = b"\xa5\x5a"
_FRAME_HEAD_BYTE_COUNT = 16

Takes = Callable[[bytes, int | None], None]
"""Takes a line, and the time it says (ms) if it does."""


class Lines:
    """Cuts bytes in lines, keeps to the allowance, and holds the tail of the invocation in hand."""

    def __init__(self, take: Takes, *, now_s: Callable[[], float]) -> None:
        self._take = take
        self._now_s = now_s
        self._partial = bytearray()
        self._tail = bytearray()
        self._allowance = float(_ALLOWANCE_BYTE_COUNT)
        self._filled_s = now_s()
        self._dropped_line_count = 0
        self._dropped_byte_count = 0

    def feed(self, data: bytes) -> None:
        """Take what was printed."""
        self._remember(data)
        if not self._refill():
            self._drop(data)
            return
        end = data.rfind(b"\n") + 1
        if not end:
            self._partial += data
        else:
            self._tell_dropped()
            whole = bytes(self._partial) + data[:end] if self._partial else data[:end]
            self._partial[:] = data[end:]
            self._pass_on(whole[:-1].split(b"\n"))
        while len(self._partial) >= LINE_BYTE_COUNT_MAX:
            self._keep(bytes(self._partial[:LINE_BYTE_COUNT_MAX]))
            del self._partial[:LINE_BYTE_COUNT_MAX]

    def frame(self, message: bytes, time_ms: int) -> None:
        """Take a record that was framed, with its own time; it may be of several lines and is kept as one."""
        message = message.removesuffix(b"\n")
        self._remember(message + b"\n")
        if not self._refill():
            self._dropped_line_count += 1
            self._dropped_byte_count += len(message)
            return
        for start in range(0, max(1, len(message)), LINE_BYTE_COUNT_MAX):
            self._keep(message[start : start + LINE_BYTE_COUNT_MAX], time_ms)

    def say(self, text: str) -> None:
        """Add a line of the server's own, which is always kept."""
        line = text.encode()
        self._remember(line + b"\n")
        self._take(line, None)

    def begin(self) -> None:
        """Begin an invocation: its tail is empty."""
        self.flush()
        self._tail.clear()

    def flush(self) -> None:
        """Pass on what has no end yet, and say what was dropped."""
        if self._partial:
            self._keep(bytes(self._partial))
            self._remember(b"\n")
            self._partial.clear()
        self._tell_dropped()

    def tail(self) -> bytes:
        """Give the last 4 KB."""
        return bytes(self._tail[-TAIL_BYTE_COUNT_MAX:])

    def _pass_on(self, lines: list[bytes]) -> None:
        for line in lines:
            if len(line) <= LINE_BYTE_COUNT_MAX:
                self._keep(line)
                continue
            for start in range(0, len(line), LINE_BYTE_COUNT_MAX):
                self._keep(line[start : start + LINE_BYTE_COUNT_MAX])

    def _keep(self, line: bytes, time_ms: int | None = None) -> None:
        self._allowance -= len(line) + _LINE_COST_BYTE_COUNT
        self._take(line, time_ms)

    def _refill(self) -> bool:
        now_s = self._now_s()
        gained = (now_s - self._filled_s) * _ALLOWANCE_BYTE_COUNT_PER_S
        self._filled_s = now_s
        self._allowance = min(_ALLOWANCE_BYTE_COUNT, self._allowance + gained)
        return self._allowance > 0

    def _drop(self, data: bytes) -> None:
        self._dropped_line_count += data.count(b"\n")
        self._dropped_byte_count += len(self._partial) + len(data)
        self._partial.clear()

    def _tell_dropped(self) -> None:
        if self._dropped_byte_count:
            text = f"[streamd] {self._dropped_line_count} lines ({self._dropped_byte_count} bytes) were not kept"
            self._dropped_line_count = self._dropped_byte_count = 0
            self._take(text.encode(), None)

    def _remember(self, data: bytes) -> None:
        self._tail += data[-TAIL_BYTE_COUNT_MAX:] if len(data) > TAIL_BYTE_COUNT_MAX else data
        if len(self._tail) > 2 * TAIL_BYTE_COUNT_MAX:
            del self._tail[:-TAIL_BYTE_COUNT_MAX]


class Frames:
    """Reads awslambdaric's framed records: mark and kind (4 bytes), length (4), microseconds (8), message."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._buffer = bytearray()
        self._discard = 0

    def feed(self, data: bytes) -> None:
        """Take what was written; what is no frame is passed on as if it were printed."""
        if self._discard:
            cut = min(self._discard, len(data))
            self._discard -= cut
            data = data[cut:]
        self._buffer += data
        while len(self._buffer) >= _FRAME_HEAD_BYTE_COUNT:
            if not self._buffer.startswith(_FRAME_MARK):
                self._lines.feed(bytes(self._buffer))
                self._buffer.clear()
                return
            length = int.from_bytes(self._buffer[4:8])
            kept = min(length, LINE_BYTE_COUNT_MAX)
            if len(self._buffer) < _FRAME_HEAD_BYTE_COUNT + kept:
                return
            time_ms = int.from_bytes(self._buffer[8:16]) // 1000
            self._lines.frame(bytes(self._buffer[_FRAME_HEAD_BYTE_COUNT : _FRAME_HEAD_BYTE_COUNT + kept]), time_ms)
            whole = _FRAME_HEAD_BYTE_COUNT + length
            self._discard = max(0, whole - len(self._buffer))
            del self._buffer[:whole]


class Reading:
    """One socket, read whenever something is there."""

    def __init__(self, source: socket.socket, feed: Callable[[bytes], None], loop: asyncio.AbstractEventLoop) -> None:
        source.setblocking(False)
        self._source = source
        self._feed = feed
        self._loop = loop
        self._is_open = True
        loop.add_reader(source.fileno(), self._read)

    def drain(self) -> None:
        """Read what is there now, up to a bound."""
        for _ in range(_DRAIN_READ_COUNT_MAX):
            if not self._read():
                return

    def close(self) -> None:
        """Read what is left, and close the socket."""
        self.drain()
        self._end()

    def _read(self) -> bool:
        if not self._is_open:
            return False
        try:
            data = self._source.recv(_READ_BYTE_COUNT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._feed(data)
        return True

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._source.fileno())
            self._source.close()
