"""On-demand streams: a shard that stays over its write limit is cut in half, one that only bursts is not."""

from pathlib import Path

import pytest

from streamd.core.limits import SHARD_WRITE_BYTE_RATE, SHARD_WRITE_RECORD_RATE
from streamd.core.stream import StreamMode
from streamd.engine.on_demand import OnDemandScaler
from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Rooms, open_rooms

_SECOND_MS = 1000
_OVER_BY_COUNT = [b""] * (SHARD_WRITE_RECORD_RATE + 1)
_OVER_BY_SIZE = [b"x" * (SHARD_WRITE_BYTE_RATE // 4 + 1)] * 4
_JUST_WITHIN = [b""] * SHARD_WRITE_RECORD_RATE


async def _seconds(rooms: Rooms, count: int, payloads: list[bytes], *, hash_key: int = 0, name: str = "s") -> None:
    for _ in range(count):
        await rooms.put(name, *payloads, hash_keys=[hash_key] * len(payloads))
        rooms.clock.advance(_SECOND_MS)
        await rooms.scaler.sample()


async def _open_indexes(rooms: Rooms, name: str = "s") -> list[int]:
    stream = await rooms.engine.streams.load(name)
    return [shard.index for shard in stream.tree.open_shards]


@pytest.mark.parametrize("payloads", [_OVER_BY_COUNT, _OVER_BY_SIZE], ids=["records", "bytes"])
async def test_a_shard_that_stays_over_its_limit_is_split_in_half(tmp_path: Path, payloads: list[bytes]) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)
        before = (await rooms.engine.streams.load("s")).tree.shard_by_index[0]

        await _seconds(rooms, 6, payloads)

        low, high = (await rooms.engine.streams.load("s")).tree.open_shards[:2]
        assert await _open_indexes(rooms) == [4, 5, 1, 2, 3]
        assert (low.hash_range.start, high.hash_range.end) == (before.hash_range.start, before.hash_range.end)
        assert low.hash_range.end + 1 == high.hash_range.start == (before.hash_range.end + 1) // 2


async def test_a_split_shard_that_is_still_too_busy_is_split_again(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        await _seconds(rooms, 12, _OVER_BY_COUNT)

        assert await _open_indexes(rooms) == [6, 7, 5, 1, 2, 3]


async def test_bursts_with_a_calm_second_between_them_split_nothing(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        for _ in range(3):
            await _seconds(rooms, 4, _OVER_BY_COUNT)
            await _seconds(rooms, 1, [b"calm"])

        assert await _open_indexes(rooms) == [0, 1, 2, 3]


async def test_a_shard_at_its_limit_is_not_over_it(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        await _seconds(rooms, 8, _JUST_WITHIN)

        assert await _open_indexes(rooms) == [0, 1, 2, 3]


async def test_a_busy_shard_is_split_whatever_the_clock_is_set_to(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        for _ in range(6):
            await _seconds(rooms, 1, _OVER_BY_COUNT)
            rooms.clock.jump(HOUR_MS)

        assert await _open_indexes(rooms) == [4, 5, 1, 2, 3]


async def test_a_calm_shard_is_not_split_by_a_clock_that_is_set_back(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        for _ in range(8):
            await _seconds(rooms, 1, [b"calm"])
            rooms.clock.jump(-HOUR_MS)

        assert await _open_indexes(rooms) == [0, 1, 2, 3]


async def test_a_provisioned_stream_keeps_the_shards_that_its_user_gave_it(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4)
        await rooms.create("watched", shard_count=4, mode=StreamMode.ON_DEMAND)

        await _seconds(rooms, 8, _OVER_BY_COUNT)

        assert await _open_indexes(rooms) == [0, 1, 2, 3]


async def test_nothing_is_split_beyond_the_shard_quota(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)
        engine = rooms.engine
        scaler = OnDemandScaler(engine.store, engine.streams, engine.resharder, clock, shard_quota=4)

        for _ in range(8):
            await rooms.put("s", *_OVER_BY_COUNT, hash_keys=[0] * len(_OVER_BY_COUNT))
            clock.advance(_SECOND_MS)
            await scaler.sample()

        assert await _open_indexes(rooms) == [0, 1, 2, 3]


async def test_a_stream_made_again_under_its_name_begins_to_be_watched_anew(tmp_path: Path) -> None:
    async with open_rooms(tmp_path, ManualClock()) as rooms:
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)
        await _seconds(rooms, 5, _OVER_BY_COUNT)
        await rooms.ask("DeleteStream", StreamName="s")
        await rooms.create("s", shard_count=4, mode=StreamMode.ON_DEMAND)

        await _seconds(rooms, 5, _OVER_BY_COUNT)

        assert await _open_indexes(rooms) == [0, 1, 2, 3]
