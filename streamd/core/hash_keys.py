"""Hash keys: where a partition key falls in the ring of 2^128 hash keys.

Kinesis maps a partition key by MD5 over its UTF-8 bytes, read as a big-endian integer. A digest and an integer order
the same way, so routing compares the 16 bytes and never builds the integer.
"""

from collections.abc import Iterable
from dataclasses import dataclass

try:
    # CPython's own MD5: on keys of a few bytes OpenSSL's takes twice the time, most of it to look itself up.
    from _md5 import md5  # type: ignore[import-not-found]  # typeshed does not list it
except ImportError:
    from hashlib import md5

__all__ = ["HASH_KEY_MAX", "HashKeyRange", "digest_of_hash_key", "digests", "even_ranges"]

HASH_KEY_MAX = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class HashKeyRange:
    """A closed interval of hash keys."""

    start: int
    end: int

    def __contains__(self, hash_key: object) -> bool:
        return isinstance(hash_key, int) and self.start <= hash_key <= self.end


def digests(partition_keys: Iterable[bytes]) -> list[bytes]:
    """Hash partition keys (UTF-8) to their 16-byte digests, in order."""
    return [md5(key, usedforsecurity=False).digest() for key in partition_keys]


def digest_of_hash_key(hash_key: int) -> bytes:
    """Give the 16 bytes that order like this hash key (0 to 2^128 - 1)."""
    return hash_key.to_bytes(16, "big")


def even_ranges(count: int) -> list[HashKeyRange]:
    """Cut the ring into ``count`` ranges of equal width, the last one taking the remainder, as CreateStream does."""
    width = (HASH_KEY_MAX + 1) // count
    starts = [index * width for index in range(count)]
    ends = [start - 1 for start in starts[1:]] + [HASH_KEY_MAX]
    return [HashKeyRange(start, end) for start, end in zip(starts, ends, strict=True)]
