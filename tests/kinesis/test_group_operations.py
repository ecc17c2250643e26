"""Operations on groups at the door: what is refused and how, restarts, workers, and a stream's end."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamd.core.lease import TRIM_HORIZON, Lease, Start
from streamd.core.limits import MEMBER_COUNT_MAX
from streamd.core.sequence_numbers import parse
from streamd.engine.groups import Groups
from streamd.errors import GroupFull
from streamd.kinesis.group_shapes import GROUP_INPUT_BY_OPERATION
from streamd.kinesis.groups import GROUP_HANDLER_BY_OPERATION
from streamd.sdk.client import Credentials, KinesisClient
from streamd.sdk.failures import ServiceRefused
from streamd.sdk.leases_streamd import StreamdLeases
from tests.clocks import ManualClock
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.engine.rooms import open_rooms

TARGET = "StreamdGroups_20261127"
SHARD = "shardId-000000000000"
START = Start(place=TRIM_HORIZON)
LEASE = Lease(shard_id=SHARD, parent_ids=(), owner=None, epoch=0, place=TRIM_HORIZON)


async def refusal(client: KinesisClient, operation: str, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ServiceRefused) as refused:
        await client.transport.call(operation, members, target=TARGET)
    return refused.value.status, refused.value.code, refused.value.sentence


async def test_what_is_wrong_is_refused_as_kinesis_refuses(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=2)
        number = str((await client.put_record(stream_name, b"", "k", hash_key=(1 << 128) - 1))["SequenceNumber"])
        await StreamdLeases(client).open_group(stream_name, "g", start=START)
        place = {"GroupName": "g", "MemberId": "m", "ShardId": SHARD, "Epoch": 0}
        mine = parse(str((await client.put_record(stream_name, b"", "k", hash_key=0))["SequenceNumber"]))
        assert mine is not None
        # Streams that were made in different seconds have different numbers.
        foreign = str(replace(mine, shard_created_s=mine.shard_created_s - 1))
        # After a restore numbers may be about that were given after the backup.
        ahead = str(replace(mine, position=mine.position + 1))
        found = {
            "foreign": await refusal(client, "SaveCheckpoint", StreamName=stream_name, **place, Place=foreign),
            "ahead": await refusal(client, "SaveCheckpoint", StreamName=stream_name, **place, Place=ahead),
            "stream": await refusal(client, "ListGroups", StreamName="nowhere"),
            "group": await refusal(client, "DescribeGroup", StreamName=stream_name, GroupName="none"),
            "name": await refusal(client, "CreateGroup", StreamName=stream_name, GroupName="a/b", Start="TRIM_HORIZON"),
            "start": await refusal(client, "CreateGroup", StreamName=stream_name, GroupName="h", Start="LATEST"),
            "type": await refusal(client, "AcquireLease", StreamName=stream_name, **place | {"Epoch": "1"}),
            "lease": await refusal(client, "AcquireLease", StreamName=stream_name, **place),
            "place": await refusal(client, "SaveCheckpoint", StreamName=stream_name, **place, Place=number),
            "number": await refusal(client, "SaveCheckpoint", StreamName=stream_name, **place, Place="123"),
            "token": await refusal(client, "ListGroups", StreamName=stream_name, NextToken="made-up"),
            "operation": await refusal(client, "PutRecord", StreamName=stream_name, Data="", PartitionKey="k"),
        }

    assert {name: (status, code) for name, (status, code, _) in found.items()} == {
        "foreign": (400, "InvalidArgumentException"),
        "ahead": (400, "InvalidArgumentException"),
        "stream": (400, "ResourceNotFoundException"),
        "group": (400, "ResourceNotFoundException"),
        "name": (400, "ValidationException"),
        "start": (400, "ValidationException"),
        "type": (400, "SerializationException"),
        "lease": (400, "LeaseLostException"),
        "place": (400, "InvalidArgumentException"),
        "number": (400, "InvalidArgumentException"),
        "token": (400, "InvalidArgumentException"),
        "operation": (400, "UnknownOperationException"),
    }
    assert found["group"][2] == "Group none not found."


async def test_a_description_tells_how_far_behind_each_lease_is(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=1)
        store = StreamdLeases(client)
        await store.open_group(stream_name, "g", start=START)
        await store.add_leases(stream_name, "g", leases=[LEASE])
        numbers = [str((await client.put_record(stream_name, b"", "k"))["SequenceNumber"]) for _ in range(3)]
        # Also of a shard that is closed meanwhile.
        await client.call("SplitShard", {"StreamName": stream_name, "ShardToSplit": SHARD, "NewStartingHashKey": "9"})
        future = str(time.time_ns() // 1_000_000 + 60_000)
        behind = []
        for place in (TRIM_HORIZON, "AT:0", numbers[0], numbers[2], f"AT:{future}", "SHARD_END"):
            await store.seek(stream_name, "g", place_by_shard={SHARD: place})
            row = (await store.describe(stream_name, "g"))["Leases"][0]
            behind.append((row["RecordsBehind"], row["MillisBehindLatest"] > 0))

    assert behind == [(3, True), (3, True), (2, True), (0, False), (0, False), (0, False)]


async def test_pages_of_groups_follow_on(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=1)
        for name in ("a", "b", "c"):
            await StreamdLeases(client).open_group(stream_name, name, start=START)
        first = await client.transport.call("ListGroups", {"StreamName": stream_name, "MaxResults": 2}, target=TARGET)
        following = {"StreamName": stream_name, "NextToken": first["NextToken"]}
        second = await client.transport.call("ListGroups", following, target=TARGET)

    assert (first["GroupNames"], second) == (["a", "b"], {"GroupNames": ["c"]})


async def test_what_was_answered_outlives_a_kill_and_is_the_same_in_every_worker(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    running = daemon_factory("--workers", "2", data=tmp_path / "data")
    async with KinesisClient(running.url) as client:
        await client.create_stream("s", shard_count=1)
        store = StreamdLeases(client)
        await store.open_group("s", "g", start=START)
        await store.add_leases("s", "g", leases=[LEASE])
        epoch = 0
        # Each connection may be another worker's.
        for number in range(20):
            async with KinesisClient(running.url) as other:
                lease = await StreamdLeases(other).acquire(
                    "s", "g", shard_id=SHARD, member_id=f"m{number}", epoch=epoch
                )
                epoch = lease.epoch
    running.kill()
    running = daemon_factory("--workers", "2", data=tmp_path / "data")
    async with KinesisClient(running.url) as client:
        found = (await StreamdLeases(client).snapshot("s", "g")).leases

    assert [(each.owner, each.epoch) for each in found] == [("m19", 20)]


async def test_nothing_is_done_for_who_signs_wrongly_or_not_at_all(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "AKIDMEMBER"\nsecret = "wJalrXUtnFEMI/K7MDENG"\n')
    keys.chmod(0o600)
    running = daemon_factory("--auth", str(keys))
    everything = {
        "StreamName": "s",
        "GroupName": "g",
        "MemberId": "m",
        "ShardId": SHARD,
        "ShardIds": [SHARD],
        "Epoch": 0,
        "Place": "SHARD_END",
        "Places": {SHARD: "SHARD_END"},
        "Leases": [{"ShardId": "shardId-000000000001", "Place": "TRIM_HORIZON"}],
        "Start": "TRIM_HORIZON",
    }
    async with KinesisClient(running.url, credentials=Credentials("AKIDMEMBER", "wJalrXUtnFEMI/K7MDENG")) as client:
        await client.create_stream("s", shard_count=2)
        store = StreamdLeases(client)
        await store.open_group("s", "g", start=START)
        await store.add_leases("s", "g", leases=[LEASE])
        before = await store.snapshot("s", "g")

        refused: list[tuple[str, str]] = []
        async with KinesisClient(running.url, credentials=Credentials("AKIDMEMBER", "another")) as stranger:
            for operation, shape in GROUP_INPUT_BY_OPERATION.items():
                members = {name: everything[name] for name in shape.members if name in everything}
                unsigned = raw(running.url, operation, members, X_Amz_Target=f"{TARGET}.{operation}")
                _, code, _ = await refusal(stranger, operation, **members)
                refused.append((unsigned.json()["__type"], code))

        assert set(refused) == {("MissingAuthenticationTokenException", "InvalidSignatureException")}
        assert len(refused) == len(GROUP_HANDLER_BY_OPERATION)
        assert await store.snapshot("s", "g") == before
        assert await store.groups("s") == ["g"]


async def test_groups_go_with_their_stream(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock()) as rooms:
        await rooms.create("s")
        number = (await rooms.engine.streams.load("s")).number
        await rooms.engine.groups.open(number, "g", start=START)
        await rooms.engine.groups.beat(number, "g", member_id="m", about="")
        await rooms.engine.groups.add_leases(number, "g", [LEASE])

        await rooms.ask("DeleteStream", StreamName="s")
        await rooms.janitor.finish_due()
        await rooms.janitor.sweep()

        left = [await rooms.store.scan(prefix, limit=10) for prefix in ("group/", "grouped/")]
        await rooms.create("s")
        again = (await rooms.engine.streams.load("s")).number

        assert left == [[], []]
        assert again != number
        assert await rooms.engine.groups.names(again, limit=10) == []


async def test_a_group_takes_no_more_members_than_it_may_have(tmp_path: Path) -> None:
    async with open_rooms(tmp_path / "data", ManualClock()) as rooms:
        groups: Groups = rooms.engine.groups
        await groups.open(1, "g", start=START)
        members = [groups.beat(1, "g", member_id=f"m{number:04}", about="") for number in range(MEMBER_COUNT_MAX)]
        await asyncio.gather(*members)

        with pytest.raises(GroupFull):
            await groups.beat(1, "g", member_id="one-too-many", about="")
        await groups.leave(1, "g", member_id="m0000")
        seen = await groups.beat(1, "g", member_id="one-too-many", about="")

    assert len(seen.members) == MEMBER_COUNT_MAX


def test_every_operation_is_in_the_readme() -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()

    assert [name for name in GROUP_HANDLER_BY_OPERATION if f"| {name} |" not in text] == []
