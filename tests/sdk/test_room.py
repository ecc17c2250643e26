"""Room for bytes: taken in the order of coming, given back by whoever is cancelled."""

import asyncio

import pytest

from streamd.sdk.failures import ProducerClosed
from streamd.sdk.room import Room


async def test_who_waits_is_let_in_in_the_order_of_coming() -> None:
    room = Room(10)
    entered: list[int] = []

    async def enter(number: int, byte_count: int) -> None:
        if not room.take(byte_count):
            await room.wait(byte_count)
        entered.append(number)

    async with asyncio.TaskGroup() as group:
        for number, byte_count in enumerate([6, 9, 1]):
            group.create_task(enter(number, byte_count))
        await asyncio.sleep(0)
        assert entered == [0]
        room.give(6)
    assert entered == [0, 1, 2]
    assert room.byte_count == 10


async def test_what_is_larger_than_all_the_room_is_let_in_alone() -> None:
    room = Room(10)

    assert room.take(50)
    assert not room.take(1)

    room.give(50)
    assert room.take(1)
    assert not room.take(50)


async def test_who_is_cancelled_takes_no_room_and_lets_the_next_one_in() -> None:
    room = Room(10)
    assert room.take(10)
    first, second = asyncio.ensure_future(room.wait(10)), asyncio.ensure_future(room.wait(5))
    await asyncio.sleep(0)

    first.cancel()
    room.give(10)
    await asyncio.wait([first, second])

    assert first.cancelled()
    assert room.byte_count == 5


async def test_room_that_is_given_to_one_who_is_cancelled_in_that_moment_comes_back() -> None:
    room = Room(10)
    assert room.take(10)
    waiter = asyncio.ensure_future(room.wait(10))
    await asyncio.sleep(0)

    room.give(10)
    waiter.cancel()
    await asyncio.wait([waiter])

    assert room.byte_count == 0


async def test_there_is_no_room_after_the_end() -> None:
    room = Room(10)
    assert room.take(10)
    waiter = asyncio.ensure_future(room.wait(10))
    await asyncio.sleep(0)

    room.close(ProducerClosed("closed"))

    with pytest.raises(ProducerClosed):
        await waiter


def test_many_things_are_divided_into_parts_that_leave_room_for_others() -> None:
    room = Room(4_000)
    byte_counts = [100] * 30 + [5_000] + [1] * 1_200

    parts = list(room.parts(byte_counts, each_byte_count=10))

    assert [number for part in parts for number in part.numbers] == list(range(len(byte_counts)))
    sums = [sum(byte_counts[number] + 10 for number in part.numbers) for part in parts]
    assert [part.byte_count for part in parts] == sums
    assert all(part.byte_count <= 1_000 or len(part.numbers) == 1 for part in parts)
    assert max(len(part.numbers) for part in Room(1_000_000).parts([1] * 1_200, each_byte_count=10)) == 500
