"""A subscription to a shard lasts for five minutes that pass, whatever the clock is set to meanwhile."""

from collections.abc import Iterator
from typing import Any

from tests.conftest import DaemonFactory
from tests.durability.jump_calls import put
from tests.durability.wall_clock import MOVES, WallClock
from tests.kinesis.refusals import stream_arn_of

__all__: list[str] = []

SHARD_ID = "shardId-000000000000"


class Subscription:
    """What is pushed to a consumer, and the place after it."""

    def __init__(self, kinesis: Any, consumer_arn: str, **position: Any) -> None:
        asked = {"ConsumerARN": consumer_arn, "ShardId": SHARD_ID, "StartingPosition": position}
        self.stream = kinesis.subscribe_to_shard(**asked)["EventStream"]
        self._events: Iterator[Any] = iter(self.stream)
        self.place = ""

    def next_texts(self) -> list[bytes]:
        """Wait for an event that has records."""
        for texts in self._texts():
            if texts:
                return texts
        raise AssertionError("the subscription has ended")

    def rest(self) -> list[bytes]:
        """Read on until it ends."""
        return [text for texts in self._texts() for text in texts]

    def _texts(self) -> Iterator[list[bytes]]:
        for event in self._events:
            pushed = event["SubscribeToShardEvent"]
            self.place = pushed["ContinuationSequenceNumber"]
            yield [record["Data"] for record in pushed["Records"]]


def test_a_subscription_ends_after_five_minutes_that_pass_and_is_continued(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    daemon = daemon_factory(environment=clock.environment)
    kinesis = daemon.client()
    kinesis.create_stream(StreamName="jumps", ShardCount=1)
    kinesis.increase_stream_retention_period(StreamName="jumps", RetentionPeriodHours=8760)
    arn = kinesis.register_stream_consumer(StreamARN=stream_arn_of("jumps"), ConsumerName="c")["Consumer"][
        "ConsumerARN"
    ]
    subscription = Subscription(kinesis, arn, Type="LATEST")

    pushed = []
    for name, move in MOVES.items():
        move(clock)
        put(kinesis, name.encode())
        pushed += subscription.next_texts()
    clock.let_pass(280)
    # Over connections of its own: those that idled for so long are being closed.
    kinesis = daemon.client()
    put(kinesis, b"before its end")
    pushed += subscription.next_texts()
    clock.let_pass(25)
    put(daemon.client(), b"after its end")
    pushed += subscription.rest()
    continued = Subscription(kinesis, arn, Type="AFTER_SEQUENCE_NUMBER", SequenceNumber=subscription.place)
    pushed += continued.next_texts()

    assert pushed == [*(name.encode() for name in MOVES), b"before its end", b"after its end"]
    continued.stream.close()
