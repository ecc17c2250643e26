"""What a daemon holds while it is loaded: memory of its own and descriptors, looked at again and again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression, median
from typing import NamedTuple

from tests.daemons import Daemon

__all__ = ["Sample", "Watch", "growth_of", "sample_of", "slope_per_hour_of", "watching"]

_MIB = 1 << 20


class Sample(NamedTuple):
    """Memory without the pages of the mapped data file, and open descriptors, of all processes of a daemon."""

    memory_mib: float
    descriptor_count: int


class Watch:
    """The samples of a while."""

    def __init__(self, daemon: Daemon, pause_s: float) -> None:
        self._daemon = daemon
        self._pause_s = pause_s
        self._is_over = threading.Event()
        self.samples = [sample_of(daemon)]

    @property
    def most(self) -> Sample:
        """The most of each that was seen."""
        return Sample(max(s.memory_mib for s in self.samples), max(s.descriptor_count for s in self.samples))

    def run(self) -> None:
        """Look until told to end."""
        while not self._is_over.wait(self._pause_s):
            self.samples.append(sample_of(self._daemon))

    def end(self) -> None:
        """Look no more."""
        self._is_over.set()


@contextmanager
def watching(daemon: Daemon, *, pause_s: float) -> Iterator[Watch]:
    """Watch a daemon for as long as the block runs."""
    watch = Watch(daemon, pause_s)
    thread = threading.Thread(target=watch.run, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()


def sample_of(daemon: Daemon) -> Sample:
    """Look once."""
    pids = [daemon.process.pid, *daemon.worker_pids()]
    kib = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return Sample(kib * 1024 / _MIB, sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids))


def growth_of(values: list[float]) -> float:
    """Tell how much higher the middle of the last quarter is than that of the second; the first is for warming up."""
    quarter = max(len(values) // 4, 1)
    return median(values[-quarter:]) - median(values[quarter : 2 * quarter] or values)


def slope_per_hour_of(values: list[float], *, pause_s: float) -> float:
    """Give the slope of the line through what came after the first quarter."""
    settled = values[len(values) // 4 :]
    if len(settled) < 2:
        return 0.0
    return linear_regression(range(len(settled)), settled).slope * 3600 / pause_s
