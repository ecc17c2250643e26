"""The command ``python -m benchmarks.peers``: axes are flags, one command runs all."""

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from benchmarks.answers import GeneratorFault
from benchmarks.baseline import comparison, merge
from benchmarks.charts import draw
from benchmarks.generator import generator_process
from benchmarks.kinesis_calls import PutShape
from benchmarks.machine import machine_of
from benchmarks.peers.bench import Bench, Options
from benchmarks.peers.growth import measure_growth
from benchmarks.peers.kinesis_systems import Kinesalite, KinesisLocal, Moto, Streamd
from benchmarks.peers.nats_system import NatsJetStream
from benchmarks.peers.puts import measure_batches, measure_mixed, measure_single_puts
from benchmarks.peers.reads import measure_catch_up, measure_latency
from benchmarks.peers.redis_system import RedisStreams
from benchmarks.peers.starts import measure_starts
from benchmarks.peers.systems import System
from benchmarks.report import Report
from benchmarks.results import rows_of

__all__ = ["main"]

_REFERENCE = "streamd, 2 workers"
_NPM_FOLDER = Path.home() / ".cache" / "streamd-benchmarks"
# Systems that are shared by works run at the same time; the other works start their own.
_SHARED_WORKS: dict[str, Callable[[Bench], None]] = {
    "put-record": measure_single_puts,
    "put-records": measure_batches,
    "get-records": measure_catch_up,
    "latency": measure_latency,
    "mixed": measure_mixed,
}
_LONE_WORKS: dict[str, Callable[[Bench], None]] = {"growth": measure_growth, "start": measure_starts}
_WORKS = (*_SHARED_WORKS, *_LONE_WORKS)
_QUICK_SECONDS = 0.25
_BATCH_SHAPES = "500x100,500x1024,10x102400"
_QUICK_SHAPE = PutShape(500, 1024)


def _names(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _counts(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _sizes(_: click.Context, __: click.Parameter, text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _shapes(_: click.Context, __: click.Parameter, text: str) -> tuple[PutShape, ...]:
    shapes = []
    for word in text.split(","):
        record_count, _x, byte_count = word.partition("x")
        shapes.append(PutShape(int(record_count), int(byte_count)))
    return tuple(shapes)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--work", "works", default=",".join(_WORKS), callback=_names, help="What to measure.")
@click.option("--system", "wanted", multiple=True, help="Only the system of this name, or all whose names hold it.")
@click.option("--seconds", type=click.FloatRange(0.1, 36_000), default=3.0, help="Length of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that each is measured.")
@click.option("--connections", default="1,64,256", callback=_counts, help="Connections of single puts.")
@click.option("--batch-connections", type=click.IntRange(1, 1000), default=16, help="Connections of batches.")
@click.option("--read-connections", type=click.IntRange(1, 1000), default=4, help="Connections of catch-up reads.")
@click.option("--pipeline", "pipelines", default="50", callback=_counts, help="Records in a pipeline, without batches.")
@click.option("--sizes", default="100,1024", callback=_counts, help="Bytes of single records.")
@click.option("--shapes", default=_BATCH_SHAPES, callback=_shapes, help="Batches: records x bytes of each.")
@click.option("--shards", type=click.IntRange(1, 10_000), default=4, help="Shards of a stream that is put to.")
@click.option("--workers", default="1,2,4", callback=_counts, help="Workers, in growth.")
@click.option("--gigabytes", default="0.1,1,10", callback=_sizes, help="Sizes of the store, in growth.")
@click.option("--retention-seconds", type=click.FloatRange(0.1, 3600), default=20.0, help="Load while records expire.")
@click.option(
    "--load-seconds", type=click.FloatRange(0, 36_000), default=0.0, help="Longest load, then memory once more."
)
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
@click.option("--npm-dir", type=click.Path(path_type=Path), default=_NPM_FOLDER, help="Folder of the npm packages.")
@click.option("--quick", is_flag=True, help="The smallest of everything, once: under a minute.")
@click.option("--write-baseline", is_flag=True, help="Accept this run's ratios.")
def main(
    *,
    works: tuple[str, ...],
    wanted: tuple[str, ...],
    seconds: float,
    rounds: int,
    connections: tuple[int, ...],
    batch_connections: int,
    read_connections: int,
    pipelines: tuple[int, ...],
    sizes: tuple[int, ...],
    shards: int,
    shapes: tuple[PutShape, ...],
    workers: tuple[int, ...],
    gigabytes: tuple[float, ...],
    retention_seconds: float,
    load_seconds: float,
    directory: Path | None,
    out: Path,
    npm_dir: Path,
    quick: bool,
    write_baseline: bool,
) -> None:
    """Measure streamd beside its peers."""
    unknown = [work for work in works if work not in _WORKS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(_WORKS)}", param_hint="--work")
    options = Options(
        seconds=seconds,
        round_count=rounds,
        connection_counts=connections,
        batch_connection_count=batch_connections,
        read_connection_count=read_connections,
        pipelines=pipelines,
        single_byte_counts=sizes,
        batch_shapes=shapes,
        shard_count=shards,
        growth_shard_counts=(1, 10, 100, 1000),
        growth_gigabytes=gigabytes,
        worker_counts=workers,
        catch_up_call_count=6,
        poll_count=500,
        fill_seconds_max=10.0,
        # Retention looks around every few seconds, so its load lasts longer than the others.
        retention_seconds=retention_seconds,
        load_seconds=load_seconds,
        rest_seconds=0.3,
    )
    systems = _wanted(_systems(npm_dir), wanted)
    with _data_folder(directory) as folder:
        report = _measured(systems, works, _quick(options) if quick else options, folder)
    report.write(out, "peers")
    print(report.markdown())
    print(draw(report, out, "peers"))
    for move in comparison(report, "peers"):
        print(f"Moved: {move}")
    if write_baseline:
        merge(report, "peers")
    if report.problems:
        sys.exit(1)


def _measured(systems: Sequence[System], works: Sequence[str], options: Options, folder: Path) -> Report:
    """Run the works with the systems that are installed."""
    install_by_absent = {system.name: command for system in systems if (command := system.absence())}
    present = [system for system in systems if system.name not in install_by_absent]
    for name, command in install_by_absent.items():
        _say(f"{name} is left out: install it with {command}")
    machine = machine_of(folder)
    with generator_process() as generator:
        bench = Bench(systems=present, generator=generator, options=options, folder=folder, say=_say)
        problems = _run_shared(bench, [work for work in works if work in _SHARED_WORKS])
        for work in works:
            if work in _LONE_WORKS:
                problems += _attempt(bench, work, _LONE_WORKS[work])
    return Report(
        title="streamd beside its peers",
        machine=machine,
        reference=_REFERENCE,
        rows=rows_of(bench.measurements, reference=_REFERENCE),
        version_by_system={system.name: system.version() for system in present},
        install_by_absent=install_by_absent,
        problems=problems,
    )


def _run_shared(bench: Bench, works: Sequence[str]) -> list[str]:
    """Run the works for which all systems are up, and stop the systems whatever happens; what went wrong."""
    if not works:
        return []
    with contextlib.ExitStack() as stack:
        for system in bench.systems:
            stack.callback(system.stop)
            system.start(bench.folder / bench.name("system"))
            assert system.program is not None, "a system that was started runs"
            system.program.pause()
        return [problem for work in works for problem in _attempt(bench, work, _SHARED_WORKS[work])]


def _attempt(bench: Bench, name: str, work: Callable[[Bench], None]) -> list[str]:
    """Run one work; its failure costs no figure of the others."""
    try:
        work(bench)
    except (AssertionError, GeneratorFault, OSError, RuntimeError) as failure:
        ended = [system.program for system in bench.systems if system.program and not system.program.is_running]
        words = "".join(f"; a system ended by itself: {program.last_words()}" for program in ended)
        problem = f"{name} stopped: {type(failure).__name__}: {failure}{words}"
        bench.say(problem)
        return [problem]
    return []


def _quick(options: Options) -> Options:
    """Take the smallest of everything, once."""
    return replace(
        options,
        seconds=_QUICK_SECONDS,
        round_count=1,
        connection_counts=(64,),
        batch_connection_count=4,
        read_connection_count=2,
        single_byte_counts=(1024,),
        batch_shapes=(_QUICK_SHAPE,),
        growth_shard_counts=(1, 100),
        growth_gigabytes=(0.05,),
        worker_counts=(1, 2),
        catch_up_call_count=1,
        poll_count=25,
        retention_seconds=_QUICK_SECONDS,
        rest_seconds=0.05,
    )


def _systems(npm_folder: Path) -> list[System]:
    return [
        Streamd(worker_count=1, is_signed=False),
        Streamd(worker_count=1, is_signed=True),
        Streamd(worker_count=2, is_signed=False),
        Streamd(worker_count=2, is_signed=True),
        Kinesalite(npm_folder),
        KinesisLocal(npm_folder),
        Moto(),
        RedisStreams("always"),
        RedisStreams("everysec"),
        NatsJetStream("always"),
        NatsJetStream("default"),
    ]


def _wanted(systems: Sequence[System], parts: Sequence[str]) -> list[System]:
    """Choose systems: the one whose whole name is asked for, else all whose names hold it; all of them by default."""
    names = {system.name for system in systems}
    return [
        system
        for system in systems
        if not parts
        or any(system.name == part if part in names else part.lower() in system.name.lower() for part in parts)
    ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _data_folder(directory: Path | None) -> Iterator[Path]:
    """Make a folder for the data of a run, and remove it at the end, also of one that is told to end."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    folder = Path(tempfile.mkdtemp(prefix="streamd-peers-", dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
