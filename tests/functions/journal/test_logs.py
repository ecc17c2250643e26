"""Logs as they are asked for: by the server's own route, by boto3's client of CloudWatch Logs, and in the shell."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from streamd.functions.faults import Fault
from streamd.functions.journal.log_patterns import Pattern
from streamd.functions.journal.logs import Journal, LogRoutes
from streamd.functions.journal.logs_dialect import LogsDialect
from streamd.functions.journal.printed_metrics import PrintedMetrics
from streamd.functions.naming import Account
from streamd.functions.running import LogLine
from streamd.metrics import Metrics
from streamd.storage.function_logs import FunctionLogs
from tests.clocks import START_MS
from tests.functions.journal.served import call_of, serving

__all__: list[str] = []

FUNCTIONS = ["alerts", "mentions"]
GROUP = "/aws/lambda/mentions"
STREAM = "2025/06/15/[$LATEST]0123456789abcdef0123456789abcdef"
OTHER = "2025/06/15/[1]fedcba9876543210fedcba9876543210"


class Room:
    """What keeps and answers logs, over real files."""

    def __init__(self, folder: Path) -> None:
        self.logs = FunctionLogs(folder / "logs", byte_count_max=16 << 20, on_drop=lambda *_: None)
        self.journal = Journal(self.logs, PrintedMetrics(Metrics()))
        self.routes = LogRoutes(self.logs, FUNCTIONS.__contains__)
        self.dialect = LogsDialect(self.logs, Account("000000000000", "us-east-1"), names=lambda: FUNCTIONS)

    def print(self, *texts: str | bytes, request: str = "r1", stream: str = STREAM, version: str = "$LATEST") -> None:
        """Have the function print lines, a millisecond after each other."""
        for number, text in enumerate(texts):
            self.journal.take(
                LogLine(
                    function="mentions",
                    version=version,
                    stream=stream,
                    time_ms=START_MS + number,
                    request_id=request,
                    text=text.encode() if isinstance(text, str) else text,
                )
            )

    async def ask(self, name: str = "mentions", **query: str) -> Any:
        """Ask the route."""
        return (await self.routes.answer(call_of({"name": name}, **query))).document


@asynccontextmanager
async def open_room(folder: Path) -> AsyncIterator[Room]:
    room = Room(folder)
    await room.logs.open()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(room.logs.run())
        try:
            yield room
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await room.logs.close()


def messages(document: Any) -> list[str]:
    return [line["message"] for line in document["lines"]]


def client_of(url: str) -> Any:
    return boto3.client(
        "logs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret-for-tests-only",
        config=Config(retries={"total_max_attempts": 1}),
    )


async def with_client(room: Room, run: Callable[[Any], Any]) -> Any:
    """Run something with a client on a thread, as a program of its own would."""
    async with serving(room.routes.routes(), room.dialect) as url:
        client = client_of(url)
        try:
            return await asyncio.to_thread(run, client)
        finally:
            client.close()


async def test_the_last_lines_are_answered_and_then_what_follows_them(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        room.print(*(f"line {number}" for number in range(10)))
        await room.logs.flush()
        last = await room.ask(limit="3")
        room.print("more")
        await room.logs.flush()
        more = await room.ask(next=last["next"])
        nothing = await room.ask(next=more["next"])

    assert messages(last) == ["line 7", "line 8", "line 9"]
    assert messages(more) == ["more"]
    assert (messages(nothing), nothing["next"]) == ([], more["next"])
    assert more["lines"][0] == {
        "time": START_MS,
        "stream": STREAM,
        "requestId": "r1",
        "version": "$LATEST",
        "message": "more",
    }


async def test_one_who_waits_gets_the_line_when_it_is_printed(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room, asyncio.TaskGroup() as group:
        first = group.create_task(room.ask(wait_ms="20000"))
        await asyncio.sleep(0)
        room.print("first")
        place = (await first)["next"]
        second = group.create_task(room.ask(next=place, wait_ms="20000"))
        await asyncio.sleep(0)
        room.print("second")

    assert messages(first.result()) == ["first"]
    assert messages(second.result()) == ["second"]


async def test_a_filter_that_takes_nothing_goes_on_behind_the_last_line(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        room.print("one", "two")
        await room.logs.flush()
        nothing = await room.ask(filter="three", wait_ms="1")
        room.print("three")
        await room.logs.flush()
        found = await room.ask(next=nothing["next"])

    assert messages(nothing) == []
    assert messages(found) == ["three"]


async def test_lines_are_found_by_request_text_time_and_version(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        room.print("one", "two", "three")
        room.print("published", request="r2", version="1", stream=OTHER)
        await room.logs.flush()
        found = [
            messages(await room.ask(**query))
            for query in (
                {"request_id": "r2"},
                {"filter": "t"},
                {"start": str(START_MS + 1), "end": str(START_MS + 2)},
                {"version": "1"},
                {"start": "0", "limit": "2"},
            )
        ]

    assert found == [["published"], ["two", "three"], ["two"], ["published"], ["one", "two"]]


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "10001"}, {"start": "now"}, {"wait_ms": "30000"}])
async def test_a_question_that_is_none_is_refused(tmp_path: Path, query: dict[str, str]) -> None:
    async with open_room(tmp_path) as room:
        with pytest.raises(Fault) as refused:
            await room.ask(**query)

    assert refused.value.status == 400


async def test_a_function_that_is_not_there_has_no_log(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        with pytest.raises(Fault) as refused:
            await room.ask("gone")

    assert refused.value.status == 404


async def test_a_line_that_is_no_text_or_too_long_is_kept_as_well_as_it_can_be(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        room.print(b"\xff\xfe?", b"x" * (300 << 10))
        await room.logs.flush()
        found = messages(await room.ask(start="0"))

    assert found[0] == "��?"
    assert len(found[1]) == 256 << 10


async def test_boto3_reads_groups_streams_and_events(tmp_path: Path) -> None:
    def run(client: Any) -> Any:
        groups = client.describe_log_groups(logGroupNamePrefix="/aws/lambda/m")["logGroups"]
        streams = client.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True)
        events = client.get_log_events(logGroupName=GROUP, logStreamName=STREAM, startFromHead=True)
        return groups, streams["logStreams"], events["events"]

    async with open_room(tmp_path) as room:
        room.print("one", "two", "three")
        room.print("other", stream=OTHER)
        await room.logs.flush()
        groups, streams, events = await with_client(room, run)

    assert [group["logGroupName"] for group in groups] == [GROUP]
    assert groups[0]["arn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*"
    assert groups[0]["storedBytes"] > 0
    assert [stream["logStreamName"] for stream in streams] == [STREAM, OTHER]
    assert (streams[0]["firstEventTimestamp"], streams[0]["lastEventTimestamp"]) == (START_MS, START_MS + 2)
    assert [(event["timestamp"], event["message"]) for event in events] == [
        (START_MS, "one"),
        (START_MS + 1, "two"),
        (START_MS + 2, "three"),
    ]


async def test_boto3_walks_a_stream_in_both_directions_by_token(tmp_path: Path) -> None:
    expected = [f"line {number}" for number in range(25)]

    def walk(client: Any, direction: str, *, is_forward: bool) -> list[str]:
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = client.get_log_events(
                logGroupName=GROUP, logStreamName=STREAM, limit=10, startFromHead=is_forward, **token
            )
            told = [event["message"] for event in page["events"]]
            found = found + told if is_forward else told + found
            if token.get("nextToken") == page[direction]:
                return found
            token = {"nextToken": page[direction]}

    async with open_room(tmp_path) as room:
        for text in expected:
            room.print(text)
            room.print("between", stream=OTHER)
        await room.logs.flush()
        forward = await with_client(room, lambda client: walk(client, "nextForwardToken", is_forward=True))
        backward = await with_client(room, lambda client: walk(client, "nextBackwardToken", is_forward=False))

    assert forward == backward == expected


async def test_boto3_filters_events_of_all_streams_page_by_page(tmp_path: Path) -> None:
    def run(client: Any) -> list[Any]:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, filterPattern='ERROR "no such" -ignored', PaginationConfig={"PageSize": 2}
        )
        return [event for page in pages for event in page["events"]]

    async with open_room(tmp_path) as room:
        for number in range(5):
            room.print(f"ERROR no such thing {number}", "ERROR no such thing ignored", "fine")
            room.print(f"ERROR no such file {number}", stream=OTHER)
        await room.logs.flush()
        events = await with_client(room, run)

    assert [event["message"] for event in events] == [
        f"ERROR no such {what} {number}" for number in range(5) for what in ("thing", "file")
    ]
    assert len({event["eventId"] for event in events}) == 10
    assert {event["logStreamName"] for event in events} == {STREAM, OTHER}


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("get_log_events", {"logGroupName": GROUP, "logStreamName": "none"}, "ResourceNotFoundException"),
        ("filter_log_events", {"logGroupName": "/aws/lambda/gone"}, "ResourceNotFoundException"),
        ("describe_log_streams", {"logGroupName": "mentions"}, "ResourceNotFoundException"),
        ("filter_log_events", {"logGroupName": GROUP, "filterPattern": "{ $.a = 1 }"}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "nextToken": "x"}, "InvalidParameterException"),
        ("create_log_group", {"logGroupName": GROUP}, "UnknownOperationException"),
    ],
)
async def test_boto3_is_refused_in_the_words_of_aws(
    tmp_path: Path, operation: str, arguments: dict[str, str], code: str
) -> None:
    async with open_room(tmp_path) as room:
        with pytest.raises(ClientError) as refused:
            await with_client(room, lambda client: getattr(client, operation)(**arguments))

    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("a b", "b and a", True),
        ("a b", "only a", False),
        ('"a b"', "b a", False),
        ('"say \\"a\\""', 'I say "a"', True),
        ("?x ?y", "y", True),
        ("?x ?y", "z", False),
        ("a -b", "a b", False),
        ("a -b", "a", True),
    ],
)
def test_a_pattern_takes_what_amazons_would(pattern: str, text: str, *, expected: bool) -> None:
    assert Pattern.parse(pattern).takes(text) is expected
