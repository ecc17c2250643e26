"""Growth: what more shards, more workers, more stored bytes and expiring records do to the rate of puts.

Only streamd, each time on a data directory of its own. Rows of a case differ in what grew, and the ratio is to the
case's first row: flat is 1.
"""

import asyncio
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.kinesis_calls import PutShape
from benchmarks.peers.aged_store import fill_aged_store
from benchmarks.peers.bench import Bench
from benchmarks.peers.kinesis_systems import Streamd
from benchmarks.peers.puts import note_puts, put_fault
from benchmarks.peers.starts import note_memory, note_start
from benchmarks.peers.systems import LoadSettings
from benchmarks.results import Measurement

__all__ = ["measure_growth"]

_GIGABYTE = 1_000_000_000
_SINGLE = PutShape(1, 1024)
_BATCH = PutShape(500, 1024)
_WORKER_COUNT = 2
_AGED_COUNT = 100_000
_FILL_SECONDS_MAX = 2.0
_EXPIRED = re.compile(r"^streamd_expired_records_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


def measure_growth(bench: Bench) -> None:
    """Measure all four."""
    for _ in range(bench.options.round_count):
        _grow_shards(bench)
        _grow_workers(bench)
        _grow_store(bench)
        _expire_under_load(bench)


def _grow_shards(bench: Bench) -> None:
    with _fresh(bench, _WORKER_COUNT) as system:
        for shard_count in bench.options.growth_shard_counts:
            label = f"{shard_count:,} shard{'s' if shard_count > 1 else ''}"
            _measure_both(bench, system, growth="shards", label=label, shard_count=shard_count)


def _grow_workers(bench: Bench) -> None:
    for worker_count in bench.options.worker_counts:
        with _fresh(bench, worker_count) as system:
            label = f"{worker_count} worker{'s' if worker_count > 1 else ''}"
            _measure_both(bench, system, growth="workers", label=label, shard_count=bench.options.shard_count)


def _grow_store(bench: Bench) -> None:
    """Fill one store more and more; after each step measure, then restart it."""
    folder = bench.folder / bench.name("store")
    system = Streamd(worker_count=_WORKER_COUNT, is_signed=False)
    try:
        system.start(folder)
        system.create("filled", shard_count=bench.options.shard_count)
        stored_byte_count = 0.0
        for gigabytes in bench.options.growth_gigabytes:
            while stored_byte_count < gigabytes * _GIGABYTE:
                settings = LoadSettings(connection_count=4, duration_s=min(_FILL_SECONDS_MAX, gigabytes))
                stored_byte_count += bench.generator.run(system.put_load("filled", _BATCH, settings)).put_byte_count
            label = f"{gigabytes:g} GB stored"
            _measure_both(bench, system, growth="store", label=label, shard_count=bench.options.shard_count)
            system.stop()
            note_start(bench, system, system.start(folder), case=f"to first answer, {label}")
            note_memory(bench, system, case=f"idle, {label}")
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _expire_under_load(bench: Bench) -> None:
    """Load a fresh store, and one whose records of a day ago expire meanwhile; tell how many retention removed."""
    duration_s = bench.options.retention_seconds
    _load_aged(bench, label="nothing expires", aged_count=0, duration_s=duration_s)
    _load_aged(bench, label="a day of retention expiring", aged_count=_AGED_COUNT, duration_s=duration_s)


def _load_aged(bench: Bench, *, label: str, aged_count: int, duration_s: float) -> None:
    settings = LoadSettings(connection_count=bench.options.batch_connection_count, duration_s=duration_s)
    folder = bench.folder / bench.name("aged")
    asyncio.run(fill_aged_store(folder / "data", record_count=aged_count, span_s=duration_s))
    system = Streamd(worker_count=_WORKER_COUNT, is_signed=False)
    try:
        system.start(folder)
        system.create("fresh", shard_count=bench.options.shard_count)
        loaded = bench.drive(system, system.put_load("fresh", _BATCH, settings))
        note_puts(
            bench,
            loaded,
            system_name=label,
            durability=system.durability,
            work="growth",
            case=f"retention: {_BATCH}, {settings.connection_count} connections",
            is_single=False,
            fault=put_fault(system, "fresh", loaded.outcome),
        )
        if aged_count:
            _note_expired(bench, system, aged_count)
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _note_expired(bench: Bench, system: Streamd, aged_count: int) -> None:
    """Keep which share of the aged records was removed by now; none may be readable any more."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system.port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    removed_count = sum(float(found) for found in _EXPIRED.findall(page))
    left_count = system.stored("aged").record_count
    bench.note(
        Measurement(
            work="growth",
            case="retention: expired records removed by the end of the load",
            system="a day of retention expiring",
            value=100 * removed_count / aged_count,
            unit="%",
            durability=system.durability,
            fault=f"{left_count} expired records can still be read" if left_count else "",
        )
    )


def _measure_both(bench: Bench, system: Streamd, *, growth: str, label: str, shard_count: int) -> None:
    """Measure single puts and batches, under a label that says how far it has grown."""
    options = bench.options
    for shape, connection_count in (
        (_SINGLE, max(options.connection_counts)),
        (_BATCH, options.batch_connection_count),
    ):
        stream = bench.name("grown")
        system.create(stream, shard_count=shard_count)
        settings = LoadSettings(connection_count=connection_count, duration_s=options.seconds)
        loaded = bench.drive(system, system.put_load(stream, shape, settings))
        note_puts(
            bench,
            loaded,
            system_name=label,
            durability=system.durability,
            work="growth",
            case=f"{growth}: {shape}, {connection_count} connections",
            is_single=shape.record_count == 1,
            fault=put_fault(system, stream, loaded.outcome),
        )
        system.drop(stream)


@contextmanager
def _fresh(bench: Bench, worker_count: int) -> Iterator[Streamd]:
    """Run streamd on a directory of its own."""
    folder = bench.folder / bench.name("growth")
    system = Streamd(worker_count=worker_count, is_signed=False)
    try:
        system.start(folder)
        yield system
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)
