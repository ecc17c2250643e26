"""`streamd group`: every verb, on a real daemon, beside members that run."""

import asyncio
from typing import Any

import pytest

from streamd.core.lease import TRIM_HORIZON, Lease, Start
from streamd.errors import LeaseLost
from streamd.sdk.client import KinesisClient
from streamd.sdk.leases_streamd import StreamdLeases
from tests.cli.shell import Shell
from tests.daemons import Daemon

SHARDS = ["shardId-000000000000", "shardId-000000000001"]


async def _with_group(daemon: Daemon, stream: str) -> str:
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream, shard_count=2)
        numbers = [str((await client.put_record(stream, b"", "k", hash_key=0))["SequenceNumber"]) for _ in range(3)]
        store = StreamdLeases(client)
        await store.open_group(stream, "g", start=Start(place=TRIM_HORIZON))
        leases = [
            Lease(shard_id=shard_id, parent_ids=(), owner=None, epoch=0, place=TRIM_HORIZON) for shard_id in SHARDS
        ]
        await store.add_leases(stream, "g", leases=leases)
        await store.beat(stream, "g", member_id="m1", about="host-1 pid 7")
        await store.acquire(stream, "g", shard_id=SHARDS[0], member_id="m1", epoch=0)
        await store.checkpoint(stream, "g", shard_id=SHARDS[0], member_id="m1", epoch=1, place=numbers[0])
        return numbers[0]


def leases_of(shell: Shell, stream: str) -> list[tuple[str, str, int]]:
    document = shell.at("group", "describe", stream, "g", "--json").json()
    return [(lease["Place"], lease.get("Owner", ""), lease["Epoch"]) for lease in document["Leases"]]


@pytest.fixture
def number(daemon: Daemon, stream_name: str) -> str:
    """Give the checkpoint of the first of two shards in a group whose member runs."""
    return asyncio.run(_with_group(daemon, stream_name))


@pytest.mark.usefixtures("number")
def test_groups_are_listed_with_how_far_they_are_behind(shell: Shell, stream_name: str) -> None:
    page = shell.at("group", "list", stream_name)
    document = shell.at("group", "list", stream_name, "--json").json()

    assert page.out.splitlines()[-1].split() == ["g", "1", "2", "2"]
    assert [(each["GroupName"], len(each["Leases"])) for each in document] == [("g", 2)]


def test_a_group_is_described_lease_by_lease(shell: Shell, stream_name: str, number: str) -> None:
    page = shell.at("group", "describe", stream_name, "g")
    document: dict[str, Any] = shell.at("group", "describe", stream_name, "g", "--json").json()

    rows = {line.split()[0]: line.split() for line in page.out.splitlines() if line.strip()}
    assert rows["m1"] == ["m1", "1", "host-1", "pid", "7"]
    assert rows[SHARDS[0]][:5] == [SHARDS[0], "m1", "1", number, "2"]
    assert rows[SHARDS[1]][:5] == [SHARDS[1], "-", "0", "horizon", "0"]
    assert [lease["Place"] for lease in document["Leases"]] == [number, "TRIM_HORIZON"]


@pytest.mark.usefixtures("number")
def test_a_reset_moves_a_group_whose_members_run_and_takes_their_leases(
    shell: Shell, daemon: Daemon, stream_name: str
) -> None:
    said = shell.at("group", "reset", stream_name, "g", "--to", "horizon")

    assert (said.status, said.out) == (0, "g: moved in 2 shards\n")
    assert leases_of(shell, stream_name) == [("TRIM_HORIZON", "", 2), ("TRIM_HORIZON", "", 1)]

    async def save() -> None:
        async with KinesisClient(daemon.url) as client:
            await StreamdLeases(client).checkpoint(
                stream_name, "g", shard_id=SHARDS[0], member_id="m1", epoch=1, place="SHARD_END"
            )

    with pytest.raises(LeaseLost):
        asyncio.run(save())


@pytest.mark.usefixtures("number")
def test_a_reset_to_a_time_moves_only_the_shards_that_are_named(shell: Shell, stream_name: str) -> None:
    said = shell.at("group", "reset", stream_name, "g", "--to", "2026-01-01T00:00:00Z", "--shard", "1", "--json")
    document = shell.at("group", "describe", stream_name, "g", "--json").json()

    assert said.json() == [SHARDS[1]]
    assert document["Leases"][1]["Place"] == "AT:1767225600000"
    assert document["Leases"][0]["Owner"] == "m1"


@pytest.mark.usefixtures("number")
@pytest.mark.parametrize(
    ("flags", "status", "reason"),
    [
        (["reset", "STREAM", "g", "--to", "12345"], 2, "a number is one shard's"),
        (["reset", "STREAM", "none", "--to", "latest"], 1, "there is no group none"),
        (["reset", "STREAM", "g", "--to", "latest", "--shard", "9"], 1, "shardId-000000000009"),
        (["describe", "STREAM", "none"], 1, "there is no group none"),
        (["delete", "STREAM", "g"], 2, "--yes"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_done(
    shell: Shell, stream_name: str, flags: list[str], status: int, reason: str
) -> None:
    before = leases_of(shell, stream_name)

    said = shell.at("group", *[stream_name if flag == "STREAM" else flag for flag in flags])

    assert (said.status, said.out) == (status, "")
    assert reason in said.err
    assert leases_of(shell, stream_name) == before


@pytest.mark.usefixtures("number")
def test_a_group_is_deleted(shell: Shell, stream_name: str) -> None:
    said = shell.at("group", "delete", stream_name, "g", "--yes")

    assert (said.status, said.out) == (0, "g: deleted\n")
    assert shell.at("group", "list", stream_name, "--json").json() == []
