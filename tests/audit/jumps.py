"""The audit of time: ``python -m tests.audit.jumps --cycles 500 --seed 1``.

One producer puts, and shards are split and merged, while the daemon's wall clock goes back, forward, stands still and
goes on again, as it runs or while it is down, and workers or all of it are ended by ``kill -9``. After each cycle every
shard is read. What was acknowledged is there once and in the order of its acknowledgements, arrivals never go back,
nothing is gone before some clock said that it had expired, times and older iterators lead to where they should, and
the stream is ACTIVE at once, whatever the clock says.

The seed decides what is done; what the machine makes of it differs from run to run.
"""

import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from tests.audit.clock_verdict import Ledger, arrival_ms_of
from tests.audit.command import run_counted
from tests.audit.report import Outcome
from tests.audit.stage import Stage, read_since, read_stream, until_answered
from tests.audit.verdict import ReadBack
from tests.durability.wall_clock import DAY_S, HOUR_S, WallClock
from tests.workers.reshard_load import next_reshard, open_shards
from tests.workers.wire import Answered, Wire

__all__ = ["JumpAudit", "main", "run_jump_audit"]

_ACTIONS = ("put",) * 10 + ("reshard",) * 3 + ("jump",) * 4 + ("end", "fall")
_ACTION_COUNT = 16
_BATCHES = (1, 1, 1, 5, 20)
_JUMPS_S = (-HOUR_S, -HOUR_S, -90, -1, -0.05, 0.05, 90, HOUR_S, DAY_S)
_DRIFT_S_MAX = 3 * DAY_S
_CYCLES_PER_STREAM = 8
_ITERATOR_AGE_MS_MAX = 300_000
_LOST = (OSError, HTTPException)
# A reshard is being finished by another call, or the shard has no room to be split.
_OVERTAKEN = {"ResourceInUseException", "InvalidArgumentException", "LimitExceededException"}


@dataclass(frozen=True, slots=True)
class _Handed:
    """An iterator at the tip of a shard, and the last sequence number before it."""

    token: str
    shard_id: str
    number: int
    made_ms: int


@dataclass(slots=True)
class JumpAudit:
    """One run: what was found, and what was done on the way."""

    stage: Stage
    clock: WallClock
    random: Random
    stream: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    put_count: int = 0
    faults: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def run(self, cycle_count: int, told: Callable[[int], None]) -> None:
        """Go through the cycles, or up to the first in which there is a fault."""
        for cycle in range(cycle_count):
            if cycle % _CYCLES_PER_STREAM == 0:
                self._begin_stream(f"jumps-{cycle}")
            handed = self._hand_out()
            for _ in range(_ACTION_COUNT):
                self._act(self.random.choice(_ACTIONS))
                self._require_active()
            records = self._look()
            self._try_times(records)
            self._try_iterator(handed, records)
            self.figures["cycles"] += 1
            told(cycle + 1)
            if self.faults:
                return

    def _now_ms(self) -> int:
        return self.clock.now_ms()

    def _ask(self, operation: str, **members: Any) -> Any:
        with Wire(self.stage.daemon) as wire:
            return until_answered(wire, operation, **members)

    def _begin_stream(self, name: str) -> None:
        if self.stream:
            self._ask("DeleteStream", StreamName=self.stream, unless="ResourceNotFoundException")
        self.stream, self.ledger = name, Ledger()
        self._ask("CreateStream", StreamName=name, ShardCount=3)

    def _act(self, kind: str) -> None:
        self.figures[f"actions: {kind}"] += 1
        match kind:
            case "put":
                self._put()
            case "reshard":
                self._reshard()
            case "jump":
                self._move_clock()
            case "end":
                self.stage.end_somehow()
            case _:
                self._fall()

    def _put(self, *, is_ended: bool = False) -> None:
        """Put some records; with ``is_ended`` one, and everything is killed meanwhile."""
        count = 1 if is_ended else self.random.choice(_BATCHES)
        texts = [b"%d" % (self.put_count + index) for index in range(count)]
        self.put_count += len(texts)
        self.ledger.attempted.update(texts)
        since_ms = self._now_ms()
        with Wire(self.stage.daemon) as wire:
            try:
                if is_ended:
                    data = b64encode(texts[0]).decode()
                    wire.begin("PutRecord", StreamName=self.stream, PartitionKey=data, Data=data)
                    self.stage.daemon.kill()
                    answer = wire.finish()
                    places = [(answer["ShardId"], answer["SequenceNumber"])]
                else:
                    places = wire.put(self.stream, *((text.decode(), text) for text in texts))
            except _LOST:
                self.figures["calls that were lost"] += 1
                return
            except Answered as refusal:
                self.faults.append(f"a put was refused: {refusal}")
                return
        self.figures["acknowledged records"] += len(texts)
        for text, (shard_id, number) in zip(texts, places, strict=True):
            self.faults += self.ledger.acknowledged(text, shard_id, number, since_ms=since_ms)

    def _reshard(self) -> None:
        with Wire(self.stage.daemon) as wire:
            try:
                shards = open_shards(wire, self.stream)
                _, operation, members = next_reshard(self.random, shards, is_scaling=self.random.random() < 0.1)
                wire.ask(operation, StreamName=self.stream, **members)
            except _LOST:
                self.figures["calls that were lost"] += 1
            except Answered as refusal:
                if refusal.code not in _OVERTAKEN:
                    raise
                self.figures["reshards that were refused"] += 1

    def _move_clock(self) -> None:
        self.ledger.saw(self._now_ms())
        kind = self.random.choice(("jump", "jump", "jump", "freeze", "thaw"))
        drift_s = self.clock.now_s() - time.time()
        match kind:
            case "freeze":
                self.clock.freeze()
            case "thaw":
                self.clock.thaw()
            case _ if abs(drift_s) > _DRIFT_S_MAX:
                # An operator mends it.
                self.clock.jump(-drift_s)
            case _:
                self.clock.jump(self.random.choice(_JUMPS_S))
        self.figures[f"clock: {kind}"] += 1
        self.ledger.saw(self._now_ms())

    def _fall(self) -> None:
        """Kill everything in the middle of a put, and perhaps set the clock before it is started again."""
        self._put(is_ended=True)
        if self.random.random() < 0.7:
            self._move_clock()
        self.stage.start()

    def _require_active(self) -> None:
        """Wait while a reshard that was cut short is finished; nothing else may hold a stream up."""
        described = self._ask("DescribeStreamSummary", StreamName=self.stream)["StreamDescriptionSummary"]
        if described["StreamStatus"] not in {"ACTIVE", "UPDATING"}:
            self.faults.append(f"{self.stream} is {described['StreamStatus']}")

    def _look(self) -> Mapping[str, Sequence[ReadBack]]:
        since_ms = self._now_ms()
        found = read_stream(self.stage.daemon, self.stream)
        self.figures["records read"] += sum(map(len, found.values()))
        self.faults += self.ledger.faults_in(found, since_ms=since_ms, until_ms=self._now_ms())
        return found

    def _try_times(self, records_by_shard: Mapping[str, Sequence[ReadBack]]) -> None:
        """Hold what is read from a time on against the records' own times."""
        for shard_id, records in records_by_shard.items():
            if not records:
                continue
            time_ms = arrival_ms_of(self.random.choice(records)) + self.random.choice((-1, 0, 0, 0, 1))
            is_ahead = time_ms > max(arrival_ms_of(records[-1]), self._now_ms())
            if is_ahead:
                continue
            wanted = [record.sequence_number for record in records if arrival_ms_of(record) >= time_ms]
            read = read_since(self.stage.daemon, self.stream, shard_id, time_ms=time_ms)
            found = [record.sequence_number for record in read]
            # What expires between the two reads is missing at the front.
            if found != wanted[len(wanted) - len(found) :] or (
                len(found) < len(wanted) and not self._may_vanish(records)
            ):
                self.faults.append(f"{shard_id}: at {time_ms} {len(found)} records were found, not {len(wanted)}")
            self.figures["times tried"] += 1

    def _may_vanish(self, records: Sequence[ReadBack]) -> bool:
        """Tell whether the oldest records may go now: they expired once, also if the clock has been set back since."""
        self.ledger.saw(self._now_ms())
        return self.ledger.may_vanish(records[0])

    def _hand_out(self) -> _Handed:
        with Wire(self.stage.daemon) as wire:
            shard_id = self.random.choice(open_shards(wire, self.stream))["ShardId"]
            puts = self.ledger.acknowledged_since(shard_id, 0)
            made_ms = self._now_ms()
            token = wire.iterator(self.stream, shard_id, "LATEST")
        return _Handed(token, shard_id, puts[-1] if puts else 0, made_ms)

    def _try_iterator(self, handed: _Handed, records_by_shard: Mapping[str, Sequence[ReadBack]]) -> None:
        """Read on from what was handed out before the actions: for five minutes by the clock, and no longer."""
        age_ms = self._now_ms() - handed.made_ms
        self.ledger.saw(self._now_ms())
        records = records_by_shard.get(handed.shard_id, ())
        present = {int(record.sequence_number) for record in records if not self.ledger.may_vanish(record)}
        wanted = [n for n in self.ledger.acknowledged_since(handed.shard_id, handed.number) if n in present]
        try:
            rows = self._ask("GetRecords", ShardIterator=handed.token)["Records"]
        except Answered as refusal:
            is_late = refusal.code == "ExpiredIteratorException" and age_ms > _ITERATOR_AGE_MS_MAX
            # A closed shard whose records have expired is no more.
            is_gone = refusal.code == "ResourceNotFoundException" and handed.shard_id not in records_by_shard
            if not is_late and not is_gone:
                self.faults.append(f"an iterator of {age_ms} ms was refused: {refusal}")
            return
        found = {int(row["SequenceNumber"]) for row in rows}
        if age_ms > _ITERATOR_AGE_MS_MAX + 1000:
            self.faults.append(f"an iterator of {age_ms} ms was taken")
        if not found.issuperset(wanted):
            self.faults.append(f"{handed.shard_id}: an iterator skips {len(set(wanted) - found)} records")
        self.figures["iterators tried"] += 1


def run_jump_audit(folder: Path, *, count: int, seed: int, told: Callable[[int], None]) -> Outcome:
    """Run the audit below a folder. Raises AssertionError when something hangs or does not start."""
    started = time.monotonic()
    random = Random(seed)
    clock = WallClock(folder)
    stage = Stage(folder, random, clock.environment)
    audit = JumpAudit(stage, clock, random)
    try:
        audit.run(count, told)
        if stage.daemon.stop() != 0:
            audit.faults.append("the daemon did not stop with status 0")
    finally:
        stage.daemon.stop()
    figures: dict[str, Any] = dict(sorted(audit.figures.items()))
    return Outcome("time", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=audit.faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    return run_counted(
        run_jump_audit,
        argv,
        about=__doc__,
        name="audit of time",
        flag="--cycles",
        what="how often everything is read",
        default=50,
    )


if __name__ == "__main__":
    sys.exit(main())
