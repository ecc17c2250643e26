"""Packed records: taken apart by AWS's own code and by ours, each in the shard of its key, also over a reshard."""

import asyncio
import base64
from typing import Any

import pytest
from aws_kinesis_agg import deaggregator
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.aggregation import deaggregate
from streamd.core.hash_keys import even_ranges
from streamd.core.shard_ranges import ShardRanges
from streamd.sdk.aggregates import AGGREGATE_BYTE_COUNT_MAX, Packer
from streamd.sdk.client import KinesisClient
from streamd.sdk.parcels import PackedParcel, Parcel, Stored, members_of
from streamd.sdk.producer import Producer
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.sdk.reading import all_records, made_stream

_KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_RECORDS = st.lists(
    st.tuples(_KEY, st.none() | st.integers(0, (1 << 128) - 1).map(str), st.binary(max_size=300)),
    min_size=1,
    max_size=30,
)


def shard_documents(count: int) -> list[dict[str, Any]]:
    return [
        {
            "ShardId": f"shardId-{index:012d}",
            "HashKeyRange": {"StartingHashKey": str(found.start), "EndingHashKey": str(found.end)},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }
        for index, found in enumerate(even_ranges(count))
    ]


def parcels_of(records: list[tuple[str, str | None, bytes]], loop: Any) -> list[Parcel]:
    return [
        Parcel(data, key, hash_key, len(data) + len(key.encode()), 0.0, asyncio.Future[Stored](loop=loop), ())
        for key, hash_key, data in records
    ]


@given(records=_RECORDS, shard_count=st.integers(1, 5))
def test_what_is_packed_is_taken_apart_by_aws_s_code_and_ours(
    records: list[tuple[str, str | None, bytes]], shard_count: int
) -> None:
    loop = asyncio.new_event_loop()
    ranges = ShardRanges(shard_documents(shard_count))
    packer = Packer(ranges, ordered=False)
    parcels = parcels_of(records, loop)

    packed = [ready for parcel in parcels for ready in packer.add(parcel)] + packer.close_all()

    assert packer.is_empty
    assert {id(member) for member in members_of(packed)} == {id(parcel) for parcel in parcels}
    for parcel in packed:
        if not isinstance(parcel, PackedParcel):
            continue
        members = [(member.key, member.hash_key, member.data) for member in parcel.members]
        unpacked = deaggregate(parcel.data)
        assert unpacked is not None
        assert [(record.key, record.hash_key, record.data) for record in unpacked] == members
        # AWS's code gives a record without a hash key that of the record before it.
        theirs = aws_s_reading(parcel)
        assert [(key, data) for key, _, data in theirs] == [(key, data) for key, _, data in members]
        assert all(found[1] == member[1] for found, member in zip(theirs, members, strict=True) if member[1])
        assert {ranges.shard_of(key, hash_key) for key, hash_key, _ in members} == {parcel.shard_id}
    loop.close()


def aws_s_reading(parcel: PackedParcel) -> list[tuple[str, str | None, bytes]]:
    row = {
        "kinesis": {
            "data": base64.b64encode(parcel.data).decode(),
            "partitionKey": parcel.key,
            "sequenceNumber": "1",
            "kinesisSchemaVersion": "1.0",
            "approximateArrivalTimestamp": 1.0,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000000:1",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "a",
        "awsRegion": "r",
        "eventSourceARN": "a",
    }
    found = []
    for record in deaggregator.deaggregate_records([row]):
        kinesis = record["kinesis"]
        hash_key = kinesis.get("explicitHashKey")
        found.append((kinesis["partitionKey"], hash_key or None, base64.b64decode(kinesis["data"])))
    return found


def test_an_aggregate_stays_within_its_bound_and_a_large_record_goes_alone() -> None:
    loop = asyncio.new_event_loop()
    packer = Packer(ShardRanges(shard_documents(1)), ordered=True)
    sizes = [1000] * 120 + [AGGREGATE_BYTE_COUNT_MAX] + [10] * 3

    parcels = parcels_of([(f"key-{at}", None, bytes(size)) for at, size in enumerate(sizes)], loop)
    packed = [ready for parcel in parcels for ready in packer.add(parcel)] + packer.close_all()

    assert all(len(parcel.data) <= AGGREGATE_BYTE_COUNT_MAX for parcel in packed)
    assert [member.key for member in members_of(packed)] == [f"key-{at}" for at in range(len(sizes))]
    assert len(packed) == 5
    loop.close()


@given(records=_RECORDS)
def test_after_a_reshard_each_key_is_in_one_of_the_parts(records: list[tuple[str, str | None, bytes]]) -> None:
    loop = asyncio.new_event_loop()
    parcels = parcels_of(records, loop)
    packer = Packer(ShardRanges(shard_documents(1)), ordered=True)
    for parcel in parcels:
        packer.add(parcel)
    packer.close_all()

    packer.ranges = ShardRanges(shard_documents(4))
    parts = packer.divided(parcels)

    assert {id(member) for member in members_of(parts)} == {id(parcel) for parcel in parcels}
    held = [key for part in parts if isinstance(part, PackedParcel) for key in part.order_keys]
    assert len(held) == len(set(held))
    loop.close()


async def unpacked(client: KinesisClient, stream: str) -> dict[str, list[tuple[str, bytes]]]:
    found: dict[str, list[tuple[str, bytes]]] = {}
    for shard_id, rows in (await all_records(client, stream)).items():
        found[shard_id] = []
        for row in rows:
            users = deaggregate(row["Data"])
            if users is None:
                found[shard_id].append((row["PartitionKey"], row["Data"]))
            else:
                found[shard_id] += [(user.key, user.data) for user in users]
    return found


@pytest.mark.parametrize("ordered", [False, True])
async def test_every_record_goes_to_the_shard_of_its_own_key_in_order(
    daemon: Daemon, stream_name: str, *, ordered: bool
) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=4)
        ranges = ShardRanges(await client.list_shards(stream_name))
        async with Producer(
            stream_name, client=client, aggregate=True, ordered=ordered, linger_ms=3_600_000
        ) as producer:
            futures = [await producer.put(b"%d" % number, f"key-{number % 50}") for number in range(5000)]
            await producer.flush()
            places = await asyncio.gather(*futures)
        found = await unpacked(client, stream_name)

    for shard_id, records in found.items():
        assert {ranges.shard_of(key, None) for key, _ in records} == {shard_id}
        for key in {key for key, _ in records} if ordered else ():
            numbers = [int(data) for found_key, data in records if found_key == key]
            assert numbers == sorted(numbers)
    assert sum(map(len, found.values())) == 5000
    assert len(set(places)) == 5000
    assert producer.counters().sent_record_count < 50


async def test_over_a_split_and_a_merge_no_record_stays_in_a_shard_that_is_not_its_own(
    daemon: Daemon, stream_name: str
) -> None:
    count = 8000

    async def reshard(client: KinesisClient) -> None:
        await client.split_shard(stream_name, "shardId-000000000000", hash_key=1 << 126)
        await client.wait_until_active(stream_name)
        await client.merge_shards(stream_name, "shardId-000000000003", adjacent_shard_id="shardId-000000000001")
        await client.wait_until_active(stream_name)

    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=2)
        async with Producer(
            stream_name, client=client, aggregate=True, ordered=True, buffer_byte_count_max=300_000
        ) as producer:
            for number in range(count // 2):
                await producer.put(b"%d" % number, f"key-{number % 50}")
            resharding = asyncio.ensure_future(reshard(client))
            for number in range(count // 2, count):
                await producer.put(b"%d" % number, f"key-{number % 50}")
            await resharding
        found = await unpacked(client, stream_name)
        ranges = ShardRanges(await client.list_shards(stream_name))

    # What readers of AWS keep: records whose key is of the shard they are in. Parents are read before their children.
    kept = [
        (key, int(data))
        for shard_id, records in found.items()
        for key, data in records
        if ranges.may_hold(shard_id, key, None)
    ]
    assert {number for _, number in kept} == set(range(count))
    assert len(found) == 5
    for key in {key for key, _ in kept}:
        first_seen = list(dict.fromkeys(number for found_key, number in kept if found_key == key))
        assert first_seen == sorted(first_seen)


async def test_throttled_aggregates_are_sent_again_until_all_is_there(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")

    async with KinesisClient(daemon.url) as client:
        await made_stream(client, "orders", shard_count=2)
        async with Producer("orders", client=client, aggregate=True) as producer:
            for number in range(300):
                await producer.put(bytes(10_000), f"key-{number}")
        found = await unpacked(client, "orders")

    assert sum(map(len, found.values())) == 300
    assert producer.counters().retried_record_count > 0
