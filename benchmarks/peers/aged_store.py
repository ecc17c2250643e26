"""A data directory whose records were put a day ago: they expire while somebody measures.

Nobody can wait a day for a figure, so the real rooms are opened on the directory under a clock that is set back, as
the tests of retention do, and closed again; the daemon that opens the directory next finds records at the end of
their retention.
"""

import random
import time
from base64 import b64encode
from pathlib import Path

from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, open_rooms

__all__ = ["fill_aged_store"]

_RETENTION_HOURS = 24
_RECORDS_PER_STEP = 500
_RECORD_BYTE_COUNT = 1024
_SHARD_COUNT = 4
# The daemon still has to start before the first record may expire.
_HEAD_START_MS = 2000


async def fill_aged_store(path: Path, *, record_count: int, span_s: float) -> None:
    """Fill the stream ``aged`` with records that expire evenly over the next seconds."""
    step_count = record_count // _RECORDS_PER_STEP
    chance = random.Random(0)
    clock = ManualClock(time.time_ns() // 1_000_000 - _RETENTION_HOURS * HOUR_MS + _HEAD_START_MS)
    async with open_rooms(path, clock) as rooms:
        await rooms.create("aged", shard_count=_SHARD_COUNT)
        for _ in range(step_count):
            records = [
                {
                    "PartitionKey": f"{chance.getrandbits(32):08x}",
                    "Data": b64encode(chance.randbytes(_RECORD_BYTE_COUNT)).decode(),
                }
                for _ in range(_RECORDS_PER_STEP)
            ]
            await rooms.ask("PutRecords", StreamName="aged", Records=records)
            clock.advance(int(span_s * 1000 / step_count))
