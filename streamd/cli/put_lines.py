"""What ``streamd put`` reads: lines out of chunks of bytes, and chunks out of files, pipes and terminals.

A line is never held beyond the bound it is cut with: what exceeds it by one byte is dropped up to the line's
end, so that a line too long can still be named, and the lines after it still count right. Empty lines are no
records.
"""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Line", "LineCutter", "chunks_of", "whole_of"]

CHUNK_BYTE_COUNT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes that shall become one record, and where they came from."""

    source: str
    number: int | None
    data: bytes

    def __str__(self) -> str:
        return self.source if self.number is None else f"line {self.number} of {self.source}"


class LineCutter:
    """Cuts the chunks of one source into lines of bounded length."""

    def __init__(self, source: str, *, byte_count_max: int) -> None:
        self._source = source
        self._byte_count_max = byte_count_max
        self._line_count = 0
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Line]:
        """Take the next chunk and give the lines that it completes."""
        *complete, rest = chunk.split(b"\n")
        lines = [line for piece in complete if (line := self._complete(piece)).data]
        self._hold(rest)
        return lines

    def finish(self) -> list[Line]:
        """Give the last line, when the source did not end with a newline."""
        return [self._complete(b"")] if self._rest else []

    def _complete(self, piece: bytes) -> Line:
        self._hold(piece)
        self._line_count += 1
        line = Line(self._source, self._line_count, bytes(self._rest))
        self._rest.clear()
        return line

    def _hold(self, piece: bytes) -> None:
        # One byte more than allowed is kept: it is what makes the line too long for whoever checks it.
        self._rest += piece[: max(0, self._byte_count_max + 1 - len(self._rest))]


async def chunks_of(descriptor: int) -> AsyncIterator[bytes]:
    """Give what comes out of a file, pipe or terminal, as it comes, until its end.

    An empty chunk says that nothing more is there for the moment: what waits for more should not wait longer.
    """
    while True:
        if not select.select([descriptor], [], [], 0)[0]:
            yield b""
            await _readable(descriptor)
        chunk = os.read(descriptor, CHUNK_BYTE_COUNT)
        if not chunk:
            return
        yield chunk


async def whole_of(descriptor: int, source: str, *, byte_count_max: int) -> Sequence[Line]:
    """Read a source to its end as one record, or to one byte more than a record may have."""
    pieces: list[bytes] = []
    byte_count = 0
    async for chunk in chunks_of(descriptor):
        pieces.append(chunk)
        byte_count += len(chunk)
        if byte_count > byte_count_max:
            break
    return [Line(source, None, b"".join(pieces)[: byte_count_max + 1])]


async def _readable(descriptor: int) -> None:
    """Wait until a pipe or terminal has something to read, without keeping the loop from Ctrl-C."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
