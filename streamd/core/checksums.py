"""Stamps on small stored values: an XXH3-64 checksum of the value and of the key it is stored under, in front of it."""

import struct

from xxhash import xxh3_64_intdigest

__all__ = ["STAMP_BYTE_COUNT", "stamped", "unstamped"]

_STAMP = struct.Struct("<Q")
STAMP_BYTE_COUNT = _STAMP.size


def stamped(key: bytes, content: bytes) -> bytes:
    """Write a value that will be stored under ``key``."""
    return _STAMP.pack(xxh3_64_intdigest(key + content)) + content


def unstamped(key: bytes, value: bytes | memoryview) -> bytes | None:
    """Read a value from under ``key``; None when it is not, bit for bit, the one that was written there."""
    content = bytes(value[STAMP_BYTE_COUNT:])
    if len(value) < STAMP_BYTE_COUNT or _STAMP.unpack_from(value)[0] != xxh3_64_intdigest(key + content):
        return None
    return content
