"""Starts and memory: the seconds to a first answer, and what a system holds before and after a load."""

import shutil

from benchmarks.kinesis_calls import PutShape
from benchmarks.peers.bench import Bench
from benchmarks.peers.systems import LoadSettings, System
from benchmarks.results import Measurement

__all__ = ["measure_starts", "note_memory", "note_start"]

_MEBIBYTE = 1 << 20
_SHAPE = PutShape(1, 1024)
# Small ones: an hour at full speed must still fit on the disk.
_LONG_SHAPE = PutShape(1, 100)


def measure_starts(bench: Bench) -> None:
    """Start each system on an empty folder, look at its memory, load it, look again.

    With ``load_seconds``, streamd is then loaded for so long, once.
    """
    options = bench.options
    for number in range(options.round_count):
        for system in bench.turns():
            folder = bench.folder / bench.name("start")
            try:
                note_start(bench, system, system.start(folder), case="to first answer, nothing stored")
                note_memory(bench, system, case="idle")
                _load(bench, system, _SHAPE, options.seconds)
                if options.load_seconds and system.is_ours and number == 0:
                    _load(bench, system, _LONG_SHAPE, options.load_seconds)
            finally:
                system.stop()
                shutil.rmtree(folder, ignore_errors=True)


def _load(bench: Bench, system: System, shape: PutShape, duration_s: float) -> None:
    stream = bench.name("load")
    system.create(stream, shard_count=bench.options.shard_count)
    settings = LoadSettings(connection_count=max(bench.options.connection_counts), duration_s=duration_s)
    bench.drive(system, system.put_load(stream, shape, settings))
    note_memory(bench, system, case=f"after {duration_s:g} s of single puts of {shape}")


def note_start(bench: Bench, system: System, took_s: float, *, case: str) -> None:
    """Keep how long a start took."""
    bench.note(
        Measurement(
            work="start",
            case=case,
            system=system.name,
            value=took_s * 1000,
            unit="ms",
            is_more_better=False,
            durability=system.durability,
        )
    )


def note_memory(bench: Bench, system: System, *, case: str) -> None:
    """Keep what a system holds now: its own memory, without the pages of files that it only maps."""
    assert system.program is not None, "only a system that runs has memory"
    bench.note(
        Measurement(
            work="memory",
            case=case,
            system=system.name,
            value=system.program.memory().own / _MEBIBYTE,
            unit="MiB",
            is_more_better=False,
            durability=system.durability,
        )
    )
