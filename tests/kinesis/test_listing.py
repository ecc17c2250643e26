"""ListShards: filters, pages and tokens, through boto3 and a real daemon."""

from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from streamd.core.tokens import TokenMint
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.kinesis.refusals import ACCOUNT_ID, refusal, stream_arn_of

HALF = str(1 << 127)
QUARTER = str(1 << 126)


@pytest.fixture
def resharded(kinesis: Any, stream_name: str) -> str:
    """Give a stream whose shard 0 was split into 1 and 2, and then 1 into 3 and 4."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.split_shard(StreamName=stream_name, ShardToSplit="0", NewStartingHashKey=HALF)
    kinesis.split_shard(StreamName=stream_name, ShardToSplit="1", NewStartingHashKey=QUARTER)
    return stream_name


def indexes(answer: dict[str, Any]) -> list[int]:
    return [int(shard["ShardId"].removeprefix("shardId-")) for shard in answer["Shards"]]


def listed(kinesis: Any, name: str, **shard_filter: Any) -> list[int]:
    return indexes(kinesis.list_shards(StreamName=name, ShardFilter=shard_filter))


def server_time(answer: dict[str, Any]) -> float:
    """Give the time at which an answer was sent, to the second."""
    header = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return parsedate_to_datetime(header).timestamp()


def test_a_shard_is_listed_with_its_ranges_and_parents(kinesis: Any, resharded: str) -> None:
    shards = kinesis.list_shards(StreamName=resharded)["Shards"]

    assert [shard["ShardId"] for shard in shards] == [f"shardId-{index:012d}" for index in range(5)]
    assert set(shards[0]) == {"ShardId", "HashKeyRange", "SequenceNumberRange"}
    assert shards[4]["HashKeyRange"] == {"StartingHashKey": QUARTER, "EndingHashKey": str((1 << 127) - 1)}
    assert shards[4]["ParentShardId"] == "shardId-000000000001"
    closed = ["EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in shards]
    assert closed == [True, True, False, False, False]


def test_a_stream_is_listed_by_name_by_arn_and_by_both(kinesis: Any, resharded: str) -> None:
    arn = stream_arn_of(resharded)

    by_name = kinesis.list_shards(StreamName=resharded)["Shards"]

    assert kinesis.list_shards(StreamARN=arn)["Shards"] == by_name
    assert kinesis.list_shards(StreamName=resharded, StreamARN=arn)["Shards"] == by_name
    assert refusal(kinesis.list_shards, StreamName="other", StreamARN=arn) == (
        "InvalidArgumentException",
        f"Input stream name other doesn't match the inferred name in stream arn {resharded}",
    )


@pytest.mark.parametrize(
    ("shard_filter", "expected"),
    [
        ({"Type": "FROM_TRIM_HORIZON"}, [0, 1, 2, 3, 4]),
        ({"Type": "AT_TRIM_HORIZON"}, [0]),
        ({"Type": "AT_LATEST"}, [2, 3, 4]),
        ({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000002"}, [3, 4]),
        ({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000004"}, []),
        ({"Type": "FROM_TIMESTAMP", "Timestamp": 1_400_000_000}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_filter_chooses_the_shards(
    kinesis: Any, resharded: str, shard_filter: dict[str, Any], expected: list[int]
) -> None:
    assert listed(kinesis, resharded, **shard_filter) == expected


def test_a_filter_by_time_sees_the_shards_of_that_time(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory().client()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    before = wait_for_the_next_second(kinesis)
    kinesis.split_shard(StreamName="s", ShardToSplit="0", NewStartingHashKey=HALF)
    between = wait_for_the_next_second(kinesis)
    kinesis.split_shard(StreamName="s", ShardToSplit="1", NewStartingHashKey=QUARTER)
    after = wait_for_the_next_second(kinesis)

    at = [listed(kinesis, "s", Type="AT_TIMESTAMP", Timestamp=time_s) for time_s in (before, between, after)]
    since = [listed(kinesis, "s", Type="FROM_TIMESTAMP", Timestamp=time_s) for time_s in (before, between, after)]

    assert at == [[0], [1, 2], [2, 3, 4]]
    assert since == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4]]


def wait_for_the_next_second(kinesis: Any) -> float:
    """Poll until the server's clock shows another second than at first; give that second."""
    first = server_time(kinesis.describe_limits())
    for _ in range(100_000):
        now = server_time(kinesis.describe_limits())
        if now > first:
            return now
    raise AssertionError("the server's clock stands still")


def test_the_time_of_creation_as_answered_can_be_listed_at(kinesis: Any, resharded: str) -> None:
    summary = kinesis.describe_stream_summary(StreamName=resharded)["StreamDescriptionSummary"]
    created = summary["StreamCreationTimestamp"]

    assert listed(kinesis, resharded, Type="AT_TIMESTAMP", Timestamp=created) == [0]
    assert indexes(kinesis.list_shards(StreamName=resharded, StreamCreationTimestamp=created)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("shard_filter", "sentence"),
    [
        (
            {"Type": "AFTER_SHARD_ID"},
            "ShardId must be supplied in a ShardFilter with a Type of AFTER_SHARD_ID",
        ),
        (
            {"Type": "AT_LATEST", "ShardId": "shardId-000000000000"},
            "ShardId must not be supplied in a ShardFilter with a Type of AT_LATEST",
        ),
        (
            {"Type": "AT_TIMESTAMP"},
            "Timestamp must be supplied in a ShardFilter with a Type of FROM_TIMESTAMP or AT_TIMESTAMP",
        ),
        (
            {"Type": "FROM_TIMESTAMP"},
            "Timestamp must be supplied in a ShardFilter with a Type of FROM_TIMESTAMP or AT_TIMESTAMP",
        ),
        (
            {"Type": "AT_TRIM_HORIZON", "Timestamp": 1_400_000_000},
            "Timestamp must not be supplied in a ShardFilter with a Type of AT_TRIM_HORIZON",
        ),
        (
            {"Type": "AT_TIMESTAMP", "Timestamp": 4_000_000_000},
            "ShardFilter Timestamp must not be greater than current time.",
        ),
        (
            {"Type": "FROM_TIMESTAMP", "Timestamp": 4_000_000_000},
            "ShardFilter Timestamp must not be greater than current time.",
        ),
        (
            {"Type": "AT_TIMESTAMP", "Timestamp": 1_400_000_000},
            "ShardFilter Timestamp cannot be older than TRIM_HORIZON of the stream.",
        ),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    kinesis: Any, resharded: str, shard_filter: dict[str, Any], sentence: str
) -> None:
    refused = refusal(kinesis.list_shards, StreamName=resharded, ShardFilter=shard_filter)

    assert refused == ("InvalidArgumentException", sentence)


def test_a_filter_needs_a_type_that_exists(kinesis: Any, resharded: str) -> None:
    missing = refusal(kinesis.list_shards, StreamName=resharded, ShardFilter={})
    unknown = refusal(kinesis.list_shards, StreamName=resharded, ShardFilter={"Type": "ALL"})

    assert missing == (
        "ValidationException",
        (
            "1 validation error detected: Value null at 'shardFilter.type' failed to satisfy constraint: "
            "Member must not be null"
        ),
    )
    assert unknown[0] == "ValidationException"
    assert unknown[1].startswith("1 validation error detected: Value 'ALL' at 'shardFilter.type' failed")


def test_shards_are_listed_after_a_shard(kinesis: Any, resharded: str) -> None:
    answer = kinesis.list_shards(StreamName=resharded, ExclusiveStartShardId="shardId-000000000001")

    assert indexes(answer) == [2, 3, 4]


def test_pages_follow_each_other_until_there_is_no_token(kinesis: Any, resharded: str) -> None:
    first = kinesis.list_shards(StreamName=resharded, MaxResults=2)
    second = kinesis.list_shards(NextToken=first["NextToken"], MaxResults=2)
    third = kinesis.list_shards(NextToken=second["NextToken"])

    assert [indexes(page) for page in (first, second, third)] == [[0, 1], [2, 3], [4]]
    assert "NextToken" not in third


def test_a_full_last_page_carries_no_token(kinesis: Any, resharded: str) -> None:
    assert "NextToken" not in kinesis.list_shards(StreamName=resharded, MaxResults=5)


def test_a_token_keeps_the_filter_of_its_listing(kinesis: Any, resharded: str) -> None:
    open_ones = kinesis.list_shards(StreamName=resharded, ShardFilter={"Type": "AT_LATEST"}, MaxResults=1)
    later = {"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000000"}
    after = kinesis.list_shards(StreamName=resharded, ShardFilter=later, MaxResults=1)

    assert indexes(open_ones) == [2]
    assert indexes(kinesis.list_shards(NextToken=open_ones["NextToken"])) == [3, 4]
    assert indexes(after) == [1]
    assert indexes(kinesis.list_shards(NextToken=after["NextToken"])) == [2, 3, 4]


def test_a_page_holds_a_thousand_shards_at_most(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1001)

    first = kinesis.list_shards(StreamName=stream_name, MaxResults=10_000)
    rest = kinesis.list_shards(NextToken=first["NextToken"])

    assert len(first["Shards"]) == 1000
    assert indexes(rest) == [1000]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("StreamName", "s"),
        ("StreamARN", "arn:aws:kinesis:us-east-1:000000000000:stream/s"),
        ("ExclusiveStartShardId", "shardId-000000000000"),
        ("ShardFilter", {"Type": "AT_LATEST"}),
        ("StreamCreationTimestamp", 1_400_000_000),
    ],
)
def test_a_token_allows_no_second_way_to_say_what_is_listed(
    kinesis: Any, resharded: str, member: str, value: Any
) -> None:
    token = kinesis.list_shards(StreamName=resharded, MaxResults=1)["NextToken"]

    refused = refusal(kinesis.list_shards, NextToken=token, **{member: value})

    assert refused == ("InvalidArgumentException", f"NextToken and {member} cannot be provided together.")


def test_a_listing_needs_a_stream_or_a_token(kinesis: Any) -> None:
    assert refusal(kinesis.list_shards) == (
        "InvalidArgumentException",
        "Either NextToken or StreamName should be provided.",
    )


def test_two_places_to_start_from_are_refused(kinesis: Any, resharded: str) -> None:
    refused = refusal(
        kinesis.list_shards,
        StreamName=resharded,
        ExclusiveStartShardId="shardId-000000000000",
        ShardFilter={"Type": "AT_LATEST"},
    )

    assert refused == (
        "InvalidArgumentException",
        "ShardFilter and ExclusiveStartShardId cannot be provided together.",
    )


def test_a_token_that_was_not_made_here_is_refused(kinesis: Any, resharded: str) -> None:
    token = kinesis.list_shards(StreamName=resharded, MaxResults=1)["NextToken"]
    iterator = kinesis.get_shard_iterator(StreamName=resharded, ShardId="2", ShardIteratorType="LATEST")
    altered = token[:-8] + ("A" if token[-8] != "A" else "B") + token[-7:]

    for bad in ("x", "bm8gdG9rZW4=", altered, iterator["ShardIterator"]):
        assert refusal(kinesis.list_shards, NextToken=bad) == ("InvalidArgumentException", "Invalid NextToken.")


def test_a_token_does_not_list_a_later_stream_of_the_same_name(kinesis: Any, resharded: str) -> None:
    token = kinesis.list_shards(StreamName=resharded, MaxResults=1)["NextToken"]
    kinesis.delete_stream(StreamName=resharded)
    gone = refusal(kinesis.list_shards, NextToken=token)
    kinesis.create_stream(StreamName=resharded, ShardCount=3)

    another = refusal(kinesis.list_shards, NextToken=token)

    expected = ("ResourceNotFoundException", f"Stream {resharded} under account {ACCOUNT_ID} not found.")
    assert gone == another == expected


def test_a_token_works_after_a_restart(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=3)
    token = daemon.client().list_shards(StreamName="s", MaxResults=1)["NextToken"]
    daemon.stop()

    again = daemon_factory(data=daemon.data)

    assert indexes(again.client().list_shards(NextToken=token)) == [1, 2]


def test_a_token_older_than_five_minutes_is_refused(daemon: Daemon, kinesis: Any, resharded: str) -> None:
    arn = stream_arn_of(resharded)
    for name in ("a", "b"):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name)
    shards = kinesis.list_shards(StreamName=resharded, MaxResults=1)["NextToken"]
    consumers = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=1)["NextToken"]

    by_shards = refusal(kinesis.list_shards, NextToken=aged(daemon, shards))
    by_consumers = refusal(kinesis.list_stream_consumers, StreamARN=arn, NextToken=aged(daemon, consumers))

    assert by_shards == by_consumers == ("ExpiredNextTokenException", "NextToken has expired.")


def aged(daemon: Daemon, token: str) -> str:
    """Give the token as it would be if it had been made five minutes and some seconds earlier."""
    mint = TokenMint((daemon.data / "token.secret").read_bytes())
    place = mint.read_page(token, scope="", now_ms=0)
    return mint.page(replace(place, created_ms=place.created_ms - 301_000))


def test_listing_an_unknown_stream_is_refused(kinesis: Any, resharded: str, stream_name: str) -> None:
    unknown = refusal(kinesis.list_shards, StreamName=f"{stream_name}-x")
    earlier = refusal(kinesis.list_shards, StreamName=resharded, StreamCreationTimestamp=1_400_000_000)

    assert unknown == (
        "ResourceNotFoundException",
        f"Stream {stream_name}-x under account {ACCOUNT_ID} not found.",
    )
    assert earlier == ("ResourceNotFoundException", f"Stream {resharded} under account {ACCOUNT_ID} not found.")


@pytest.mark.parametrize("count", [0, 10_001])
def test_a_page_size_outside_its_range_is_refused(kinesis: Any, resharded: str, count: int) -> None:
    code, sentence = refusal(kinesis.list_shards, StreamName=resharded, MaxResults=count)

    assert code == "ValidationException"
    assert f"Value '{count}' at 'maxResults' failed to satisfy constraint: Member must have value" in sentence


def test_a_stream_that_is_being_created_lists_no_shards(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--transition-ms", "600000").client()
    kinesis.create_stream(StreamName="slow", ShardCount=3)

    assert kinesis.list_shards(StreamName="slow")["Shards"] == []
