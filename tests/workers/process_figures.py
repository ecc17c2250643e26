"""What the kernel says of a process: whether it runs, the CPU it took, the memory it holds."""

import os
from pathlib import Path

__all__ = ["cpu_ticks", "is_running", "resident_mib"]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return _stat(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cpu_ticks(pid: int) -> int:
    """Give the clock ticks (1/100 s) of CPU that a process took so far."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def resident_mib(pid: int) -> float:
    """Give the memory of a process that is in RAM, its share of shared pages counted in full."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _stat(pid: int) -> list[str]:
    """Read the fields that follow the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
