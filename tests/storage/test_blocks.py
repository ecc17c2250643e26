"""Blocks and sealing: what is written is read back, and nothing else ever is."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.blocks import (
    BlockHeader,
    RecordColumns,
    body_of,
    counted_byte_count,
    decode,
    encode,
    header_of,
    is_intact,
    joined,
    sealed_body,
    sizes,
)
from streamd.core.limits import BLOCK_BYTE_COUNT_MAX
from streamd.core.sealing import KEY_BYTE_COUNT, NONCE_BYTE_COUNT, unwrap, wrap
from streamd.errors import FormatUnknown, MasterKeyMissing
from tests.storage.stores import data_key

KEY = b"stream-7/shard-0/position-1"
NONCE = bytes(NONCE_BYTE_COUNT)
MASTER_KEY = b"m" * KEY_BYTE_COUNT
RECORD = st.tuples(st.one_of(st.none(), st.binary(max_size=300)), st.binary(max_size=300))


@st.composite
def columns(draw: st.DrawFn) -> RecordColumns:
    """Draw records as columns."""
    rows = draw(st.lists(RECORD, min_size=1, max_size=20))
    return RecordColumns([key for key, _ in rows], [data for _, data in rows])


@given(records=columns(), arrival_ms=st.integers(0, 2**63 - 1), cut=st.data())
def test_a_block_reads_back_as_it_was_written(records: RecordColumns, arrival_ms: int, cut: st.DataObject) -> None:
    count = len(records.data)
    first = cut.draw(st.integers(0, count))
    last = cut.draw(st.integers(first, count))

    block = encode(BlockHeader(record_count=count, arrival_ms=arrival_ms), body_of(records), key=KEY)

    assert is_intact(block, key=KEY)
    header = header_of(block)
    assert header == BlockHeader(record_count=count, arrival_ms=arrival_ms)
    body = sealed_body(block)
    assert decode(body, record_count=count) == records
    part = decode(body, record_count=count, first=first, last=last)
    assert part == RecordColumns(list(records.keys)[first:last], list(records.data)[first:last])
    assert sum(sizes(body, record_count=count)) == records.byte_count
    assert counted_byte_count(header, stored_byte_count=len(block)) == records.byte_count


@pytest.mark.parametrize("generation", [0, 3], ids=["clear", "sealed"])
@pytest.mark.parametrize("depth", [0, 1, 31])
def test_a_block_tells_how_deep_in_a_chain_of_invocations_it_was_put(generation: int, depth: int) -> None:
    header = BlockHeader(record_count=0, arrival_ms=0, key_generation=generation, depth=depth)

    assert header_of(encode(header, b"", key=KEY)) == header


@pytest.mark.parametrize("generation", [0, 3], ids=["clear", "sealed"])
def test_every_flipped_bit_of_a_block_is_noticed(generation: int) -> None:
    records = RecordColumns([b"key", None, b""], [b"data" * 9, b"", b"\xff"])
    body = body_of(records)
    if generation:
        body = data_key(7, generation).seal(body, nonce=NONCE, shard_index=0, record_count=3)
    header = BlockHeader(record_count=3, arrival_ms=1_700_000_000_000, key_generation=generation)
    block = encode(header, body, key=KEY)

    for bit in range(8 * len(block)):
        flipped = bytearray(block)
        flipped[bit // 8] ^= 1 << bit % 8

        assert not is_intact(bytes(flipped), key=KEY), f"bit {bit} of {8 * len(block)}"


def test_a_block_that_was_cut_short_is_noticed_wherever_it_was_cut() -> None:
    block = encode(BlockHeader(record_count=1, arrival_ms=1), body_of(RecordColumns([b"k"], [b"data"])), key=KEY)

    for length in range(len(block)):
        assert not is_intact(block[:length], key=KEY)
    assert not is_intact(block + b"\0", key=KEY)


def test_a_block_in_the_place_of_another_is_noticed() -> None:
    block = encode(BlockHeader(record_count=1, arrival_ms=1), body_of(RecordColumns([b"k"], [b"data"])), key=KEY)

    for bit in range(8 * len(KEY)):
        elsewhere = bytearray(KEY)
        elsewhere[bit // 8] ^= 1 << bit % 8

        assert not is_intact(block, key=bytes(elsewhere))


def test_a_block_of_a_later_format_is_refused_with_both_versions() -> None:
    block = encode(BlockHeader(record_count=1, arrival_ms=1), b"", key=KEY)

    with pytest.raises(FormatUnknown, match=r"format version 2; this version of streamd knows 1"):
        header_of(b"\x02" + block[1:])


@settings(deadline=None)
@given(
    data_sizes=st.lists(
        st.lists(st.sampled_from([0, 1, 100_000, 524_288, 1_048_576, 1_500_000]), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_joined_batches_keep_every_record_in_order_in_bounded_blocks(data_sizes: list[list[int]]) -> None:
    batches = [
        RecordColumns([f"{batch}".encode()] * len(row), [bytes([place]) * size for place, size in enumerate(row)])
        for batch, row in enumerate(data_sizes)
    ]

    blocks = list(joined([(records, records.byte_count) for records in batches]))

    assert [key for block in blocks for key in block.keys] == [key for records in batches for key in records.keys]
    assert [data for block in blocks for data in block.data] == [data for records in batches for data in records.data]
    for block in blocks:
        assert block.data
        assert block.byte_count <= BLOCK_BYTE_COUNT_MAX or len(block.data) == 1
    for block, following in pairwise(blocks):
        assert block.byte_count + len(following.data[0]) + 1 > BLOCK_BYTE_COUNT_MAX


@given(body=st.binary(max_size=200), nonce=st.binary(min_size=NONCE_BYTE_COUNT, max_size=NONCE_BYTE_COUNT))
def test_a_sealed_body_opens_with_its_key_and_shows_nothing_without(body: bytes, nonce: bytes) -> None:
    key = data_key(7, 1)

    sealed = key.seal(body, nonce=nonce, shard_index=3, record_count=2)

    assert key.open(sealed, shard_index=3, record_count=2) == body
    assert len(body) < 4 or body not in sealed[NONCE_BYTE_COUNT:]
    assert counted_byte_count(
        BlockHeader(record_count=0, arrival_ms=0, key_generation=1),
        stored_byte_count=len(encode(BlockHeader(record_count=0, arrival_ms=0, key_generation=1), sealed, key=KEY)),
    ) == len(body)


def test_a_sealed_body_that_was_moved_or_changed_does_not_open() -> None:
    sealed = data_key(7, 1).seal(b"secret", nonce=NONCE, shard_index=3, record_count=2)
    places = [(data_key(7, 2), 3, 2), (data_key(8, 1), 3, 2), (data_key(7, 1), 4, 2), (data_key(7, 1), 3, 1)]

    for key, shard_index, record_count in places:
        with pytest.raises(MasterKeyMissing):
            key.open(sealed, shard_index=shard_index, record_count=record_count)

    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MasterKeyMissing):
            data_key(7, 1).open(bytes(flipped), shard_index=3, record_count=2)


def test_a_data_key_opens_only_with_its_master_key_in_its_own_place() -> None:
    secret = b"s" * KEY_BYTE_COUNT
    wrapped = wrap(secret, master_key=MASTER_KEY, nonce=NONCE, stream_number=7, generation=1)

    opened = unwrap(wrapped, master_key=MASTER_KEY, stream_number=7, generation=1)

    sealed = opened.seal(b"body", nonce=NONCE, shard_index=0, record_count=1)
    assert opened.open(sealed, shard_index=0, record_count=1) == b"body"
    assert secret not in wrapped
    for master_key, stream_number, generation in (
        (b"n" * KEY_BYTE_COUNT, 7, 1),
        (MASTER_KEY, 8, 1),
        (MASTER_KEY, 7, 2),
    ):
        with pytest.raises(MasterKeyMissing, match="master key"):
            unwrap(wrapped, master_key=master_key, stream_number=stream_number, generation=generation)
