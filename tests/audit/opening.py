"""How long a large store takes to open: ``python -m tests.audit.opening --gigabytes 10``.

Fills a store through the real rooms, then starts a daemon on it several times, the first time with the file's pages
dropped from the page cache, and prints the seconds to its first answer. The store is removed at the end.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.clocks import ManualClock
from tests.daemons import raw, start_daemon
from tests.engine.rooms import open_rooms

__all__ = ["main", "measure_opening"]

_RECORD_BYTE_COUNT = 20_000
_RECORD_COUNT = 500
_SHARD_COUNT = 16
_OPENING_COUNT = 5


def measure_opening(folder: Path, *, byte_count: int) -> list[float]:
    """Fill a store below a folder, and open it several times: seconds to the first answer, the first one cold."""
    data = folder / "data"
    asyncio.run(_fill(data, byte_count))
    _drop_from_cache(data / "log" / "data.mdb")
    return [_opening(data) for _ in range(_OPENING_COUNT)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--gigabytes", type=float, default=1.0, help="size of the store (default 1)")
    flags.add_argument("--folder", type=Path, help="where to make it (default: a temporary folder)")
    given = flags.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        cold_s, *warm_s = measure_opening(Path(folder), byte_count=int(given.gigabytes * 1e9))
    warm = ", ".join(f"{seconds:.3f}" for seconds in sorted(warm_s))
    sys.stdout.write(f"{given.gigabytes:g} GB: first answer after {cold_s:.3f} s cold; {warm} s warm\n")
    return 0


async def _fill(data: Path, byte_count: int) -> None:
    random = Random(0)
    payloads = [random.randbytes(_RECORD_BYTE_COUNT) for _ in range(_RECORD_COUNT)]
    keys: list[int | None] = [random.randrange(1 << 128) for _ in payloads]
    async with open_rooms(data, ManualClock(time.time_ns() // 1_000_000), size_max=2 * byte_count + (1 << 30)) as rooms:
        await rooms.create("s", shard_count=_SHARD_COUNT)
        for _ in range(byte_count // (_RECORD_BYTE_COUNT * _RECORD_COUNT)):
            await rooms.put("s", *payloads, hash_keys=keys)


def _drop_from_cache(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _opening(data: Path) -> float:
    started = time.perf_counter()
    daemon = start_daemon(data, "--workers", "2")
    try:
        raw(daemon.url, "ListStreams", {})
        return time.perf_counter() - started
    finally:
        daemon.stop()


if __name__ == "__main__":
    sys.exit(main())
