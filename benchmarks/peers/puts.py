"""Puts, one at a time and in batches, and puts mixed with reads."""

from benchmarks.kinesis_calls import PutShape
from benchmarks.load import Outcome
from benchmarks.peers.bench import Bench, Loaded
from benchmarks.peers.systems import LoadSettings, System
from benchmarks.results import Measurement

__all__ = ["measure_batches", "measure_mixed", "measure_put", "measure_single_puts", "note_puts", "put_fault"]

_MEGABYTE = 1_000_000
_MIXED_BYTE_COUNT = 1024
_MIXED_READ_LIMIT = 100
_MIXED_PREFILL_COUNT = 1000


def measure_single_puts(bench: Bench) -> None:
    """Measure PutRecord, and what is like it elsewhere, for each size and number of connections."""
    options = bench.options
    for byte_count in options.single_byte_counts:
        for connection_count in options.connection_counts:
            shape = PutShape(1, byte_count)
            settings = LoadSettings(connection_count=connection_count, duration_s=options.seconds)
            for _ in range(options.round_count):
                for system in bench.turns():
                    measure_put(bench, system, shape, settings, work="PutRecord")


def measure_batches(bench: Bench) -> None:
    """Measure PutRecords, and pipelines of as many records or fewer where there are no batches."""
    options = bench.options
    for shape in options.batch_shapes:
        pipelines = sorted({min(pipeline, shape.record_count) for pipeline in options.pipelines})
        for _ in range(options.round_count):
            for system in bench.turns():
                for pipeline in pipelines[:1] if system.speaks_kinesis else pipelines:
                    settings = LoadSettings(
                        connection_count=options.batch_connection_count,
                        duration_s=options.seconds,
                        pipeline=pipeline,
                    )
                    measure_put(bench, system, shape, settings, work="PutRecords")


def measure_put(bench: Bench, system: System, shape: PutShape, settings: LoadSettings, *, work: str) -> None:
    """Measure one load of puts into a stream of its own, and look afterwards whether the records are there."""
    stream = bench.name("puts")
    system.create(stream, shard_count=bench.options.shard_count)
    loaded = bench.drive(system, system.put_load(stream, shape, settings))
    fault = put_fault(system, stream, loaded.outcome)
    system.drop(stream)
    is_single = shape.record_count == 1
    is_named_by_pipeline = not (system.speaks_kinesis or is_single)
    note_puts(
        bench,
        loaded,
        system_name=f"{system.name}, pipeline {settings.pipeline}" if is_named_by_pipeline else system.name,
        durability=system.durability,
        work=work,
        case=f"{shape}, {settings.connection_count} connections",
        is_single=is_single,
        fault=fault,
    )


def note_puts(
    bench: Bench,
    loaded: Loaded,
    *,
    system_name: str,
    durability: str,
    work: str,
    case: str,
    is_single: bool,
    fault: str,
) -> None:
    """Keep the figure of a load of puts: records a second of single ones, bytes a second of batches."""
    outcome = loaded.outcome
    amount = outcome.put_count if is_single else outcome.put_byte_count / _MEGABYTE
    bench.note(
        Measurement(
            work=work,
            case=case,
            system=system_name,
            value=amount / outcome.elapsed_s,
            unit="records/s" if is_single else "MB/s",
            durability=durability,
            latency=outcome.put_latency,
            server_cores=loaded.server_cores,
            generator_cores=outcome.generator_cores,
            fault=fault,
        )
    )


def put_fault(system: System, stream: str, outcome: Outcome, *, prefilled_count: int = 0) -> str:
    """Count the stream, and say what is wrong with it beside what was acknowledged; empty when nothing is."""
    faults = []
    if outcome.failure_count:
        faults.append(f"{outcome.failure_count} requests failed: {outcome.first_failure}")
    stored = system.stored(stream)
    stored_count = stored.record_count - prefilled_count
    if stored_count < outcome.put_count:
        faults.append(f"lost {outcome.put_count - stored_count} of {outcome.put_count} acknowledged records")
    if stored_count > outcome.sent_put_count:
        faults.append(f"holds {stored_count} records of {outcome.sent_put_count} sent")
    is_exact = stored_count == outcome.put_count and not prefilled_count
    if is_exact and stored.byte_count is not None and stored.byte_count != outcome.put_byte_count:
        faults.append(f"holds {stored.byte_count} bytes of {outcome.put_byte_count} acknowledged")
    return "; ".join(faults)


def measure_mixed(bench: Bench) -> None:
    """Measure four puts of 1 KiB to one read of 100 records, on every connection."""
    options = bench.options
    shape = PutShape(1, _MIXED_BYTE_COUNT)
    settings = LoadSettings(connection_count=max(options.connection_counts), duration_s=options.seconds)
    for _ in range(options.round_count):
        for system in bench.turns():
            stream = bench.name("mixed")
            system.create(stream, shard_count=1)
            bench.fill(system, stream, record_count=_MIXED_PREFILL_COUNT, record_byte_count=_MIXED_BYTE_COUNT)
            prefilled = system.stored(stream).record_count
            load = system.mixed_load(stream, shape, settings, limit=_MIXED_READ_LIMIT)
            if load is not None:
                loaded = bench.drive(system, load)
                outcome = loaded.outcome
                bench.note(
                    Measurement(
                        work="mixed",
                        case=f"4 puts of {shape} to 1 read of {_MIXED_READ_LIMIT}, "
                        f"{settings.connection_count} connections",
                        system=system.name,
                        value=(outcome.put_request_count + outcome.read_request_count) / outcome.elapsed_s,
                        unit="requests/s",
                        durability=system.durability,
                        latency=outcome.put_latency,
                        server_cores=loaded.server_cores,
                        generator_cores=outcome.generator_cores,
                        fault=put_fault(system, stream, outcome, prefilled_count=prefilled),
                    )
                )
            system.drop(stream)
