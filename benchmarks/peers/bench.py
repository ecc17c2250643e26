"""What every work is handed: the systems that run, the generator, the options, and where measurements go."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.generator import Generator
from benchmarks.kinesis_calls import PutShape
from benchmarks.load import Load, Outcome
from benchmarks.peers.systems import LoadSettings, System
from benchmarks.results import Measurement

__all__ = ["Bench", "Loaded", "Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The axes. ``load_seconds`` is the longest load before memory is told; 0 when the usual one is enough."""

    seconds: float
    round_count: int
    connection_counts: tuple[int, ...]
    batch_connection_count: int
    read_connection_count: int
    pipelines: tuple[int, ...]
    single_byte_counts: tuple[int, ...]
    batch_shapes: tuple[PutShape, ...]
    shard_count: int
    growth_shard_counts: tuple[int, ...]
    growth_gigabytes: tuple[float, ...]
    worker_counts: tuple[int, ...]
    catch_up_call_count: int
    poll_count: int
    fill_seconds_max: float
    retention_seconds: float
    load_seconds: float
    rest_seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a load, and how many cores the system was busy on meanwhile."""

    outcome: Outcome
    server_cores: float


@dataclass(slots=True)
class Bench:
    """A run."""

    systems: Sequence[System]
    generator: Generator
    options: Options
    folder: Path
    say: Callable[[str], None]
    measurements: list[Measurement] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def note(self, measurement: Measurement) -> None:
        """Keep a measurement and show it."""
        self.measurements.append(measurement)
        self.say(
            f"{measurement.work}: {measurement.case}: {measurement.system}: "
            f"{measurement.value:,.2f} {measurement.unit} {measurement.fault}"
        )

    def name(self, what: str) -> str:
        """Make a name that no stream or folder of this run has yet."""
        return f"{what}-{next(self._numbers)}"

    def turns(self) -> Iterator[System]:
        """Give each system its turn. All others are held meanwhile, so that nobody pays for what a peer does idly."""
        for system in self.systems:
            if system.program is not None:
                system.program.resume()
            try:
                yield system
            finally:
                if system.program is not None:
                    system.program.pause()

    def rest(self) -> None:
        """Let the disk finish what the system before left to it, so that nobody pays for another."""
        os.sync()
        threading.Event().wait(self.options.rest_seconds)

    def drive(self, system: System, load: Load) -> Loaded:
        """Drive a load against a system."""
        assert system.program is not None, "only a system that was started is loaded"
        self.rest()
        before_s = system.program.cpu_s()
        outcome = self.generator.run(load)
        used_s = system.program.cpu_s() - before_s
        return Loaded(outcome, used_s / outcome.elapsed_s)

    def fill(self, system: System, stream: str, *, record_count: int, record_byte_count: int) -> None:
        """Put at least so many records of one size, or what a slow system takes in the time for it."""
        shape = PutShape(500, record_byte_count)
        settings = LoadSettings(connection_count=1, duration_s=0.2, pipeline=500)
        put_count = 0
        end_s = time.perf_counter() + self.options.fill_seconds_max
        while put_count < record_count and time.perf_counter() < end_s:
            outcome = self.generator.run(system.put_load(stream, shape, settings))
            if outcome.failure_count:
                raise RuntimeError(f"{system.name}: {outcome.first_failure}")
            put_count += outcome.put_count
