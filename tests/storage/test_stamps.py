"""Small values carry a checksum too: a flipped bit in the catalog or in a shard's record is never taken for truth."""

from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.checksums import stamped, unstamped
from streamd.errors import BlockDamaged, CatalogDamaged
from streamd.storage.inspect import check
from streamd.storage.shard_log import ShardKey
from tests.storage.stores import batch, open_bench

SHARD = ShardKey(1, 0)
OTHER = ShardKey(1, 1)


def flip_last_bit(data: Path, table: bytes, key: bytes) -> None:
    with lmdb.open(str(data / "log"), map_size=1 << 30, max_dbs=8) as environment:
        db = environment.open_db(table)
        with environment.begin(write=True) as transaction:
            value = bytearray(transaction.get(key, default=b"", db=db))
            value[-1] ^= 1
            transaction.put(key, bytes(value), db=db)


@given(key=st.binary(min_size=1, max_size=40), content=st.binary(max_size=200), data=st.data())
def test_a_stamped_value_comes_back_whole_or_not_at_all(key: bytes, content: bytes, data: st.DataObject) -> None:
    value = stamped(key, content)
    bit = data.draw(st.integers(0, 8 * len(value) - 1))

    flipped = bytearray(value)
    flipped[bit // 8] ^= 1 << bit % 8

    assert unstamped(key, value) == content
    assert unstamped(key, bytes(flipped)) is None
    assert unstamped(key + b"x", value) is None


async def test_a_damaged_document_is_refused_and_others_are_read(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        for key in ("stream/a", "stream/b"):
            await bench.store.compare_and_set(key, b'"one"', expected=None)

    flip_last_bit(tmp_path / "data", b"catalog", b"stream/a")

    async with open_bench(tmp_path / "data") as bench:
        with pytest.raises(CatalogDamaged, match="stream/a"):
            await bench.store.get("stream/a")
        assert (await bench.store.get("stream/b")) is not None
    found = check(tmp_path / "data", progress=lambda _done, _total: None)
    assert [fault.place for fault in found.faults if "checksum" in fault.reason] == ["catalog document stream/a"]


async def test_a_shard_whose_own_record_is_damaged_takes_and_gives_nothing_and_others_go_on(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD, OTHER])
        await bench.store.append([batch(SHARD, [b"a"]), batch(OTHER, [b"b"])])

    flip_last_bit(tmp_path / "data", b"shards", SHARD.pack())

    async with open_bench(tmp_path / "data") as bench:
        with pytest.raises(BlockDamaged, match="own record"):
            await bench.store.state(SHARD)
        refused, stored = await bench.store.append([batch(SHARD, [b"c"]), batch(OTHER, [b"d"])])
        assert isinstance(refused, BlockDamaged)
        assert not isinstance(stored, BlockDamaged)
        assert [key for key, _ in await bench.store.states()] == [OTHER]
        assert bench.failures == []
    found = check(tmp_path / "data", progress=lambda _done, _total: None)
    assert any("own record is damaged" in fault.reason for fault in found.faults)
