"""Aggregated records: what the KPL's own packer writes is unpacked, everything else is left alone."""

from hashlib import md5

import pytest
from aws_kinesis_agg import aggregator
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.aggregation import UserRecord, deaggregate
from streamd.core.hash_keys import HASH_KEY_MAX

__all__: list[str] = []

_MAGIC = b"\xf3\x89\x9a\xc2"
_RECORDS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
        st.none() | st.integers(0, (1 << 128) - 1).map(str),
        st.binary(max_size=200),
    ),
    min_size=1,
    max_size=20,
)


def _packed(message: bytes) -> bytes:
    return _MAGIC + message + md5(message, usedforsecurity=False).digest()


@given(_RECORDS)
def test_what_the_packer_of_aws_writes_is_unpacked(records: list[tuple[str, str | None, bytes]]) -> None:
    packer = aggregator.RecordAggregator()
    for key, hash_key, data in records:
        # It draws a hash key of its own from the partition key where there is none.
        assert packer.add_user_record(key, data, explicit_hash_key=hash_key) is None
    _, _, packed = packer.clear_and_get().get_contents()

    found = deaggregate(packed)

    assert found is not None
    assert [(record.key, record.data) for record in found] == [(key, data) for key, _, data in records]
    for record, (_, hash_key, _) in zip(found, records, strict=True):
        assert hash_key is None or record.hash_key == hash_key


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_never_break_it(message: bytes) -> None:
    for data in (message, _MAGIC + message, _packed(message)):
        found = deaggregate(data)
        assert found is None or all(isinstance(record, UserRecord) for record in found)


@given(st.data(), _RECORDS)
def test_a_message_with_a_digest_that_does_not_match_is_left_alone(
    data: st.DataObject, records: list[tuple[str, str | None, bytes]]
) -> None:
    packer = aggregator.RecordAggregator()
    for key, _, content in records:
        packer.add_user_record(key, content)
    packed = bytearray(packer.clear_and_get().get_contents()[2])
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))

    assert deaggregate(bytes(packed)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x0a\x01k",
        b"\x0a\x01k\x1a\x00",
        b"\x0a\x01k\x1a\x02\x08\x00",
        b"\x0a\x01k\x1a\x04\x08\x01\x1a\x00",
        b"\x0a\x01k\x1a\x06\x08\x00\x10\x00\x1a\x00",
        b"\x0a\x01\xff\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x05k",
        b"\x08\x01\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x01k\x1a\x0d\x08" + b"\xff" * 11 + b"\x1a\x00",
        b"\x0a\x01k\x1a\x04\x08\x00\x1a\x00\x03",
        b"\x0a\x01k\x1a\x04\x08\x00\x1a\x00\x00\x00",
        b"\x0a\x01k\x1a\x04\x08\x00\x1a\x00\x0d\x00",
        b"\x0a\x01k\x1a\x0d\x08" + b"\x80" * 9 + b"\x02\x1a\x00",
        b"\x0a\x01k\x1a\x04\x08\x00\x1a\x00\x80\x80\x80\x80\x10\x00",
        b"\x0a\x00\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x81\x02" + b"k" * 257 + b"\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x01k\x12\x01x\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x01k\x12\x27" + str(HASH_KEY_MAX + 1).encode() + b"\x1a\x04\x08\x00\x1a\x00",
        b"\x0a\x01k\x12\x28" + b"0" * 40 + b"\x1a\x04\x08\x00\x1a\x00",
    ],
    ids=[
        "nothing",
        "no record",
        "an empty record",
        "a record without data",
        "a key that is not there",
        "a hash key that is not there",
        "a key that is no text",
        "a length beyond the end",
        "a table that is a number",
        "a number without end",
        "a kind that nobody knows",
        "a field of number nought",
        "a fixed number cut short",
        "a number beyond 64 bits",
        "a field's number beyond protobuf's",
        "an empty key",
        "a key longer than Kinesis takes",
        "a hash key that is no number",
        "a hash key beyond the ring",
        "a hash key of too many digits",
    ],
)
def test_a_message_that_cannot_be_read_whole_is_left_alone(message: bytes) -> None:
    assert deaggregate(_packed(message)) is None


def test_the_longest_keys_that_kinesis_takes_are_read() -> None:
    packer = aggregator.RecordAggregator()
    packer.add_user_record("ü" * 256, b"d", explicit_hash_key=str(HASH_KEY_MAX))

    found = deaggregate(packer.clear_and_get().get_contents()[2])

    assert found == [UserRecord("ü" * 256, str(HASH_KEY_MAX), b"d")]


@given(_RECORDS, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3))
def test_an_altered_message_under_a_right_digest_is_read_as_protobuf_reads_it_or_left_alone(
    records: list[tuple[str, str | None, bytes]], changes: list[tuple[int, int]]
) -> None:
    packer = aggregator.RecordAggregator()
    for key, hash_key, data in records:
        packer.add_user_record(key, data, explicit_hash_key=hash_key)
    message = bytearray(packer.clear_and_get().get_contents()[2][len(_MAGIC) : -16])
    for place, byte in changes:
        message[place % len(message)] = byte

    found = deaggregate(_packed(bytes(message)))

    assert found is None or found == _read_by_protobuf(bytes(message))


def _read_by_protobuf(content: bytes) -> list[UserRecord]:
    message = AggregatedRecord()
    message.ParseFromString(content)
    hash_keys = message.explicit_hash_key_table
    return [
        UserRecord(
            key=message.partition_key_table[record.partition_key_index],
            hash_key=hash_keys[record.explicit_hash_key_index] if record.HasField("explicit_hash_key_index") else None,
            data=record.data,
        )
        for record in message.records
    ]


def test_fields_that_nobody_knows_are_passed_over() -> None:
    message = b"\x0a\x01k\x1a\x0c\x08\x00\x1a\x01d\x22\x03\x0a\x01t\x20\x07" + b"\x29" + b"x" * 8 + b"\x35" + b"x" * 4

    assert deaggregate(_packed(message)) == [UserRecord("k", None, b"d")]
