"""The table of events that wait for functions."""

import asyncio
from pathlib import Path

import pytest

from streamd.errors import QueueFull
from streamd.storage.event_queue import StoredEvent
from streamd.storage.store import Store
from tests.storage.stores import open_bench


def take(
    store: Store, lane: int, *, now_ms: int = 1000, count: int = 100, skip: frozenset[bytes] = frozenset()
) -> list[StoredEvent]:
    """Take what is due, but for some."""
    return store.events.take(
        lane, now_ms=now_ms, count_max=count, byte_count_max=1 << 20, is_wanted=lambda key: key not in skip
    )


async def test_events_are_taken_when_they_are_due_and_in_that_order(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        await store.events.put(1, b"late", due_ms=2000)
        await store.events.put(1, b"second", due_ms=20)
        await store.events.put(1, b"first", due_ms=10)

        assert [event.content for event in take(store, 1)] == [b"first", b"second"]
        assert [event.content for event in take(store, 1, now_ms=2000)] == [b"first", b"second", b"late"]


async def test_what_is_due_later_than_anything_is_put_off_is_taken_first(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        for lane in (1, 2):
            await store.events.put(lane, b"now", due_ms=10)
            await store.events.put(lane, b"soon", due_ms=2000)
        await store.events.put(1, b"before the clock was set back", due_ms=3001)
        await store.events.put(2, b"at the bound", due_ms=3000)

        limits = {"now_ms": 1000, "beyond_ms": 3000, "count_max": 9, "byte_count_max": 1 << 20}
        taken = [store.events.take(lane, is_wanted=lambda _: True, **limits) for lane in (1, 2)]

        assert [event.content for event in taken[0]] == [b"before the clock was set back", b"now"]
        assert [event.content for event in taken[1]] == [b"now"]
        assert store.events.heads(beyond_ms=3000) == {1: 0, 2: 10}


async def test_each_lane_tells_when_its_first_event_is_due(tmp_path: Path) -> None:
    lanes = (0, 1, 2**63, 2**64 - 1)
    async with open_bench(tmp_path) as bench:
        store = bench.store
        for lane in lanes:
            await store.events.put(lane, b"x", due_ms=lane % 7 + 5)
            await store.events.put(lane, b"y", due_ms=99)

        assert store.events.heads() == {lane: lane % 7 + 5 for lane in lanes}


async def test_what_is_in_hand_is_passed_over(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        for number in range(3):
            await store.events.put(1, b"%d" % number, due_ms=number)
        first = take(store, 1, count=1)

        rest = take(store, 1, skip=frozenset({first[0].key}))

        assert [event.content for event in rest] == [b"1", b"2"]


async def test_a_moved_event_has_another_time_and_content_and_a_removed_one_is_gone(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        await store.events.put(1, b"a", due_ms=1)
        await store.events.put(1, b"b", due_ms=2)
        first, second = take(store, 1)

        await store.events.move(first, b"again", due_ms=500)
        await store.events.remove(second)
        # A second look at what was moved away changes nothing.
        await store.events.move(first, b"never", due_ms=1)

        assert [(event.content, event.due_ms) for event in take(store, 1)] == [(b"again", 500)]


async def test_events_survive_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        await asyncio.gather(*[store.events.put(1, b"%d" % number, due_ms=1) for number in range(50)])

    async with open_bench(tmp_path) as bench:
        store = bench.store
        assert {event.content for event in take(store, 1)} == {b"%d" % number for number in range(50)}


async def test_a_full_queue_refuses_and_keeps_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        before = store.events.size()
        store.events.event_count_max = 2
        await store.events.put(1, b"a", due_ms=1)
        await store.events.put(1, b"b", due_ms=1)

        with pytest.raises(QueueFull):
            await store.events.put(1, b"c", due_ms=1)

        assert store.events.size().event_count == before.event_count + 2


async def test_whoever_waits_for_events_is_woken_by_one_and_not_by_records(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        store = bench.store
        commit = store.last_commit()
        waiting = asyncio.create_task(store.wait_for_events(after=commit, timeout_s=60))
        await asyncio.sleep(0)

        await store.events.put(1, b"a", due_ms=1)
        await asyncio.wait_for(waiting, 10)

        # What came since the last look is not waited for.
        await asyncio.wait_for(store.wait_for_events(after=commit, timeout_s=60), 10)
