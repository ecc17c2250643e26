"""The command ``python -m benchmarks.http2``."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import click
import orjson

from benchmarks.generator import generator_process
from benchmarks.http2.applications import EVENT, EVENT_COUNT
from benchmarks.http2.frames import Http2Load, Http2Outcome, Http2Request, drive_http2
from benchmarks.kinesis_calls import KinesisPuts, PutShape
from benchmarks.load import Latency
from benchmarks.machine import machine_of
from benchmarks.peers.kinesis_systems import Streamd
from benchmarks.peers.systems import LoadSettings
from benchmarks.programs import Program, free_port, started_program, wait_until
from benchmarks.report import Report
from benchmarks.results import Measurement, rows_of

__all__ = ["main"]

_OURS = "streamd's door (h2)"
_APPLICATION = "benchmarks.http2.applications:application"
_CONNECTION_COUNT = 4
_PUT_STREAM_COUNT = 16
_PUSH_STREAM_COUNT = 25
_SHARD_COUNT = 4
_MEGABYTE = 1_000_000
_JSON_HEADERS = [("content-type", "application/x-amz-json-1.1")]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=3.0, help="Length of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that each is measured.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, help="Workers of streamd, beside HTTP/1.1.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
def main(*, seconds: float, rounds: int, workers: int, directory: Path | None, out: Path) -> None:
    """Measure the libraries, and HTTP/2 beside HTTP/1.1."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-http2-", dir=directory))
    present = [name for name in ("hypercorn", "granian") if find_spec(name) is not None]
    try:
        machine = machine_of(folder)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            run = _Run(folder, executor, seconds)
            for _ in range(rounds):
                for name in (_OURS, *present):
                    run.measure_library(name)
                run.measure_streamd(workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(
        title="HTTP/2",
        machine=machine,
        reference=_OURS,
        rows=rows_of(run.measurements, reference=_OURS),
        version_by_system={name: version(name) for name in ("h2", *present)},
        install_by_absent={name: f"pip install {name}" for name in ("hypercorn", "granian") if find_spec(name) is None},
    )
    report.write(out, "http2")
    print(report.markdown())


class _Run:
    def __init__(self, folder: Path, executor: ProcessPoolExecutor, seconds: float) -> None:
        self.measurements: list[Measurement] = []
        self._folder = folder
        self._executor = executor
        self._seconds = seconds
        self._number = 0

    def measure_library(self, name: str) -> None:
        """Drive the little application on a library: small puts, then a hundred pushed streams."""
        with self._application(name) as (program, port):
            put = Http2Request.of(
                "POST",
                [(":authority", f"127.0.0.1:{port}"), *_JSON_HEADERS, ("x-amz-target", "Kinesis_20131202.PutRecord")],
                orjson.dumps({"StreamName": "puts", "PartitionKey": "12345678", "Data": "x" * 1368}),
            )
            get = Http2Request.of("GET", [(":authority", f"127.0.0.1:{port}")], b"", unit_count=EVENT_COUNT)
            for work, request, stream_count, unit in (
                (f"small puts, {_CONNECTION_COUNT} x {_PUT_STREAM_COUNT} at a time", put, _PUT_STREAM_COUNT, "request"),
                (f"{_CONNECTION_COUNT * _PUSH_STREAM_COUNT} pushed streams", get, _PUSH_STREAM_COUNT, "event"),
            ):
                outcome, cpu_s = self._drive(port, [request], stream_count, program)
                fault = outcome.failure
                if unit == "event" and outcome.received_byte_count != outcome.unit_count * len(EVENT):
                    fault = fault or "not every event came"
                us = cpu_s / max(outcome.unit_count, 1) * 1e6
                self._note("library", f"{work}: processor time", name, us, f"us/{unit}", outcome, fault=fault)
                rate = outcome.unit_count / outcome.elapsed_s
                self._note("library", f"{work}: rate", name, rate, f"{unit}s/s", outcome, fault=fault)

    def measure_streamd(self, worker_count: int) -> None:
        """Put to streamd over HTTP/1.1 and over HTTP/2, as many at a time."""
        with generator_process() as generator:
            system = Streamd(worker_count=worker_count, is_signed=False)
            folder = self._fresh()
            system.start(folder)
            try:
                for shape, stream_count in ((PutShape(1, 1024), _PUT_STREAM_COUNT), (PutShape(500, 1024), 4)):
                    in_flight_count = _CONNECTION_COUNT * stream_count
                    settings = LoadSettings(connection_count=in_flight_count, duration_s=self._seconds)
                    system.create(f"one-{shape}".replace(" ", ""), shard_count=_SHARD_COUNT)
                    load = system.put_load(f"one-{shape}".replace(" ", ""), shape, settings)
                    first = generator.run(load)
                    case = f"{shape}, {in_flight_count} at a time, {worker_count} workers"
                    unit, amount = ("records/s", first.put_count) if shape.record_count == 1 else ("MB/s", 0.0)
                    amount = amount or first.put_byte_count / _MEGABYTE
                    one = Http2Outcome(
                        elapsed_s=first.elapsed_s, failure=first.first_failure, latency=first.put_latency
                    )
                    self._note("streamd", case, "HTTP/1.1", amount / first.elapsed_s, unit, one, fault=one.failure)
                    self._measure_puts(system, shape, stream_count, case=case, unit=unit)
            finally:
                system.stop()
                shutil.rmtree(folder, ignore_errors=True)

    def _measure_puts(self, system: Streamd, shape: PutShape, stream_count: int, *, case: str, unit: str) -> None:
        assert system.program is not None, "it was started"
        source = KinesisPuts(port=system.port, stream=f"one-{shape}".replace(" ", ""), shape=shape, is_signed=False)
        operation = "PutRecord" if shape.record_count == 1 else "PutRecords"
        headers = [
            (":authority", f"127.0.0.1:{system.port}"),
            *_JSON_HEADERS,
            ("x-amz-target", f"Kinesis_20131202.{operation}"),
        ]
        units = 1 if shape.record_count == 1 else shape.record_count * shape.record_byte_count
        requests = [
            Http2Request.of("POST", [*headers, ("content-length", str(len(body)))], body, unit_count=units)
            for body in source.bodies()
        ]
        outcome, _ = self._drive(system.port, requests, stream_count, system.program)
        amount = outcome.unit_count / (1 if shape.record_count == 1 else _MEGABYTE)
        self._note("streamd", case, "HTTP/2", amount / outcome.elapsed_s, unit, outcome, fault=outcome.failure)

    def _drive(
        self, port: int, requests: list[Http2Request], stream_count: int, program: Program
    ) -> tuple[Http2Outcome, float]:
        load = Http2Load(
            port=port,
            requests=requests,
            connection_count=_CONNECTION_COUNT,
            stream_count=stream_count,
            duration_s=self._seconds,
        )
        before_s = program.cpu_s()
        outcome = self._executor.submit(drive_http2, load).result()
        return outcome, program.cpu_s() - before_s

    def _note(
        self, work: str, case: str, system: str, value: float, unit: str, outcome: Http2Outcome, *, fault: str
    ) -> None:
        print(f"{work}: {case}: {system}: {value:,.2f} {unit} {fault}", file=sys.stderr, flush=True)
        self.measurements.append(
            Measurement(
                work=work,
                case=case,
                system=system,
                value=value,
                unit=unit,
                is_more_better=not unit.startswith("us"),
                latency=outcome.latency if outcome.latency != Latency() else None,
                generator_cores=outcome.generator_cpu_s / outcome.elapsed_s if outcome.generator_cpu_s else None,
                fault=fault,
            )
        )

    @contextmanager
    def _application(self, name: str) -> Iterator[tuple[Program, int]]:
        port, folder = free_port(), self._fresh()
        settings = folder.with_suffix(".toml")
        # It would else end each connection after a thousand requests.
        settings.write_text("keep_alive_max_requests = 1_000_000_000\n")
        commands = {
            _OURS: ["-m", "benchmarks.http2.applications", "--port", str(port)],
            "hypercorn": [
                "-m",
                "hypercorn",
                "-c",
                str(settings),
                "-k",
                "uvloop",
                "-b",
                f"127.0.0.1:{port}",
                _APPLICATION,
            ],
            "granian": ["-m", "granian", "--interface", "asgi", "--http", "2", "--port", str(port), _APPLICATION],
        }
        root = Path(__file__).parents[2]
        program = started_program([sys.executable, *commands[name]], folder=folder, work_folder=root)
        try:
            wait_until(lambda: _answers(port), program=program)
            yield program, port
        finally:
            program.stop()

    def _fresh(self) -> Path:
        self._number += 1
        return self._folder / str(self._number)


def _answers(port: int) -> bool:
    request = Http2Request.of("POST", [(":authority", f"127.0.0.1:{port}"), *_JSON_HEADERS], b"{}")
    load = Http2Load(port=port, requests=[request], connection_count=1, stream_count=1, duration_s=0.0)
    outcome = drive_http2(load)
    if outcome.failure:
        raise ConnectionError(outcome.failure)
    return outcome.request_count > 0


if __name__ == "__main__":
    main()
