"""Messages of the event stream: they come back as they went, a known reader agrees, and damage is refused."""

from struct import pack
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.event_stream import PRELUDE_BYTE_COUNT, Message, decode, encode, whole_byte_count
from streamd.errors import MessageDamaged

__all__: list[str] = []

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
_HEADERS = st.dictionaries(_NAMES, st.text(st.characters(codec="utf-8"), max_size=60), max_size=6)
_MESSAGES = st.builds(Message, _HEADERS, st.binary(max_size=300))
_EVENT = Message({":message-type": "event", ":event-type": "SubscribeToShardEvent"}, b'{"Records":[]}')


@given(_MESSAGES)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    whole = encode(message)

    read = decode(whole)

    assert read == message
    assert whole_byte_count(whole[:PRELUDE_BYTE_COUNT]) == len(whole)


@given(st.lists(_MESSAGES, max_size=4))
def test_botocore_reads_what_is_written(messages: list[Message]) -> None:
    buffer = EventStreamBuffer()

    buffer.add_data(b"".join(map(encode, messages)))

    assert [(found.headers, found.payload) for found in buffer] == [(m.headers, m.payload) for m in messages]


@given(_MESSAGES, st.data())
def test_a_changed_bit_is_noticed(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    place = data.draw(st.integers(0, len(whole) - 1))

    whole[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(MessageDamaged):
        decode(bytes(whole))


@given(_MESSAGES, st.data())
def test_a_message_that_is_cut_short_is_refused(message: Message, data: st.DataObject) -> None:
    whole = encode(message)

    part = whole[: data.draw(st.integers(0, len(whole) - 1))]

    with pytest.raises(MessageDamaged):
        decode(part)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_a_message_or_refused(noise: bytes) -> None:
    with pytest.raises(MessageDamaged):
        decode(noise)


def test_headers_of_other_kinds_are_passed_over() -> None:
    # A boolean, a byte, four integers, some bytes, a text, a moment and a UUID, as the format has them.
    block = b"".join(
        [
            b"\x01a\x00",
            b"\x01b\x02\x05",
            b"\x01c\x04\x00\x00\x00\x07",
            b"\x01d\x06\x00\x02xy",
            b"\x01e\x07\x00\x04text",
            b"\x01f\x08" + bytes(8),
            b"\x01g\x09" + bytes(16),
        ]
    )

    read = decode(_with_header_block(block))

    assert read == Message({"e": "text"}, b"payload")


@pytest.mark.parametrize("block", [b"\x01a\x0a", b"\x05a", b"\x01e\x07\x00\x09text", b"\x01e\x07\x00", b"\x01\xff\x00"])
def test_headers_that_cannot_be_read_are_refused(block: bytes) -> None:
    whole = _with_header_block(block)

    with pytest.raises(MessageDamaged, match="header"):
        decode(whole)


def test_lengths_that_cannot_be_true_are_refused_before_the_rest_is_awaited() -> None:
    whole = encode(_EVENT)
    prelude = _prelude(0xFFFF_FFF0, 0)

    assert whole_byte_count(whole[:PRELUDE_BYTE_COUNT]) == len(whole)
    with pytest.raises(MessageDamaged, match="lengths"):
        whole_byte_count(prelude)


def _prelude(byte_count: int, headers_byte_count: int) -> bytes:
    lengths = pack(">II", byte_count, headers_byte_count)
    return lengths + pack(">I", crc32(lengths))


def _with_header_block(block: bytes) -> bytes:
    rest = block + b"payload"
    whole = _prelude(PRELUDE_BYTE_COUNT + len(rest) + 4, len(block)) + rest
    return whole + pack(">I", crc32(whole))
