"""Reads: catching up with what is stored, and the way of a record from its producer to a polling consumer."""

import contextlib
import threading
import time
from collections.abc import Iterator

from benchmarks.load import Latency
from benchmarks.peers.bench import Bench
from benchmarks.peers.systems import LoadSettings, Poller, System
from benchmarks.results import Measurement

__all__ = ["measure_catch_up", "measure_latency"]

_MEGABYTE = 1_000_000
_RECORD_BYTE_COUNT = 1024
_CALL_RECORD_COUNT = 10_000
_POLL_PAUSE_S = 0.001
_PUT_PAUSE_S = 0.005
_LATE_S = 20.0


def measure_catch_up(bench: Bench) -> None:
    """Measure reads of 10,000 x 1 KiB a call from one shard, in JSON and in CBOR.

    Every call reads stored records that were put before; the calls walk through them again and again. Two figures:
    the rate, and the rate for each core that the server was busy on.
    """
    options = bench.options
    settings = LoadSettings(connection_count=options.read_connection_count, duration_s=options.seconds)
    wanted_count = _CALL_RECORD_COUNT * options.catch_up_call_count
    streams: dict[str, str] = {}
    for system in bench.turns():
        stream = streams[system.name] = bench.name("catch-up")
        system.create(stream, shard_count=1)
        bench.fill(system, stream, record_count=wanted_count, record_byte_count=_RECORD_BYTE_COUNT)
    for codec in ("json", "cbor"):
        for _ in range(options.round_count):
            for system in bench.turns():
                _catch_up(bench, system, streams[system.name], settings, codec)
    for system in bench.turns():
        system.drop(streams[system.name])


def _catch_up(bench: Bench, system: System, stream: str, settings: LoadSettings, codec: str) -> None:
    if codec == "cbor" and not system.is_ours:
        # Reading the peers' binary answers would say more about their codec's library than about reading.
        return
    load = system.read_load(stream, settings, limit=_CALL_RECORD_COUNT, codec=codec)
    if load is None:
        return
    loaded = bench.drive(system, load)
    outcome = loaded.outcome
    rate = outcome.read_byte_count / _MEGABYTE / outcome.elapsed_s
    case = f"{_CALL_RECORD_COUNT:,} x 1 KiB a call, {codec.upper()}, {settings.connection_count} connections"
    fault = f"{outcome.failure_count} failed: {outcome.first_failure}" if outcome.failure_count else ""
    call_record_count = outcome.read_count // max(outcome.read_request_count, 1)
    if call_record_count < _CALL_RECORD_COUNT:
        fault = fault or f"only {call_record_count:,} records a call"
    for suffix, unit, value in (
        ("", "MB/s", rate),
        (", for each core of the server", "MB/s a core", rate / max(loaded.server_cores, 0.01)),
    ):
        bench.note(
            Measurement(
                work="GetRecords",
                case=case + suffix,
                system=system.name,
                value=value,
                unit=unit,
                durability=system.durability,
                latency=outcome.read_latency,
                server_cores=loaded.server_cores,
                generator_cores=outcome.generator_cores,
                fault=fault,
            )
        )


def measure_latency(bench: Bench) -> None:
    """Measure from the start of a put to the poll that sees it: a put every 5 ms, a poll 1 ms after an empty one."""
    for _ in range(bench.options.round_count):
        for system in bench.turns():
            stream = bench.name("latency")
            system.create(stream, shard_count=1)
            poller = system.poller(stream)
            if poller is not None:
                with contextlib.closing(poller):
                    durations_s = _seen_after(poller, bench.options.poll_count)
                _note_latency(bench, system, durations_s)
                system.drop(stream)


def _note_latency(bench: Bench, system: System, durations_s: list[float]) -> None:
    latency = Latency.of(durations_s)
    missing_count = bench.options.poll_count - len(durations_s)
    bench.note(
        Measurement(
            work="put to consumer",
            case="200 puts/s of 100 B, polling at 1 ms, median",
            system=system.name,
            value=latency.p50_ms,
            unit="ms",
            is_more_better=False,
            durability=system.durability,
            latency=latency,
            fault=f"{missing_count} records were never seen" if missing_count else "",
        )
    )


def _seen_after(poller: Poller, wanted_count: int) -> list[float]:
    """Put and poll at the same time, on a thread each; the seconds that each record was under way."""
    failures: list[BaseException] = []

    def produce() -> None:
        pause = threading.Event()
        try:
            for _ in range(wanted_count):
                poller.put(b"%020d" % time.perf_counter_ns() + b"." * 80)
                pause.wait(_PUT_PAUSE_S)
        except BaseException as failure:
            failures.append(failure)
            raise

    producer = threading.Thread(target=produce, name="producer")
    producer.start()
    durations_s: list[float] = []
    try:
        for data in _polled(poller, producer):
            durations_s.append((time.perf_counter_ns() - int(data[:20])) / 1e9)
            if len(durations_s) == wanted_count:
                break
    finally:
        producer.join()
    if failures:
        raise failures[0]
    return durations_s


def _polled(poller: Poller, producer: threading.Thread) -> Iterator[bytes]:
    """Poll until the producer is done and nothing has come for long."""
    pause = threading.Event()
    last_s = time.perf_counter()
    while producer.is_alive() or time.perf_counter() - last_s < _LATE_S:
        found = poller.poll()
        if found:
            last_s = time.perf_counter()
            yield from found
        else:
            pause.wait(_POLL_PAUSE_S)
