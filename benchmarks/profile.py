"""Where the time goes: the daemon under one load, sampled from outside.

``python -m benchmarks.profile`` drives each work as `benchmarks.peers` does and has py-spy look at one worker
meanwhile. A table tells for each work the rate, how long commits take and how much of the time one is in hand, how much
of the time Python's interpreter was held, and the functions that held it, in microseconds for each request. What C code
does while it holds the interpreter is counted to the Python function that called it: sending, for one, to ``reply``.
"""

import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.generator import Generator, generator_process
from benchmarks.kinesis_calls import PutShape
from benchmarks.load import Load, Outcome
from benchmarks.machine import Machine, machine_of
from benchmarks.peers.kinesis_systems import Streamd
from benchmarks.peers.systems import LoadSettings

__all__ = ["main"]

_SHARD_COUNT = 4
_SAMPLES_PER_SECOND = 400
_SHOWN_COUNT = 14
_CATCH_UP_COUNT = 10_000
_COMMITS = re.compile(r"^streamd_commit_duration_seconds_(count|sum)(?:\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)
# One line of py-spy's raw form: frames from the outermost, each "function (path:line)", then how often they were seen.
_INNERMOST = re.compile(r"([^;]+) \(([^;]+?)(?::\d+)?\) (\d+)$")


@dataclass(frozen=True, slots=True)
class _Work:
    name: str
    connection_count: int
    load: Callable[[Streamd, str, LoadSettings, Generator], Load]


def _puts(shape: PutShape) -> Callable[[Streamd, str, LoadSettings, Generator], Load]:
    return lambda system, stream, settings, _: system.put_load(stream, shape, settings)


def _reads(codec: str) -> Callable[[Streamd, str, LoadSettings, Generator], Load]:
    def load(system: Streamd, stream: str, settings: LoadSettings, generator: Generator) -> Load:
        stored_count = 0
        while stored_count < 2 * _CATCH_UP_COUNT * _SHARD_COUNT:
            filling = LoadSettings(connection_count=1, duration_s=0.2)
            stored_count += generator.run(system.put_load(stream, PutShape(500, 1024), filling)).put_count
        found = system.read_load(stream, settings, limit=_CATCH_UP_COUNT, codec=codec)
        assert found is not None, "streamd reads both codecs"
        return found

    return load


_WORK_BY_NAME = {
    work.name: work
    for work in (
        _Work("PutRecord 100 B", 64, _puts(PutShape(1, 100))),
        _Work("PutRecord 1 KiB", 64, _puts(PutShape(1, 1024))),
        _Work("PutRecords 500 x 100 B", 16, _puts(PutShape(500, 100))),
        _Work("PutRecords 500 x 1 KiB", 16, _puts(PutShape(500, 1024))),
        _Work("GetRecords JSON", 4, _reads("json")),
        _Work("GetRecords CBOR", 4, _reads("cbor")),
    )
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--work", "names", multiple=True, type=click.Choice(list(_WORK_BY_NAME)), help="Only these works.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=8.0, help="Length of each load.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Workers of streamd; one is looked at.")
@click.option("--signed", is_flag=True, help="Verify signatures.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
def main(
    *, names: tuple[str, ...], seconds: float, workers: int, signed: bool, directory: Path | None, out: Path
) -> None:
    """Sample streamd under load."""
    if shutil.which("py-spy") is None:
        raise click.ClickException("py-spy is not installed: pip install py-spy")
    folder = Path(tempfile.mkdtemp(prefix="streamd-profile-", dir=directory))
    try:
        machine = machine_of(folder)
        with generator_process() as generator:
            run = _Run(folder, generator, seconds=seconds, worker_count=workers, is_signed=signed)
            sections = [run.section(_WORK_BY_NAME[name]) for name in names or _WORK_BY_NAME]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = _page(machine, sections)
    out.mkdir(parents=True, exist_ok=True)
    (out / "profile.md").write_text(text)
    print(text)


class _Run:
    def __init__(
        self, folder: Path, generator: Generator, *, seconds: float, worker_count: int, is_signed: bool
    ) -> None:
        self._folder = folder
        self._generator = generator
        self._seconds = seconds
        self._worker_count = worker_count
        self._is_signed = is_signed

    def section(self, work: _Work) -> list[str]:
        """Drive one work on a daemon of its own; the lines of its section."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        system = Streamd(worker_count=self._worker_count, is_signed=self._is_signed)
        system.start(folder)
        try:
            system.create("profiled", shard_count=_SHARD_COUNT)
            settings = LoadSettings(connection_count=work.connection_count, duration_s=self._seconds)
            load = work.load(system, "profiled", settings, self._generator)
            return self._driven(work, system, load, samples=folder / "samples")
        finally:
            system.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _driven(self, work: _Work, system: Streamd, load: Load, *, samples: Path) -> list[str]:
        assert system.program is not None, "only a system that was started is looked at"
        commit_count, commit_s = _commits(system)
        used_s = system.program.cpu_s()
        # The last process is a worker, whether there is a supervisor or not.
        with _watched(system.program.pids()[-1], seconds=self._seconds, samples=samples):
            outcome = self._generator.run(load)
        used_s = system.program.cpu_s() - used_s
        after_count, after_s = _commits(system)
        if outcome.failure_count:
            raise click.ClickException(f"{work.name}: {outcome.first_failure}")
        commits = (after_count - commit_count, after_s - commit_s)
        return _section(work, outcome, used_s=used_s, commits=commits, seen=_seen(samples))


@contextmanager
def _watched(pid: int, *, seconds: float, samples: Path) -> Iterator[None]:
    """Have py-spy sample a process for so long. Raises ClickException when it may not or cannot."""
    words = ["py-spy", "record", "--pid", str(pid), "--duration", str(max(1, int(seconds)))]
    words += ["--gil", "--rate", str(_SAMPLES_PER_SECOND), "--format", "raw", "--output", str(samples)]
    # The words are written here; nothing of them comes from outside.
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as spy:  # noqa: S603
        yield
        _, said = spy.communicate()
    if spy.returncode:
        raise click.ClickException(f"py-spy: {said.strip()}")


def _commits(system: Streamd) -> tuple[float, float]:
    """Give the number of commits so far, and the seconds they took."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system.port}/metrics", timeout=10) as answer:
        found = _COMMITS.findall(answer.read().decode())
    figures = [sum(float(value) for kind, value in found if kind == wanted) for wanted in ("count", "sum")]
    return figures[0], figures[1]


def _seen(samples: Path) -> Counter[str]:
    """Count how often each function was the innermost."""
    seen: Counter[str] = Counter()
    for line in samples.read_text().splitlines():
        found = _INNERMOST.search(line)
        if found is not None:
            function, path, count = found.groups()
            seen[f"{path.rpartition('site-packages/')[2]}: {function}"] += int(count)
    return seen


def _section(
    work: _Work, outcome: Outcome, *, used_s: float, commits: tuple[float, ...], seen: Counter[str]
) -> list[str]:
    request_count = outcome.put_request_count + outcome.read_request_count
    commit_count, commit_s = commits
    looked_s = max(1, int(outcome.elapsed_s))
    held = seen.total() / (_SAMPLES_PER_SECOND * looked_s)
    request_us = held * outcome.elapsed_s / request_count * 1e6
    rates = [
        f"{request_count / outcome.elapsed_s:,.0f} requests/s",
        f"{used_s / outcome.elapsed_s:.2f} cores of the server, {used_s / request_count * 1e6:,.1f} us a request",
        f"generator {outcome.generator_cores:.2f} cores",
        f"interpreter held {held:.0%} of the time, {request_us:,.1f} us a request",
    ]
    if commit_count:
        rates += [
            f"{commit_count / outcome.elapsed_s:,.0f} commits/s of {request_count / commit_count:,.1f} requests",
            f"{commit_s / commit_count * 1000:.2f} ms each, one in hand {commit_s / outcome.elapsed_s:.0%} of the time",
        ]
    lines = [f"## {work.name}, {work.connection_count} connections", "", "; ".join(rates) + "."]
    lines += ["", "| function | share | us a request |", "|---|--:|--:|"]
    total = seen.total()
    for name, count in seen.most_common(_SHOWN_COUNT):
        lines.append(f"| `{name}` | {count / total:.1%} | {request_us * count / total:,.1f} |")
    rest = total - sum(count for _, count in seen.most_common(_SHOWN_COUNT))
    return [*lines, f"| all others | {rest / total:.1%} | {request_us * rest / total:,.1f} |", ""]


def _page(machine: Machine, sections: list[list[str]]) -> str:
    head = ["# Where the time goes", "", f"{machine}.", f"`{machine.command}`", ""]
    return "\n".join([*head, *(line for section in sections for line in section)])


if __name__ == "__main__":
    main()
