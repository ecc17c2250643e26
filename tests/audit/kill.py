"""The kill audit: ``python -m tests.audit.kill --cycles 2000 --seed 1``.

Producers put, and note every attempt and every answer in files of their own. Meanwhile, in every cycle, a worker, the
supervisor or everything is ended, mostly by ``kill -9``, and started again, while shards are split and merged,
retention changes, and a stream is deleted and made again. After each cycle every shard is read from its beginning, and
held against what the producers know: what was acknowledged is there once, where it was acknowledged, unaltered and in
its order; what was not acknowledged is there once for each attempt at most.

The seed decides what is done; what the machine makes of it differs from run to run. On a fault the data and the
journals stay where they are, and the exit status is 1.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from streamd.storage.inspect import check
from tests.audit.command import run_counted
from tests.audit.journals import JournalReader
from tests.audit.report import Outcome
from tests.audit.stage import Meddler, Producers, Stage, read_stream
from tests.audit.verdict import Life, faults_in
from tests.workers.wire import Wire, until

__all__ = ["KillAudit", "main", "run_kill_audit"]

_PATIENCE_S = 120
_PRODUCER_COUNT = 3
_ACKNOWLEDGED_MAX = 60
# A stream is read from its beginning after each cycle, so now and then a new one takes its place.
_CYCLES_PER_STREAM = 5


@dataclass(slots=True)
class KillAudit:
    """One run: what was found, and what was done on the way."""

    stage: Stage
    producers: Producers
    reader: JournalReader
    random: Random
    faults: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    life: Life = field(default_factory=lambda: Life(stream="", looked_ns=0))

    def run(self, cycle_count: int, told: Callable[[int], None]) -> None:
        """Go through the cycles, or up to the first in which there is a fault."""
        main = ""
        for cycle in range(cycle_count):
            if cycle % _CYCLES_PER_STREAM == 0:
                main = self._begin_streams(f"main-{cycle}", f"doomed-{cycle}", before=main)
            self._disturb(main)
            with self.producers.standing_still():
                self._look(main)
            self._count("cycles", 1)
            told(cycle + 1)
            if self.faults:
                return

    def finish(self) -> None:
        """Stop gently, and check the data directory; producers have ended before."""
        self._look(self.life.stream.replace("doomed", "main"))
        if self.stage.daemon.stop() != 0:
            self.faults.append("the daemon did not stop with status 0")
        report = check(self.stage.data, progress=lambda _done, _total: None)
        self.faults += [f"data check: {fault.place}: {fault.reason}" for fault in report.faults]
        known = self.reader.read()
        self._count("acknowledged records", known.acknowledged_count)
        self._count("attempts that failed", known.failure_count)
        for kind, count in self.stage.endings.items():
            self._count(f"endings: {kind}", count)

    def _begin_streams(self, main: str, doomed: str, *, before: str) -> str:
        with Wire(self.stage.daemon) as wire:
            for name in (main, doomed):
                wire.ask("CreateStream", StreamName=name, ShardCount=3)
            created_ns = time.monotonic_ns()
            self.producers.put_to(main, doomed)
            for name in (before, self.life.stream) if before else ():
                wire.ask("DeleteStream", StreamName=name)
                self.reader.known.forget_stream(name)
        # What was put to them before this moment need not be there, and nothing was.
        self.life = Life(stream=doomed, created_ns=created_ns, looked_ns=0)
        return main

    def _disturb(self, main: str) -> None:
        """Let producers run, meddle, and end something at a moment that nobody chose."""
        # A thread with chances of its own: sharing them would let the machine decide what the seed should.
        own = Random(self.random.random())
        meddler = Meddler(self.stage.daemon, main, self.life.stream, own, self.life)
        thread = threading.Thread(target=meddler.run, name="meddler")
        thread.start()
        try:
            self._wait_for_more(self.random.randrange(_ACKNOWLEDGED_MAX))
            self.stage.end_somehow()
            self._wait_for_more(self.random.randrange(_ACKNOWLEDGED_MAX))
        finally:
            meddler.stopping.set()
            thread.join(_PATIENCE_S)
        assert not thread.is_alive()
        self.life = meddler.life
        for what, count in meddler.done.items():
            self._count(f"meddling: {what}", count)

    def _look(self, main: str) -> None:
        """Read everything, and judge."""
        self.reader.read()
        looked_ns = time.monotonic_ns()
        lives = [
            Life(stream=main, looked_ns=looked_ns),
            Life(
                stream=self.life.stream,
                deleted_ns=self.life.deleted_ns,
                created_ns=self.life.created_ns,
                looked_ns=looked_ns,
            ),
        ]
        found = {life.stream: read_stream(self.stage.daemon, life.stream) for life in lives}
        known = self.reader.read()
        for life in lives:
            self.faults += faults_in(found[life.stream], known.of_stream(life.stream), life)
            self._count("records read", sum(map(len, found[life.stream].values())))

    def _wait_for_more(self, count: int) -> None:
        wanted = self.reader.read().acknowledged_count + count
        until(lambda: self.reader.read().acknowledged_count >= wanted, patience_s=_PATIENCE_S)

    def _count(self, what: str, count: int) -> None:
        self.figures[what] = self.figures.get(what, 0) + count


def run_kill_audit(folder: Path, *, count: int, seed: int, told: Callable[[int], None]) -> Outcome:
    """Run the audit below a folder. Raises AssertionError when something hangs or does not start."""
    started = time.monotonic()
    random = Random(seed)
    stage = Stage(folder, random)
    producers = Producers(folder, _PRODUCER_COUNT)
    audit = KillAudit(stage, producers, JournalReader(producers.journals), random)
    try:
        producers.put_to("not-there-yet")
        with producers.running(stage.daemon.port, seed=seed):
            audit.run(count, told)
        audit.finish()
    finally:
        stage.daemon.stop()
    figures: dict[str, Any] = dict(sorted(audit.figures.items()))
    return Outcome("kill", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=audit.faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    return run_counted(
        run_kill_audit,
        argv,
        about=__doc__,
        name="kill audit",
        flag="--cycles",
        what="how often something is ended",
        default=50,
    )


if __name__ == "__main__":
    sys.exit(main())
