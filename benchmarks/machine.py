"""What a figure was measured on: cores, processor, kernel, the disk's sync, Python, and the moment."""

import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Machine", "machine_of", "sync_ms"]

_SYNC_COUNT = 100
_SYNC_BYTE_COUNT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine at a moment."""

    core_count: int
    processor: str
    memory_gib: float
    kernel: str
    file_system: str
    sync_ms: float
    load_before: float
    python: str
    date: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.core_count} cores ({self.processor}), {self.memory_gib:.0f} GiB, Linux {self.kernel}, "
            f"{self.file_system} (append of 4 KiB and fdatasync: {self.sync_ms:.2f} ms), "
            f"busy cores before the run {self.load_before:.1f}, Python {self.python}, {self.date}"
        )


def machine_of(folder: Path) -> Machine:
    """Look at this machine and at the disk that holds a folder."""
    page_count = os.sysconf("SC_PHYS_PAGES")
    return Machine(
        core_count=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gib=page_count * os.sysconf("SC_PAGE_SIZE") / (1 << 30),
        kernel=platform.release(),
        file_system=_file_system(folder),
        sync_ms=sync_ms(folder),
        load_before=os.getloadavg()[0],
        python=platform.python_version(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(),
    )


def sync_ms(folder: Path) -> float:
    """Measure the median time that an append of 4 KiB and its fdatasync take, in milliseconds."""
    path = folder / "sync-probe"
    durations_s = []
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(_SYNC_COUNT):
                start_s = time.perf_counter()
                file.write(os.urandom(_SYNC_BYTE_COUNT))
                os.fdatasync(file.fileno())
                durations_s.append(time.perf_counter() - start_s)
    finally:
        path.unlink(missing_ok=True)
    return statistics.median(durations_s) * 1000


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Name the file system of the longest mount point above a folder."""
    place = str(folder.resolve())
    found, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, mounted_kind = line.split()[:3]
        is_above = place == mount or place.startswith(mount.rstrip("/") + "/")
        if is_above and len(mount) >= len(found):
            found, kind = mount, mounted_kind
    return kind


def _command() -> str:
    module = Path(sys.argv[0])
    name = module.parent.name if module.stem == "__main__" else module.stem
    return " ".join(["python -m benchmarks." + name, *sys.argv[1:]])
