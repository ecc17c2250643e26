"""The daemon's clock goes back an hour, forward a day, or stands still, while it runs and while it is down.

What is stored stays in order and stays whole, what was handed out stays good for its time by the clock, and nothing
waits for a clock that was set back to come round again.
"""

from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.durability.jump_calls import put, read, shard_ids, whole
from tests.durability.wall_clock import DAY_S, HOUR_S, MOVES, WallClock
from tests.kinesis.refusals import refusal, stream_arn_of
from tests.workers.wire import until

__all__: list[str] = []


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "while-down"])
@pytest.mark.parametrize("move", MOVES)
def test_what_is_stored_stays_whole_and_in_order(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock, move: str, *, is_live: bool
) -> None:
    # By a clock that stands still nothing ever is in the second after.
    if move == "frozen":
        clock.freeze()
    flags = ("--workers", "3" if is_live else "1")
    daemon = daemon_factory(*flags, data=tmp_path / "data", environment=clock.environment)
    kinesis = daemon.client()
    kinesis.create_stream(StreamName="jumps", ShardCount=2)
    kinesis.increase_stream_retention_period(StreamName="jumps", RetentionPeriodHours=72)
    kinesis.register_stream_consumer(StreamARN=stream_arn_of("jumps"), ConsumerName="reader")
    places = put(kinesis, *(b"before-%d" % number for number in range(20)))

    MOVES[move](clock)
    if not is_live:
        daemon.kill()
        kinesis = daemon_factory(*flags, data=tmp_path / "data", environment=clock.environment).client()
    stream = kinesis.describe_stream(StreamName="jumps")["StreamDescription"]
    consumer = kinesis.describe_stream_consumer(StreamARN=stream_arn_of("jumps"), ConsumerName="reader")
    since_s = clock.now_ms() / 1000
    places += put(kinesis, *(b"after-%d" % number for number in range(20)))
    kinesis.split_shard(StreamName="jumps", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    places += put(kinesis, *(b"split-%d" % number for number in range(20)))
    kinesis.create_stream(StreamName="short", ShardCount=1)
    kinesis.delete_stream(StreamName="short")
    kinesis.create_stream(StreamName="short", ShardCount=1)

    assert stream["StreamStatus"] == "ACTIVE"
    assert consumer["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE"
    assert shard_ids(kinesis) == [f"shardId-{index:012}" for index in range(4)]
    for shard_id in shard_ids(kinesis):
        records = read(kinesis, shard_id)
        assert [record["SequenceNumber"] for record in records] == [n for shard, n in places if shard == shard_id]
        assert all(int(a["SequenceNumber"]) < int(b["SequenceNumber"]) for a, b in pairwise(records))
        arrivals = [record["ApproximateArrivalTimestamp"] for record in records]
        assert arrivals == sorted(arrivals)
        for arrival in {*arrivals[::9]}:
            found = read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=arrival)
            assert found == [record for record in records if record["ApproximateArrivalTimestamp"] >= arrival]
        later = read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=since_s)
        assert later == records[len(records) - len(later) :]
        assert all(arrival.timestamp() >= since_s for arrival in arrivals[len(records) - len(later) :])
    parent, *_, low, high = kinesis.list_shards(StreamName="jumps")["Shards"]
    ending = int(parent["SequenceNumberRange"]["EndingSequenceNumber"])
    assert all(int(child["SequenceNumberRange"]["StartingSequenceNumber"]) > ending for child in (low, high))


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "while-down"])
@pytest.mark.parametrize("move", MOVES)
def test_what_was_handed_out_is_good_for_its_time_by_the_clock(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock, move: str, *, is_live: bool
) -> None:
    daemon = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    kinesis = daemon.client()
    kinesis.create_stream(StreamName="jumps", ShardCount=2)
    kinesis.create_stream(StreamName="other", ShardCount=1)
    arn = stream_arn_of("jumps")
    for name in ("a", "b"):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name)
    ((shard_id, _),) = put(kinesis, b"before")
    asked = {"StreamName": "jumps", "ShardId": shard_id, "ShardIteratorType": "LATEST"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    tokens = {
        "list_shards": kinesis.list_shards(StreamName="jumps", MaxResults=1)["NextToken"],
        "list_streams": kinesis.list_streams(Limit=1)["NextToken"],
        "list_stream_consumers": kinesis.list_stream_consumers(StreamARN=arn, MaxResults=1)["NextToken"],
    }

    def rest_of(listing: str) -> Any:
        named = {"StreamARN": arn} if listing == "list_stream_consumers" else {}
        return getattr(kinesis, listing)(NextToken=tokens[listing], **named)

    MOVES[move](clock)
    if not is_live:
        daemon.kill()
        kinesis = daemon_factory(data=tmp_path / "data", environment=clock.environment).client()
    # The very same key, so that it comes to the same shard.
    kinesis.put_record(StreamName="jumps", PartitionKey=str(b"before"), Data=b"after")

    if move == "forward":
        assert refusal(kinesis.get_records, ShardIterator=iterator)[0] == "ExpiredIteratorException"
        assert {refusal(rest_of, listing=listing)[0] for listing in tokens} == {"ExpiredNextTokenException"}
    else:
        assert [record["Data"] for record in whole(kinesis, iterator)] == [b"after"]
        assert [shard["ShardId"] for shard in rest_of("list_shards")["Shards"]] == shard_ids(kinesis)[1:]
        assert rest_of("list_streams")["StreamNames"] == ["other"]
        assert [consumer["ConsumerName"] for consumer in rest_of("list_stream_consumers")["Consumers"]] == ["b"]
    kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**asked)["ShardIterator"])


@pytest.mark.parametrize("move", ["back", "frozen"])
def test_a_read_that_is_over_its_rate_is_let_through_in_its_second(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock, move: str
) -> None:
    # Without limits first, as these are more bytes than a shard takes in a second.
    first = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    first.client().create_stream(StreamName="jumps", ShardCount=1)
    put(first.client(), *(bytes(1_000_000) for _ in range(4)))
    first.stop()
    kinesis = daemon_factory("--limits", "aws", data=tmp_path / "data", environment=clock.environment).client()
    asked = {"StreamName": "jumps", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]

    def is_answered() -> bool:
        try:
            return bool(kinesis.get_records(ShardIterator=iterator)["Records"])
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            return False

    MOVES[move](clock)
    assert is_answered()
    assert not is_answered()
    if move == "back":
        MOVES[move](clock)

    until(is_answered)


def test_a_subscription_goes_on_through_a_jump_and_is_taken_over_after_one(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    kinesis = daemon_factory("--workers", "2", environment=clock.environment).client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    arn = kinesis.register_stream_consumer(StreamARN=stream_arn_of("jumps"), ConsumerName="reader")["Consumer"][
        "ConsumerARN"
    ]
    start = {"ConsumerARN": arn, "ShardId": "shardId-000000000000", "StartingPosition": {"Type": "LATEST"}}

    def begun() -> Any:
        stream = streams.enter_context(closing(kinesis.subscribe_to_shard(**start)["EventStream"]))
        events = iter(stream)
        assert "SubscribeToShardEvent" in next(events)
        return events

    def has_begun() -> bool:
        try:
            found.append(begun())
        except kinesis.exceptions.ResourceInUseException:
            return False
        return True

    def next_text(events: Any) -> bytes:
        records = (record for event in events for record in event["SubscribeToShardEvent"]["Records"])
        return bytes(next(records)["Data"])

    with ExitStack() as streams:
        found = [begun()]
        clock.jump(DAY_S)
        put(kinesis, b"a day ahead")
        ahead = next_text(found[-1])
        clock.jump(-DAY_S - HOUR_S)
        put(kinesis, b"an hour back")
        back = next_text(found[-1])
        until(has_begun)
        put(kinesis, b"taken over")

        assert ahead == b"a day ahead"
        assert back == b"an hour back"
        assert next_text(found[-1]) == b"taken over"
