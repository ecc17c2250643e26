"""Messages of ``application/vnd.amazon.eventstream``, the form in which AWS pushes events.

A message is, big-endian: its whole length and the length of its headers (4 bytes each), a CRC-32 of these 8 bytes, the
headers, the payload, and a CRC-32 of all that came before. A header is a name with a length of 1 byte, a byte that
says what kind the value is, and the value. Every header that Kinesis sends is a text: such are written here and told
when read; headers of other kinds are passed over. A message whose lengths or checksums do not match is refused.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from streamd.errors import MessageDamaged

__all__ = ["PRELUDE_BYTE_COUNT", "Message", "decode", "encode", "whole_byte_count"]

_LENGTHS = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")
_TEXT_LENGTH = struct.Struct(">H")
_TEXT = 7
# Bytes of the value by the kind of the header; bytes and texts tell their own length.
_BYTE_COUNT_BY_KIND = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SIZED_KINDS = (6, _TEXT)
# AWS's own clients refuse what is larger than these.
_HEADERS_BYTE_COUNT_MAX = 128 * 1024
_PAYLOAD_BYTE_COUNT_MAX = 24 * 1024 * 1024

PRELUDE_BYTE_COUNT = _LENGTHS.size + _CHECKSUM.size
"""How much of a message must be there before its length is known."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its headers of text by name, and its payload."""

    headers: Mapping[str, str]
    payload: bytes


def encode(message: Message) -> bytes:
    """Write a message."""
    headers = b"".join([_header(name, value) for name, value in message.headers.items()])
    whole = PRELUDE_BYTE_COUNT + len(headers) + len(message.payload) + _CHECKSUM.size
    lengths = _LENGTHS.pack(whole, len(headers))
    prelude_checksum = crc32(lengths)
    head = b"".join([lengths, _CHECKSUM.pack(prelude_checksum), headers])
    checksum = crc32(message.payload, crc32(head))
    return b"".join([head, message.payload, _CHECKSUM.pack(checksum)])


def whole_byte_count(prelude: bytes) -> int:
    """Tell from a message's first bytes (``PRELUDE_BYTE_COUNT`` of them) how long it is. Raises MessageDamaged."""
    return _read_prelude(prelude)[0]


def decode(whole: bytes) -> Message:
    """Read a message. Raises MessageDamaged."""
    byte_count, headers_byte_count = _read_prelude(whole)
    if len(whole) != byte_count:
        raise MessageDamaged(f"it has {len(whole)} bytes and says {byte_count}")
    end = byte_count - _CHECKSUM.size
    (checksum,) = _CHECKSUM.unpack_from(whole, end)
    if checksum != crc32(memoryview(whole)[:end]):
        raise MessageDamaged("its checksum does not match")
    payload_start = PRELUDE_BYTE_COUNT + headers_byte_count
    return Message(_read_headers(whole[PRELUDE_BYTE_COUNT:payload_start]), whole[payload_start:end])


def _read_prelude(whole: bytes) -> tuple[int, int]:
    """Read the two lengths."""
    if len(whole) < PRELUDE_BYTE_COUNT:
        raise MessageDamaged("it is cut short")
    byte_count, headers_byte_count = _LENGTHS.unpack_from(whole)
    (checksum,) = _CHECKSUM.unpack_from(whole, _LENGTHS.size)
    if checksum != crc32(whole[: _LENGTHS.size]):
        raise MessageDamaged("the checksum of its lengths does not match")
    payload_byte_count = byte_count - headers_byte_count - PRELUDE_BYTE_COUNT - _CHECKSUM.size
    if headers_byte_count > _HEADERS_BYTE_COUNT_MAX or not 0 <= payload_byte_count <= _PAYLOAD_BYTE_COUNT_MAX:
        raise MessageDamaged(f"its lengths, {byte_count} and {headers_byte_count}, cannot be true")
    return byte_count, headers_byte_count


def _header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    return b"%c%b%c%b%b" % (len(name_bytes), name_bytes, _TEXT, _TEXT_LENGTH.pack(len(value_bytes)), value_bytes)


def _read_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    place = 0
    try:
        while place < len(block):
            name_end = place + 1 + block[place]
            name, kind = block[place + 1 : name_end].decode(), block[name_end]
            place = name_end + 1
            if kind in _SIZED_KINDS:
                (size,) = _TEXT_LENGTH.unpack_from(block, place)
                place += _TEXT_LENGTH.size
            else:
                size = _BYTE_COUNT_BY_KIND[kind]
            if place + size > len(block):
                raise MessageDamaged("a header is cut short")
            if kind == _TEXT:
                headers[name] = block[place : place + size].decode()
            place += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise MessageDamaged("a header cannot be read") from error
    return headers
