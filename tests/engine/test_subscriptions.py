"""Subscriptions as time passes: how long one lasts, when another takes it over, when it speaks up, what it may read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.core.event_stream import decode
from streamd.core.limits import SUBSCRIPTION_GUARD_MS, SUBSCRIPTION_MS_MAX
from streamd.core.sigv4 import SignedRequest
from streamd.core.stream import Stream
from streamd.engine.quotas import LimitsMode
from streamd.engine.subscriptions import SubscriptionRules
from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Refusal, Rooms, open_rooms

__all__: list[str] = []

_SHARD = "shardId-000000000000"


@dataclass
class Fan:
    """A stream with one consumer, in these rooms."""

    rooms: Rooms
    stream: Stream
    consumer: str

    async def subscribe(self, kind: str = "TRIM_HORIZON", **position: str) -> "Events":
        """Open a subscription; its first message is read. Raises Refusal."""
        body = {
            "ConsumerARN": self.consumer,
            "ShardId": _SHARD,
            "StartingPosition": {"Type": kind, **position},
        }
        target = "Kinesis_20131202.SubscribeToShard"
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
        request = SignedRequest(method="POST", path="/", query="", headers=headers, body=orjson.dumps(body))
        reply = await self.rooms.dialect.answer(request)
        if reply.frames is None:
            raise Refusal(orjson.loads(reply.body))
        events = Events(reply.frames)
        assert await events.next() == ("initial-response", {})
        return events

    async def nudge(self) -> None:
        """Have everybody look at the clock."""
        await asyncio.sleep(0)
        self.rooms.engine.subscriptions.nudge(self.stream)


class Events:
    """The messages of a subscription."""

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        self.frames = frames

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Wait for a message: its kind and what it says. Raises StopAsyncIteration at the end."""
        message = decode(await anext(self.frames))
        kind = message.headers.get(":event-type") or message.headers[":exception-type"]
        return kind, orjson.loads(message.payload)

    async def payload_count(self) -> int:
        """Wait for an event; how many records it has."""
        kind, document = await self.next()
        assert kind == "SubscribeToShardEvent"
        return len(document["Records"])


@asynccontextmanager
async def _fan(path: Path, *, rules: SubscriptionRules | None = None, **settings: Any) -> AsyncIterator[Fan]:
    if rules is not None:
        settings["rules"] = rules
    async with open_rooms(path, ManualClock(), **settings) as rooms:
        stream = await rooms.create("s")
        arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        answer = await rooms.ask("RegisterStreamConsumer", StreamARN=arn, ConsumerName="c")
        yield Fan(rooms, stream, answer["Consumer"]["ConsumerARN"])


async def test_a_subscription_ends_after_five_minutes(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        events = await fan.subscribe()
        assert await events.payload_count() == 0
        waiting = asyncio.ensure_future(events.next())
        await asyncio.sleep(0)

        fan.rooms.clock.advance(SUBSCRIPTION_MS_MAX - 1)
        await fan.nudge()
        await fan.rooms.put("s", b"still")
        assert (await waiting)[1]["Records"]
        ending = asyncio.ensure_future(events.next())
        await asyncio.sleep(0)
        fan.rooms.clock.advance(1)
        await fan.nudge()

        with pytest.raises(StopAsyncIteration):
            await ending


async def test_after_five_seconds_another_subscription_takes_over(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        first = await fan.subscribe()
        assert await first.payload_count() == 0
        fan.rooms.clock.advance(SUBSCRIPTION_GUARD_MS - 1)
        with pytest.raises(Refusal) as refused:
            await fan.subscribe()
        waiting = asyncio.ensure_future(first.next())
        await asyncio.sleep(0)

        fan.rooms.clock.advance(1)
        second = await fan.subscribe()
        kind, document = await waiting
        await fan.rooms.put("s", b"for the second")

        assert refused.value.code == "ResourceInUseException"
        assert (kind, document["__type"]) == ("ResourceInUseException", "ResourceInUseException")
        with pytest.raises(StopAsyncIteration):
            await first.next()
        assert await second.payload_count() == 1
        await second.frames.aclose()


async def test_a_client_that_hung_up_waits_too(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        first = await fan.subscribe()
        await first.frames.aclose()

        with pytest.raises(Refusal):
            await fan.subscribe()
        fan.rooms.clock.advance(SUBSCRIPTION_GUARD_MS)
        second = await fan.subscribe()

        assert await second.payload_count() == 0
        await second.frames.aclose()


async def test_a_quiet_shard_is_told_to_be_quiet_again_and_again(tmp_path: Path) -> None:
    async with _fan(tmp_path, rules=SubscriptionRules(idle_ms=1)) as fan:
        await fan.rooms.put("s", b"x")
        events = await fan.subscribe("LATEST")

        told = [(await events.next())[1] for _ in range(5)]
        await fan.rooms.put("s", b"y")
        later: list[dict[str, Any]] = []
        while not later or not later[-1]["Records"]:
            later.append((await events.next())[1])
        await events.frames.aclose()

        assert {document["ContinuationSequenceNumber"] for document in told} == {told[0]["ContinuationSequenceNumber"]}
        assert all(document["Records"] == [] and document["MillisBehindLatest"] == 0 for document in told)


async def test_what_expires_before_it_is_pushed_is_never_pushed(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        await fan.rooms.put("s", b"old")
        fan.rooms.clock.advance(23 * HOUR_MS)
        await fan.rooms.put("s", b"younger")
        fan.rooms.clock.advance(2 * HOUR_MS)

        events = await fan.subscribe()
        _, document = await events.next()
        await events.frames.aclose()

        assert [record["Data"] for record in document["Records"]] == ["eW91bmdlcg=="]


async def test_how_far_behind_a_reader_is_counts_what_it_has_not_read(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        for _ in range(3):
            await fan.rooms.put("s", b"x" * 900_000)
            fan.rooms.clock.advance(1000)

        events = await fan.subscribe()
        behind_ms = [(await events.next())[1]["MillisBehindLatest"] for _ in range(3)]
        await events.frames.aclose()

        assert behind_ms == [3000, 2000, 0]


@pytest.mark.parametrize(("limits", "is_slow"), [(LimitsMode.AWS, True), (LimitsMode.SHADOW, False)])
async def test_two_mebibytes_a_second_are_kept_to_only_under_the_limits_of_aws(
    tmp_path: Path, limits: LimitsMode, *, is_slow: bool
) -> None:
    async with _fan(tmp_path, limits=limits) as fan:
        for _ in range(12):
            await fan.rooms.put("s", b"x" * 500_000)
            # A shard takes a mebibyte in each second.
            fan.rooms.clock.advance(1000)
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        events = await fan.subscribe()
        count = 0
        while count < 12:
            count += await events.payload_count()
        took_s = loop.time() - began_s
        await events.frames.aclose()

        # 6 MB: the first second's worth comes at once, and what was pushed last is paid for after it.
        assert not is_slow or took_s > 1


async def test_a_master_key_that_is_another_one_ends_the_subscription(tmp_path: Path) -> None:
    async with _fan(tmp_path / "data") as fan:
        arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        await fan.rooms.ask("StartStreamEncryption", StreamARN=arn, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        await fan.rooms.put("s", b"x")
        consumer = fan.consumer
    (tmp_path / "data" / "master.key").unlink()
    async with open_rooms(tmp_path / "data", ManualClock()) as rooms:
        fan = Fan(rooms, await rooms.engine.streams.load("s"), consumer)
        rooms.clock.advance(SUBSCRIPTION_GUARD_MS)

        events = await fan.subscribe()
        kind, document = await events.next()

        assert kind == "KMSAccessDeniedException"
        assert document["__type"] == kind


async def test_a_shard_that_expires_while_it_is_subscribed_to_ends_the_subscription(tmp_path: Path) -> None:
    async with _fan(tmp_path) as fan:
        await fan.rooms.put("s", b"x")
        events = await fan.subscribe()
        assert await events.payload_count() == 1
        waiting = asyncio.ensure_future(events.next())
        await asyncio.sleep(0)

        await fan.rooms.ask("SplitShard", StreamName="s", ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))
        _, last = await waiting
        fan.rooms.clock.advance(25 * HOUR_MS)
        await fan.rooms.janitor.sweep()
        with pytest.raises(Refusal) as refused:
            await fan.subscribe()

        assert len(last["ChildShards"]) == 2
        assert refused.value.code == "ResourceNotFoundException"
