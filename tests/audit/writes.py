"""What the recorder noted of the data file, and the images that a power cut could have left of it.

Between two syncs a disk may keep any of the writes, in any order, each whole, not at all, or by sectors. A write
through a descriptor that syncs each write is on disk when it is done. So an image is: all that was on disk for sure,
and of the rest whatever chance takes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random
from typing import Self

__all__ = ["Cut", "Fate", "Write", "cuts_of", "image_of"]

_NOTE = struct.Struct("=QQQQ")
_SECTOR_BYTE_COUNT = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for a place in the file."""

    offset: int
    content: bytes


class Fate(Enum):
    """What becomes of the writes that were not synced when the power went."""

    KEPT = "all kept"
    DROPPED = "all dropped"
    FIRST_KEPT = "the first few kept"
    LAST_KEPT = "the last few kept"
    SOME_KEPT = "some kept, in another order"
    TORN = "torn by sectors"


@dataclass(slots=True)
class Cut:
    """A moment at which the power goes: what is on disk for sure, and the writes of which nobody knows.

    ``on_disk`` is shared with the cuts that follow: use it before the next one is asked for.
    """

    time_ns: int
    on_disk: bytearray
    unsure: list[Write] = field(default_factory=list)

    def settle(self, writes: list[Write]) -> Self:
        """Have writes on disk."""
        for write in writes:
            _apply(self.on_disk, write)
        return self


def cuts_of(notes: Path) -> Iterator[Cut]:
    """Give the moment after every note. Raises AssertionError for notes that are not whole."""
    cut = Cut(0, bytearray())
    for kind, time_ns, write in _notes(notes):
        cut.time_ns = time_ns
        match kind:
            case "W":
                cut.unsure.append(write)
            case "D":
                # It alone is on disk. Older ones for the same place would be written over by it, whenever they come.
                done = cut.unsure.pop()
                cut.unsure = [each for each in cut.unsure if not _overlaps(each, done)]
                cut.settle([done])
            case "S":
                cut.settle(cut.unsure)
                cut.unsure.clear()
            case _:
                raise AssertionError(f"a note of kind {kind} is not expected: is it still LMDB as it was?")
        yield cut


def image_of(cut: Cut, fate: Fate, random: Random) -> bytes:
    """Give what the disk may hold after the power went."""
    image = bytearray(cut.on_disk)
    for write in _survivors(cut.unsure, fate, random):
        _apply(image, write)
    return bytes(image)


def _survivors(unsure: list[Write], fate: Fate, random: Random) -> list[Write]:
    count = random.randint(0, len(unsure))
    match fate:
        case Fate.KEPT:
            return unsure
        case Fate.DROPPED:
            return []
        case Fate.FIRST_KEPT:
            return unsure[:count]
        case Fate.LAST_KEPT:
            return unsure[count:]
        case Fate.SOME_KEPT:
            return random.sample(unsure, count)
        case Fate.TORN:
            sectors = [sector for write in unsure for sector in _sectors(write)]
            return random.sample(sectors, random.randint(0, len(sectors)))


def _sectors(write: Write) -> Iterator[Write]:
    """Cut a write where the disk's sectors end: each is written whole or not at all."""
    start = 0
    while start < len(write.content):
        end = start + _SECTOR_BYTE_COUNT - (write.offset + start) % _SECTOR_BYTE_COUNT
        yield Write(write.offset + start, write.content[start:end])
        start = end


def _notes(path: Path) -> Iterator[tuple[str, int, Write]]:
    content = path.read_bytes()
    place = 0
    while place < len(content):
        kind, time_ns, offset, length = _NOTE.unpack_from(content, place)
        place += _NOTE.size
        size = length if kind == ord("W") else 0
        assert place + size <= len(content), "the last note is not whole"
        yield chr(kind), time_ns, Write(offset, content[place : place + size])
        place += size


def _apply(image: bytearray, write: Write) -> None:
    if write.offset > len(image):
        image.extend(bytes(write.offset - len(image)))
    image[write.offset : write.offset + len(write.content)] = write.content


def _overlaps(one: Write, other: Write) -> bool:
    return one.offset < other.offset + len(other.content) and other.offset < one.offset + len(one.content)
