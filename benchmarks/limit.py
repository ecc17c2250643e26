"""The floor, and streamd as a share of it, in one run.

``python -m benchmarks.limit`` measures three things, interleaved. Batches: the same bytes in tight loops, without
HTTP (`benchmarks.floors`). Single puts: a bare asyncio and httptools echo (`benchmarks.echo`) under the same load
generator. And streamd doing both for real, by HTTP, synced before each answer, with the generator on the same cores;
the loops of the floor have all cores to themselves. The floor hashes each body, as a verified signature needs it; one
without is shown beside it.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from benchmarks.baseline import comparison, merge
from benchmarks.floors import floor_rate, step_durations
from benchmarks.generator import Generator, generator_process
from benchmarks.kinesis_calls import KinesisCaller, KinesisPuts, PutShape
from benchmarks.load import Load, Outcome, Wire
from benchmarks.machine import machine_of
from benchmarks.peers.kinesis_systems import Streamd
from benchmarks.peers.puts import put_fault
from benchmarks.peers.systems import LoadSettings
from benchmarks.programs import Program, free_port, started_program, wait_until
from benchmarks.report import Report
from benchmarks.results import Measurement, rows_of

__all__ = ["main"]

_FLOOR = "floor"
_QUICK_SECONDS = 0.3
_MEGABYTE = 1_000_000
_BATCHES = (PutShape(500, 100), PutShape(500, 1024))
_SINGLES = (PutShape(1, 100), PutShape(1, 1024))
_SHARD_COUNT = 4


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=3.0, help="Length of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that each is measured.")
@click.option("--workers", type=click.IntRange(1, 64), multiple=True, default=(1, 2), help="Processes and workers.")
@click.option("--connections", type=click.IntRange(1, 10_000), default=64, help="Connections of single puts.")
@click.option("--batch-connections", type=click.IntRange(1, 1000), default=16, help="Connections of batches.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
@click.option("--quick", is_flag=True, help="The smallest of everything, once.")
@click.option("--write-baseline", is_flag=True, help="Accept this run's ratios.")
def main(
    *,
    seconds: float,
    rounds: int,
    workers: tuple[int, ...],
    connections: int,
    batch_connections: int,
    directory: Path | None,
    out: Path,
    quick: bool,
    write_baseline: bool,
) -> None:
    """Measure the floor, and streamd beside it."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-limit-", dir=directory))
    try:
        machine = machine_of(folder)
        with generator_process() as generator:
            run = _Run(folder, generator, _QUICK_SECONDS if quick else seconds)
            run.measure_steps()
            for _ in range(1 if quick else rounds):
                for count in workers:
                    run.measure_batches(count, batch_connections)
                    run.measure_singles(count, connections)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(
        title="streamd beside the floor",
        machine=machine,
        reference=_FLOOR,
        rows=rows_of(run.measurements, reference=_FLOOR),
        shows_share=True,
    )
    report.write(out, "limit")
    print(report.markdown())
    for move in comparison(report, "limit"):
        print(f"Moved: {move}")
    if write_baseline:
        merge(report, "limit")


class _Run:
    def __init__(self, folder: Path, generator: Generator, seconds: float) -> None:
        self.measurements: list[Measurement] = []
        self._folder = folder
        self._generator = generator
        self._seconds = seconds
        self._number = 0

    def measure_steps(self) -> None:
        """Measure the steps of one request alone."""
        for shape in _BATCHES:
            for step in step_durations(shape, self._fresh()):
                self._note("steps", f"one request of {shape}, one core", step.name, step.duration_ms, "ms")

    def measure_batches(self, count: int, connection_count: int) -> None:
        """Measure the loops, and PutRecords of the same bytes."""
        for shape in _BATCHES:
            case = f"{shape}, {_counted(count, 'process', 'es')}"
            for is_hashed, name in ((True, _FLOOR), (False, "floor without SHA-256")):
                folder = self._fresh()
                rate = floor_rate(shape, process_count=count, is_hashed=is_hashed, seconds=self._seconds, folder=folder)
                shutil.rmtree(folder)
                self._note("PutRecords", case, name, rate / _MEGABYTE, "MB/s")
        settings = LoadSettings(connection_count=connection_count, duration_s=self._seconds)
        for is_signed in (False, True):
            with self._streamd(count, is_signed=is_signed) as system:
                for shape in _BATCHES:
                    case = f"{shape}, {_counted(count, 'process', 'es')}"
                    outcome, fault = self._put(system, shape, settings)
                    rate = outcome.put_byte_count / outcome.elapsed_s / _MEGABYTE
                    self._note("PutRecords", case, system.name, rate, "MB/s", outcome, fault)

    def measure_singles(self, count: int, connection_count: int) -> None:
        """Measure the echo, and PutRecord of the same bytes."""
        settings = LoadSettings(connection_count=connection_count, duration_s=self._seconds)
        place = f"{connection_count} connections, {_counted(count, 'process', 'es')}"
        with self._echo(count) as port:
            for shape in _SINGLES:
                source = KinesisPuts(port=port, stream="puts", shape=shape, is_signed=False)
                outcome = self._generator.run(
                    Load(
                        port=port,
                        wire=Wire.HTTP,
                        source=source,
                        connection_count=connection_count,
                        duration_s=self._seconds,
                    )
                )
                rate = outcome.put_count / outcome.elapsed_s
                self._note("PutRecord", f"{shape}, {place}", _FLOOR, rate, "requests/s", outcome)
        for is_signed in (False, True):
            with self._streamd(count, is_signed=is_signed) as system:
                for shape in _SINGLES:
                    outcome, fault = self._put(system, shape, settings)
                    rate = outcome.put_count / outcome.elapsed_s
                    self._note("PutRecord", f"{shape}, {place}", system.name, rate, "requests/s", outcome, fault)

    def _put(self, system: Streamd, shape: PutShape, settings: LoadSettings) -> tuple[Outcome, str]:
        """Put into a stream of its own, and look whether all is there."""
        self._number += 1
        stream = f"puts-{self._number}"
        system.create(stream, shard_count=_SHARD_COUNT)
        outcome = self._generator.run(system.put_load(stream, shape, settings))
        fault = put_fault(system, stream, outcome)
        system.drop(stream)
        return outcome, fault

    def _note(
        self,
        work: str,
        case: str,
        system: str,
        value: float,
        unit: str,
        outcome: Outcome | None = None,
        fault: str = "",
    ) -> None:
        print(f"{work}: {case}: {system}: {value:,.2f} {unit} {fault}", file=sys.stderr, flush=True)
        self.measurements.append(
            Measurement(
                work=work,
                case=case,
                system=system,
                value=value,
                unit=unit,
                is_more_better=unit != "ms",
                is_compared=work != "steps",
                latency=outcome.put_latency if outcome else None,
                generator_cores=outcome.generator_cores if outcome else None,
                fault=fault,
            )
        )

    @contextmanager
    def _streamd(self, worker_count: int, *, is_signed: bool) -> Iterator[Streamd]:
        system = Streamd(worker_count=worker_count, is_signed=is_signed)
        folder = self._fresh()
        try:
            system.start(folder)
            yield system
        finally:
            system.stop()
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _echo(self, process_count: int) -> Iterator[int]:
        """Run the echo; its port."""
        port = free_port()
        words = [sys.executable, "-m", "benchmarks.echo", "--port", str(port), "--workers", str(process_count)]
        program: Program = started_program(words, folder=self._fresh(), work_folder=Path(__file__).parents[1])
        try:
            wait_until(lambda: bool(KinesisCaller(port, is_signed=False).call("PutRecord", {})), program=program)
            yield port
        finally:
            program.stop()

    def _fresh(self) -> Path:
        self._number += 1
        return self._folder / str(self._number)


def _counted(count: int, noun: str, plural_ending: str) -> str:
    return f"{count} {noun}{plural_ending if count > 1 else ''}"


if __name__ == "__main__":
    main()
