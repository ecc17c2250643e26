"""When an answer is complete, and whether it says yes: one reader for each wire.

A reader is fed the bytes of one connection as they come and says after each piece whether the whole answer to the
last request is there; then `failure` is why it does not count, or empty. Readers look for a few bytes and parse
nothing else: the generator must cost little beside the systems that it measures.
"""

import re
from typing import Protocol

from benchmarks.load import Request, Wire

__all__ = ["AnswerReader", "GeneratorFault", "reader_of"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REFUSED_RECORDS = re.compile(rb'"FailedRecordCount": *[1-9]')
_SHOWN_BYTE_COUNT = 300


class GeneratorFault(Exception):
    """An answer came that the generator cannot read: a fault of the benchmark, not a figure."""


class AnswerReader(Protocol):
    """Reads the answers of one connection."""

    failure: str
    ends_connection: bool

    def expect(self, request: Request) -> None:
        """Begin with the answer to this request."""
        ...

    def feed(self, data: bytes | memoryview) -> bool:
        """Take more bytes; whether the answer is complete."""
        ...


def reader_of(wire: Wire) -> AnswerReader:
    """Make the reader for a wire."""
    match wire:
        case Wire.HTTP:
            return _HttpReader()
        case Wire.REDIS:
            return _RedisReader()
        case Wire.NATS:
            return _NatsReader()


class _HttpReader:
    """An HTTP/1.1 answer with a length. Only the head of a long answer to a read is kept."""

    __slots__ = ("_head", "_missing", "_pieces", "_request", "ends_connection", "failure")

    def __init__(self) -> None:
        self.failure = ""
        self.ends_connection = False
        self._request: Request | None = None
        self._head = b""
        self._missing = -1
        self._pieces: list[bytes] = []

    def expect(self, request: Request) -> None:
        self._request = request
        self.failure = ""
        self._head = b""
        self._missing = -1
        self._pieces = []

    def feed(self, data: bytes | memoryview) -> bool:
        if self._missing < 0:
            return self._read_head(bytes(data))
        assert self._request is not None
        self._missing -= len(data)
        if not self._request.is_read:
            self._pieces.append(bytes(data))
        return self._missing == 0 and self._finish()

    def _read_head(self, data: bytes) -> bool:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return False
        found = _LENGTH.search(self._head, 0, end)
        if found is None:
            raise GeneratorFault(f"an answer without a length: {self._head[:_SHOWN_BYTE_COUNT]!r}")
        length = int(found[1])
        self._pieces.append(self._head[end + 4 :])
        self._missing = length - len(self._pieces[0])
        self.ends_connection = b"\r\nconnection: close" in self._head[:end].lower()
        if self._head[9:12] != b"200":
            self.failure = f"{self._head[:15].decode('latin-1')} {self._pieces[0][:_SHOWN_BYTE_COUNT]!r}"
        elif self._request is not None and length < self._request.answer_byte_count:
            self.failure = f"an answer of {length} bytes, less than the {self._request.answer_byte_count} of its data"
        return self._missing == 0 and self._finish()

    def _finish(self) -> bool:
        """Look for records that were refused in an answer that was not; such a request does not count at all."""
        assert self._request is not None
        if not self._request.is_read and self._request.record_count > 1:
            refused = _REFUSED_RECORDS.search(b"".join(self._pieces))
            self.failure = self.failure or (refused[0].decode() if refused else "")
        return True


class _RedisReader:
    """The answers to a pipeline of XADD (a bulk string of one line each), or a read of a known length."""

    __slots__ = ("_buffer", "_read_byte_count", "_request", "ends_connection", "failure")

    def __init__(self) -> None:
        self.failure = ""
        self.ends_connection = False
        self._request: Request | None = None
        self._buffer = b""
        self._read_byte_count = 0

    def expect(self, request: Request) -> None:
        self._request = request
        self._buffer = b""
        self._read_byte_count = 0
        self.failure = ""

    def feed(self, data: bytes | memoryview) -> bool:
        request = self._request
        assert request is not None
        if request.answer_byte_count:
            self._read_byte_count += len(data)
            return self._read_byte_count >= request.answer_byte_count
        self._buffer += bytes(data)
        error_count = self._buffer.count(b"\n-") + self._buffer.startswith(b"-")
        if error_count:
            self.failure = self._buffer[:_SHOWN_BYTE_COUNT].decode("latin-1")
        return self._buffer.count(b"\n") >= 2 * (request.answer_count - error_count) + error_count


class _NatsReader:
    """The acknowledgements of JetStream, one message for each publish."""

    __slots__ = ("_buffer", "_request", "ends_connection", "failure")

    def __init__(self) -> None:
        self.failure = ""
        self.ends_connection = False
        self._request: Request | None = None
        self._buffer = b""

    def expect(self, request: Request) -> None:
        self._request = request
        self._buffer = b""
        self.failure = ""

    def feed(self, data: bytes | memoryview) -> bool:
        assert self._request is not None
        self._buffer += bytes(data)
        error_count = (
            self._buffer.count(b'"error":') + self._buffer.count(b"NATS/1.0 503") + self._buffer.count(b"-ERR")
        )
        if error_count:
            self.failure = self._buffer[:_SHOWN_BYTE_COUNT].decode("latin-1")
        done_count = self._buffer.count(b'"seq":') + error_count
        return done_count >= self._request.answer_count and self._buffer.endswith(b"\r\n")
