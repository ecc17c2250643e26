"""The stage of a kill audit: the daemon that is ended and started again, the producers, and what meddles meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from tests.audit.producer import journal_path, streams_path
from tests.audit.verdict import Life, ReadBack
from tests.daemons import Daemon, start_daemon
from tests.workers.reshard_load import next_reshard, open_shards
from tests.workers.wire import Answered, Wire, until

__all__ = ["KINDS", "Ending", "Meddler", "Producers", "Stage", "read_since", "read_stream", "until_answered"]

KINDS = ("worker",) * 4 + ("all",) * 3 + ("supervisor", "stop")
_PATIENCE_S = 60
_PAUSE_S = 0.02
_LOST = (OSError, HTTPException)
Ending = str


@dataclass(slots=True)
class Stage:
    """A daemon on one port and one directory, whatever is done to it."""

    folder: Path
    random: Random
    environment: Mapping[str, str] = field(default_factory=dict)
    daemon: Daemon = field(init=False)
    endings: Counter[Ending] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.daemon = start_daemon(self.data, *self._flags(), environment=self.environment)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def end_somehow(self) -> Ending:
        """End a worker, the supervisor or everything, at once or gently; have a daemon again."""
        kind = self.random.choice(KINDS)
        self.endings[kind] += 1
        match kind:
            case "worker":
                self._kill_worker()
                return kind
            case "supervisor":
                # Its workers notice by themselves, and end before the next daemon gets the lock.
                os.kill(self.daemon.process.pid, signal.SIGKILL)
                self.daemon.process.wait(_PATIENCE_S)
            case "stop":
                assert self.daemon.stop() == 0
            case _:
                self.daemon.kill()
        self.start()
        return kind

    def start(self) -> None:
        """Start a daemon on the same port, with any number of workers."""
        before, port = self.daemon, self.daemon.port
        self.daemon = start_daemon(self.data, *self._flags(), port=port, environment=self.environment)
        assert before.process.stdout is not None
        before.process.stdout.close()

    def _kill_worker(self) -> None:
        pids = self.daemon.worker_pids()
        with suppress(ProcessLookupError):
            # A lone worker is the daemon itself, and a successor may be on its way.
            if pids:
                os.kill(self.random.choice(pids), signal.SIGKILL)

    def _flags(self) -> tuple[str, ...]:
        return "--workers", self.random.choice(("2", "2", "3"))


@dataclass(slots=True)
class Meddler:
    """Reshards, changes retention, and deletes and makes a stream again, until it is told to stop."""

    daemon: Daemon
    main: str
    doomed: str
    random: Random
    life: Life
    done: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Do one thing after another; whatever is refused or lost is done differently the next time."""
        while not self.stopping.is_set():
            kind = self.random.choice(("reshard", "reshard", "retention", "doom"))
            with Wire(self.daemon) as wire:
                try:
                    self._do(kind, wire)
                    self.done[kind] += 1
                except (*_LOST, Answered):
                    self.done["refused or lost"] += 1
            self.stopping.wait(_PAUSE_S)

    def doom(self, wire: Wire) -> None:
        """Delete the doomed stream and make it again, as often as it takes."""
        deleted_ns = time.monotonic_ns()
        until_answered(wire, "DeleteStream", unless="ResourceNotFoundException", StreamName=self.doomed)
        until_answered(wire, "CreateStream", unless="ResourceInUseException", StreamName=self.doomed, ShardCount=2)
        self.life = Life(stream=self.doomed, deleted_ns=deleted_ns, created_ns=time.monotonic_ns(), looked_ns=0)

    def _do(self, kind: str, wire: Wire) -> None:
        match kind:
            case "reshard":
                stream = self.random.choice((self.main, self.main, self.doomed))
                shards = open_shards(wire, stream)
                _, operation, members = next_reshard(self.random, shards, is_scaling=self.random.random() < 0.1)
                wire.ask(operation, StreamName=stream, **members)
            case "retention":
                change = self.random.choice(("Increase", "Decrease"))
                hours = self.random.choice((24, 25, 48, 8760))
                wire.ask(f"{change}StreamRetentionPeriod", StreamName=self.main, RetentionPeriodHours=hours)
            case _:
                self.doom(wire)


@dataclass(slots=True)
class Producers:
    """The producers' processes, and the streams they put to."""

    folder: Path
    count: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def journals(self) -> list[Path]:
        """Their journals."""
        return [journal_path(self.folder, number) for number in range(self.count)]

    def put_to(self, *streams: str) -> None:
        """Say where to put from now on."""
        draft = self.folder / "streams.new"
        draft.write_text(" ".join(streams))
        draft.rename(streams_path(self.folder))

    @contextmanager
    def running(self, port: int, *, seed: int) -> Iterator[None]:
        """Run them for as long as the block runs."""
        for number in range(self.count):
            command = [
                sys.executable,
                "-m",
                "tests.audit.producer",
                str(port),
                str(self.folder),
                str(number),
                str(seed),
            ]
            self.processes.append(subprocess.Popen(command))
        try:
            yield
        finally:
            streams_path(self.folder).unlink(missing_ok=True)
            statuses = [process.wait(_PATIENCE_S) for process in self.processes]
        assert statuses == [0] * self.count

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop them in the middle of whatever they do, and let them go on after the block."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self.processes:
                process.send_signal(signal.SIGCONT)


def read_stream(daemon: Daemon, stream: str) -> dict[str, list[ReadBack]]:
    """Read every shard of a stream from its beginning to its tip."""
    with Wire(daemon) as wire:
        shards = until_answered(wire, "ListShards", StreamName=stream)["Shards"]
        names = [shard["ShardId"] for shard in shards]
        return {name: list(_shard(wire, stream, name, ShardIteratorType="TRIM_HORIZON")) for name in names}


def read_since(daemon: Daemon, stream: str, shard_id: str, *, time_ms: int) -> list[ReadBack]:
    """Read a shard from a time to its tip."""
    with Wire(daemon) as wire:
        return list(_shard(wire, stream, shard_id, ShardIteratorType="AT_TIMESTAMP", Timestamp=time_ms / 1000))


def until_answered(wire: Wire, operation: str, *, unless: str = "", **members: Any) -> Any:
    """Ask until there is an answer; one that says ``unless`` is one too."""
    answers: list[Any] = []

    def has_answer() -> bool:
        try:
            answers.append(wire.ask(operation, **members))
        except Answered as refusal:
            if refusal.code == unless:
                answers.append(None)
            elif refusal.code not in {"ResourceInUseException", "LimitExceededException"}:
                raise
        except _LOST:
            wire.close()
        return bool(answers)

    until(has_answer, patience_s=_PATIENCE_S)
    return answers[0]


def _shard(wire: Wire, stream: str, shard_id: str, **start: Any) -> Iterator[ReadBack]:
    # A closed shard that expires meanwhile is no more; whoever misses its records will say so.
    gone = "ResourceNotFoundException"
    answer = until_answered(wire, "GetShardIterator", unless=gone, StreamName=stream, ShardId=shard_id, **start)
    place = None if answer is None else answer["ShardIterator"]
    while place is not None:
        answer = until_answered(wire, "GetRecords", unless=gone, ShardIterator=place)
        if answer is None:
            return
        for row in answer["Records"]:
            yield ReadBack(
                shard_id,
                row["SequenceNumber"],
                row["PartitionKey"],
                b64decode(row["Data"]),
                row["ApproximateArrivalTimestamp"],
            )
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            return
        place = answer.get("NextShardIterator")
