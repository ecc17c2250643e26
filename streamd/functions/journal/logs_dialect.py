"""The reading half of the CloudWatch Logs API over the logs of functions: groups, streams, events (JSON 1.1).

A function's group is ``/aws/lambda/NAME``, its streams are its environments'. Anything that writes or manages is
refused as an operation that is not known.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from streamd.functions.calls import Answer
from streamd.functions.journal.log_patterns import Pattern
from streamd.functions.naming import Account
from streamd.storage.function_logs import FunctionLogs
from streamd.storage.log_segments import KeptLine, LogPage, LogQuery

__all__ = ["LogsDialect"]

_CONTENT_TYPE = "application/x-amz-json-1.1"
_GROUP_PREFIX = "/aws/lambda/"
_EVENT_COUNT_MAX = 10_000
_DESCRIBED_COUNT_MAX = 50
_LOOK_COUNT_MAX = 16
_TOKEN = re.compile(r"([fb])/(\d{1,20})")


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class LogsDialect:
    """Answers the operations of ``Logs_20140328``. ``names`` gives the functions there are."""

    def __init__(self, logs: FunctionLogs, account: Account, *, names: Callable[[], list[str]]) -> None:
        self._logs = logs
        self._account = account
        self._names = names
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "DescribeLogGroups": self._describe_log_groups,
            "DescribeLogStreams": self._describe_log_streams,
            "FilterLogEvents": self._filter_log_events,
            "GetLogEvents": self._get_log_events,
        }

    async def answer(self, target_operation: str, document: Mapping[str, Any]) -> Answer:
        """Carry out an operation by its name, with or without what is before its dot. What is refused is an answer."""
        operation = self._operations.get(target_operation.rpartition(".")[2])
        try:
            if operation is None:
                raise _Refused("UnknownOperationException", "")
            told = await operation(document)
        except _Refused as refused:
            fault = {"__type": refused.code, "message": refused.message}
            headers = {"x-amzn-errortype": refused.code}
            return Answer(status=400, document=fault, headers=headers, content_type=_CONTENT_TYPE)
        return Answer(document=told, content_type=_CONTENT_TYPE)

    async def _describe_log_groups(self, document: Mapping[str, Any]) -> dict[str, Any]:
        sizes = await self._logs.sizes()
        prefix, part = _text(document, "logGroupNamePrefix"), _text(document, "logGroupNamePattern")
        groups = [f"{_GROUP_PREFIX}{name}" for name in sorted({*sizes, *self._names()})]
        wanted = [group for group in groups if group.startswith(prefix) and part in group]
        page, token = _paged(wanted, document)
        described = []
        for group in page:
            name = group.removeprefix(_GROUP_PREFIX)
            first = await self._logs.read(name, LogQuery(limit=1))
            described.append(
                {
                    "logGroupName": group,
                    "creationTime": first.lines[0].time_ms if first.lines else 0,
                    "metricFilterCount": 0,
                    "arn": f"{self._group_arn(group)}:*",
                    "logGroupArn": self._group_arn(group),
                    "storedBytes": sizes.get(name, 0),
                    "logGroupClass": "STANDARD",
                }
            )
        return {"logGroups": described, **token}

    async def _describe_log_streams(self, document: Mapping[str, Any]) -> dict[str, Any]:
        name = self._function(document)
        spans: dict[str, tuple[int, int]] = {}
        query = LogQuery(stream_prefix=_text(document, "logStreamNamePrefix"), limit=_EVENT_COUNT_MAX)
        while True:
            page = await self._logs.read(name, query)
            for line in page.lines:
                first, last = spans.get(line.stream, (line.time_ms, line.time_ms))
                spans[line.stream] = min(first, line.time_ms), max(last, line.time_ms)
            if not page.has_more:
                break
            query = replace(query, after=page.reached)
        is_by_time = _text(document, "orderBy") == "LastEventTime"
        streams = sorted(spans, key=lambda stream: (spans[stream][1], stream) if is_by_time else (0, stream))
        if document.get("descending") is True:
            streams.reverse()
        chosen, token = _paged(streams, document)
        arn = self._group_arn(_GROUP_PREFIX + name)
        return {"logStreams": [_stream(arn, stream, *spans[stream]) for stream in chosen], **token}

    async def _get_log_events(self, document: Mapping[str, Any]) -> dict[str, Any]:
        name, stream = self._function(document), _text(document, "logStreamName")
        query = _query(document, end_is_included=False)
        await self._require_stream(name, stream)
        query = replace(query, streams=frozenset({stream}), is_backward=document.get("startFromHead") is not True)
        if token := _text(document, "nextToken"):
            found = _TOKEN.fullmatch(token)
            if found is None:
                raise _Refused("InvalidParameterException", "The specified nextToken is invalid.")
            is_forward, position = found[1] == "f", int(found[2])
            query = replace(
                query,
                is_backward=not is_forward,
                after=position - 1 if is_forward else -1,
                before=None if is_forward else position,
            )
        page = await self._page(name, query)
        first, behind = _edges(page, query)
        return {
            "events": [_event(line) for line in page.lines],
            "nextForwardToken": f"f/{behind:020d}",
            "nextBackwardToken": f"b/{first:020d}",
        }

    async def _filter_log_events(self, document: Mapping[str, Any]) -> dict[str, Any]:
        name = self._function(document)
        try:
            pattern = Pattern.parse(_text(document, "filterPattern"))
        except ValueError as error:
            raise _Refused("InvalidParameterException", str(error)) from None
        query = replace(
            _query(document, end_is_included=True),
            streams=frozenset(document.get("logStreamNames") or ()),
            stream_prefix=_text(document, "logStreamNamePrefix"),
            # Told to the search too, which can then pass over what holds it not.
            text=pattern.wanted[0] if pattern.wanted else "",
        )
        if token := _text(document, "nextToken"):
            query = replace(query, after=_position(token))
        page = await self._logs.read(name, query)
        events = [
            {
                "logStreamName": line.stream,
                **_event(line),
                "eventId": f"{line.position:056d}",
            }
            for line in page.lines
            if pattern.takes(line.text)
        ]
        more = {"nextToken": str(page.reached)} if page.has_more else {}
        return {"events": events, "searchedLogStreams": [], **more}

    async def _page(self, name: str, query: LogQuery) -> LogPage:
        page = await self._logs.read(name, query)
        for _ in range(_LOOK_COUNT_MAX):
            if page.lines or not page.has_more:
                break
            ahead = replace(query, before=page.reached) if query.is_backward else replace(query, after=page.reached)
            page = await self._logs.read(name, ahead)
        return page

    async def _require_stream(self, name: str, stream: str) -> None:
        """Refuse a stream without a line. Raises _Refused."""
        page = await self._page(name, LogQuery(streams=frozenset({stream}), limit=1))
        if not page.lines:
            raise _Refused("ResourceNotFoundException", "The specified log stream does not exist.")

    def _function(self, document: Mapping[str, Any]) -> str:
        """Give the function of a group's name or ARN. Raises _Refused."""
        group = _text(document, "logGroupName") or _text(document, "logGroupIdentifier").removesuffix(":*")
        name = group.rpartition(":")[2].removeprefix(_GROUP_PREFIX)
        if _GROUP_PREFIX not in group or name not in self._names():
            raise _Refused("ResourceNotFoundException", "The specified log group does not exist.")
        return name

    def _group_arn(self, group: str) -> str:
        return f"arn:aws:logs:{self._account.region}:{self._account.id}:log-group:{group}"


def _edges(page: LogPage, query: LogQuery) -> tuple[int, int]:
    """Give the positions of the first line of a page and of what is behind its last one; an empty one has its place."""
    if page.lines:
        return page.lines[0].position, page.lines[-1].position + 1
    place = query.after + 1
    if query.is_backward:
        place = page.end + 1 if query.before is None else query.before
    return place, place


def _stream(group_arn: str, stream: str, first_ms: int, last_ms: int) -> dict[str, Any]:
    return {
        "logStreamName": stream,
        "creationTime": first_ms,
        "firstEventTimestamp": first_ms,
        "lastEventTimestamp": last_ms,
        "lastIngestionTime": last_ms,
        "uploadSequenceToken": "0",
        "arn": f"{group_arn}:log-stream:{stream}",
        "storedBytes": 0,
    }


def _event(line: KeptLine) -> dict[str, Any]:
    # The time at which it was printed is the time at which it was taken.
    return {"timestamp": line.time_ms, "message": line.text, "ingestionTime": line.time_ms}


def _query(document: Mapping[str, Any], *, end_is_included: bool) -> LogQuery:
    """Read times and a limit. Raises _Refused."""
    end = _number(document, "endTime")
    limit = _number(document, "limit") or _EVENT_COUNT_MAX
    if not 1 <= limit <= _EVENT_COUNT_MAX:
        raise _Refused("InvalidParameterException", f"limit must be 1 to {_EVENT_COUNT_MAX}.")
    return LogQuery(
        start_ms=_number(document, "startTime"),
        end_ms=None if end is None else end + end_is_included,
        limit=limit,
    )


def _paged(names: list[str], document: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Cut a page out of names by place; a stream that comes up meanwhile may be told twice, none is left out."""
    start = _position(_text(document, "nextToken") or "0")
    limit = _number(document, "limit") or _DESCRIBED_COUNT_MAX
    end = start + max(1, min(limit, _DESCRIBED_COUNT_MAX))
    return names[start:end], {"nextToken": str(end)} if end < len(names) else {}


def _position(token: str) -> int:
    if not token.isascii() or not token.isdigit():
        raise _Refused("InvalidParameterException", "The specified nextToken is invalid.")
    return int(token)


def _number(document: Mapping[str, Any], member: str) -> int | None:
    number = document.get(member)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise _Refused("SerializationException", f"{member} must be a whole number.")
    return number


def _text(document: Mapping[str, Any], member: str) -> str:
    text = document.get(member)
    if text is not None and not isinstance(text, str):
        raise _Refused("SerializationException", f"{member} must be a text.")
    return text or ""
