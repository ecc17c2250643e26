"""What the machine of random steps cannot reach: damage, lost blocks, and the bounds of a trim."""

from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from streamd.core.blocks import BlockHeader, body_of, encode
from streamd.errors import BlockDamaged
from streamd.storage.inspect import check
from streamd.storage.shard_log import BLOCK_KEY, ShardKey
from tests.storage.stores import Bench, ManualClock, batch, open_bench

SHARD = ShardKey(1, 0)
OTHER_SHARD = ShardKey(1, 1)
BLOCK_COUNT = 9
RECORD_COUNT = 3
START_MS = 1_700_000_000_000

Damage = Callable[[bytes], bytes | None]


async def _fill(bench: Bench) -> None:
    """Write nine blocks of three records, a second apart, to two shards."""
    await bench.store.open([SHARD, OTHER_SHARD])
    for place in range(BLOCK_COUNT):
        bench.clock.time_ms = START_MS + 1000 * place
        for shard in (SHARD, OTHER_SHARD):
            await bench.store.append([batch(shard, [b"%d-%d" % (place, n) for n in range(RECORD_COUNT)])])


def _damage(data: Path, block: int, damage: Damage) -> None:
    """Change a stored block of the first shard behind the store's back; None removes it."""
    key = BLOCK_KEY.pack(SHARD.stream_number, SHARD.shard_index, 1 + block * RECORD_COUNT)
    with lmdb.open(str(data / "log"), max_dbs=8) as environment:
        blocks = environment.open_db(b"blocks", create=False)
        with environment.begin(write=True, db=blocks) as transaction:
            changed = damage(bytes(transaction.get(key, default=b"")))
            if changed is None:
                assert transaction.delete(key)
            else:
                assert transaction.put(key, changed)


def _flip(offset: int) -> Damage:
    return lambda block: block[:offset] + bytes([block[offset] ^ 0xFF]) + block[offset + 1 :]


def _with_arrival(arrival_ms: int) -> Damage:
    """Change the arrival time alone, which leaves the checksum wrong."""
    return lambda block: block[:8] + arrival_ms.to_bytes(8, "little") + block[16:]


DAMAGES: dict[str, Damage] = {
    "format version": _flip(0),
    "flags": _flip(1),
    "key generation": _flip(2),
    "record count": _flip(4),
    "arrived long ago": _with_arrival(1),
    "arrived far ahead": _with_arrival(1 << 62),
    "checksum": _flip(16),
    "lengths": _flip(24),
    "data": _flip(-1 % 40),
    "cut short": lambda block: block[:-1],
    "nothing left": lambda _block: b"",
    "removed": lambda _block: None,
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("block", [0, 4, BLOCK_COUNT - 1])
async def test_a_damaged_block_is_never_served_nor_passed_in_silence(tmp_path: Path, kind: str, block: int) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await _fill(bench)
    _damage(tmp_path / "data", block, DAMAGES[kind])
    damaged = range(1 + block * RECORD_COUNT, 1 + (block + 1) * RECORD_COUNT)

    async with open_bench(tmp_path / "data") as bench:
        for after in range(BLOCK_COUNT * RECORD_COUNT):
            found = await _read_all(bench, SHARD, after)
            # What is given follows without a gap, holds what was written, and ends in front of the damage.
            assert list(found) == list(range(min(found, default=0), max(found, default=-1) + 1))
            assert all(data == _written(position) for position, data in found.items())
            assert not set(found) & set(damaged)
            assert (after + 1 in found) == (after + 1 not in damaged)
            assert max(found, default=0) < damaged.start or min(found) >= damaged.stop
        assert len(await _read_all(bench, OTHER_SHARD, 0)) == BLOCK_COUNT * RECORD_COUNT


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("block", [0, 1, 4, BLOCK_COUNT - 1])
async def test_finding_a_time_skips_no_record_whatever_a_damaged_block_claims(
    tmp_path: Path, kind: str, block: int
) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await _fill(bench)
    _damage(tmp_path / "data", block, DAMAGES[kind])

    async with open_bench(tmp_path / "data") as bench:
        for wanted in range(BLOCK_COUNT):
            for time_ms in (START_MS + 1000 * wanted - 500, START_MS + 1000 * wanted):
                position = await bench.store.position_at(SHARD, time_ms=time_ms)

                # At the damage itself a reader may be sent to it, and is told; never past a record it asked for.
                right = 1 + wanted * RECORD_COUNT
                if wanted == block + 1:
                    assert position in (right, right - RECORD_COUNT)
                else:
                    assert position == right


@pytest.mark.parametrize("kind", DAMAGES)
async def test_retention_removes_nothing_that_has_not_expired_whatever_a_damaged_block_claims(
    tmp_path: Path, kind: str
) -> None:
    block = 4
    async with open_bench(tmp_path / "data") as bench:
        await _fill(bench)
    _damage(tmp_path / "data", block, DAMAGES[kind])

    async with open_bench(tmp_path / "data") as bench:
        for expired in range(BLOCK_COUNT + 1):
            horizon_ms = START_MS + 1000 * expired - 500
            listed = await bench.store.expired({SHARD.stream_number: horizon_ms})
            await bench.store.trim(SHARD, before_ms=horizon_ms)

            # The damage itself goes once an intact block behind it has expired too.
            gone = block if expired == block + 1 else expired
            assert (await bench.store.state(SHARD)).first_position == 1 + gone * RECORD_COUNT
            assert (SHARD in listed) or gone in (0, block)
    # What a damaged block held cannot always be told, so the count of bytes may stay off; nothing else may.
    faults = check(tmp_path / "data", progress=lambda _done, _total: None).faults
    assert all("bytes" in fault.reason for fault in faults)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("block", [0, 4, BLOCK_COUNT - 1])
async def test_a_check_finds_every_kind_of_damage_and_names_its_place(tmp_path: Path, kind: str, block: int) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await _fill(bench)
    assert check(tmp_path / "data", progress=lambda _done, _total: None).faults == []
    _damage(tmp_path / "data", block, DAMAGES[kind])

    report = check(tmp_path / "data", progress=lambda _done, _total: None)

    assert report.faults
    place = "shardId-000000000000"
    assert all(place in fault.place for fault in report.faults)
    if kind != "removed":
        assert f"at position {1 + block * RECORD_COUNT}" in report.faults[0].place


async def test_a_block_written_in_the_place_of_another_is_found_out(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await _fill(bench)
    stolen = BLOCK_KEY.pack(OTHER_SHARD.stream_number, OTHER_SHARD.shard_index, 1)
    forged = encode(
        BlockHeader(record_count=RECORD_COUNT, arrival_ms=START_MS),
        body_of(batch(SHARD, [b"forged"] * RECORD_COUNT).records),
        key=stolen,
    )
    _damage(tmp_path / "data", 0, lambda _block: forged)

    async with open_bench(tmp_path / "data") as bench:
        with pytest.raises(BlockDamaged, match="checksum"):
            await bench.store.read(SHARD, after=0, byte_count_max=1, record_count_max=1, horizon_ms=0)


async def test_a_trim_takes_a_little_at_a_time_and_says_that_there_is_more(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_bench(tmp_path / "data", clock) as bench:
        await bench.store.open([SHARD])
        # A mebibyte fills a block, so these are 40 blocks of 1 MiB: more than one trim takes.
        await bench.store.append([batch(SHARD, [bytes((1 << 20) - 3)] * 40)])

        counts = []
        has_more = True
        while has_more:
            trimmed = await bench.store.trim(SHARD, before_ms=clock.time_ms + 1)
            counts.append(trimmed.record_count)
            has_more = trimmed.has_more

        assert len(counts) > 1
        assert max(counts) <= 32
        assert sum(counts) == 40


async def _read_all(bench: Bench, shard: ShardKey, after: int) -> dict[int, bytes]:
    """Read from a position on until the end or the damage; data by position."""
    found: dict[int, bytes] = {}
    while True:
        try:
            run = await bench.store.read(shard, after=after, byte_count_max=1, record_count_max=1_000_000, horizon_ms=0)
        except BlockDamaged:
            return found
        if not run.blocks:
            return found
        for block in run.blocks:
            lines = block.content[-RECORD_COUNT * 3 :]
            for place in range(RECORD_COUNT):
                position = block.position + place
                if position > after:
                    found[position] = lines[3 * place : 3 * place + 3]
            after = block.position + block.header.record_count - 1


def _written(position: int) -> bytes:
    block, record = divmod(position - 1, RECORD_COUNT)
    return b"%d-%d" % (block, record)
