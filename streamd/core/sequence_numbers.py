"""Sequence numbers: Kinesis's 56-digit decimals, which sort as integers and tell their position without a lookup.

As a hexadecimal number of 47 digits, from the left: ``2``; 9 digits of the second the shard was made; 1, the low digit
of the shard's index; 16 of the position; ``00``; 9 of the second the record arrived; 8 of the shard's index; ``2``.
So numbers grow with the position inside a shard, and a child (made in a later second than its parents) starts after
every number of its parents.
"""

from dataclasses import dataclass

__all__ = ["GAP_S", "POSITION_STEP", "SequenceNumber", "parse", "sequence_numbers"]

_MARK = 2
_INDEX_SHIFT = 4
_ARRIVAL_SHIFT = _INDEX_SHIFT + 32
_POSITION_SHIFT = _ARRIVAL_SHIFT + 36 + 8
_INDEX_LOW_SHIFT = _POSITION_SHIFT + 64
_CREATED_SHIFT = _INDEX_LOW_SHIFT + 4
_VERSION_SHIFT = _CREATED_SHIFT + 36

POSITION_STEP = 1 << _POSITION_SHIFT
"""What to add to a sequence number, as an integer, for the next position of the same arrival second."""

GAP_S = (1 << 36) - 1
"""The arrival second of a number that no record has: it lies after a position's record and before the next one's."""

_POSITION_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceNumber:
    """The parts of a sequence number: seconds are Unix seconds, the position is the store's."""

    shard_created_s: int
    shard_index: int
    position: int
    arrival_s: int

    @property
    def is_gap(self) -> bool:
        """Whether it stands for the place after a record, and not for the record."""
        return self.arrival_s == GAP_S

    def __int__(self) -> int:
        return (
            (_MARK << _VERSION_SHIFT)
            | (self.shard_created_s << _CREATED_SHIFT)
            | ((self.shard_index & 0xF) << _INDEX_LOW_SHIFT)
            | (self.position << _POSITION_SHIFT)
            | (self.arrival_s << _ARRIVAL_SHIFT)
            | (self.shard_index << _INDEX_SHIFT)
            | _MARK
        )

    def __str__(self) -> str:
        return str(int(self))


def parse(text: str) -> SequenceNumber | None:
    """Read a decimal sequence number; None when it is not one of this form."""
    number = int(text)
    if number >> _VERSION_SHIFT != _MARK or number & 0xF != _MARK:
        return None
    shard_index = (number >> _INDEX_SHIFT) & 0xFFFF_FFFF
    position = (number >> _POSITION_SHIFT) & 0xFFFF_FFFF_FFFF_FFFF
    index_low = (number >> _INDEX_LOW_SHIFT) & 0xF
    padding = (number >> (_ARRIVAL_SHIFT + 36)) & 0xFF
    if index_low != shard_index & 0xF or position > _POSITION_MAX or padding:
        return None
    return SequenceNumber(
        shard_created_s=(number >> _CREATED_SHIFT) & 0xF_FFFF_FFFF,
        shard_index=shard_index,
        position=position,
        arrival_s=(number >> _ARRIVAL_SHIFT) & 0xF_FFFF_FFFF,
    )


def sequence_numbers(first: SequenceNumber, count: int) -> list[str]:
    """Write the numbers of ``count`` records that arrived together, from ``first`` on."""
    start = int(first)
    return [str(number) for number in range(start, start + count * POSITION_STEP, POSITION_STEP)]
