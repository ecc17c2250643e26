"""Aggregated records: many records of users inside one of the stream, as the Kinesis Producer Library packs them.

Four magic bytes, a protobuf message, and the MD5 of that message. The message holds a table of partition keys (field
1), one of explicit hash keys (2), and the records (3), each with the place of its partition key (1), perhaps that of
its hash key (2), its data (3), and tags (4), which nothing here uses. Whatever does not check or cannot be read to its
end is an ordinary record that happens to begin so: the readers of AWS take it like that too.

Anybody may put such a record, and many records may name one key of the table, which is then written out with each of
them. So a key is held to Kinesis's own bounds: without them a record of 1 MB could ask for 40 GB of output.

The form is described in the KPL's own documentation (aggregation-format).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5

from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.core.limits import PARTITION_KEY_LENGTH_MAX

__all__ = ["UserRecord", "deaggregate"]

_MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTE_COUNT = 16
_VARINT_BYTE_COUNT_MAX = 10
_VARINT_MAX = (1 << 64) - 1
_FIELD_NUMBER_MAX = (1 << 29) - 1
_HASH_KEY_LENGTH_MAX = len(str(HASH_KEY_MAX))


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A record as its producer put it. ``hash_key`` is the explicit one, a decimal number as text."""

    key: str
    hash_key: str | None
    data: bytes


class _Unreadable(Exception):
    """The message breaks off, or says what cannot be."""


def deaggregate(data: bytes) -> list[UserRecord] | None:
    """Unpack an aggregated record; None for one that is not aggregated, or holds nothing."""
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + _DIGEST_BYTE_COUNT:
        return None
    message = data[len(_MAGIC) : -_DIGEST_BYTE_COUNT]
    if md5(message, usedforsecurity=False).digest() != data[-_DIGEST_BYTE_COUNT:]:
        return None
    try:
        return _unpacked(message) or None
    except (_Unreadable, UnicodeDecodeError):
        return None


def _unpacked(message: bytes) -> list[UserRecord]:
    keys: list[str] = []
    hash_keys: list[str] = []
    packed: list[bytes] = []
    for number, value in _fields(message):
        match number, value:
            case 1, bytes():
                keys.append(_key(value))
            case 2, bytes():
                hash_keys.append(_hash_key(value))
            case 3, bytes():
                packed.append(value)
            case 1 | 2 | 3, _:
                raise _Unreadable
            case _:
                pass
    return [_record(record, keys, hash_keys) for record in packed]


def _record(packed: bytes, keys: list[str], hash_keys: list[str]) -> UserRecord:
    key_place: int | None = None
    hash_key_place: int | None = None
    data: bytes | None = None
    for number, value in _fields(packed):
        match number, value:
            case 1, int():
                key_place = value
            case 2, int():
                hash_key_place = value
            case 3, bytes():
                data = value
            case 1 | 2 | 3, _:
                raise _Unreadable
            case _:
                pass
    if key_place is None or data is None or key_place >= len(keys):
        raise _Unreadable
    if hash_key_place is not None and hash_key_place >= len(hash_keys):
        raise _Unreadable
    return UserRecord(keys[key_place], None if hash_key_place is None else hash_keys[hash_key_place], data)


def _key(value: bytes) -> str:
    key = value.decode()
    if not 1 <= len(key) <= PARTITION_KEY_LENGTH_MAX:
        raise _Unreadable
    return key


def _hash_key(value: bytes) -> str:
    # Its digits are counted before they are read as a number, which takes long for very many.
    if not value.isdigit() or len(value) > _HASH_KEY_LENGTH_MAX or int(value) > HASH_KEY_MAX:
        raise _Unreadable
    return value.decode()


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes | None]]:
    """Give each field's number, and its value where it is a varint or bytes. Raises _Unreadable."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes | None = None
        match wire:
            case 0:
                value, at = _varint(message, at)
            case 2:
                size, at = _varint(message, at)
                value = message[at : at + size]
                at += size
            case 1 | 5:
                at += 8 if wire == 1 else 4
            case _:
                raise _Unreadable
        if not 1 <= number <= _FIELD_NUMBER_MAX or at > len(message):
            raise _Unreadable
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; it, and the place after it."""
    value = 0
    for place in range(_VARINT_BYTE_COUNT_MAX):
        if at + place >= len(message):
            raise _Unreadable
        byte = message[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80 and value <= _VARINT_MAX:
            return value, at + place + 1
    raise _Unreadable
