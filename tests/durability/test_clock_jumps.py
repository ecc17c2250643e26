"""The daemon's clock goes back an hour, forward a day, or stands still, while it runs and while it is down.

What is stored stays in order and stays whole, what was handed out stays good for its time by the clock, and nothing
waits for a clock that was set back to come round again.
"""

from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.durability.preloads import has_compiler
from tests.durability.wall_clock import DAY_S, HOUR_S, WallClock
from tests.kinesis.refusals import refusal, stream_arn_of
from tests.workers.wire import until

__all__: list[str] = []

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

UNSIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kinesis/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "X_Amz_Date": "20260101T000000Z",
}
MOVES: dict[str, Callable[[WallClock], None]] = {
    "back": lambda clock: clock.jump(-HOUR_S),
    "forward": lambda clock: clock.jump(DAY_S),
    "frozen": lambda clock: clock.freeze(),
}


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    folder = tmp_path / "clock"
    folder.mkdir()
    return WallClock(folder)


def put(kinesis: Any, *texts: bytes) -> list[tuple[str, str]]:
    """Put one after another; shard and sequence number of each."""
    answers = [kinesis.put_record(StreamName="jumps", PartitionKey=str(text[:40]), Data=text) for text in texts]
    return [(answer["ShardId"], answer["SequenceNumber"]) for answer in answers]


def read(kinesis: Any, shard_id: str, kind: str = "TRIM_HORIZON", **place: Any) -> list[dict[str, Any]]:
    """Read a shard from a place to its tip."""
    asked = {"StreamName": "jumps", "ShardId": shard_id, "ShardIteratorType": kind, **place}
    return whole(kinesis, kinesis.get_shard_iterator(**asked)["ShardIterator"])


def whole(kinesis: Any, iterator: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while iterator is not None:
        answer = kinesis.get_records(ShardIterator=iterator)
        found += answer["Records"]
        if not answer["Records"]:
            break
        iterator = answer.get("NextShardIterator")
    return found


def shard_ids(kinesis: Any) -> list[str]:
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName="jumps")["Shards"]]


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
    since_s = int(clock.now_s() * 1000) / 1000
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


@pytest.mark.parametrize("move", MOVES)
def test_what_was_handed_out_is_good_for_its_time_by_the_clock(
    daemon_factory: DaemonFactory, clock: WallClock, move: str
) -> None:
    kinesis = daemon_factory(environment=clock.environment).client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    kinesis.create_stream(StreamName="other", ShardCount=1)
    put(kinesis, b"before")
    asked = {"StreamName": "jumps", "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    shards_token = kinesis.list_shards(StreamName="jumps", MaxResults=1).get("NextToken")
    token = kinesis.list_streams(Limit=1)["NextToken"]

    MOVES[move](clock)
    put(kinesis, b"after")

    assert shards_token is None
    if move == "forward":
        assert refusal(kinesis.get_records, ShardIterator=iterator)[0] == "ExpiredIteratorException"
        assert refusal(kinesis.list_streams, NextToken=token)[0] == "ExpiredNextTokenException"
    else:
        assert [record["Data"] for record in whole(kinesis, iterator)] == [b"after"]
        assert kinesis.list_streams(NextToken=token)["StreamNames"] == ["other"]
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


def test_nothing_expires_earlier_than_the_clock_says(daemon_factory: DaemonFactory, clock: WallClock) -> None:
    kinesis = daemon_factory(environment=clock.environment).client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    put(kinesis, b"first")

    clock.jump(23 * HOUR_S)
    put(kinesis, b"second")
    young = [record["Data"] for record in read(kinesis, "shardId-000000000000")]
    clock.jump(2 * HOUR_S)
    old = [record["Data"] for record in read(kinesis, "shardId-000000000000")]
    clock.jump(-25 * HOUR_S)
    put(kinesis, b"third")
    # What came after the clock was set back is as old as the shard's last record, and expires with it.
    clock.jump(DAY_S + HOUR_S)
    late = [record["Data"] for record in read(kinesis, "shardId-000000000000")]

    assert young == [b"first", b"second"]
    assert old == [b"second"]
    assert late == [b"second", b"third"]


def test_a_closed_shard_is_kept_as_long_as_its_last_record(daemon_factory: DaemonFactory, clock: WallClock) -> None:
    kinesis = daemon_factory(environment=clock.environment).client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    put(kinesis, b"last")

    clock.jump(-HOUR_S)
    kinesis.split_shard(StreamName="jumps", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    clock.jump(DAY_S + HOUR_S / 2)

    assert [record["Data"] for record in read(kinesis, "shardId-000000000000")] == [b"last"]


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "while-down"])
def test_a_repeated_put_is_stored_once_though_its_shard_was_split_and_the_clock_set_forward(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock, *, is_live: bool
) -> None:
    daemon = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    kinesis = daemon.client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    first = put_once(daemon, "once")
    kinesis.split_shard(StreamName="jumps", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))

    clock.jump(HOUR_S)
    if not is_live:
        daemon.kill()
        daemon = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    again = put_once(daemon, "once")

    assert again == first
    assert [len(read(daemon.client(), shard_id)) for shard_id in shard_ids(daemon.client())] == [1, 0, 0]


def put_once(daemon: Daemon, text: str) -> Any:
    headers = {"x-streamd-producer-id": "0" * 32, "x-streamd-producer-sequence": "1"}
    document = {"StreamName": "jumps", "PartitionKey": text, "Data": b64encode(text.encode()).decode()}
    return raw(daemon.url, "PutRecord", document, **UNSIGNED, **headers).json()


def test_changes_that_are_counted_for_a_day_hold_nobody_up_for_as_long_as_the_clock_was_set_back(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    kinesis = daemon_factory("--limits", "aws", environment=clock.environment).client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    modes = cycle(("ON_DEMAND", "PROVISIONED"))

    def changes() -> int:
        """Count the changes of mode that are allowed now, up to three."""
        for count in range(3):
            mode = next(modes)
            asked = {"StreamARN": stream_arn_of("jumps"), "StreamModeDetails": {"StreamMode": mode}}
            try:
                kinesis.update_stream_mode(**asked)
            except kinesis.exceptions.LimitExceededException:
                next(modes)
                return count
        return 3

    fresh = changes()
    clock.jump(-HOUR_S)
    back = changes()
    clock.jump(HOUR_S)
    round_again = changes()
    clock.jump(DAY_S - 2 * HOUR_S)
    almost_a_day_later = changes()
    clock.jump(2 * HOUR_S)
    a_day_later = changes()

    # What was made by the clock that was set back counts once it has come round again.
    assert (fresh, back, round_again, almost_a_day_later, a_day_later) == (2, 2, 0, 0, 2)
