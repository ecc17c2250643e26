"""What functions printed, as files: a folder for each function, in it segments that are only appended to.

A line is one line of JSON: position, time, stream, request id, version, text. Positions grow within a function and are
never used again, not even after the function was deleted and made anew. Whatever is no such line (the torn end that a
crash left, a page that a power cut emptied) is passed over. Nothing is synced: a line survives the end of this process
however it comes, and a power cut takes at most what the kernel had not yet written.

All functions share one bound in bytes. None may hold more than half of it, and where all together hold too much, the
one that holds the most loses its oldest segment: who prints much pushes out his own lines, not those of the others.

One thread at a time: there are no locks here. Refused are names that are no function's.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streamd.storage.private import make_private_folder, open_private

__all__ = ["KeptLine", "LogPage", "LogQuery", "LogSegments", "is_log_name"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,140}")
_SUFFIX = ".jsonl"
_SEGMENT_BYTE_COUNT_MAX = 1 << 20
_SEGMENT_BYTE_COUNT_MIN = 1 << 12
_SEGMENT_COUNT = 64
# Leaves room for 4096 lines in each millisecond, and the result below 2**53, so that no JSON reader rounds it.
_POSITIONS_PER_MS_BITS = 12
_SCAN_BYTE_COUNT_MAX = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLine:
    """A line of a function's log; ``position`` is 0 until it is written."""

    time_ms: int
    stream: str
    request_id: str
    version: str
    text: str
    position: int = 0

    def to_content(self, position: int) -> bytes:
        """Write it as it is kept."""
        members = [position, self.time_ms, self.stream, self.request_id, self.version, self.text]
        return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which lines: between two positions and two times (the last not included), and all that is told.

    ``is_backward`` begins at the end and goes towards the beginning.
    """

    after: int = -1
    before: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    request_id: str = ""
    text: str = ""
    version: str = ""
    streams: frozenset[str] = frozenset()
    stream_prefix: str = ""
    limit: int = 1000
    byte_count_max: int = 1 << 20
    is_backward: bool = False

    def takes(self, line: KeptLine) -> bool:
        """Whether a line is wanted, wherever it stands."""
        return (
            (self.start_ms is None or line.time_ms >= self.start_ms)
            and (self.end_ms is None or line.time_ms < self.end_ms)
            and (not self.request_id or line.request_id == self.request_id)
            and (not self.version or line.version == self.version)
            and (not self.streams or line.stream in self.streams)
            and line.stream.startswith(self.stream_prefix)
            and self.text in line.text
        )


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines in order; ``reached`` is how far was looked, and ``has_more`` whether there may be more beyond it.

    ``end`` is the position of the log's last line when it was read, -1 for a log that never had one.
    """

    lines: tuple[KeptLine, ...]
    reached: int
    has_more: bool
    end: int


@dataclass(slots=True)
class _Segment:
    path: Path
    first_position: int
    byte_count: int
    # Known once this process wrote or read it; until then it is never skipped.
    last_ms: int | None = None


@dataclass(slots=True)
class _Log:
    folder: Path
    segments: list[_Segment] = field(default_factory=list)
    next_position: int | None = None
    # After a failed or torn write the next one begins a line of its own.
    is_torn: bool = False

    @property
    def byte_count(self) -> int:
        return sum(segment.byte_count for segment in self.segments)


@dataclass(slots=True)
class _Search:
    query: LogQuery
    reached: int
    found: list[KeptLine] = field(default_factory=list)
    byte_count: int = 0

    def look(self, lines: Sequence[KeptLine]) -> bool:
        """Go on with these; False when a wanted one was left because the page is full."""
        for line in lines:
            if self.query.takes(line):
                byte_count = self.byte_count + len(line.text)
                if len(self.found) == self.query.limit or (self.found and byte_count > self.query.byte_count_max):
                    return False
                self.found.append(line)
                self.byte_count = byte_count
            self.reached = line.position
        return True


class LogSegments:
    """The logs in a folder."""

    def __init__(self, folder: Path, *, byte_count_max: int) -> None:
        self._folder = folder
        self._byte_count_max = byte_count_max
        self._log_byte_count_max = byte_count_max // 2
        self._segment_byte_count_max = max(
            _SEGMENT_BYTE_COUNT_MIN, min(_SEGMENT_BYTE_COUNT_MAX, byte_count_max // _SEGMENT_COUNT)
        )
        self._logs: dict[str, _Log] = {}
        self._byte_count = 0

    def open(self) -> None:
        """Look at what is there. Raises OSError."""
        make_private_folder(self._folder)
        for folder in sorted(self._folder.iterdir()):
            if not is_log_name(folder.name) or not folder.is_dir():
                continue
            paths = sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX and path.stem.isdigit())
            segments = [_Segment(path, int(path.stem), path.stat().st_size) for path in paths]
            if segments:
                self._logs[folder.name] = _Log(folder, segments)
                self._byte_count += sum(segment.byte_count for segment in segments)
        self._make_room("")

    def names(self) -> dict[str, int]:
        """Name the functions that have a log, with its bytes."""
        return {name: log.byte_count for name, log in self._logs.items() if log.segments}

    def next_position(self, name: str) -> int:
        """Give the position of the next line; 0 for a function that never had one."""
        log = self._logs.get(name)
        if log is None:
            return 0
        return self._next(log, 0)

    def append(self, name: str, lines: Sequence[KeptLine]) -> int:
        """Write lines; the position after the last. Raises OSError: then some of them may not be kept."""
        log = self._logs.setdefault(name, _Log(self._folder / name))
        position = self._next(log, lines[0].time_ms)
        contents = [line.to_content(position + index) for index, line in enumerate(lines)]
        start = 0
        while start < len(lines):
            segment = self._segment(log, position + start)
            end = start + 1
            room = self._segment_byte_count_max - segment.byte_count - len(contents[start])
            while end < len(lines) and len(contents[end]) <= room:
                room -= len(contents[end])
                end += 1
            self._write(log, segment, b"".join(contents[start:end]))
            segment.last_ms = max(segment.last_ms or 0, *(line.time_ms for line in lines[start:end]))
            start = end
            log.next_position = position + start
        self._make_room(name)
        return position + len(lines)

    def read(self, name: str, query: LogQuery) -> LogPage:
        """Read some of what is wanted: up to its limits, and of so many bytes only that nobody waits long for a turn.

        Raises OSError.
        """
        log = self._logs.get(name)
        if log is None:
            return LogPage((), query.after, has_more=False, end=-1)
        end = self._next(log, 0) - 1
        reached = query.after
        if query.is_backward:
            reached = end + 1 if query.before is None else query.before
        search = _Search(query, reached)
        scanned_count = 0
        has_more = False
        for segment in self._wanted(log, query):
            has_more = scanned_count >= _SCAN_BYTE_COUNT_MAX or not search.look(_between(segment, query))
            if has_more:
                break
            scanned_count += segment.byte_count
        found = tuple(reversed(search.found) if query.is_backward else search.found)
        return LogPage(found, search.reached, has_more=has_more, end=end)

    def delete(self, name: str) -> None:
        """Remove a function's log. What of it cannot be removed now is found again, and counted, at the next start."""
        log = self._logs.pop(name, None)
        if log is not None:
            self._byte_count -= log.byte_count
            shutil.rmtree(log.folder, ignore_errors=True)

    def _wanted(self, log: _Log, query: LogQuery) -> list[_Segment]:
        """List the segments that may hold what is wanted, in the order in which they are read."""
        following = [segment.first_position for segment in log.segments[1:]]
        ends = [*following, None]
        wanted = [
            segment
            for segment, end in zip(log.segments, ends, strict=False)
            if (end is None or end > query.after + 1)
            and (query.before is None or segment.first_position < query.before)
            and (query.start_ms is None or segment.last_ms is None or segment.last_ms >= query.start_ms)
        ]
        return wanted[::-1] if query.is_backward else wanted

    def _next(self, log: _Log, now_ms: int) -> int:
        if log.next_position is None:
            if log.segments:
                last = log.segments[-1]
                lines = _lines(last)
                log.next_position = lines[-1].position + 1 if lines else last.first_position
                log.is_torn = _is_torn(last)
            else:
                # Later than any before it, unless the clock ran back: one who follows the log of a function that was
                # deleted and made anew goes on with the new one's.
                log.next_position = now_ms << _POSITIONS_PER_MS_BITS
        return log.next_position

    def _segment(self, log: _Log, position: int) -> _Segment:
        if log.segments and log.segments[-1].byte_count < self._segment_byte_count_max:
            return log.segments[-1]
        make_private_folder(log.folder)
        segment = _Segment(log.folder / f"{position:020d}{_SUFFIX}", position, 0)
        log.segments.append(segment)
        log.is_torn = False
        return segment

    def _write(self, log: _Log, segment: _Segment, content: bytes) -> None:
        if log.is_torn:
            content = b"\n" + content
        log.is_torn = True
        try:
            with open(segment.path, "ab", opener=open_private) as file:
                file.write(content)
        finally:
            with suppress(OSError):
                size = segment.path.stat().st_size
                self._byte_count += size - segment.byte_count
                segment.byte_count = size
        log.is_torn = False

    def _make_room(self, name: str) -> None:
        """Remove the oldest segments of whoever holds too much."""
        log = self._logs.get(name)
        while log is not None and len(log.segments) > 1 and log.byte_count > self._log_byte_count_max:
            self._drop_oldest(log)
        while self._byte_count > self._byte_count_max:
            self._drop_oldest(max(self._logs.values(), key=lambda log: log.byte_count))

    def _drop_oldest(self, log: _Log) -> None:
        self._next(log, 0)
        segment = log.segments.pop(0)
        self._byte_count -= segment.byte_count
        segment.path.unlink(missing_ok=True)


def is_log_name(name: str) -> bool:
    """Whether a log may have this name: it is that of a folder too."""
    return _NAME.fullmatch(name) is not None


def _between(segment: _Segment, query: LogQuery) -> list[KeptLine]:
    """Read the lines of a segment that lie between the query's positions, in its direction."""
    lines = [
        line
        for line in _lines(segment)
        if line.position > query.after and (query.before is None or line.position < query.before)
    ]
    return lines[::-1] if query.is_backward else lines


def _lines(segment: _Segment) -> list[KeptLine]:
    """Read a segment; one that is gone holds nothing."""
    try:
        content = segment.path.read_bytes()
    except FileNotFoundError:
        return []
    lines = list(_parsed(content))
    if segment.last_ms is None and lines:
        segment.last_ms = max(line.time_ms for line in lines)
    return lines


def _parsed(content: bytes) -> Iterator[KeptLine]:
    for line in content.split(b"\n"):
        if not line.endswith(b"]"):
            continue
        try:
            members: Any = orjson.loads(line)
            position, time_ms, stream, request_id, version, text = members
        except (ValueError, TypeError):
            continue
        yield KeptLine(
            position=position, time_ms=time_ms, stream=stream, request_id=request_id, version=version, text=text
        )


def _is_torn(segment: _Segment) -> bool:
    if segment.byte_count == 0:
        return False
    with segment.path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
