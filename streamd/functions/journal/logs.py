"""What functions print, kept and shown: the taker of log lines, and the route by which they are read and followed.

``GET /_streamd/functions/{name}/logs`` answers lines in order, and ``next``, the place to go on from. Without a place
and without a time it begins at the end: the last lines. With ``wait-ms`` it waits for a line when there is none yet.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from streamd.functions.calls import Answer, Call, Route
from streamd.functions.faults import invalid, not_found
from streamd.functions.journal.printed_metrics import PrintedMetrics
from streamd.functions.running import LogLine
from streamd.storage.function_logs import TEXT_BYTE_COUNT_MAX, FunctionLogs
from streamd.storage.log_segments import KeptLine, LogPage, LogQuery

__all__ = ["Journal", "LogRoutes"]

_LIMIT_DEFAULT = 1000
_LIMIT_MAX = 10_000
_WAIT_MS_MAX = 20_000
# A search that finds little answers after so many looks, with the place to go on from.
_LOOK_COUNT_MAX = 16


class Journal:
    """Keeps lines, and shows the metrics that are in them. Never blocks and never fails."""

    def __init__(self, logs: FunctionLogs, printed: PrintedMetrics) -> None:
        self._logs = logs
        self._printed = printed

    def take(self, line: LogLine) -> None:
        """Take one line."""
        self._printed.take(line.function, line.text)
        kept = KeptLine(
            time_ms=line.time_ms,
            stream=line.stream,
            request_id=line.request_id,
            version=line.version,
            text=line.text[:TEXT_BYTE_COUNT_MAX].decode(errors="replace"),
        )
        self._logs.take(line.function, kept)


class LogRoutes:
    """Answers what functions printed. ``is_there`` knows which functions there are."""

    def __init__(self, logs: FunctionLogs, is_there: Callable[[str], bool]) -> None:
        self._logs = logs
        self._is_there = is_there

    def routes(self) -> list[Route]:
        """Give what is asked where."""
        return [Route("GetFunctionLogs", "GET", "/_streamd/functions/{name}/logs", self.answer)]

    async def answer(self, call: Call) -> Answer:
        """Answer a page of lines. Raises Fault."""
        name = call.path["name"]
        if not self._is_there(name):
            raise not_found(f"Function not found: {name}")
        query, wait_ms = _query(call), _number(call, "wait-ms", 0, most=_WAIT_MS_MAX)
        page = await self._page(name, query)
        # Whatever of the last lines was not wanted, what comes next is behind them.
        place = page.end if query.is_backward else page.reached
        if wait_ms and not page.lines and (query.is_backward or not page.has_more):
            await self._logs.wait_past(name, after=place, timeout_s=wait_ms / 1000)
            page = await self._page(name, replace(query, after=place, is_backward=False))
            place = page.reached
        document = {
            "lines": [_line(line) for line in page.lines],
            "next": str(place),
            "hasMore": page.has_more and not query.is_backward,
        }
        return Answer(document=document)

    async def _page(self, name: str, query: LogQuery) -> LogPage:
        """Read on until there is something to answer, or nothing more, or it has taken long enough."""
        first = page = await self._logs.read(name, query)
        for _ in range(_LOOK_COUNT_MAX):
            if page.lines or not page.has_more:
                break
            ahead = replace(query, before=page.reached) if query.is_backward else replace(query, after=page.reached)
            page = await self._logs.read(name, ahead)
        return replace(page, end=first.end)


def _query(call: Call) -> LogQuery:
    """Read what is asked for. Raises Fault."""
    after = call.first("next")
    start, end = call.first("start"), call.first("end")
    return LogQuery(
        after=_number(call, "next", -1) if after is not None else -1,
        start_ms=_number(call, "start", 0) if start is not None else None,
        end_ms=_number(call, "end", 0) if end is not None else None,
        request_id=call.first("request-id") or "",
        text=call.first("filter") or "",
        version=call.first("version") or "",
        limit=_number(call, "limit", _LIMIT_DEFAULT, least=1, most=_LIMIT_MAX),
        is_backward=after is None and start is None,
    )


def _number(call: Call, name: str, default: int, *, least: int = -1, most: int = 2**63) -> int:
    text = call.first(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        raise invalid(f"{name} must be a whole number.") from None
    if not least <= number <= most:
        raise invalid(f"{name} must be {least} to {most}.")
    return number


def _line(line: KeptLine) -> dict[str, Any]:
    return {
        "time": line.time_ms,
        "stream": line.stream,
        "requestId": line.request_id,
        "version": line.version,
        "message": line.text,
    }
