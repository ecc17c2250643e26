"""What lasts for a time lasts for that time, whatever the clock is set to meanwhile: retention, limits, states, memory.

What has to outlast a restart goes by the wall clock: set forward it ends early, by no more than the clock was set; set
back to before it began it is over.
"""

from base64 import b64encode
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.durability.jump_calls import put, read, shard_ids
from tests.durability.wall_clock import DAY_S, HOUR_S, WallClock
from tests.kinesis.refusals import refusal, stream_arn_of
from tests.workers.wire import count_of, until

__all__: list[str] = []

SHARD_ID = "shardId-000000000000"
UNSIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kinesis/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "X_Amz_Date": "20260101T000000Z",
}


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


def test_what_expired_by_a_clock_that_was_ahead_is_gone_and_nothing_more(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock
) -> None:
    first = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    first.client().create_stream(StreamName="jumps", ShardCount=1)
    put(first.client(), b"first")
    clock.jump(HOUR_S)
    put(first.client(), b"second")

    clock.jump(DAY_S - HOUR_S / 2)
    put(first.client(), b"third")
    first.stop()
    # What has expired is removed at each start.
    again = daemon_factory(data=tmp_path / "data", environment=clock.environment)
    until(lambda: count_of(again, "streamd_expired_records_total", stream="jumps") == 1)
    ahead = [record["Data"] for record in read(again.client(), SHARD_ID)]
    clock.jump(-DAY_S - HOUR_S / 2)
    put(again.client(), b"fourth")
    back = [record["Data"] for record in read(again.client(), SHARD_ID)]

    assert ahead == [b"second", b"third"]
    assert back == [b"second", b"third", b"fourth"]


def test_a_state_ends_when_the_clock_is_set_past_its_end_or_before_its_beginning(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    hold_s = 600
    kinesis = daemon_factory("--transition-ms", str(hold_s * 1000), environment=clock.environment).client()

    def status(name: str) -> str:
        described = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return str(described["StreamStatus"])

    def after(jump_s: float, name: str) -> tuple[str, str]:
        """Tell a new stream's state before and after a jump."""
        kinesis.create_stream(StreamName=name, ShardCount=1)
        before = status(name)
        clock.jump(jump_s)
        return before, status(name)

    created = [after(jump_s, name) for name, jump_s in (("a", hold_s), ("b", -2), ("c", hold_s / 2))]
    clock.jump(hold_s)
    deleted = []
    for name, jump_s in (("a", hold_s), ("b", -2)):
        kinesis.delete_stream(StreamName=name)
        deleted.append(status(name))
        clock.jump(jump_s)
        deleted.append(refusal(kinesis.describe_stream_summary, StreamName=name)[0])

    assert created == [("CREATING", "ACTIVE"), ("CREATING", "ACTIVE"), ("CREATING", "CREATING")]
    assert deleted == ["DELETING", "ResourceNotFoundException"] * 2
    assert status("c") == "ACTIVE"
