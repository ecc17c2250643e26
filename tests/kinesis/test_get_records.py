"""GetRecords: records from an iterator on, within bounds, to the end of a closed shard; iterators' lives."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import START_MS, ManualClock
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.engine.rooms import HOUR_MS, Refusal, Rooms, open_rooms
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_FIRST = "shardId-000000000000"
_MIB = 1 << 20
_INVALID = ("InvalidArgumentException", "Invalid ShardIterator.")


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of one shard, with nothing in it."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_name


def _start(kinesis: Any, stream: str, *, shard: str = _FIRST, kind: str = "TRIM_HORIZON") -> str:
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind)
    return str(answer["ShardIterator"])


def _fill(kinesis: Any, stream: str, count: int) -> None:
    for first in range(0, count, 500):
        entries = [{"Data": b"%d" % place, "PartitionKey": "key"} for place in range(first, min(count, first + 500))]
        kinesis.put_records(StreamName=stream, Records=entries)


async def _start_in(rooms: Rooms, name: str, *, kind: str = "TRIM_HORIZON") -> str:
    answer = await rooms.ask("GetShardIterator", StreamName=name, ShardId=_FIRST, ShardIteratorType=kind)
    return str(answer["ShardIterator"])


def test_an_empty_shard_gives_no_records_and_a_way_on(kinesis: Any, stream: str) -> None:
    answer = kinesis.get_records(ShardIterator=_start(kinesis, stream))

    assert answer.keys() == {"Records", "MillisBehindLatest", "NextShardIterator", "ResponseMetadata"}
    assert answer["Records"] == []
    assert answer["MillisBehindLatest"] == 0


def test_a_limit_cuts_the_answer_and_the_next_iterator_goes_on(kinesis: Any, stream: str) -> None:
    _fill(kinesis, stream, 10)
    place, found, sizes = _start(kinesis, stream), [], []

    for limit in (1, 4, 10_000):
        answer = kinesis.get_records(ShardIterator=place, Limit=limit)
        found += [int(record["Data"]) for record in answer["Records"]]
        sizes.append(len(answer["Records"]))
        place = answer["NextShardIterator"]

    assert sizes == [1, 4, 5]
    assert found == list(range(10))


def test_one_iterator_gives_the_same_records_each_time(kinesis: Any, stream: str) -> None:
    _fill(kinesis, stream, 5)
    place = _start(kinesis, stream)

    first, second = (kinesis.get_records(ShardIterator=place, Limit=2)["Records"] for _ in range(2))

    assert first == second
    assert len(first) == 2


def test_ten_thousand_records_are_the_most_of_one_answer(kinesis: Any, stream: str) -> None:
    _fill(kinesis, stream, 10_500)

    answer = kinesis.get_records(ShardIterator=_start(kinesis, stream))
    rest = kinesis.get_records(ShardIterator=answer["NextShardIterator"])

    assert [int(record["Data"]) for record in answer["Records"]] == list(range(10_000))
    assert [int(record["Data"]) for record in rest["Records"]] == list(range(10_000, 10_500))
    assert rest["MillisBehindLatest"] == 0


@pytest.mark.parametrize(
    ("limit", "bound"), [(0, "greater than or equal to 1"), (10_001, "less than or equal to 10000")]
)
def test_limits_out_of_bounds_are_faults_of_validation(kinesis: Any, stream: str, limit: int, bound: str) -> None:
    found = refusal(kinesis.get_records, ShardIterator=_start(kinesis, stream), Limit=limit)

    assert found == (
        "ValidationException",
        (
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
            f"Member must have value {bound}"
        ),
    )


def test_an_answer_stays_within_ten_mebibytes_and_loses_nothing(kinesis: Any, stream: str) -> None:
    for number in range(13):
        kinesis.put_record(StreamName=stream, Data=bytes([number]) * (_MIB - 3), PartitionKey="key")
    place, sizes = _start(kinesis, stream), []
    found: list[int] = []

    while len(found) < 13:
        answer = kinesis.get_records(ShardIterator=place)
        sizes.append(sum(len(record["Data"]) + len(record["PartitionKey"]) for record in answer["Records"]))
        found += [record["Data"][0] for record in answer["Records"]]
        place = answer["NextShardIterator"]

    assert sizes == [10 * _MIB, 3 * _MIB]
    assert found == list(range(13))


def test_a_record_of_ten_mebibytes_comes_alone(kinesis: Any, stream: str) -> None:
    kinesis.update_max_record_size(StreamARN=stream_arn_of(stream), MaxRecordSizeInKiB=10240)
    for size in (10 * _MIB - 1, 0):
        kinesis.put_record(StreamName=stream, Data=bytes(size), PartitionKey="k")

    answer = kinesis.get_records(ShardIterator=_start(kinesis, stream))
    rest = kinesis.get_records(ShardIterator=answer["NextShardIterator"])

    assert [len(record["Data"]) for record in answer["Records"]] == [10 * _MIB - 1]
    assert [len(record["Data"]) for record in rest["Records"]] == [0]


def test_a_record_carries_the_time_it_arrived(kinesis: Any, stream: str) -> None:
    before = datetime.now(UTC)
    _fill(kinesis, stream, 1)
    after = datetime.now(UTC)

    (record,) = kinesis.get_records(ShardIterator=_start(kinesis, stream))["Records"]

    floor = before.replace(microsecond=before.microsecond // 1000 * 1000)
    assert floor <= record["ApproximateArrivalTimestamp"] <= after


async def test_how_far_behind_is_told_from_the_last_record_given(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts")
        for payload in (b"1", b"2", b"3"):
            await rooms.put("posts", payload)
            clock.advance(10_000)
        place, behind = await _start_in(rooms, "posts"), []
        for _ in range(4):
            answer = await rooms.ask("GetRecords", ShardIterator=place, Limit=1)
            behind.append(answer["MillisBehindLatest"])
            place = answer["NextShardIterator"]

    assert behind == [30_000, 20_000, 0, 0]


@pytest.mark.parametrize("mark", ['"{}"', '{}"', '"{}'])
def test_an_iterator_that_a_shell_quoted_is_accepted(kinesis: Any, stream: str, mark: str) -> None:
    _fill(kinesis, stream, 1)

    answer = kinesis.get_records(ShardIterator=mark.format(_start(kinesis, stream)))

    assert len(answer["Records"]) == 1


def test_iterators_that_this_server_did_not_make_are_refused(kinesis: Any, stream: str) -> None:
    good = _start(kinesis, stream)
    content = base64.b64decode(good)
    altered = [content[:n] + bytes([content[n] ^ 1]) + content[n + 1 :] for n in range(len(content))]
    forged = ["a", "AAAA", '"', '""', "é", "%", good[:-4], good + "AAAA", good[4:], good + "\n", " " + good]

    for token in [*forged, *(base64.b64encode(text).decode() for text in altered)]:
        assert refusal(kinesis.get_records, ShardIterator=token) == _INVALID


def test_a_page_token_is_no_iterator_and_an_iterator_no_page_token(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    page_token = kinesis.list_shards(StreamName=stream_name, MaxResults=1)["NextToken"]

    as_iterator = refusal(kinesis.get_records, ShardIterator=page_token)
    as_page_token = refusal(kinesis.list_shards, NextToken=_start(kinesis, stream_name))

    assert as_iterator == _INVALID
    assert as_page_token == ("InvalidArgumentException", "Invalid NextToken.")


@pytest.mark.parametrize("length", [0, 513])
def test_an_iterator_of_an_impossible_length_is_a_fault_of_validation(kinesis: Any, length: int) -> None:
    code, sentence = refusal(kinesis.get_records, ShardIterator="a" * length)

    assert code == "ValidationException"
    assert "at 'shardIterator' failed to satisfy constraint: Member must have length" in sentence


async def test_an_iterator_lives_five_minutes_and_not_a_moment_longer(tmp_path: Path) -> None:
    clock = ManualClock(1_421_889_722_345)
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts")
        place = await _start_in(rooms, "posts")
        clock.advance(300_000)
        fresh = await rooms.ask("GetRecords", ShardIterator=place)
        clock.advance(1)
        with pytest.raises(Refusal) as caught:
            await rooms.ask("GetRecords", ShardIterator=place)
        renewed = await rooms.ask("GetRecords", ShardIterator=fresh["NextShardIterator"])

    assert caught.value.args[0] == {
        "__type": "ExpiredIteratorException",
        "message": "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while right now "
        "it is Thu Jan 22 01:27:02 UTC 2015 which is further in the future than the tolerated delay of "
        "300000 milliseconds.",
    }
    assert renewed["Records"] == []


async def test_a_page_token_lives_five_minutes_too(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts", shard_count=3)
        token = (await rooms.ask("ListShards", StreamName="posts", MaxResults=1))["NextToken"]
        clock.advance(300_000)
        page = await rooms.ask("ListShards", NextToken=token)
        clock.advance(1)
        with pytest.raises(Refusal) as caught:
            await rooms.ask("ListShards", NextToken=token)

    assert len(page["Shards"]) == 2
    assert caught.value.code == "ExpiredNextTokenException"


def test_iterators_and_page_tokens_survive_a_restart(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory()
    client = first.client()
    client.create_stream(StreamName="posts", ShardCount=2)
    client.put_record(StreamName="posts", Data=b"1", PartitionKey="k", ExplicitHashKey="0")
    place = _start(client, "posts")
    place = client.get_records(ShardIterator=place, Limit=1)["NextShardIterator"]
    token = client.list_shards(StreamName="posts", MaxResults=1)["NextToken"]
    client.put_record(StreamName="posts", Data=b"2", PartitionKey="k", ExplicitHashKey="0")
    first.stop()

    client = daemon_factory(data=first.data).client()

    assert [record["Data"] for record in client.get_records(ShardIterator=place)["Records"]] == [b"2"]
    assert [shard["ShardId"] for shard in client.list_shards(NextToken=token)["Shards"]] == ["shardId-000000000001"]


def test_an_iterator_of_another_data_directory_is_refused(daemon_factory: DaemonFactory) -> None:
    clients = [daemon_factory().client() for _ in range(2)]
    for client in clients:
        client.create_stream(StreamName="posts", ShardCount=1)

    found = refusal(clients[1].get_records, ShardIterator=_start(clients[0], "posts"))

    assert found == _INVALID


def test_an_arn_must_name_the_iterators_stream(kinesis: Any, stream: str) -> None:
    place = _start(kinesis, stream)

    own = kinesis.get_records(ShardIterator=place, StreamARN=stream_arn_of(stream))
    other = refusal(kinesis.get_records, ShardIterator=place, StreamARN=stream_arn_of("another"))
    foreign = stream_arn_of(stream, account_id="999999999999")
    foreign_code, foreign_sentence = refusal(kinesis.get_records, ShardIterator=place, StreamARN=foreign)

    assert own["Records"] == []
    assert other == (
        "InvalidArgumentException",
        f"Input stream name {stream} doesn't match the inferred name in stream arn another",
    )
    assert foreign_code == "ResourceNotFoundException"
    assert foreign_sentence == f"Stream {stream} under account 999999999999 not found."


def test_an_iterator_of_a_stream_that_is_gone_finds_no_shard(kinesis: Any, stream: str) -> None:
    place = _start(kinesis, stream)
    kinesis.delete_stream(StreamName=stream)

    gone = refusal(kinesis.get_records, ShardIterator=place)
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    made_again = refusal(kinesis.get_records, ShardIterator=place)

    sentence = f"Shard {_FIRST} in stream {stream} under account 000000000000 does not exist"
    assert gone == made_again == ("ResourceNotFoundException", sentence)


def test_a_closed_shard_ends_with_its_children(daemon: Daemon, kinesis: Any, stream: str) -> None:
    _fill(kinesis, stream, 3)
    place = _start(kinesis, stream)
    middle = 1 << 127
    kinesis.split_shard(StreamName=stream, ShardToSplit=_FIRST, NewStartingHashKey=str(middle))

    part = kinesis.get_records(ShardIterator=place, Limit=2)
    end = raw(daemon.url, "GetRecords", {"ShardIterator": part["NextShardIterator"]}).json()
    after = raw(daemon.url, "GetRecords", {"ShardIterator": _start(kinesis, stream, kind="LATEST")}).json()

    assert len(part["Records"]) == 2
    assert "ChildShards" not in part
    assert [base64.b64decode(record["Data"]) for record in end["Records"]] == [b"2"]
    assert end.get("NextShardIterator") is None
    assert end["ChildShards"] == [
        {
            "ShardId": "shardId-000000000001",
            "ParentShards": [_FIRST],
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(middle - 1)},
        },
        {
            "ShardId": "shardId-000000000002",
            "ParentShards": [_FIRST],
            "HashKeyRange": {"StartingHashKey": str(middle), "EndingHashKey": str((1 << 128) - 1)},
        },
    ]
    assert after["Records"] == []
    assert after["ChildShards"] == end["ChildShards"]


def test_both_parents_of_a_merge_end_with_the_same_child(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    kinesis.merge_shards(StreamName=stream_name, ShardToMerge=_FIRST, AdjacentShardToMerge="shardId-000000000001")

    ends = [
        kinesis.get_records(ShardIterator=_start(kinesis, stream_name, shard=f"shardId-{index:012d}"))
        for index in range(2)
    ]

    child = {
        "ShardId": "shardId-000000000002",
        "ParentShards": [_FIRST, "shardId-000000000001"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str((1 << 128) - 1)},
    }
    assert [end["ChildShards"] for end in ends] == [[child], [child]]
    assert all(end.get("NextShardIterator") is None for end in ends)


async def test_expired_records_are_never_given_and_nothing_after_them_is_lost(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock) as rooms:
        await rooms.create("posts")
        await rooms.put("posts", b"old")
        clock.advance(24 * HOUR_MS)
        await rooms.put("posts", b"new")
        at_the_edge = await rooms.ask("GetRecords", ShardIterator=await _start_in(rooms, "posts"))
        clock.advance(1)
        past_it = await rooms.ask("GetRecords", ShardIterator=await _start_in(rooms, "posts"))
        clock.advance(24 * HOUR_MS)
        nothing = await rooms.ask("GetRecords", ShardIterator=await _start_in(rooms, "posts"))

    assert [record["Data"] for record in at_the_edge["Records"]] == ["b2xk", "bmV3"]
    assert at_the_edge["Records"][0]["ApproximateArrivalTimestamp"] == START_MS / 1000
    assert [record["Data"] for record in past_it["Records"]] == ["bmV3"]
    assert nothing["Records"] == []
    assert nothing["MillisBehindLatest"] == 0
