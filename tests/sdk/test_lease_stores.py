"""What every store of leases promises: each test runs over leases in memory, in a streamd, and in moto's DynamoDB."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Start
from streamd.errors import GroupNotFound, LeaseLost, PlaceBehind
from streamd.sdk.client import Credentials, KinesisClient
from streamd.sdk.leases import LeaseStore
from streamd.sdk.leases_dynamodb import DynamoDBLeases
from streamd.sdk.leases_streamd import StreamdLeases
from streamd.sdk.testing import MemoryLeases
from tests.daemons import Daemon

FIRST, SECOND, CHILD = (f"shardId-{index:012d}" for index in range(3))
START = Start(place=TRIM_HORIZON)
GROUP = "readers"


def lease_of(shard_id: str, *parent_ids: str, place: str = TRIM_HORIZON) -> Lease:
    return Lease(shard_id=shard_id, parent_ids=parent_ids, owner=None, epoch=0, place=place)


@pytest.fixture(params=["memory", "streamd", "dynamodb"])
async def store(request: pytest.FixtureRequest, daemon: Daemon, stream_name: str) -> AsyncIterator[LeaseStore]:
    """Give a store that knows the stream."""
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=3)
        if request.param == "memory":
            yield MemoryLeases()
        elif request.param == "streamd":
            yield StreamdLeases(client)
        else:
            url = request.getfixturevalue("moto_url")
            keys = Credentials("AKIAEXAMPLE", "secret-for-tests-only")
            async with DynamoDBLeases(endpoint=url, credentials=keys, table=f"leases-{stream_name}") as leases:
                yield leases


@pytest.fixture
async def numbers(store: LeaseStore, daemon: Daemon, stream_name: str) -> list[str]:
    """Give numbers of the first shard, in order."""
    async with KinesisClient(daemon.url) as client:
        return [str((await client.put_record(stream_name, b"", "k", hash_key=0))["SequenceNumber"]) for _ in range(3)]


async def make(store: LeaseStore, stream: str, *leases: Lease) -> None:
    await store.open_group(stream, GROUP, start=START)
    await store.add_leases(stream, GROUP, leases=leases or [lease_of(FIRST), lease_of(SECOND)])


async def leases_of(store: LeaseStore, stream: str) -> dict[str, Lease]:
    return {lease.shard_id: lease for lease in (await store.snapshot(stream, GROUP)).leases}


async def test_a_group_begins_where_its_first_opener_said(store: LeaseStore, stream_name: str) -> None:
    first = await store.open_group(stream_name, GROUP, start=Start(place="AT:1764240000000"))
    second = await store.open_group(stream_name, GROUP, start=START)

    assert first == second == Start(place="AT:1764240000000")
    assert await store.groups(stream_name) == [GROUP]
    assert (await store.snapshot(stream_name, GROUP)).start == first


async def test_members_join_by_their_first_beat_and_beat_on(store: LeaseStore, stream_name: str) -> None:
    await make(store, stream_name)

    await store.beat(stream_name, GROUP, member_id="a", about="host 1")
    await store.beat(stream_name, GROUP, member_id="b", about="host 2")
    seen = await store.beat(stream_name, GROUP, member_id="a", about="host 1")

    assert [(each.member_id, each.beat, each.about) for each in seen.members] == [
        ("a", 2, "host 1"),
        ("b", 1, "host 2"),
    ]
    assert [lease.shard_id for lease in seen.leases] == [FIRST, SECOND]


async def test_a_lease_that_is_there_is_not_added_again(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    child = lease_of(CHILD, FIRST, SECOND)
    await store.add_leases(stream_name, GROUP, leases=[lease_of(FIRST, place=numbers[0]), child])

    found = await leases_of(store, stream_name)
    assert found[FIRST] == replace(lease_of(FIRST), owner="a", epoch=1)
    assert found[CHILD] == child


async def test_of_rivals_exactly_one_gets_a_lease(store: LeaseStore, stream_name: str) -> None:
    await make(store, stream_name)

    async def grab(member_id: str) -> bool:
        try:
            await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id=member_id, epoch=0)
        except LeaseLost:
            return False
        return True

    rivals = [f"m{number}" for number in range(8)]
    # moto's threads decide conditions at the same time and let two win, which DynamoDB does not.
    is_moto = isinstance(store, DynamoDBLeases)
    won = [await grab(rival) for rival in rivals] if is_moto else list(await asyncio.gather(*map(grab, rivals)))

    assert won.count(True) == 1
    lease = (await leases_of(store, stream_name))[FIRST]
    assert (lease.owner, lease.epoch) == (f"m{won.index(True)}", 1)


async def test_a_lease_that_is_asked_for_again_since_its_answer_was_lost_is_the_same(
    store: LeaseStore, stream_name: str
) -> None:
    await make(store, stream_name)

    first = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)
    again = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    assert first == again == replace(lease_of(FIRST), owner="a", epoch=1)


async def test_what_a_former_owner_says_is_refused_and_changes_nothing(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    old = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="zombie", epoch=0)
    new = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="thief", epoch=old.epoch)
    await store.checkpoint(stream_name, GROUP, shard_id=FIRST, member_id="thief", epoch=new.epoch, place=numbers[1])

    for member_id, epoch in (("zombie", old.epoch), ("zombie", new.epoch), ("thief", old.epoch)):
        with pytest.raises(LeaseLost):
            await store.checkpoint(
                stream_name, GROUP, shard_id=FIRST, member_id=member_id, epoch=epoch, place=AT_END, release=True
            )
    with pytest.raises(LeaseLost):
        await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="zombie", epoch=old.epoch)

    lease = (await leases_of(store, stream_name))[FIRST]
    assert lease == replace(lease_of(FIRST), owner="thief", epoch=2, place=numbers[1])


async def test_a_release_keeps_the_place_and_the_next_owner_goes_on_there(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    lease = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    await store.checkpoint(
        stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=lease.epoch, place=numbers[0], release=True
    )

    released = (await leases_of(store, stream_name))[FIRST]
    assert (released.owner, released.epoch, released.place) == (None, 1, numbers[0])
    following = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="b", epoch=1)
    assert (following.owner, following.epoch, following.place) == ("b", 2, numbers[0])


async def test_a_release_that_is_asked_for_again_is_done_until_the_next_owner_comes(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    lease = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    async def release(place: str) -> None:
        await store.checkpoint(
            stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=lease.epoch, place=place, release=True
        )

    await release(numbers[1])
    await release(numbers[1])
    with pytest.raises(LeaseLost):
        await release(numbers[2])
    await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="b", epoch=1)
    with pytest.raises(LeaseLost):
        await release(numbers[1])

    found = (await leases_of(store, stream_name))[FIRST]
    assert (found.owner, found.epoch, found.place) == ("b", 2, numbers[1])


async def test_a_seek_moves_places_and_takes_leases_away(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    lease = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)
    await store.checkpoint(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=lease.epoch, place=numbers[2])

    places = {SECOND: "AT:1764240000000", FIRST: TRIM_HORIZON, CHILD: TRIM_HORIZON}
    moved = await store.seek(stream_name, GROUP, place_by_shard=places)

    assert moved == [FIRST, SECOND], "the third has no lease"
    assert await store.seek(stream_name, GROUP, place_by_shard={}) == []
    found = await leases_of(store, stream_name)
    assert (found[FIRST].owner, found[FIRST].epoch, found[FIRST].place) == (None, 2, TRIM_HORIZON)
    assert (found[SECOND].epoch, found[SECOND].place) == (1, "AT:1764240000000")
    with pytest.raises(LeaseLost):
        await store.checkpoint(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=1, place=numbers[2])


async def test_who_leaves_is_forgotten_and_owns_nothing_any_more(store: LeaseStore, stream_name: str) -> None:
    await make(store, stream_name)
    for member_id, shard_id in (("a", FIRST), ("b", SECOND)):
        await store.beat(stream_name, GROUP, member_id=member_id, about="")
        await store.acquire(stream_name, GROUP, shard_id=shard_id, member_id=member_id, epoch=0)

    await store.leave(stream_name, GROUP, member_id="a")
    await store.leave(stream_name, GROUP, member_id="nobody")

    seen = await store.snapshot(stream_name, GROUP)
    assert [member.member_id for member in seen.members] == ["b"]
    assert {lease.shard_id: lease.owner for lease in seen.leases} == {FIRST: None, SECOND: "b"}


async def test_leases_that_are_dropped_are_gone_and_missing_ones_are_no_error(
    store: LeaseStore, stream_name: str
) -> None:
    await make(store, stream_name)

    await store.drop_leases(stream_name, GROUP, shard_ids=[FIRST, CHILD])

    assert set(await leases_of(store, stream_name)) == {SECOND}
    with pytest.raises(LeaseLost):
        await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)


async def test_a_group_that_is_deleted_is_unknown_to_its_members_and_new_when_it_is_made_again(
    store: LeaseStore, stream_name: str, numbers: list[str]
) -> None:
    await make(store, stream_name)
    await store.beat(stream_name, GROUP, member_id="a", about="")
    lease = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    await store.delete_group(stream_name, GROUP)

    assert await store.groups(stream_name) == []
    for call in (
        store.beat(stream_name, GROUP, member_id="a", about=""),
        store.snapshot(stream_name, GROUP),
        store.checkpoint(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=lease.epoch, place=numbers[0]),
        store.delete_group(stream_name, GROUP),
    ):
        with pytest.raises(GroupNotFound):
            await call
    await store.open_group(stream_name, GROUP, start=START)
    again = await store.snapshot(stream_name, GROUP)
    assert (again.members, again.leases) == ((), ())


async def test_groups_of_a_stream_know_nothing_of_each_other(store: LeaseStore, stream_name: str) -> None:
    await make(store, stream_name)
    await store.open_group(stream_name, "others", start=START)
    await store.beat(stream_name, "others", member_id="x", about="")

    assert (await store.snapshot(stream_name, "others")).leases == ()
    assert (await store.snapshot(stream_name, GROUP)).members == ()
    assert await store.groups(stream_name) == ["others", GROUP]


async def test_a_checkpoint_never_moves_back(store: LeaseStore, stream_name: str, numbers: list[str]) -> None:
    await make(store, stream_name)
    lease = await store.acquire(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=0)

    async def save(place: str) -> None:
        await store.checkpoint(stream_name, GROUP, shard_id=FIRST, member_id="a", epoch=lease.epoch, place=place)

    await save(numbers[1])
    for back in (numbers[0], TRIM_HORIZON, "AT:5"):
        with pytest.raises(PlaceBehind):
            await save(back)
    await save(numbers[1])
    await save(AT_END)

    assert (await leases_of(store, stream_name))[FIRST].place == AT_END
