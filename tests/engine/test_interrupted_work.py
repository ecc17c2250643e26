"""What a crash interrupts between two commits, the next janitor finishes; doing it again changes nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from streamd.core.stream import Stream
from streamd.storage.shard_log import ShardKey
from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Refusal, Rooms, open_rooms

_DAY_MS = 24 * HOUR_MS
_BEFORE, _AFTER = b"before", b"after"
_MIDDLE = 1 << 127

Step = Callable[[Rooms], Awaitable[None]]


async def _intend_split(rooms: Rooms) -> None:
    def decide(stream: Stream) -> Stream:
        step = stream.tree.split(0, at=_MIDDLE, now_ms=rooms.clock.now_ms())
        return rooms.engine.resharder.intend(stream, (step,))

    await rooms.engine.streams.change("s", decide)


async def _open_children(rooms: Rooms) -> None:
    await rooms.store.open([ShardKey(1, 1), ShardKey(1, 2)])


async def _seal_parent(rooms: Rooms) -> None:
    await rooms.store.seal([ShardKey(1, 0)])


async def _mark_deleted(rooms: Rooms) -> None:
    # As DeleteStream does in its first commit, without those that follow.
    document = await rooms.store.get("stream/s")
    assert document is not None
    now_ms = rooms.clock.now_ms()
    marked = replace(Stream.from_document(orjson.loads(document.content)), deleting_ms=now_ms, gone_ms=now_ms)
    await rooms.store.compare_and_set("stream/s", orjson.dumps(marked.to_document()), expected=document.version)


async def _dig_grave(rooms: Rooms) -> None:
    await rooms.store.compare_and_set("grave/1", orjson.dumps([0]), expected=None)


async def _remove_document(rooms: Rooms) -> None:
    await rooms.store.compare_and_set("stream/s", None, expected=await rooms.store.version("stream/s"))


async def _drop_some(rooms: Rooms) -> None:
    assert not await rooms.store.drop(ShardKey(1, 0))


_RESHARD: tuple[Step, ...] = (_intend_split, _open_children, _seal_parent)
_DELETION: tuple[Step, ...] = (_mark_deleted, _dig_grave, _remove_document, _drop_some)


@pytest.mark.parametrize("step_count", range(1, len(_RESHARD) + 1))
async def test_a_reshard_that_was_interrupted_is_finished(tmp_path: Path, step_count: int) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _BEFORE, hash_keys=[_MIDDLE])
        for step in _RESHARD[:step_count]:
            await step(rooms)

    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.janitor.finish_due()
        finished = await rooms.engine.streams.load("s")
        await rooms.janitor.finish_due()
        again = await rooms.engine.streams.load("s")
        (placed,) = await rooms.put("s", _AFTER, hash_keys=[_MIDDLE])

        assert finished == again
        assert finished.reshard is None
        assert [shard.index for shard in finished.tree.open_shards] == [1, 2]
        assert placed.shard_id == "shardId-000000000002"
        assert await rooms.payloads("s", shard_index=0) == [_BEFORE]
        assert await rooms.payloads("s", shard_index=2) == [_AFTER]


@pytest.mark.parametrize("step_count", range(1, len(_RESHARD) + 1))
async def test_a_put_finishes_the_reshard_that_stands_in_its_way(tmp_path: Path, step_count: int) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        for step in _RESHARD[:step_count]:
            await step(rooms)

    async with open_rooms(tmp_path, clock) as rooms:
        (placed,) = await rooms.put("s", _AFTER, hash_keys=[_MIDDLE])

        is_sealed = step_count == len(_RESHARD)
        assert placed.shard_id == ("shardId-000000000002" if is_sealed else "shardId-000000000000")
        assert await rooms.payloads("s", shard_index=2 if is_sealed else 0) == [_AFTER]


@pytest.mark.parametrize("step_count", range(1, len(_DELETION) + 1))
async def test_a_deletion_that_was_interrupted_is_finished(tmp_path: Path, step_count: int) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        for place in range(300):
            await rooms.put("s", b"%d" % place)
        for step in _DELETION[:step_count]:
            await step(rooms)

    async with open_rooms(tmp_path, clock) as rooms:
        with pytest.raises(Refusal, match="ResourceNotFoundException"):
            await rooms.ask("DescribeStreamSummary", StreamName="s")
        for _ in range(2):
            await rooms.janitor.finish_due()
            await rooms.janitor.sweep()

        assert await rooms.store.states() == []
        assert await rooms.store.scan("grave/", limit=10) == []
        assert await rooms.store.scan("stream/", limit=10) == []


@pytest.mark.parametrize("step_count", range(1, len(_DELETION) + 1))
async def test_a_name_is_free_again_however_far_its_deletion_came(tmp_path: Path, step_count: int) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        for place in range(300):
            await rooms.put("s", b"%d" % place)
        for step in _DELETION[:step_count]:
            await step(rooms)

    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.ask("CreateStream", StreamName="s", ShardCount=1)
        empty = await rooms.payloads("s")
        await rooms.put("s", _AFTER)
        await rooms.janitor.finish_due()
        await rooms.janitor.sweep()

        assert empty == []
        assert await rooms.payloads("s") == [_AFTER]
        assert [key for key, _ in await rooms.store.states()] == [ShardKey(2, 0)]


async def test_a_closed_shard_whose_removal_was_interrupted_is_removed(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _BEFORE)
        for step in _RESHARD:
            await step(rooms)
        await rooms.janitor.finish_due()
        clock.advance(_DAY_MS + 1)
        await rooms.store.compare_and_set("grave/1-0", orjson.dumps([0]), expected=None)

    async with open_rooms(tmp_path, clock) as rooms:
        for _ in range(2):
            await rooms.janitor.sweep()

        stream = await rooms.engine.streams.load("s")
        assert [shard.index for shard in stream.tree] == [1, 2]
        assert [key.shard_index for key, _ in await rooms.store.states()] == [1, 2]
        assert await rooms.store.scan("grave/", limit=10) == []


async def test_shards_of_a_stream_that_was_deleted_while_it_resharded_are_removed_too(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await _intend_split(rooms)
        await _open_children(rooms)

        await rooms.ask("DeleteStream", StreamName="s")
        await rooms.janitor.sweep()

        assert await rooms.store.states() == []


async def test_a_number_that_an_interrupted_creation_took_is_never_given_again(tmp_path: Path) -> None:
    clock = ManualClock()
    key = "last-stream-number"
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("first")
        # A creation that ends after its number was taken and its shards were made.
        await rooms.store.compare_and_set(key, b"2", expected=await rooms.store.version(key))
        await rooms.store.open([ShardKey(2, 0)])

    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("third")
        await rooms.put("third", _AFTER)

        assert (await rooms.engine.streams.load("third")).number == 3
        assert await rooms.payloads("third") == [_AFTER]
