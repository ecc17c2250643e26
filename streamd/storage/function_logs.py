"""The logs of functions: lines are taken at once, written by a thread, found again by place, time and content.

Taking a line never blocks and never fails. What waits to be written is bounded, for each function and in all; past it
lines are dropped and counted, and a line in their place says how many. Whoever follows a log is woken when lines are
written; nobody polls. See `log_segments` for what is on disk and what a crash takes.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from streamd.storage.log_segments import KeptLine, LogPage, LogQuery, LogSegments, is_log_name

__all__ = ["TEXT_BYTE_COUNT_MAX", "FunctionLogs"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

TEXT_BYTE_COUNT_MAX = 256 << 10
"""What CloudWatch long took as one event; of a longer line only the beginning is kept."""

_WAITING_BYTE_COUNT_MAX = 8 << 20
_WAITING_BYTE_COUNT_MAX_BY_FUNCTION = 2 << 20
# What a line costs beside its text.
_LINE_BYTE_COUNT = 200


@dataclass(slots=True)
class _Waiting:
    """What is to be written for a function, and what was dropped behind it."""

    lines: list[KeptLine] = field(default_factory=list)
    byte_count: int = 0
    dropped_count: int = 0
    last_dropped: KeptLine | None = None


class FunctionLogs:
    """The logs of a data directory. Everything is called on one loop; one process writes.

    ``on_drop`` hears of lines that are not kept: function and count.
    """

    def __init__(self, folder: Path, *, byte_count_max: int, on_drop: Callable[[str, int], None]) -> None:
        self._segments = LogSegments(folder, byte_count_max=byte_count_max)
        self._on_drop = on_drop
        # One thread: what is read, written and removed takes turns, and needs no locks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="function-logs")
        self._waiting: dict[str, _Waiting] = {}
        self._byte_count = 0
        self._discarded: set[str] = set()
        self._taken = asyncio.Event()
        self._written: dict[str, asyncio.Event] = {}
        self._next_position: dict[str, int] = {}
        self._is_ending = False

    async def open(self) -> None:
        """Look at what is there; once, before anything else. Raises OSError."""
        await self._on_thread(self._segments.open)

    async def run(self) -> NoReturn:
        """Write what was taken, until cancelled."""
        while True:
            await self._taken.wait()
            await self.flush()

    async def close(self) -> None:
        """Write what waits, and end."""
        self.end_waits()
        await self.flush()
        self._thread.shutdown(wait=True)

    def end_waits(self) -> None:
        """Wake everybody who waits, for good."""
        self._is_ending = True
        for event in self._written.values():
            event.set()

    def take(self, name: str, line: KeptLine) -> None:
        """Take a line to be written, or drop and count it."""
        if not is_log_name(name):
            self._on_drop(name, 1)
            return
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = self._waiting[name] = _Waiting()
        self._taken.set()
        byte_count = len(line.text) + _LINE_BYTE_COUNT
        is_too_much = (
            self._byte_count + byte_count > _WAITING_BYTE_COUNT_MAX
            or waiting.byte_count + byte_count > _WAITING_BYTE_COUNT_MAX_BY_FUNCTION
        )
        # Once a line was dropped the next ones are too, so that the line that tells of it stands where they stood.
        if is_too_much or waiting.dropped_count:
            waiting.dropped_count += 1
            waiting.last_dropped = line
            self._on_drop(name, 1)
            return
        waiting.lines.append(line)
        waiting.byte_count += byte_count
        self._byte_count += byte_count

    def discard(self, name: str) -> None:
        """Have a function's log removed soon, before anything of it is written that is taken from now on."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            self._byte_count -= waiting.byte_count
        self._discarded.add(name)
        self._taken.set()

    async def flush(self) -> None:
        """Write everything that was taken until now, and remove what was discarded."""
        self._taken.clear()
        while self._waiting or self._discarded:
            while self._discarded:
                await self.delete(self._discarded.pop())
            # In turns: whoever prints on is behind everybody else again.
            if (name := next(iter(self._waiting), None)) is not None:
                await self._write(name, self._waiting.pop(name))

    async def read(self, name: str, query: LogQuery) -> LogPage:
        """Read some of what is wanted; an empty page with more behind it is to be read on. Raises OSError."""
        return await self._on_thread(lambda: self._segments.read(name, query))

    async def wait_past(self, name: str, *, after: int, timeout_s: float) -> bool:
        """Wait until a function's log holds something after a position; False when the time is up, or at the end."""
        if name not in self._next_position:
            self._next_position[name] = await self._on_thread(lambda: self._segments.next_position(name))
        try:
            async with asyncio.timeout(timeout_s):
                while self._next_position.get(name, 0) <= after + 1 and not self._is_ending:
                    await self._written.setdefault(name, asyncio.Event()).wait()
        except TimeoutError:
            return False
        return not self._is_ending

    async def sizes(self) -> dict[str, int]:
        """Tell which functions have a log, and its bytes."""
        return await self._on_thread(self._segments.names)

    async def delete(self, name: str) -> None:
        """Remove a function's log. Raises OSError."""
        await asyncio.shield(self._on_thread(partial(self._segments.delete, name)))
        self._next_position.pop(name, None)
        self._wake(name)

    async def keep_only(self, names: frozenset[str]) -> None:
        """Remove every log but these."""
        for name in await self.sizes():
            if name not in names:
                await self.delete(name)

    async def _write(self, name: str, waiting: _Waiting) -> None:
        lines = waiting.lines
        if waiting.last_dropped is not None:
            lines.append(_told(waiting.last_dropped, waiting.dropped_count))
        try:
            # Shielded: whoever is cancelled here has begun to write, and nobody else has these lines.
            written = self._on_thread(partial(self._segments.append, name, lines))
            self._next_position[name] = await asyncio.shield(written)
        except OSError as error:
            _LOG.error("the log of function %s was not written: %s", name, error)
            self._on_drop(name, len(waiting.lines))
        finally:
            self._byte_count -= waiting.byte_count
        self._wake(name)

    def _wake(self, name: str) -> None:
        event = self._written.pop(name, None)
        if event is not None:
            event.set()

    def _on_thread(self, run: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, run)


def _told(last: KeptLine, count: int) -> KeptLine:
    """Say in the log that lines are missing."""
    lines = "1 line was" if count == 1 else f"{count} lines were"
    text = f"streamd: {lines} dropped here: more was printed than could be written"
    return replace(last, request_id="", text=text)
