"""The audit of flipped bits: ``python -m tests.audit.flips --count 5000 --seed 1``.

Each time one bit of a data directory's log is flipped, anywhere in the file, and everything is read. What comes must be
right to the byte, up to where the server refuses to go on; and wherever something is refused or missing, the check must
say that the log is damaged. Where the check finds nothing, more is written and deleted, and everything is read again:
what damaged lists of free pages would have written over. Damage to LMDB's own pages may end the process that reads: it
is counted, and the check must tell it too.

The directory is a golden one in which streams were made, filled and deleted since.
"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from streamd.errors import StreamdError
from streamd.storage.inspect import check
from tests.audit.apart import Apart, Ended
from tests.audit.command import run_counted
from tests.audit.report import Outcome
from tests.clocks import ManualClock
from tests.durability.golden_data import Golden, goldens
from tests.engine.rooms import Refusal, Rooms, open_rooms

__all__ = ["aged_golden", "judged", "main", "run_flip_audit"]

_PAGE_BYTE_COUNT = 4096
_HEAD_BYTE_COUNT = 64
_FAULT_COUNT_MAX = 20
_AGE = 4
_AGED_BYTE_COUNT = 1_000


@dataclass(slots=True)
class _Tally:
    figures: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def take(self, place: str, check_said: str, reading: str) -> None:
        self.figures["flipped bits"] += 1
        self.figures[f"the check said {check_said}, {reading}"] += 1
        if reading.startswith(("wrong", "what", "a bug")) or check_said.startswith("a bug"):
            self.faults.append(f"{place}: {check_said}; {reading}")
        elif check_said == "no fault" and reading != "all was read":
            self.faults.append(f"{place}: {reading}, and the check finds nothing")


def run_flip_audit(folder: Path, *, count: int, seed: int, told: Callable[[int], None]) -> Outcome:
    """Flip bits, one at a time, half of them in the heads of pages."""
    started = time.monotonic()
    random = Random(seed)
    data = aged_golden(folder)
    log = data / "log" / "data.mdb"
    whole = log.read_bytes()
    tally = _Tally()
    with Apart(judged) as reader:
        for number in range(count):
            offset = random.randrange(len(whole))
            if number % 2:
                offset = offset // _PAGE_BYTE_COUNT * _PAGE_BYTE_COUNT + random.randrange(_HEAD_BYTE_COUNT)
            bit = random.randrange(8)
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << bit
            log.write_bytes(flipped)
            (data / "log" / "lock.mdb").unlink(missing_ok=True)
            try:
                check_said, reading = reader.ask(data)
            except Ended as ended:
                check_said, reading = "ended", f"the reader was ended by {ended}"
            tally.take(f"bit {bit} of byte {offset}", check_said, reading)
            told(number + 1)
            if len(tally.faults) >= _FAULT_COUNT_MAX:
                break
    figures = dict(sorted(tally.figures.items()))
    return Outcome("flips", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=tally.faults)


def aged_golden(folder: Path) -> Path:
    """Unpack the golden directory, and have its log hold what a used one holds: pages that are free."""
    data = goldens()[0].unpack(folder)
    asyncio.run(_age(data, goldens()[0]))
    return data


def judged(data: Path) -> tuple[str, str]:
    """Check a directory and read it: what the check said, and what the reading came to."""
    # What is refused is told in the log each time; here it is expected.
    logging.disable(logging.CRITICAL)
    check_said = _checked(data)
    reading = asyncio.run(_read(data, goldens()[0]))
    if (check_said, reading) == ("no fault", "all was read"):
        reading = asyncio.run(_read(data, goldens()[0], begin=_use))
    return check_said, reading


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    return run_counted(
        run_flip_audit,
        argv,
        about=__doc__,
        name="flipped bits",
        flag="--count",
        what="how many bits, one at a time",
        default=500,
    )


async def _age(data: Path, golden: Golden) -> None:
    async with open_rooms(data, ManualClock(golden.manifest["made_ms"])) as rooms:
        for number in range(_AGE):
            await rooms.create(f"aged-{number}", shard_count=2)
            for _ in range(_AGE):
                await rooms.put(f"aged-{number}", *[bytes([number]) * _AGED_BYTE_COUNT] * 4)
        for number in range(1, _AGE):
            await _delete(rooms, f"aged-{number}")


async def _use(rooms: Rooms) -> None:
    """Write and delete: pages that are told as free are taken and written over."""
    await rooms.create("more", shard_count=2)
    for _ in range(_AGE):
        await rooms.put("more", *[b"more" * _AGED_BYTE_COUNT] * 2)
    await _delete(rooms, "aged-0")
    await rooms.put("more", *[b"more" * _AGED_BYTE_COUNT] * 2)


async def _delete(rooms: Rooms, name: str) -> None:
    await rooms.ask("DeleteStream", StreamName=name)
    await rooms.janitor.finish_due()
    await rooms.janitor.sweep()


def _checked(data: Path) -> str:
    try:
        return "there are faults" if check(data, progress=lambda _done, _total: None).faults else "no fault"
    except StreamdError:
        return "that it cannot be opened"
    except Exception as error:
        return f"a bug: {error!r}"


async def _read(data: Path, golden: Golden, *, begin: Callable[[Rooms], Awaitable[None]] | None = None) -> str:
    """Read every shard as far as it can be read, after what is to be done first."""
    endings = set()
    try:
        async with open_rooms(data, ManualClock(golden.manifest["made_ms"])) as rooms:
            if begin is not None:
                await begin(rooms)
            for stream in golden.manifest["streams"].values():
                for shard_id, iterator in stream["iterators"].items():
                    endings.add(await _read_shard(rooms, iterator, stream["records"][shard_id]))
    except StreamdError:
        return "it was not opened"
    except Exception as error:
        return f"a bug: {error!r}"
    # By the alphabet, the worst comes last: all, some, what, wrong.
    return max(endings)


async def _read_shard(rooms: Rooms, iterator: str, wanted: list[dict[str, Any]]) -> str:
    found: list[dict[str, Any]] = []
    place: str | None = iterator
    is_refused = False
    while place is not None and not is_refused:
        try:
            answer = await rooms.ask("GetRecords", ShardIterator=place)
        except Refusal as refusal:
            if "its log says why" in str(refusal):
                return "what was met was taken for a bug"
            is_refused = True
            continue
        found += [{key: row[key] for key in row if key != "EncryptionType"} for row in answer["Records"]]
        place = answer.get("NextShardIterator") if answer["Records"] or answer["MillisBehindLatest"] else None
    if found != wanted[: len(found)] or not (is_refused or found == wanted):
        return "wrong records were read"
    return "some was refused" if is_refused else "all was read"


if __name__ == "__main__":
    sys.exit(main())
