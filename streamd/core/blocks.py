"""Record blocks: what one commit adds to one shard, as bytes.

A block is a header, then a body. The header (little-endian) is: format version, flags, the generation of the data key,
the record count, the arrival time in Unix milliseconds, and an XXH3-64 checksum of everything else *and of the key the
block is stored under*, so that a block in the wrong place is found out too. The body is the length of each partition
key (0xFFFF: the producer gave none), the length of each data blob, the keys joined, the data joined; for a stream that
is encrypted it is that, sealed (see ``streamd.core.sealing``).

Flags: bit 0 is whether the body is sealed, bits 1 to 5 are how deep in a chain of invocations the records were put (see
``streamd.core.lineage``).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from xxhash import xxh3_64

from streamd.core.limits import BLOCK_BYTE_COUNT_MAX
from streamd.core.lineage import DEPTH_STORED_MAX
from streamd.core.sealing import SEALING_BYTE_COUNT
from streamd.errors import FormatUnknown

__all__ = [
    "FORMAT_VERSION",
    "BlockHeader",
    "RecordColumns",
    "body_of",
    "counted_byte_count",
    "decode",
    "encode",
    "header_of",
    "is_intact",
    "joined",
    "sealed_body",
    "sizes",
]

FORMAT_VERSION = 1

_HEADER = struct.Struct("<BBHIQ")
_CHECKSUM = struct.Struct("<Q")
_BODY_START = _HEADER.size + _CHECKSUM.size
_ENCRYPTED = 1
_DEPTH_SHIFT = 1
_LENGTHS_BYTE_COUNT = 6
_NO_KEY = 0xFFFF


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """Records as two columns of equal length; a partition key is UTF-8, None where the producer gave none."""

    keys: Sequence[bytes | None]
    data: Sequence[bytes]

    @property
    def byte_count(self) -> int:
        """The bytes that Kinesis counts: keys and data."""
        return sum(map(len, self.data)) + sum([len(key) for key in self.keys if key])


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """What a block says of itself. ``key_generation`` is 0 for a block that is not encrypted.

    ``depth`` is how many functions ran one after another until these records were put, 0 to 31.
    """

    record_count: int
    arrival_ms: int
    key_generation: int = 0
    depth: int = 0

    @property
    def is_encrypted(self) -> bool:
        """Whether the body is sealed."""
        return self.key_generation > 0


def body_of(records: RecordColumns) -> bytes:
    """Write the plain body of a block."""
    count = len(records.data)
    key_lengths = [_NO_KEY if key is None else len(key) for key in records.keys]
    lengths = struct.pack(f"<{count}H{count}I", *key_lengths, *map(len, records.data))
    return b"".join([lengths, *filter(None, records.keys), *records.data])


def joined(columns: Sequence[tuple[RecordColumns, int]]) -> Iterator[RecordColumns]:
    """Join records, each column set with its bytes, into as few blocks as the bound on a block's size allows."""
    if len(columns) == 1 and columns[0][1] <= BLOCK_BYTE_COUNT_MAX:
        yield columns[0][0]
        return
    keys: list[bytes | None] = []
    data: list[bytes] = []
    size = 0
    for records, byte_count in columns:
        if size + byte_count <= BLOCK_BYTE_COUNT_MAX:
            keys.extend(records.keys)
            data.extend(records.data)
            size += byte_count
            continue
        for key, datum in zip(records.keys, records.data, strict=True):
            record_byte_count = len(datum) + len(key or b"")
            if data and size + record_byte_count > BLOCK_BYTE_COUNT_MAX:
                yield RecordColumns(keys, data)
                keys, data, size = [], [], 0
            keys.append(key)
            data.append(datum)
            size += record_byte_count
    if data:
        yield RecordColumns(keys, data)


def encode(header: BlockHeader, body: bytes, *, key: bytes) -> bytes:
    """Write a block that will be stored under ``key``."""
    flags = (_ENCRYPTED if header.is_encrypted else 0) | header.depth << _DEPTH_SHIFT
    head = _HEADER.pack(FORMAT_VERSION, flags, header.key_generation, header.record_count, header.arrival_ms)
    return b"".join([head, _CHECKSUM.pack(_checksum(key, head, body)), body])


def is_intact(block: bytes, *, key: bytes) -> bool:
    """Tell whether a block read from under ``key`` is, bit for bit, the one that was written there."""
    if len(block) < _BODY_START:
        return False
    view = memoryview(block)
    (found,) = _CHECKSUM.unpack_from(block, _HEADER.size)
    return bool(found == _checksum(key, view[: _HEADER.size], view[_BODY_START:]))


def header_of(block: bytes | memoryview) -> BlockHeader:
    """Read a block's header. Raises FormatUnknown for a block of a later format."""
    version, flags, key_generation, record_count, arrival_ms = _HEADER.unpack_from(block)
    if version != FORMAT_VERSION:
        raise FormatUnknown("a stored block", found=str(version), known=str(FORMAT_VERSION))
    depth = flags >> _DEPTH_SHIFT & DEPTH_STORED_MAX
    return BlockHeader(record_count=record_count, arrival_ms=arrival_ms, key_generation=key_generation, depth=depth)


def counted_byte_count(header: BlockHeader, *, stored_byte_count: int) -> int:
    """Tell how many bytes of keys and data a block of this stored size holds, without opening it."""
    sealing = SEALING_BYTE_COUNT if header.is_encrypted else 0
    return stored_byte_count - _BODY_START - sealing - header.record_count * _LENGTHS_BYTE_COUNT


def sealed_body(block: bytes) -> bytes:
    """Give a block's body as it is stored."""
    return block[_BODY_START:]


def decode(body: bytes, *, record_count: int, first: int = 0, last: int | None = None) -> RecordColumns:
    """Cut records ``first`` to ``last`` (exclusive) out of a plain body."""
    last = record_count if last is None else last
    key_lengths = struct.unpack_from(f"<{record_count}H", body)
    data_lengths = struct.unpack_from(f"<{record_count}I", body, 2 * record_count)
    keys_start = 6 * record_count
    key_ends = list(accumulate((0 if n == _NO_KEY else n for n in key_lengths), initial=keys_start))
    data_ends = list(accumulate(data_lengths, initial=key_ends[-1]))
    keys = [body[key_ends[i] : key_ends[i + 1]] if key_lengths[i] != _NO_KEY else None for i in range(first, last)]
    data = [body[data_ends[i] : data_ends[i + 1]] for i in range(first, last)]
    return RecordColumns(keys, data)


def sizes(body: bytes, *, record_count: int) -> list[int]:
    """Give the bytes that Kinesis counts for each record of a plain body."""
    key_lengths = struct.unpack_from(f"<{record_count}H", body)
    data_lengths = struct.unpack_from(f"<{record_count}I", body, 2 * record_count)
    return [d + (0 if k == _NO_KEY else k) for k, d in zip(key_lengths, data_lengths, strict=True)]


def _checksum(key: bytes, head: bytes | memoryview, body: bytes | memoryview) -> int:
    state = xxh3_64(key)
    state.update(head)
    state.update(body)
    return state.intdigest()
