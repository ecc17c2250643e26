"""MemoryKinesis itself: what it leaves behind, how it is told the time, and that two know nothing of each other."""

import threading
from pathlib import Path

import pytest

from streamd.core.limits import SHARD_WRITE_RECORD_RATE
from streamd.sdk.failures import IteratorExpired, Throttled
from streamd.sdk.testing import MemoryKinesis
from tests.clocks import ManualClock

SHARD = "shardId-000000000000"
HOUR_MS = 3_600_000


def folders() -> set[Path]:
    return set(Path("/dev/shm").glob("streamd-*")) if Path("/dev/shm").is_dir() else set()  # noqa: S108


def own_threads() -> set[str]:
    """Name the threads of stores; the loop's own come and go."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("committer", "reader"))}


async def texts(client: MemoryKinesis, iterator: str) -> list[bytes]:
    return [record["Data"] for record in (await client.get_records(iterator))["Records"]]


async def test_nothing_is_left_of_it_once_it_is_closed() -> None:
    before = folders(), own_threads()

    async with MemoryKinesis() as client:
        await client.create_stream("s", shard_count=1)
        await client.put_record("s", b"x", "k")
        during = folders(), own_threads()

    assert during != before
    assert (folders(), own_threads()) == before


async def test_two_at_once_are_two() -> None:
    async with MemoryKinesis() as one, MemoryKinesis() as other:
        await one.create_stream("s", shard_count=1)

        assert [each["StreamName"] for each in await one.list_streams()] == ["s"]
        assert await other.list_streams() == []


async def test_it_can_be_opened_again_and_is_empty_then() -> None:
    client = MemoryKinesis()
    async with client:
        await client.create_stream("s", shard_count=1)
    async with client:
        assert await client.list_streams() == []


async def test_records_expire_when_a_tests_clock_says_so() -> None:
    clock = ManualClock()
    async with MemoryKinesis(clock=clock) as client:
        await client.create_stream("s", shard_count=1)
        await client.put_record("s", b"old", "k")
        clock.advance(23 * HOUR_MS)
        await client.put_record("s", b"young", "k")
        before = await texts(client, await client.get_shard_iterator("s", SHARD))

        clock.advance(2 * HOUR_MS)
        after = await texts(client, await client.get_shard_iterator("s", SHARD))
        await client.expire()
        last = await texts(client, await client.get_shard_iterator("s", SHARD))

    assert (before, after, last) == ([b"old", b"young"], [b"young"], [b"young"])


async def test_an_iterator_grows_old_by_a_tests_clock() -> None:
    clock = ManualClock()
    async with MemoryKinesis(clock=clock) as client:
        await client.create_stream("s", shard_count=1)
        iterator = await client.get_shard_iterator("s", SHARD)
        clock.advance(301_000)

        with pytest.raises(IteratorExpired):
            await client.get_records(iterator)


async def test_with_limits_a_shard_takes_what_awss_takes_and_refuses_the_rest_one_by_one() -> None:
    clock = ManualClock()
    async with MemoryKinesis(clock=clock, limits=True) as client:
        await client.create_stream("s", shard_count=1)
        entries = [{"Data": b"x", "PartitionKey": "k"}] * 500
        failed = [(await client.put_records("s", entries))["FailedRecordCount"] for _ in range(3)]
        with pytest.raises(Throttled):
            await client.transport.call_once("PutRecord", b'{"StreamName":"s","Data":"","PartitionKey":"k"}')
        clock.advance(1000)
        later = (await client.put_records("s", entries))["FailedRecordCount"]

    assert failed == [0, 0, 500]
    assert SHARD_WRITE_RECORD_RATE == 1000
    assert later == 0


async def test_a_region_of_ones_own_is_in_the_arns() -> None:
    async with MemoryKinesis(region="eu-central-1") as client:
        await client.create_stream("s", shard_count=1)

        assert ":eu-central-1:" in (await client.describe_stream_summary("s"))["StreamARN"]
