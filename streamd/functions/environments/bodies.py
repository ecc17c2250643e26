"""Bodies of requests as they arrive, piece by piece: of a length known before, or in chunks with trailers.

At most ``byte_count_max`` bytes are kept. What is longer is read to its end and thrown away, so that the answer can
still be heard, up to a bound past which the connection is not worth it.
"""

from typing import Protocol

__all__ = ["Body", "BodyDamaged", "ChunkedBody", "SizedBody"]

# A response may be this much longer than it may be: then it is still answered, and not cut off.
_DISCARDED_BYTE_COUNT_MAX = 256 << 20
_CHUNK_LINE_LENGTH_MAX = 4096
_TRAILER_BYTE_COUNT_MAX = 64 << 10


class BodyDamaged(Exception):
    """The body is not what HTTP allows, or so long that nobody reads on."""


class Body(Protocol):
    """A body that is arriving."""

    data: bytearray
    is_too_large: bool
    trailers: bytes

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body from the front of the buffer; whether it is whole. Raises BodyDamaged."""
        ...


class SizedBody:
    """A body whose length was said before."""

    __slots__ = ("_left", "data", "is_too_large", "trailers")

    def __init__(self, length: int, *, byte_count_max: int) -> None:
        self._left = length
        self.data = bytearray()
        self.trailers = b""
        self.is_too_large = length > byte_count_max
        if length > byte_count_max + _DISCARDED_BYTE_COUNT_MAX:
            raise BodyDamaged

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body from the front of the buffer; whether it is whole."""
        count = min(self._left, len(buffer))
        if not self.is_too_large:
            self.data += memoryview(buffer)[:count] if count < len(buffer) else buffer
        del buffer[:count]
        self._left -= count
        return not self._left


class ChunkedBody:
    """A body in chunks, each with its own length; behind the last one there may be trailers."""

    __slots__ = ("_byte_count_max", "_discarded", "_is_last", "_left", "data", "is_too_large", "trailers")

    def __init__(self, *, byte_count_max: int) -> None:
        self._byte_count_max = byte_count_max
        self._discarded = 0
        self._left = -1
        self._is_last = False
        self.data = bytearray()
        self.trailers = b""
        self.is_too_large = False

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body from the front of the buffer; whether it is whole. Raises BodyDamaged."""
        while not self._is_last:
            if self._left < 0 and not self._begin_chunk(buffer):
                return False
            if not self._is_last and not self._take_chunk(buffer):
                return False
        return self._take_trailers(buffer)

    def _begin_chunk(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n")
        if end < 0 or end > _CHUNK_LINE_LENGTH_MAX:
            if len(buffer) > _CHUNK_LINE_LENGTH_MAX:
                raise BodyDamaged
            return False
        try:
            size = int(bytes(buffer[:end]).partition(b";")[0].strip(), 16)
        except ValueError:
            raise BodyDamaged from None
        if size < 0:
            raise BodyDamaged
        del buffer[: end + 2]
        self._is_last = size == 0
        # The line's end behind the chunk is taken with it.
        self._left = size + 2
        return True

    def _take_chunk(self, buffer: bytearray) -> bool:
        count = min(self._left, len(buffer))
        content = min(count, max(0, self._left - 2))
        self._keep(buffer, content)
        del buffer[:count]
        self._left -= count
        if self._left:
            return False
        self._left = -1
        return True

    def _keep(self, buffer: bytearray, count: int) -> None:
        if self.is_too_large or len(self.data) + count > self._byte_count_max:
            self.is_too_large = True
            self.data.clear()
            self._discarded += count
            if self._discarded > _DISCARDED_BYTE_COUNT_MAX:
                raise BodyDamaged
            return
        self.data += memoryview(buffer)[:count] if count < len(buffer) else buffer

    def _take_trailers(self, buffer: bytearray) -> bool:
        if buffer.startswith(b"\r\n"):
            del buffer[:2]
            return True
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > _TRAILER_BYTE_COUNT_MAX:
                raise BodyDamaged
            return False
        self.trailers = bytes(buffer[:end])
        del buffer[: end + 4]
        return True
