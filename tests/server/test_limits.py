"""``--limits``: AWS's rates applied, or only counted; exact under a clock that stands still, shared by real workers."""

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from streamd.engine.quotas import LimitsMode
from tests.clocks import ManualClock
from tests.conftest import DaemonFactory
from tests.daemons import raw
from tests.engine.rooms import Refusal, Rooms, open_rooms
from tests.kinesis.refusals import stream_arn_of
from tests.server.pages import counted, samples_of

__all__: list[str] = []

_FIRST = "shardId-000000000000"
_SECOND = "shardId-000000000001"
_THROTTLED = "ProvisionedThroughputExceededException"
_HALF_KIB = 600 * 1024


def _rate_of_shard(shard: str) -> str:
    return f"Rate exceeded for shard {shard} in stream posts under account 000000000000."


def _entries(count: int, *, hash_key: str = "0", text: str = "YQ==") -> list[dict[str, str]]:
    return [{"Data": text, "PartitionKey": "k", "ExplicitHashKey": hash_key} for _ in range(count)]


async def _refusal(rooms: Rooms, operation: str, **members: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        await rooms.ask(operation, **members)
    return caught.value.code, caught.value.args[0]["message"]


async def _place(rooms: Rooms, shard: str = _FIRST) -> str:
    answer = await rooms.ask("GetShardIterator", StreamName="posts", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return str(answer["ShardIterator"])


async def test_a_shard_takes_a_thousand_records_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock, limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts", shard_count=2)
        within = [await rooms.ask("PutRecords", StreamName="posts", Records=_entries(500)) for _ in range(2)]
        mixed = _entries(2) + _entries(1, hash_key=str(1 << 127)) + _entries(1)
        over = await rooms.ask("PutRecords", StreamName="posts", Records=mixed)
        single = await _refusal(rooms, "PutRecord", StreamName="posts", **_entries(1)[0])
        clock.advance(1000)
        later = await rooms.ask("PutRecords", StreamName="posts", Records=mixed)
        stored = len(await rooms.payloads("posts"))
        throttles = counted(rooms.engine.metrics, "streamd_throttles_total", stream="posts", kind="write")
        failed = counted(rooms.engine.metrics, "streamd_failed_put_records_total", stream="posts")
        arrived = counted(rooms.engine.metrics, "streamd_incoming_records_total", stream="posts")

    refused = {"ErrorCode": _THROTTLED, "ErrorMessage": _rate_of_shard(_FIRST)}
    assert [answer["FailedRecordCount"] for answer in within] == [0, 0]
    assert over["FailedRecordCount"] == 3
    assert [over["Records"][place] for place in (0, 1, 3)] == [refused] * 3
    assert over["Records"][2].keys() == {"SequenceNumber", "ShardId"}
    assert single == (_THROTTLED, _rate_of_shard(_FIRST))
    assert later["FailedRecordCount"] == 0
    assert stored == 1003
    assert (throttles, failed, arrived) == (4, 3, 1005)


async def test_a_shard_takes_a_mebibyte_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    large = {"StreamName": "posts", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": "AAAA" * (_HALF_KIB // 3)}
    async with open_rooms(tmp_path / "data", clock, limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts", shard_count=2)
        await rooms.ask("PutRecord", **large)
        over = await _refusal(rooms, "PutRecord", **large)
        elsewhere = await rooms.ask("PutRecord", **(large | {"ExplicitHashKey": str(1 << 127)}))
        clock.advance(1000)
        await rooms.ask("PutRecord", **large)
        stored = len(await rooms.payloads("posts"))

    assert over == (_THROTTLED, _rate_of_shard(_FIRST))
    assert elsewhere["ShardId"] == _SECOND
    assert stored == 2


async def test_a_shard_is_read_five_times_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock, limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts", shard_count=2)
        places = [await _place(rooms, _FIRST), await _place(rooms, _SECOND)]
        for _ in range(5):
            await rooms.ask("GetRecords", ShardIterator=places[0])
        over = await _refusal(rooms, "GetRecords", ShardIterator=places[0])
        other = await rooms.ask("GetRecords", ShardIterator=places[1])
        clock.advance(1000)
        later = await rooms.ask("GetRecords", ShardIterator=places[0])
        throttles = counted(rooms.engine.metrics, "streamd_throttles_total", stream="posts", kind="read")

    assert over == (_THROTTLED, _rate_of_shard(_FIRST))
    assert other["Records"] == later["Records"] == []
    assert throttles == 1


async def test_a_large_answer_is_paid_off_at_two_mebibytes_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock, limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts")
        for _ in range(10):
            await rooms.ask("PutRecord", StreamName="posts", PartitionKey="k", Data="AAAA" * 349_000)
            clock.advance(1000)
        place = await _place(rooms)
        answer = await rooms.ask("GetRecords", ShardIterator=place)
        clock.advance(3_900)
        over = await _refusal(rooms, "GetRecords", ShardIterator=answer["NextShardIterator"])
        clock.advance(1_100)
        later = await rooms.ask("GetRecords", ShardIterator=answer["NextShardIterator"])

    assert len(answer["Records"]) == 10
    assert over == (_THROTTLED, _rate_of_shard(_FIRST))
    assert later["Records"] == []


async def test_iterators_are_given_five_times_a_second_and_shard(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock(), limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts", shard_count=2)
        for _ in range(5):
            await _place(rooms)
        place = {"ShardId": _FIRST, "ShardIteratorType": "LATEST"}
        over = await _refusal(rooms, "GetShardIterator", StreamARN=stream_arn_of("posts"), **place)
        elsewhere = await _place(rooms, _SECOND)

    assert over == (_THROTTLED, _rate_of_shard(_FIRST))
    assert elsewhere


@pytest.mark.parametrize(
    ("operation", "members", "rate_per_s"),
    [
        ("DescribeLimits", {}, 1),
        ("ListStreams", {}, 5),
        ("DescribeStream", {"StreamName": "posts"}, 10),
        ("DescribeStreamSummary", {"StreamName": "posts"}, 20),
        ("AddTagsToStream", {"StreamName": "posts", "Tags": {"a": "b"}}, 5),
        ("DescribeAccountSettings", {}, 5),
    ],
)
async def test_control_operations_have_a_rate_for_the_account(
    tmp_path: Path, operation: str, members: dict[str, Any], rate_per_s: int
) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path / "data", clock, limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts")
        for _ in range(rate_per_s):
            await rooms.ask(operation, **members)
        over = await _refusal(rooms, operation, **members)
        clock.advance(1000)
        await rooms.ask(operation, **members)
        throttles = counted(rooms.engine.metrics, "streamd_throttles_total", stream="", kind=operation)

    assert over == ("LimitExceededException", "Rate exceeded for account 000000000000.")
    assert throttles == 1


@pytest.mark.parametrize(
    ("operation", "members", "rate_per_s"),
    [
        ("ListTagsForStream", {}, 5),
        ("IncreaseStreamRetentionPeriod", {"RetentionPeriodHours": 24}, 5),
        ("EnableEnhancedMonitoring", {"ShardLevelMetrics": ["ALL"]}, 5),
        ("UpdateShardCount", {"TargetShardCount": 1, "ScalingType": "UNIFORM_SCALING"}, 10),
    ],
)
async def test_control_operations_have_a_rate_for_each_stream(
    tmp_path: Path, operation: str, members: dict[str, Any], rate_per_s: int
) -> None:
    async with open_rooms(tmp_path / "data", ManualClock(), limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts")
        await rooms.create("other")
        for _ in range(rate_per_s):
            await rooms.ask(operation, StreamName="posts", **members)
        over = await _refusal(rooms, operation, StreamARN=stream_arn_of("posts"), **members)
        await rooms.ask(operation, StreamName="other", **members)
        throttles = counted(rooms.engine.metrics, "streamd_throttles_total", stream="posts", kind=operation)

    assert over == ("LimitExceededException", "Rate exceeded for stream posts under account 000000000000.")
    assert throttles == 1


async def test_in_shadow_nothing_is_refused_and_everything_counted(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock(), limits=LimitsMode.SHADOW) as rooms:
        await rooms.create("posts")
        answers = [await rooms.ask("PutRecords", StreamName="posts", Records=_entries(500)) for _ in range(3)]
        place = await _place(rooms)
        for _ in range(8):
            await rooms.ask("GetRecords", ShardIterator=place, Limit=1)
        for _ in range(3):
            await rooms.ask("DescribeLimits")
        for _ in range(5):
            await _place(rooms)
        counts = {
            kind: counted(rooms.engine.metrics, "streamd_shadow_throttles_total", stream=stream, kind=kind)
            for stream, kind in (
                ("posts", "write"),
                ("posts", "read"),
                ("", "DescribeLimits"),
                ("posts", "GetShardIterator"),
            )
        }
        refused = counted(rooms.engine.metrics, "streamd_throttles_total", stream="posts", kind="write")
        stored = len(await rooms.payloads("posts"))

    assert [answer["FailedRecordCount"] for answer in answers] == [0, 0, 0]
    assert stored == 1500
    assert counts == {"write": 500, "read": 3, "DescribeLimits": 2, "GetShardIterator": 1}
    assert refused == 0


async def test_with_limits_off_nothing_is_refused_or_counted(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock()) as rooms:
        await rooms.create("posts")
        for _ in range(3):
            answer = await rooms.ask("PutRecords", StreamName="posts", Records=_entries(500))
            assert answer["FailedRecordCount"] == 0
        for _ in range(9):
            await rooms.ask("DescribeLimits")
        registry = rooms.engine.metrics._registry
        throttles = [sample for family in registry.collect() for sample in family.samples if "throttle" in sample.name]

    assert throttles == []


async def test_throttles_of_a_monitored_stream_show_shard_by_shard(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock(), limits=LimitsMode.AWS) as rooms:
        await rooms.create("posts")
        await rooms.ask("EnableEnhancedMonitoring", StreamName="posts", ShardLevelMetrics=["ALL"])
        for _ in range(2):
            await rooms.ask("PutRecords", StreamName="posts", Records=_entries(500))
        await rooms.ask("PutRecords", StreamName="posts", Records=_entries(7))
        place = await _place(rooms)
        for _ in range(5):
            await rooms.ask("GetRecords", ShardIterator=place, Limit=1)
        await _refusal(rooms, "GetRecords", ShardIterator=place)
        writes, reads = (
            counted(rooms.engine.metrics, f"streamd_shard_{kind}_throttles_total", stream="posts", shard=_FIRST)
            for kind in ("write", "read")
        )

    assert (writes, reads) == (7, 1)


def test_real_clients_meet_the_limits_and_the_page_shows_them(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")
    client = daemon.client()
    client.create_stream(StreamName="posts", ShardCount=1)
    entries = [{"Data": bytes((1 << 20) - 10), "PartitionKey": "k"} for _ in range(10)]

    answer = client.put_records(StreamName="posts", Records=entries)
    page = samples_of(daemon)

    # One more second may begin while they are taken, and bring one more record in.
    failed = [row for row in answer["Records"] if "ErrorCode" in row]
    assert answer["FailedRecordCount"] == len(failed) >= 8
    assert {(row["ErrorCode"], row["ErrorMessage"]) for row in failed} == {(_THROTTLED, _rate_of_shard(_FIRST))}
    assert counted(page, "streamd_throttles_total", stream="posts", kind="write") == len(failed)
    assert counted(page, "streamd_failed_put_records_total", stream="posts") == len(failed)
    assert counted(page, "streamd_incoming_records_total", stream="posts") == 10 - len(failed)


def test_workers_share_one_count(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws", "--workers", "3")
    began_s = int(time.monotonic())

    answers = [raw(daemon.url, "DescribeLimits", {}) for _ in range(40)]

    second_count = int(time.monotonic()) - began_s + 1
    passed = sum(answer.status == 200 for answer in answers)
    assert 1 <= passed <= second_count < 40
    assert {answer.json()["__type"] for answer in answers if answer.status != 200} == {"LimitExceededException"}


def test_in_shadow_real_clients_notice_nothing(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "shadow")
    client = daemon.client()
    client.create_stream(StreamName="posts", ShardCount=1)
    entries = [{"Data": bytes((1 << 20) - 10), "PartitionKey": "k"} for _ in range(10)]

    try:
        answer = client.put_records(StreamName="posts", Records=entries)
    except ClientError as error:
        pytest.fail(str(error))
    page = samples_of(daemon)

    assert answer["FailedRecordCount"] == 0
    assert counted(page, "streamd_shadow_throttles_total", stream="posts", kind="write") >= 8
    assert counted(page, "streamd_throttles_total", stream="posts", kind="write") == 0
