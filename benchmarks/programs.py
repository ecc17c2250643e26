"""Programs that a benchmark starts, watches and ends: their processes, processor time and memory.

A program gets a session of its own, so that ending it ends what it started too, and its output goes to a file beside
its data. Figures come from the kernel's accounts of the whole tree of processes. Linux only.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "Program", "free_port", "started_program", "wait_until"]

_START_S_MAX = 60.0
_STOP_S_MAX = 20.0
_LOOK_PAUSE_S = 0.002
_CLOCK_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tree of processes holds, in bytes: shared pages counted in parts, and without pages of files."""

    proportional: int
    own: int


@dataclass(slots=True)
class Program:
    """A running program."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def pids(self) -> list[int]:
        """List its processes."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def cpu_s(self) -> float:
        """Sum the processor time of its processes, in user and system mode."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks * _CLOCK_TICK_S

    def memory(self) -> Memory:
        """Sum the memory of its processes."""
        figures = dict.fromkeys(("Pss", "Pss_Anon", "Pss_Shmem"), 0)
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                    name, _, rest = line.partition(":")
                    if name in figures:
                        figures[name] += int(rest.split()[0]) * 1024
        return Memory(figures["Pss"], figures["Pss_Anon"] + figures["Pss_Shmem"])

    def pause(self) -> None:
        """Hold all its processes where they are."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its processes go on."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, and end it with all its processes if it does not."""
        self.resume()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            self.process.wait(_STOP_S_MAX)

    def last_words(self) -> str:
        """Give the end of what it wrote."""
        return self.log.read_text(errors="replace")[-1000:]

    def _signal_all(self, number: signal.Signals) -> None:
        # Its session, and so its group, is its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def started_program(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    work_folder: Path | None = None,
) -> Program:
    """Start a program that writes what it says to a file in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    with log.open("ab") as output:
        # The commands are written in this package; nothing of them comes from outside.
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=work_folder,
            env={**os.environ, **(environment or {})},
        )
    return Program(process, log)


def free_port() -> int:
    """Find a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(answers: Callable[[], bool], *, program: Program) -> float:
    """Ask until the program answers; the seconds it took. Raises RuntimeError when it ends or takes too long."""
    start_s = time.perf_counter()
    for _ in _looks():
        with contextlib.suppress(OSError):
            if answers():
                return time.perf_counter() - start_s
        if not program.is_running:
            raise RuntimeError(f"a program ended instead of starting: {program.last_words()}")
        if time.perf_counter() - start_s > _START_S_MAX:
            raise RuntimeError(f"a program did not answer within {_START_S_MAX:.0f} s: {program.last_words()}")
    raise AssertionError


def _looks() -> Iterator[None]:
    """Yield again and again, a short pause between."""
    pause = threading.Event()
    while True:
        yield
        pause.wait(_LOOK_PAUSE_S)
