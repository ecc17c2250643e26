"""Several members of a group on a real daemon: they share, hand over, take over, and fence themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from streamd.core.lease import TRIM_HORIZON, Place, Snapshot
from streamd.errors import GroupNotFound, LeaseLost
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Batch, Consumer
from streamd.sdk.failures import ServiceUnreachable
from streamd.sdk.leases_memory import MemoryLeases
from tests.daemons import Daemon
from tests.sdk.consumers import Members, client_at, made_stream, put, texts

__all__: list[str] = []


class CutLeases(MemoryLeases):
    """A store that some members cannot reach, and that tells when each member has beaten."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: set[str] = set()
        self._beaten = asyncio.Event()

    async def beat(self, stream: str, group: str, *, member_id: str, about: str) -> Snapshot:
        self._refuse(member_id)
        snapshot = await super().beat(stream, group, member_id=member_id, about=about)
        self._beaten.set()
        return snapshot

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        self._refuse(member_id)
        await super().checkpoint(
            stream, group, shard_id=shard_id, member_id=member_id, epoch=epoch, place=place, release=release
        )

    async def leave(self, stream: str, group: str, *, member_id: str) -> None:
        self._refuse(member_id)
        await super().leave(stream, group, member_id=member_id)

    async def until(self, is_so: Callable[[], bool], *, beats_max: int) -> None:
        """Wait until something is so, for a bounded count of beats of whichever members."""
        for _ in range(beats_max):
            if is_so():
                return
            self._beaten.clear()
            await self._beaten.wait()
        raise AssertionError(f"not so after {beats_max} beats")

    def _refuse(self, member_id: str) -> None:
        if member_id in self.cut:
            raise ServiceUnreachable("nowhere", "cut off")


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[KinesisClient]:
    async with client_at(daemon.url) as opened:
        yield opened


@pytest.fixture
async def store() -> CutLeases:
    return CutLeases()


@pytest.fixture
async def members(client: KinesisClient, stream_name: str, store: CutLeases) -> Members:
    await made_stream(client, stream_name, shards=7)
    return Members(client, stream_name, leases=store)


def are_even(*consumers: Consumer) -> Callable[[], bool]:
    def are_even_now() -> bool:
        counts = sorted(len(consumer.shard_ids) for consumer in consumers)
        return sum(counts) == 7 and counts[-1] - counts[0] <= 1

    return are_even_now


async def test_members_that_join_and_leave_share_evenly_and_repeat_nothing(members: Members, store: CutLeases) -> None:
    one, two, three = (members.consumer(name) for name in ("one", "two", "three"))
    wanted = await put(members.client, members.stream, range(700))

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(one))
        await store.until(are_even(one), beats_max=10)
        group.create_task(members.read(two))
        await store.until(are_even(one, two), beats_max=20)
        wanted += await put(members.client, members.stream, range(700, 1400))
        group.create_task(members.read(three))
        await store.until(are_even(one, two, three), beats_max=30)
        wanted += await put(members.client, members.stream, range(1400, 2100))
        one.stop()
        await store.until(are_even(two, three), beats_max=30)
        wanted += await put(members.client, members.stream, range(2100, 2800))
        await members.reads.all_of(wanted)
        two.stop()
        three.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())
    assert {member for member, _ in members.reads.batches} == {"one", "two", "three"}


async def test_a_batch_in_hand_is_finished_before_its_shard_is_handed_over(members: Members, store: CutLeases) -> None:
    await put(members.client, members.stream, range(140), keys=140)
    one, two = members.consumer("one"), members.consumer("two")

    async with one, asyncio.TaskGroup() as group:
        hands = [aiter(one) for _ in range(7)]
        held = {(await anext(hand)).shard_id for hand in hands}
        async with two:
            for _ in range(6):
                await store.until(_is_next_beat(), beats_max=4)
            while_held = two.shard_ids
            ends = [group.create_task(_next_or_none(hand)) for hand in hands]
            await store.until(are_even(one, two), beats_max=40)
            one.stop()

    assert len(held) == 7
    assert while_held == []
    assert [end.result() for end in ends] == [None] * 7


async def test_the_shards_of_a_silent_member_are_taken_and_it_gives_out_nothing_more(
    members: Members, store: CutLeases
) -> None:
    one = members.consumer("one", checkpoint="manual", batch_record_count_max=10)
    two = members.consumer("two")
    wanted = await put(members.client, members.stream, range(1000))

    async with one, asyncio.TaskGroup() as group:
        batches = aiter(one)
        held = await anext(batches)
        store.cut.add("one")
        group.create_task(members.read(two))
        await store.until(lambda: len(two.shard_ids) == 7, beats_max=60)
        await members.reads.all_of(wanted)
        after_silence = group.create_task(_next_or_none(batches))
        await store.until(_is_next_beat(), beats_max=4)
        was_silent = not after_silence.done()
        store.cut.remove("one")
        with pytest.raises(LeaseLost):
            await held.checkpoint()
        await store.until(are_even(one, two), beats_max=40)
        later = await put(members.client, members.stream, range(1000, 2000))
        fresh = await after_silence
        assert fresh is not None
        two.stop()

    assert was_silent
    assert set(texts(held.records)) < set(wanted)
    assert fresh.epoch > held.epoch
    assert set(texts(fresh.records)) <= set(later)
    assert sorted(members.reads.texts[:1000]) == sorted(wanted)


async def test_a_group_that_is_moved_is_read_again_from_there(members: Members, store: CutLeases) -> None:
    wanted = await put(members.client, members.stream, range(300))
    one = members.consumer("one")

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(one))
        await members.reads.all_of(wanted)
        snapshot = await store.snapshot(members.stream, "g")
        await store.seek(
            members.stream, "g", place_by_shard={lease.shard_id: TRIM_HORIZON for lease in snapshot.leases}
        )
        await store.until(lambda: len(members.reads.texts) >= 600, beats_max=40)
        one.stop()

    assert sorted(members.reads.texts) == sorted(wanted * 2)
    assert {batch.epoch for _, batch in members.reads.batches} == {1, 3}


async def test_a_group_that_is_deleted_ends_its_members(members: Members, store: CutLeases) -> None:
    one = members.consumer("one")

    async with one:
        await store.until(are_even(one), beats_max=10)
        await store.delete_group(members.stream, "g")
        with pytest.raises(GroupNotFound):
            await anext(aiter(one))


async def _next_or_none(hand: AsyncIterator[Batch]) -> Batch | None:
    return await anext(hand, None)


def _is_next_beat() -> Callable[[], bool]:
    calls = iter([False, True])
    return lambda: next(calls)
