"""Splits, merges and scaling, through boto3 and a real daemon."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.refusals import ACCOUNT_ID, refusal, stream_arn_of

RING = 1 << 128
MIDDLE = str(RING // 2)
FIRST, SECOND, THIRD = (f"shardId-{index:012d}" for index in range(3))
PATIENT = {"Delay": 0, "MaxAttempts": 20_000}


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_name


@pytest.fixture
def pair(kinesis: Any, stream_name: str) -> str:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    return stream_name


def shards_of(kinesis: Any, name: str) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = kinesis.list_shards(StreamName=name)["Shards"]
    return shards


def open_ranges(kinesis: Any, name: str) -> list[tuple[int, int]]:
    ranges = [
        (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        for shard in shards_of(kinesis, name)
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    return sorted(ranges)


def covers_the_ring_once(ranges: list[tuple[int, int]]) -> bool:
    edges_touch = all(low[1] + 1 == high[0] for low, high in pairwise(ranges))
    return edges_touch and ranges[0][0] == 0 and ranges[-1][1] == RING - 1


def status_of(kinesis: Any, name: str) -> str:
    return str(kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"])


def read_all(kinesis: Any, name: str, shard_id: str) -> tuple[list[str], dict[str, Any]]:
    """Read a closed shard to its end; its sequence numbers, and the last answer."""
    iterator = kinesis.get_shard_iterator(StreamName=name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    token: str | None = iterator["ShardIterator"]
    numbers: list[str] = []
    answer: dict[str, Any] = {}
    while token is not None:
        answer = kinesis.get_records(ShardIterator=token)
        numbers += [record["SequenceNumber"] for record in answer["Records"]]
        token = answer.get("NextShardIterator")
    return numbers, answer


def test_a_split_closes_the_parent_and_opens_two_children(kinesis: Any, stream: str) -> None:
    kinesis.split_shard(StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)

    parent, low, high = shards_of(kinesis, stream)
    assert status_of(kinesis, stream) == "ACTIVE"
    assert [parent["ShardId"], low["ShardId"], high["ShardId"]] == [FIRST, SECOND, THIRD]
    assert low["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(RING // 2 - 1)}
    assert high["HashKeyRange"] == {"StartingHashKey": MIDDLE, "EndingHashKey": str(RING - 1)}
    assert low["ParentShardId"] == high["ParentShardId"] == FIRST
    assert "AdjacentParentShardId" not in low
    assert "EndingSequenceNumber" in parent["SequenceNumberRange"]
    assert "EndingSequenceNumber" not in low["SequenceNumberRange"]


def test_a_merge_closes_both_parents_and_opens_one_child(kinesis: Any, pair: str) -> None:
    kinesis.merge_shards(StreamName=pair, ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)

    low, high, child = shards_of(kinesis, pair)
    assert child["ShardId"] == THIRD
    assert (child["ParentShardId"], child["AdjacentParentShardId"]) == (FIRST, SECOND)
    assert child["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(RING - 1)}
    assert "EndingSequenceNumber" in low["SequenceNumberRange"]
    assert "EndingSequenceNumber" in high["SequenceNumberRange"]


def test_splits_and_merges_answer_an_empty_body(daemon: Daemon, stream: str) -> None:
    split = raw(daemon.url, "SplitShard", {"StreamName": stream, "ShardToSplit": "0", "NewStartingHashKey": MIDDLE})
    merged = raw(daemon.url, "MergeShards", {"StreamName": stream, "ShardToMerge": "1", "AdjacentShardToMerge": "2"})

    assert [(answer.status, answer.body) for answer in (split, merged)] == [(200, b""), (200, b"")]


def test_shards_are_reached_by_arn_and_by_the_digits_of_their_ids(kinesis: Any, pair: str) -> None:
    arn = stream_arn_of(pair)

    kinesis.merge_shards(StreamARN=arn, ShardToMerge="shardId-0", AdjacentShardToMerge="x-1")
    kinesis.split_shard(StreamName=pair, StreamARN=arn, ShardToSplit="2", NewStartingHashKey=MIDDLE)
    scaled = kinesis.update_shard_count(StreamARN=arn, TargetShardCount=4, ScalingType="UNIFORM_SCALING")

    assert len(open_ranges(kinesis, pair)) == 4
    assert scaled["StreamName"] == pair
    assert scaled["StreamARN"] == arn


def test_every_record_of_a_parent_lies_before_its_end_and_its_children_after_it(kinesis: Any, stream: str) -> None:
    for part in range(5):
        records = [{"Data": b"x", "PartitionKey": f"{part}-{number}"} for number in range(20)]
        kinesis.put_records(StreamName=stream, Records=records)

    kinesis.split_shard(StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
    put = [kinesis.put_record(StreamName=stream, Data=b"after", PartitionKey=f"{number}") for number in range(20)]
    kinesis.merge_shards(StreamName=stream, ShardToMerge=SECOND, AdjacentShardToMerge=THIRD)
    late = kinesis.put_record(StreamName=stream, Data=b"late", PartitionKey="p")

    parent, low, high, child = (shard["SequenceNumberRange"] for shard in shards_of(kinesis, stream))
    numbers, _ = read_all(kinesis, stream, FIRST)
    assert len(numbers) == 100
    assert int(parent["StartingSequenceNumber"]) < int(numbers[0])
    assert int(numbers[-1]) <= int(parent["EndingSequenceNumber"])
    for shard_id, span in ((SECOND, low), (THIRD, high)):
        mine = [int(record["SequenceNumber"]) for record in put if record["ShardId"] == shard_id]
        assert mine
        assert int(parent["EndingSequenceNumber"]) < int(span["StartingSequenceNumber"])
        assert int(span["StartingSequenceNumber"]) < min(mine) <= max(mine) <= int(span["EndingSequenceNumber"])
        assert int(span["EndingSequenceNumber"]) < int(child["StartingSequenceNumber"])
    assert late["ShardId"] == "shardId-000000000003"
    assert int(child["StartingSequenceNumber"]) < int(late["SequenceNumber"])


def test_reading_a_closed_parent_ends_with_its_children(kinesis: Any, stream: str) -> None:
    kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="p")
    kinesis.split_shard(StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey="1000")

    numbers, last = read_all(kinesis, stream, FIRST)

    assert len(numbers) == 1
    assert "NextShardIterator" not in last
    assert last["ChildShards"] == [
        {
            "ShardId": SECOND,
            "ParentShards": [FIRST],
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "999"},
        },
        {
            "ShardId": THIRD,
            "ParentShards": [FIRST],
            "HashKeyRange": {"StartingHashKey": "1000", "EndingHashKey": str(RING - 1)},
        },
    ]


def test_reading_a_merged_parent_ends_with_a_child_of_both(kinesis: Any, pair: str) -> None:
    kinesis.merge_shards(StreamName=pair, ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)

    for parent in (FIRST, SECOND):
        numbers, last = read_all(kinesis, pair, parent)
        assert numbers == []
        assert [child["ParentShards"] for child in last["ChildShards"]] == [[FIRST, SECOND]]


@pytest.mark.parametrize("hash_key", ["0", "1", str(RING - 1), str(RING), "9" * 39])
def test_a_hash_key_must_leave_two_keys_on_either_side(kinesis: Any, stream: str, hash_key: str) -> None:
    refused = refusal(kinesis.split_shard, StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=hash_key)

    assert refused == (
        "InvalidArgumentException",
        (
            f"NewStartingHashKey {hash_key} used in SplitShard() on shard {FIRST} in stream {stream} under account "
            f"{ACCOUNT_ID} is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's "
            f"EndingHashKey {RING - 1}."
        ),
    )
    assert len(shards_of(kinesis, stream)) == 1


def test_shards_are_split_until_they_are_too_narrow(kinesis: Any, stream: str) -> None:
    kinesis.split_shard(StreamName=stream, ShardToSplit="0", NewStartingHashKey="4")
    kinesis.split_shard(StreamName=stream, ShardToSplit="1", NewStartingHashKey="2")

    # Two keys are left, 0 and 1: no key lies far enough from both ends.
    narrow = [
        refusal(kinesis.split_shard, StreamName=stream, ShardToSplit="3", NewStartingHashKey=key)[0]
        for key in ("0", "1", "2", "3")
    ]

    assert narrow == ["InvalidArgumentException"] * 4
    assert open_ranges(kinesis, stream) == [(0, 1), (2, 3), (4, RING - 1)]


def test_a_hash_key_of_another_shard_is_refused(kinesis: Any, pair: str) -> None:
    refused = refusal(kinesis.split_shard, StreamName=pair, ShardToSplit=SECOND, NewStartingHashKey="1000")

    assert refused[0] == "InvalidArgumentException"
    assert f"the shard's StartingHashKey {RING // 2} " in refused[1]


def test_a_hash_key_must_be_a_number(kinesis: Any, stream: str) -> None:
    code, sentence = refusal(kinesis.split_shard, StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey="01")

    assert code == "ValidationException"
    assert sentence.startswith(
        "1 validation error detected: Value '01' at 'newStartingHashKey' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: "
    )


def test_a_shard_id_that_names_no_shard_is_refused_before_the_stream_is_looked_up(kinesis: Any) -> None:
    def expected(shard_id: str) -> tuple[str, str]:
        return (
            "ResourceNotFoundException",
            f"Could not find shard {shard_id} in stream nowhere under account {ACCOUNT_ID}.",
        )

    for bad in ("shardId-", "shardId-x", "2147483648"):
        split = refusal(kinesis.split_shard, StreamName="nowhere", ShardToSplit=bad, NewStartingHashKey="2")
        first = refusal(kinesis.merge_shards, StreamName="nowhere", ShardToMerge=bad, AdjacentShardToMerge="y")
        second = refusal(kinesis.merge_shards, StreamName="nowhere", ShardToMerge="0", AdjacentShardToMerge=bad)
        assert split == first == second == expected(bad)


def test_resharding_an_unknown_stream_is_refused(kinesis: Any, stream_name: str) -> None:
    expected = ("ResourceNotFoundException", f"Stream {stream_name} under account {ACCOUNT_ID} not found.")
    named = {"StreamName": stream_name}

    assert refusal(kinesis.split_shard, **named, ShardToSplit="0", NewStartingHashKey="2") == expected
    assert refusal(kinesis.merge_shards, **named, ShardToMerge="0", AdjacentShardToMerge="1") == expected
    assert refusal(kinesis.update_shard_count, **named, TargetShardCount=2, ScalingType="UNIFORM_SCALING") == expected


def test_a_shard_that_the_stream_does_not_have_is_refused(kinesis: Any, stream: str) -> None:
    expected = (
        "ResourceNotFoundException",
        f"Could not find shard shardId-000000000005 in stream {stream} under account {ACCOUNT_ID}.",
    )

    assert refusal(kinesis.split_shard, StreamName=stream, ShardToSplit="5", NewStartingHashKey="2") == expected
    assert refusal(kinesis.merge_shards, StreamName=stream, ShardToMerge="5", AdjacentShardToMerge="6") == expected
    assert refusal(kinesis.merge_shards, StreamName=stream, ShardToMerge="0", AdjacentShardToMerge="5") == expected


def test_a_closed_shard_is_not_split_or_merged_again(kinesis: Any, stream: str) -> None:
    kinesis.split_shard(StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
    expected = (
        "InvalidArgumentException",
        (
            f"Shard {FIRST} in stream {stream} under account {ACCOUNT_ID} has already been merged or split, "
            "and thus is not eligible for merging or splitting."
        ),
    )

    assert refusal(kinesis.split_shard, StreamName=stream, ShardToSplit="0", NewStartingHashKey="2") == expected
    assert refusal(kinesis.merge_shards, StreamName=stream, ShardToMerge="0", AdjacentShardToMerge="1") == expected
    assert refusal(kinesis.merge_shards, StreamName=stream, ShardToMerge="1", AdjacentShardToMerge="0") == expected


@pytest.mark.parametrize(("first", "second"), [(0, 2), (1, 0), (1, 1)])
def test_shards_that_are_not_a_pair_from_low_to_high_are_not_merged(
    kinesis: Any, stream_name: str, first: int, second: int
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=3)
    ids = [f"shardId-{index:012d}" for index in (first, second)]

    refused = refusal(kinesis.merge_shards, StreamName=stream_name, ShardToMerge=ids[0], AdjacentShardToMerge=ids[1])

    assert refused == (
        "InvalidArgumentException",
        (
            f"Shards {ids[0]} and {ids[1]} in stream {stream_name} under account {ACCOUNT_ID} "
            "are not an adjacent pair of shards eligible for merging"
        ),
    )


def test_shards_of_an_on_demand_stream_are_left_to_the_server(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    expected = (
        "ValidationException",
        f"Request is invalid. Stream {stream_name} under account {ACCOUNT_ID} is in On-Demand mode.",
    )
    named = {"StreamName": stream_name}

    assert refusal(kinesis.split_shard, **named, ShardToSplit="0", NewStartingHashKey="2") == expected
    assert refusal(kinesis.merge_shards, **named, ShardToMerge="0", AdjacentShardToMerge="1") == expected
    assert refusal(kinesis.update_shard_count, **named, TargetShardCount=8, ScalingType="UNIFORM_SCALING") == expected


@pytest.mark.parametrize(
    ("start", "target", "total"), [(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7), (3, 3, 3)]
)
def test_scaling_leaves_as_many_shards_as_in_aws(
    kinesis: Any, stream_name: str, start: int, target: int, total: int
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=start)

    answer = kinesis.update_shard_count(StreamName=stream_name, TargetShardCount=target, ScalingType="UNIFORM_SCALING")

    del answer["ResponseMetadata"]
    assert answer == {
        "StreamName": stream_name,
        "CurrentShardCount": start,
        "TargetShardCount": target,
        "StreamARN": stream_arn_of(stream_name),
    }
    ranges = open_ranges(kinesis, stream_name)
    assert status_of(kinesis, stream_name) == "ACTIVE"
    assert len(shards_of(kinesis, stream_name)) == total
    assert len(ranges) == target
    assert covers_the_ring_once(ranges)


@pytest.mark.parametrize(
    ("start", "target", "sentence"),
    [
        (2, 5, "UpdateShardCount cannot scale up over double your current open shard count."),
        (5, 2, "UpdateShardCount cannot scale down below half your current open shard count."),
        (2, 10_001, "Target shard count or number of open shards cannot be greater than 10000."),
    ],
)
def test_scaling_too_far_at_once_is_refused(
    kinesis: Any, stream_name: str, start: int, target: int, sentence: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=start)

    refused = refusal(
        kinesis.update_shard_count, StreamName=stream_name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
    )

    assert refused == (
        "LimitExceededException",
        f"{sentence} Current open shard count: {start}, Target shard count: {target}",
    )
    assert len(shards_of(kinesis, stream_name)) == start


def test_a_scaling_type_that_is_not_uniform_is_refused(kinesis: Any, stream: str) -> None:
    code, sentence = refusal(
        kinesis.update_shard_count, StreamName=stream, TargetShardCount=0, ScalingType="WILD_SCALING"
    )

    assert code == "ValidationException"
    assert sentence.startswith("2 validation errors detected: ")
    assert "Member must satisfy enum value set: [UNIFORM_SCALING]" in sentence
    assert "at 'targetShardCount' failed to satisfy constraint: Member must have value greater than or equal to 1" in (
        sentence
    )


def test_scaling_is_not_counted_unless_limits_are_on(kinesis: Any, stream: str) -> None:
    for _ in range(6):
        for target in (2, 1):
            kinesis.update_shard_count(StreamName=stream, TargetShardCount=target, ScalingType="UNIFORM_SCALING")

    assert len(open_ranges(kinesis, stream)) == 1


def test_the_eleventh_scaling_of_a_day_is_refused_under_aws_limits(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--limits", "aws").client()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    for target in [2, 1] * 5:
        patiently(kinesis.update_shard_count, StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING")

    refusals = []
    for _ in range(3):
        # Scaling to the present count is none: that it goes through shows that the rate per second is not to blame.
        patiently(kinesis.update_shard_count, StreamName="s", TargetShardCount=1, ScalingType="UNIFORM_SCALING")
        refusals.append(
            refusal(kinesis.update_shard_count, StreamName="s", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
        )

    assert refusals == [("LimitExceededException", f"Rate exceeded for stream s under account {ACCOUNT_ID}.")] * 3
    assert len(open_ranges(kinesis, "s")) == 1


def patiently(operation: Any, **members: Any) -> None:
    """Call an operation again for as long as its rate for this second is used up."""
    for _ in range(10_000):
        try:
            operation(**members)
        except operation.__self__.exceptions.LimitExceededException:
            continue
        return
    raise AssertionError("the rate limit never let the call through")


def test_a_split_past_the_shard_quota_is_refused(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--shard-quota", "3").client()
    kinesis.create_stream(StreamName="s", ShardCount=3)

    split = refusal(kinesis.split_shard, StreamName="s", ShardToSplit="0", NewStartingHashKey="2")
    scaled = refusal(kinesis.update_shard_count, StreamName="s", TargetShardCount=5, ScalingType="UNIFORM_SCALING")
    kinesis.merge_shards(StreamName="s", ShardToMerge="0", AdjacentShardToMerge="1")
    kinesis.split_shard(StreamName="s", ShardToSplit="3", NewStartingHashKey="2")

    for refused, added in ((split, 1), (scaled, 2)):
        assert refused[0] == "LimitExceededException"
        assert refused[1].startswith(
            f"This request would exceed the shard limit for the account {ACCOUNT_ID} in us-east-1. "
            "Current shard count for the account: 3. Limit: 3. "
            f"Number of additional shards that would have resulted from this request: {added}. Refer to "
        )


def test_a_stream_is_updating_until_the_transition_is_over(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--transition-ms", "2000").client()
    kinesis.create_stream(StreamName="slow", ShardCount=2)
    creating = refusal(kinesis.split_shard, StreamName="slow", ShardToSplit="0", NewStartingHashKey="2")
    kinesis.get_waiter("stream_exists").wait(StreamName="slow", WaiterConfig=PATIENT)

    kinesis.merge_shards(StreamName="slow", ShardToMerge="0", AdjacentShardToMerge="1")

    updating = refusal(kinesis.update_shard_count, StreamName="slow", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    meanwhile = kinesis.put_record(StreamName="slow", Data=b"x", PartitionKey="p", ExplicitHashKey="0")
    assert creating[1] == f"Stream slow under account {ACCOUNT_ID} not ACTIVE, instead in state CREATING"
    assert updating[1] == f"Stream slow under account {ACCOUNT_ID} not ACTIVE, instead in state UPDATING"
    assert creating[0] == updating[0] == "ResourceInUseException"
    assert meanwhile["ShardId"] == FIRST
    assert [shard["ShardId"] for shard in shards_of(kinesis, "slow")] == [FIRST, SECOND]
    kinesis.get_waiter("stream_exists").wait(StreamName="slow", WaiterConfig=PATIENT)
    assert [shard["ShardId"] for shard in shards_of(kinesis, "slow")] == [FIRST, SECOND, THIRD]
    later = kinesis.put_record(StreamName="slow", Data=b"x", PartitionKey="p", ExplicitHashKey="0")
    assert later["ShardId"] == THIRD


def test_of_two_splits_of_one_shard_at_once_only_one_happens(kinesis: Any, stream: str) -> None:
    def split(key: int) -> str:
        try:
            kinesis.split_shard(StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=str(key))
        except kinesis.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return "done"

    with ThreadPoolExecutor(4) as threads:
        answers = sorted(threads.map(split, [1000, 2000, 3000, 4000]))

    assert answers.count("done") == 1
    assert set(answers) <= {"done", "ResourceInUseException", "InvalidArgumentException"}
    assert len(shards_of(kinesis, stream)) == 3
    assert covers_the_ring_once(open_ranges(kinesis, stream))
