"""The power audit: ``python -m tests.audit.power --images 20000 --seed 1``.

A daemon runs under load, with reshards and deleted streams, while a preloaded library notes every write and sync of its
data file. From the notes the images are made that a power cut could have left: at every moment, with the writes since
the last sync kept, dropped, torn by sectors or in another order. Each image must open, pass the check that ``streamd
data check`` makes, hold every record that was acknowledged by then, as it was acknowledged, and take new ones.

``--without-sync`` runs the same daemon on a disk that only says that it syncs: the audit must find what is lost then.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from streamd.errors import StreamdError
from streamd.storage.directory import SECRET_NAMES
from streamd.storage.inspect import check
from tests.audit.apart import Apart, Ended
from tests.audit.journals import JournalReader, Known
from tests.audit.report import Outcome, progress_of, write_outcomes
from tests.audit.stage import Meddler, Producers
from tests.audit.verdict import Life, ReadBack, faults_in
from tests.audit.writes import Cut, Fate, cuts_of, image_of
from tests.clocks import ManualClock
from tests.daemons import Daemon, start_daemon
from tests.durability.preloads import compiled
from tests.engine.rooms import Refusal, Rooms, open_rooms
from tests.workers.wire import Wire, until

__all__ = ["PowerAudit", "main", "run_power_audit"]

_SOURCE = Path(__file__).with_name("record_writes.c")
_STREAM, _DOOMED = "main", "doomed"
_PRODUCER_COUNT = 2
_PATIENCE_S = 300
_FAULT_COUNT_MAX = 1_000

_Image = tuple[Path, Life]
_Judgement = tuple[dict[str, list[ReadBack]], list[str]]


@dataclass(slots=True)
class PowerAudit:
    """What was recorded, and what its images are judged to be."""

    folder: Path
    random: Random
    known: Known
    ready_ns: int
    made_ns: int
    figures: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def judge(self, image_count: int, told: Callable[[int], None]) -> None:
        """Make images of moments spread over the whole recording, and look at each."""
        # The daemon's own start, up to the log's first commit, is passed over: before it nothing is said to anybody.
        times_ns = [cut.time_ns for cut in cuts_of(self._notes)]
        first = sum(1 for time_ns in times_ns if time_ns < self.ready_ns)
        self.figures["writes and syncs recorded"] = len(times_ns)
        chosen = Counter(self.random.randrange(first, len(times_ns)) for _ in range(image_count))
        with Apart(_judged) as reader:
            for number, cut in enumerate(cuts_of(self._notes)):
                for _ in range(chosen[number]):
                    self._look(reader, number, cut)
                    told(self.figures["images"])
                if len(self.faults) >= _FAULT_COUNT_MAX:
                    return

    @property
    def _notes(self) -> Path:
        return self.folder / "notes"

    def _look(self, reader: "Apart[_Image, _Judgement]", number: int, cut: Cut) -> None:
        fate = self.random.choice(list(Fate))
        self.figures["images"] += 1
        self.figures[f"images: {fate.value}"] += 1
        data = self.folder / "image"
        shutil.rmtree(data, ignore_errors=True)
        _lay_out(self.folder / "data", data, image_of(cut, fate, self.random))
        # Until the stream was made there is nothing that must be there, but what there is must be whole.
        life = Life(stream=_STREAM, created_ns=self.made_ns, looked_ns=cut.time_ns)
        try:
            found, faults = reader.ask((data, life))
        except Ended as ended:
            found, faults = {}, [f"whoever reads it is ended by {ended}"]
        self.figures["records read"] += sum(map(len, found.values()))
        if not faults:
            faults = faults_in(found, self.known.of_stream(_STREAM), life)
        self.faults += [f"image of note {number}, {fate.value}: {fault}" for fault in faults]


def run_power_audit(
    folder: Path, *, image_count: int, seed: int, told: Callable[[int], None], acknowledged: int, is_synced: bool = True
) -> Outcome:
    """Record a daemon until so many records were acknowledged, and judge its images."""
    started = time.monotonic()
    random = Random(seed)
    known, ready_ns, made_ns = _record(folder, seed=seed, acknowledged=acknowledged, is_synced=is_synced)
    audit = PowerAudit(folder, random, known, ready_ns, made_ns)
    audit.figures["acknowledged records"] = known.acknowledged_count
    audit.judge(image_count, told)
    figures = dict(sorted(audit.figures.items()))
    return Outcome("power", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=audit.faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--images", type=int, default=500, help="how many images are looked at (default 500)")
    flags.add_argument("--seed", type=int, default=1, help="decides which (default 1)")
    flags.add_argument("--records", type=int, default=3_000, help="acknowledged records to record (default 3,000)")
    flags.add_argument("--without-sync", action="store_true", help="run on a disk that only says that it syncs")
    given = flags.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="streamd-power-audit-"))
    with progress_of("power audit", given.images) as told:
        outcome = run_power_audit(
            folder,
            image_count=given.images,
            seed=given.seed,
            told=told,
            acknowledged=given.records,
            is_synced=not given.without_sync,
        )
    return write_outcomes([outcome], folder)


def _record(folder: Path, *, seed: int, acknowledged: int, is_synced: bool) -> tuple[Known, int, int]:
    """Run a daemon with the recorder; what producers know, and when it was ready and their stream was there."""
    environment = {"LD_PRELOAD": str(compiled(_SOURCE, folder)), "RECORD_TO": str(folder / "notes")}
    if not is_synced:
        environment["RECORD_NO_SYNC"] = "1"
    daemon = start_daemon(folder / "data", "--workers", "2", environment=environment)
    ready_ns = time.monotonic_ns()
    producers = Producers(folder, _PRODUCER_COUNT)
    reader = JournalReader(producers.journals)
    try:
        made_ns = _make_streams(daemon)
        producers.put_to(_STREAM, _DOOMED)
        meddler = Meddler(daemon, _STREAM, _DOOMED, Random(seed), Life(stream=_DOOMED, looked_ns=0))
        thread = threading.Thread(target=meddler.run, name="meddler")
        thread.start()
        try:
            with producers.running(daemon.port, seed=seed):
                until(lambda: reader.read().acknowledged_count >= acknowledged, patience_s=_PATIENCE_S)
        finally:
            meddler.stopping.set()
            thread.join(_PATIENCE_S)
    finally:
        # No gentle end: the notes end in the middle of things.
        daemon.kill()
    return reader.read(), ready_ns, made_ns


def _make_streams(daemon: Daemon) -> int:
    with Wire(daemon) as wire:
        for name in (_STREAM, _DOOMED):
            wire.ask("CreateStream", StreamName=name, ShardCount=2)
    return time.monotonic_ns()


def _lay_out(origin: Path, data: Path, content: bytes) -> None:
    """Make a data directory of an image; what is beside the log was written and synced before the log was."""
    (data / "log").mkdir(parents=True)
    for name in ("FORMAT", *SECRET_NAMES):
        if (origin / name).exists():
            shutil.copyfile(origin / name, data / name)
    (data / "log" / "made").touch()
    (data / "log" / "data.mdb").write_bytes(content)


def _judged(image: _Image) -> _Judgement:
    """Open an image, read it and check it: the records, and what is wrong beside them."""
    # What is wrong is told as a fault, and not in a log too.
    logging.disable(logging.CRITICAL)
    data, life = image
    try:
        found = asyncio.run(_read(data, life))
        report = check(data, progress=lambda _done, _total: None)
    except (StreamdError, Refusal) as error:
        return {}, [repr(error)]
    return found, [f"data check: {fault.place}: {fault.reason}" for fault in report.faults]


async def _read(data: Path, life: Life) -> dict[str, list[ReadBack]]:
    """Open an image, read the stream, and put to it; what was read before the put."""
    async with open_rooms(data, ManualClock(time.time_ns() // 1_000_000)) as rooms:
        if life.stream not in (await rooms.ask("ListStreams"))["StreamNames"]:
            # Whatever was acknowledged to it is told as lost by whoever judges.
            return {}
        shards = (await rooms.ask("ListShards", StreamName=life.stream))["Shards"]
        found = {
            shard["ShardId"]: [record async for record in _records(rooms, life.stream, shard["ShardId"])]
            for shard in shards
        }
        await rooms.ask("PutRecord", StreamName=life.stream, PartitionKey="later", Data="bGF0ZXI=")
        return found


async def _records(rooms: Rooms, stream: str, shard_id: str) -> AsyncIterator[ReadBack]:
    answer = await rooms.ask("GetShardIterator", StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    place = answer["ShardIterator"]
    while place is not None:
        answer = await rooms.ask("GetRecords", ShardIterator=place)
        for row in answer["Records"]:
            yield ReadBack(
                shard_id,
                row["SequenceNumber"],
                row["PartitionKey"],
                b64decode(row["Data"]),
                row["ApproximateArrivalTimestamp"],
            )
        place = answer.get("NextShardIterator") if answer["Records"] or answer["MillisBehindLatest"] else None


if __name__ == "__main__":
    sys.exit(main())
