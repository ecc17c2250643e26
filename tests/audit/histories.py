"""The audit of histories: ``python -m tests.audit.histories --count 2000 --seed 1``.

Again and again a few clients ask a new stream of a real daemon everything at once: puts, reads, iterators of every
type, listings, reshards and changes of retention. Where there are several workers, one of them is now and then ended by
``kill -9`` in the midst: calls that are not answered may have been served or not. Each history is then held against a
sequential model of a stream: is there one order of all calls, in real time, that explains every answer?
(``history_verdict`` says what that decides.)

The seed decides what is asked; what the machine makes of it differs from run to run. A history that nothing explains is
written beside the daemon's data, as NDJSON, and the exit status is 1; ``--check FILE`` looks at such a file again.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.audit.history import Event, read_history, write_history
from tests.audit.history_clients import Unanswered, make_history
from tests.audit.history_verdict import faults_in_history
from tests.audit.report import Outcome, progress_of, write_outcomes
from tests.daemons import Daemon, start_daemon

__all__ = ["main", "run_history_audit"]

_WORKER_COUNTS = (1, 3)
_FAULT_COUNT_MAX = 20
_KILLED_SHARE = 0.1


def run_history_audit(
    folder: Path,
    *,
    count: int,
    seed: int,
    told: Callable[[int], None],
    worker_counts: Sequence[int] = _WORKER_COUNTS,
) -> Outcome:
    """Make histories and judge them, an equal share for each number of workers; those refused stay in the folder."""
    started = time.monotonic()
    figures: Counter[str] = Counter()
    faults: list[str] = []
    done = 0
    for turn, worker_count in enumerate(worker_counts):
        numbers = range(turn, count, len(worker_counts))
        daemon = start_daemon(folder / f"data-{worker_count}", "--workers", str(worker_count))
        try:
            for number in numbers:
                name = f"history-{seed}-{number}"
                random = Random(name)
                is_killed = worker_count > 1 and random.random() < _KILLED_SHARE
                events, found = _history_of(daemon, name, random, is_killed=is_killed)
                figures["workers killed"] += is_killed
                _count(figures, events)
                figures[f"histories, {worker_count} workers"] += 1
                if found:
                    kept = folder / f"{name}.ndjson"
                    write_history(kept, events)
                    faults += [f"{kept} ({worker_count} workers): {fault}" for fault in found]
                done += 1
                told(done)
                if len(faults) >= _FAULT_COUNT_MAX:
                    break
        finally:
            if daemon.stop() != 0:
                faults.append(f"the daemon of {worker_count} workers did not stop with status 0")
    return Outcome(
        "histories", seed=seed, seconds=time.monotonic() - started, figures=dict(sorted(figures.items())), faults=faults
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--count", type=int, default=200, help="how many histories (default 200)")
    flags.add_argument("--seed", type=int, default=1, help="decides what is asked (default 1)")
    flags.add_argument("--workers", type=int, help="of the daemon (default: 1 and 3, half of the histories each)")
    flags.add_argument("--check", type=Path, metavar="FILE", help="judge a history that was kept, and nothing else")
    given = flags.parse_args(argv)
    if given.check:
        faults = faults_in_history(read_history(given.check))
        sys.stdout.write("\n".join(faults or ["linearizable"]) + "\n")
        return 1 if faults else 0
    folder = Path(tempfile.mkdtemp(prefix="streamd-history-audit-"))
    worker_counts = _WORKER_COUNTS if given.workers is None else (given.workers,)
    with progress_of("histories", given.count) as told:
        outcome = run_history_audit(folder, count=given.count, seed=given.seed, told=told, worker_counts=worker_counts)
    return write_outcomes([outcome], folder)


def _history_of(daemon: Daemon, name: str, random: Random, *, is_killed: bool) -> tuple[list[Event], list[str]]:
    """Make a history of a stream of this name, perhaps over a dying worker, and judge it."""
    events: list[Event] = []
    found: list[str] = []

    def kill() -> None:
        os.kill(random.choice(daemon.worker_pids()), signal.SIGKILL)

    try:
        asyncio.run(make_history(daemon.port, name, random, events, kill=kill if is_killed else None))
    except* Unanswered as group:
        found = [str(one) for one in group.exceptions]
    if not is_killed:
        found += [f"{event}, and nobody was killed" for event in events if event.returned_ns is None]
    return events, found or faults_in_history(events)


def _count(figures: Counter[str], events: Sequence[Event]) -> None:
    """Count what was asked, and how much of it at the same time as something else."""
    figures["calls"] += len(events)
    figures["calls that were not answered"] += sum(event.returned_ns is None for event in events)
    figures["calls that overlap another one"] += _overlap_count(events)
    for event in events:
        answer: dict[str, Any] = event.answer or {}
        if event.operation in {"SplitShard", "MergeShards", "UpdateShardCount"}:
            figures["reshards" if event.refusal is None else "reshards that were refused"] += 1
        figures["records put"] += len(event.request.get("Records", [])) or event.operation == "PutRecord"
        figures["records read"] += len(answer["Records"]) if event.operation == "GetRecords" and answer else 0


def _overlap_count(events: Sequence[Event]) -> int:
    overlapping: set[int] = set()
    ordered = sorted(events, key=lambda event: event.called_ns)
    last = ordered[0]
    for event in ordered[1:]:
        if last.returned_ns is None or event.called_ns < last.returned_ns:
            overlapping |= {id(event), id(last)}
        if last.returned_ns is not None and (event.returned_ns is None or event.returned_ns > last.returned_ns):
            last = event
    return len(overlapping)


if __name__ == "__main__":
    sys.exit(main())
