"""GetShardIterator: five kinds of places in a shard, and each way in which one is refused."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import ManualClock
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.engine.rooms import HOUR_MS, Refusal, open_rooms
from tests.kinesis.calls import held_daemon
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_FIRST = "shardId-000000000000"
_ABSENT = "Shard {} in stream {} under account 000000000000 does not exist"
_EITHER = (
    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
    "(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {}."
)


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of two shards, with nothing in it."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    return stream_name


def _put(kinesis: Any, stream: str, *payloads: bytes, shard_index: int = 0) -> list[str]:
    hash_key = str(shard_index << 127)
    return [
        kinesis.put_record(StreamName=stream, Data=data, PartitionKey="key", ExplicitHashKey=hash_key)["SequenceNumber"]
        for data in payloads
    ]


def _read(kinesis: Any, stream: str, kind: str, **members: Any) -> list[bytes]:
    named = {"StreamName": stream, "ShardId": _FIRST, "ShardIteratorType": kind} | members
    iterator = kinesis.get_shard_iterator(**named)["ShardIterator"]
    return [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]


def test_the_trim_horizon_is_before_everything(kinesis: Any, stream: str) -> None:
    _put(kinesis, stream, b"1", b"2")

    assert _read(kinesis, stream, "TRIM_HORIZON") == [b"1", b"2"]


def test_latest_is_after_everything_that_was_acknowledged(kinesis: Any, stream: str) -> None:
    _put(kinesis, stream, b"before")
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=_FIRST, ShardIteratorType="LATEST")[
        "ShardIterator"
    ]
    _put(kinesis, stream, b"after")

    records = kinesis.get_records(ShardIterator=iterator)["Records"]

    assert [record["Data"] for record in records] == [b"after"]


def test_a_sequence_number_is_read_with_or_after_its_record(kinesis: Any, stream: str) -> None:
    numbers = _put(kinesis, stream, b"1", b"2", b"3")

    at = [_read(kinesis, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=number) for number in numbers]
    after = [_read(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number) for number in numbers]

    assert at == [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"]]
    assert after == [[b"2", b"3"], [b"3"], []]


def test_the_shards_own_starting_number_is_before_everything(kinesis: Any, stream: str) -> None:
    _put(kinesis, stream, b"1")
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]
    number = shard["SequenceNumberRange"]["StartingSequenceNumber"]

    assert _read(kinesis, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [b"1"]
    assert _read(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [b"1"]


async def test_a_moment_is_read_from_its_first_record_on(tmp_path: Path) -> None:
    clock = ManualClock()
    moments = []
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts")
        for payload in (b"1", b"2", b"3"):
            moments.append(clock.now_ms())
            await rooms.put("posts", payload)
            clock.advance(1000)

        async def read(time_ms: int) -> list[str]:
            answer = await rooms.ask(
                "GetShardIterator",
                StreamName="posts",
                ShardId=_FIRST,
                ShardIteratorType="AT_TIMESTAMP",
                Timestamp=time_ms / 1000,
            )
            answer = await rooms.ask("GetRecords", ShardIterator=answer["ShardIterator"])
            return [record["Data"] for record in answer["Records"]]

        found = {time_ms: await read(time_ms) for time_ms in (moments[1] - 1, moments[1], moments[1] + 1)}
        ends = [await read(clock.now_ms()), await read(moments[0] - 1000 * HOUR_MS), await read(-5000)]

    everything = ["MQ==", "Mg==", "Mw=="]
    assert list(found.values()) == [everything[1:], everything[1:], everything[2:]]
    assert ends == [[], everything, everything]


def test_a_moment_goes_over_the_wire_with_its_milliseconds(kinesis: Any, stream: str) -> None:
    _put(kinesis, stream, b"1", b"2")
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=_FIRST, ShardIteratorType="TRIM_HORIZON")
    record = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"][1]
    arrival = record["ApproximateArrivalTimestamp"]

    at = _read(kinesis, stream, "AT_TIMESTAMP", Timestamp=arrival)
    after = _read(kinesis, stream, "AT_TIMESTAMP", Timestamp=arrival + timedelta(milliseconds=1))

    assert b"2" in at
    assert after == []


def test_a_moment_to_come_is_refused(daemon: Daemon, stream: str) -> None:
    time_ms = int(datetime.now(UTC).timestamp() * 1000) + 3_600_123

    answer = raw(
        daemon.url,
        "GetShardIterator",
        {
            "StreamName": stream,
            "ShardId": _FIRST,
            "ShardIteratorType": "AT_TIMESTAMP",
            "Timestamp": time_ms / 1000,
        },
    )

    found = re.fullmatch(
        r"The timestampInMillis parameter cannot be greater than the currentTimestampInMillis\. "
        r"timestampInMillis: (\d+), currentTimestampInMillis: (\d+)",
        answer.json()["message"],
    )
    assert answer.status == 400
    assert answer.json()["__type"] == "InvalidArgumentException"
    assert found is not None
    assert int(found[1]) == time_ms
    assert 0 < time_ms - int(found[2]) <= 3_600_123


@pytest.mark.parametrize("kind", ["TRIM_HORIZON", "LATEST"])
def test_a_kind_that_takes_no_number_refuses_one(kinesis: Any, stream: str, kind: str) -> None:
    (number,) = _put(kinesis, stream, b"1")

    found = refusal(
        kinesis.get_shard_iterator,
        StreamName=stream,
        ShardId=_FIRST,
        ShardIteratorType=kind,
        StartingSequenceNumber=number,
    )

    sentence = _EITHER.format(f"{kind} and also a StartingSequenceNumber")
    assert found == ("InvalidArgumentException", sentence)


@pytest.mark.parametrize("kind", ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"])
def test_a_kind_that_needs_a_number_refuses_to_go_without(kinesis: Any, stream: str, kind: str) -> None:
    found = refusal(kinesis.get_shard_iterator, StreamName=stream, ShardId=_FIRST, ShardIteratorType=kind)

    sentence = _EITHER.format(f"{kind} and no StartingSequenceNumber")
    assert found == ("InvalidArgumentException", sentence)


def test_a_moment_must_be_given_where_one_is_needed(kinesis: Any, stream: str) -> None:
    found = refusal(kinesis.get_shard_iterator, StreamName=stream, ShardId=_FIRST, ShardIteratorType="AT_TIMESTAMP")

    assert found == (
        "InvalidArgumentException",
        (
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
            "Current request has no timestamp parameter."
        ),
    )


@pytest.mark.parametrize("kind", ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"])
def test_numbers_that_are_not_of_this_shard_are_refused(kinesis: Any, stream: str, kind: str) -> None:
    (own,) = _put(kinesis, stream, b"1")
    (others,) = _put(kinesis, stream, b"2", shard_index=1)
    older = str(int(own) - (1 << 148))
    place = {"StreamName": stream, "ShardId": _FIRST, "ShardIteratorType": kind}

    no_number = refusal(kinesis.get_shard_iterator, StartingSequenceNumber="4" * 56, **place)
    of_other_shard = refusal(kinesis.get_shard_iterator, StartingSequenceNumber=others, **place)
    of_older_stream = refusal(kinesis.get_shard_iterator, StartingSequenceNumber=older, **place)

    start = f"used in GetShardIterator on shard {_FIRST} in stream {stream} under account 000000000000 is invalid"
    assert no_number == ("InvalidArgumentException", f"StartingSequenceNumber {'4' * 56} {start}.")
    assert of_other_shard == (
        "InvalidArgumentException",
        (
            "Invalid StartingSequenceNumber. It encodes shardId-000000000001, "
            f"while it was used in a call to a shard with {_FIRST}"
        ),
    )
    assert of_older_stream == (
        "InvalidArgumentException",
        f"StartingSequenceNumber {older} {start} because it did not come from this stream.",
    )


async def test_a_number_of_the_stream_before_of_that_name_is_refused(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.ask("CreateStream", StreamName="posts", ShardCount=1)
        answer = await rooms.ask("PutRecord", StreamName="posts", Data="", PartitionKey="key")
        await rooms.ask("DeleteStream", StreamName="posts")
        clock.advance(1000)
        await rooms.ask("CreateStream", StreamName="posts", ShardCount=1)

        with pytest.raises(Refusal) as caught:
            await rooms.ask(
                "GetShardIterator",
                StreamName="posts",
                ShardId=_FIRST,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                StartingSequenceNumber=answer["SequenceNumber"],
            )

    assert caught.value.code == "InvalidArgumentException"


@pytest.mark.parametrize("number", ["", "-1", "01", "abc", "1" * 200])
def test_a_text_that_is_no_number_is_a_fault_of_validation(kinesis: Any, stream: str, number: str) -> None:
    code, sentence = refusal(
        kinesis.get_shard_iterator,
        StreamName=stream,
        ShardId=_FIRST,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=number,
    )

    assert code == "ValidationException"
    assert f"Value '{number}' at 'startingSequenceNumber' failed to satisfy constraint: " in sentence


def test_kinds_that_aws_does_not_know_are_listed_against_its_set(kinesis: Any, stream: str) -> None:
    found = refusal(kinesis.get_shard_iterator, StreamName=stream, ShardId=_FIRST, ShardIteratorType="NEWEST")

    assert found[0] == "ValidationException"
    assert "Value 'NEWEST' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum" in found[1]


def test_required_members_are_missed_together(daemon: Daemon) -> None:
    answer = raw(daemon.url, "GetShardIterator", {})

    assert answer.json()["__type"] == "ValidationException"
    assert answer.json()["message"].startswith("2 validation errors detected: ")
    assert "Value null at 'shardId' failed to satisfy constraint: Member must not be null" in answer.json()["message"]


@pytest.mark.parametrize("shard", ["shardId-0", "shardId-000000000000", "0", "-0", "any-text-00"])
def test_a_shard_is_known_by_the_digits_at_the_end_of_its_id(kinesis: Any, stream: str, shard: str) -> None:
    _put(kinesis, stream, b"1")

    assert _read(kinesis, stream, "TRIM_HORIZON", ShardId=shard) == [b"1"]


@pytest.mark.parametrize("shard", ["shardId", "shardId-a", "shardId-", "shardId-2147483648", "9" * 30])
def test_an_id_that_is_none_is_refused_before_the_stream_is_looked_up(kinesis: Any, shard: str) -> None:
    found = refusal(kinesis.get_shard_iterator, StreamName="no-such-stream", ShardId=shard, ShardIteratorType="LATEST")

    assert found == (
        "ResourceNotFoundException",
        f"Could not find shard {shard} in stream no-such-stream under account 000000000000.",
    )


def test_a_stream_or_shard_that_is_not_there_is_one_sentence(kinesis: Any, stream: str) -> None:
    no_shard = refusal(kinesis.get_shard_iterator, StreamName=stream, ShardId="shardId-5", ShardIteratorType="LATEST")
    no_stream = refusal(kinesis.get_shard_iterator, StreamName="none", ShardId=_FIRST, ShardIteratorType="LATEST")

    assert no_shard == ("ResourceNotFoundException", _ABSENT.format("shardId-000000000005", stream))
    assert no_stream == ("ResourceNotFoundException", _ABSENT.format(_FIRST, "none"))


def test_a_stream_that_is_being_created_has_no_places(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory).client()
    client.create_stream(StreamName="coming", ShardCount=1)

    found = refusal(client.get_shard_iterator, StreamName="coming", ShardId=_FIRST, ShardIteratorType="LATEST")

    assert found == ("ResourceNotFoundException", _ABSENT.format(_FIRST, "coming"))


def test_the_stream_is_named_by_name_by_arn_or_by_both(kinesis: Any, stream: str) -> None:
    members = {"ShardId": _FIRST, "ShardIteratorType": "TRIM_HORIZON"}

    iterators = [
        kinesis.get_shard_iterator(**named, **members)["ShardIterator"]
        for named in (
            {"StreamName": stream},
            {"StreamARN": stream_arn_of(stream, region="ap-southeast-2")},
            {"StreamName": stream, "StreamARN": stream_arn_of(stream)},
        )
    ]
    different = refusal(kinesis.get_shard_iterator, StreamName="x", StreamARN=stream_arn_of(stream), **members)

    assert all(1 <= len(iterator) <= 512 for iterator in iterators)
    assert all(kinesis.get_records(ShardIterator=iterator)["Records"] == [] for iterator in iterators)
    assert different == (
        "InvalidArgumentException",
        f"Input stream name x doesn't match the inferred name in stream arn {stream}",
    )


def test_the_longest_stream_name_still_fits_an_iterator(kinesis: Any) -> None:
    name = "n" * 128
    kinesis.create_stream(StreamName=name, ShardCount=1)

    iterator = kinesis.get_shard_iterator(StreamName=name, ShardId=_FIRST, ShardIteratorType="LATEST")["ShardIterator"]

    assert len(iterator) <= 512
    assert kinesis.get_records(ShardIterator=iterator)["Records"] == []


def test_every_kind_gives_a_place_in_a_closed_shard(kinesis: Any, stream: str) -> None:
    numbers = _put(kinesis, stream, b"1", b"2")
    kinesis.split_shard(StreamName=stream, ShardToSplit=_FIRST, NewStartingHashKey=str(1 << 126))
    closed = kinesis.list_shards(StreamName=stream)["Shards"][0]
    last = closed["SequenceNumberRange"]["EndingSequenceNumber"]

    assert _read(kinesis, stream, "TRIM_HORIZON") == [b"1", b"2"]
    assert _read(kinesis, stream, "LATEST") == []
    assert _read(kinesis, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == [b"2"]
    assert _read(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[0]) == [b"2"]
    assert _read(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=last) == []
    assert _read(kinesis, stream, "AT_TIMESTAMP", Timestamp=datetime.now(UTC)) == []


async def test_a_number_that_has_expired_starts_at_the_horizon(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts")
        (old,) = await rooms.put("posts", b"old")
        clock.advance(25 * HOUR_MS)
        await rooms.put("posts", b"new")
        found = []
        for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            answer = await rooms.ask(
                "GetShardIterator",
                StreamName="posts",
                ShardId=_FIRST,
                ShardIteratorType=kind,
                StartingSequenceNumber=old.sequence_number,
            )
            answer = await rooms.ask("GetRecords", ShardIterator=answer["ShardIterator"])
            found.append([record["Data"] for record in answer["Records"]])

    assert found == [["bmV3"], ["bmV3"]]
