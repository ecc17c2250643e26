"""How much memory processes hold, read from /proc. A process that has ended holds none; a reading never fails."""

from collections.abc import Sequence
from contextlib import suppress

from streamd.functions.sandbox.proc_files import read_page, write_page

__all__ = ["held_kb", "held_together_kb", "peak_kb", "reset_peak"]

# What a process's end in between looks like: its files are gone, or empty.
_GONE = (OSError, ValueError, IndexError)


def held_kb(pids: Sequence[int]) -> int:
    """Give what they hold, each for itself: pages that they share are counted more than once."""
    return sum(_field(pid, "status", b"VmRSS:") for pid in pids)


def held_together_kb(pids: Sequence[int]) -> int:
    """Give what they hold, shared pages divided among those that share them: exact, and slower."""
    return sum(_field(pid, "smaps_rollup", b"Pss:") or _field(pid, "status", b"VmRSS:") for pid in pids)


def peak_kb(pids: Sequence[int]) -> int:
    """Give the most that they have held since the last reset, added up."""
    return sum(_field(pid, "status", b"VmHWM:") for pid in pids)


def reset_peak(pids: Sequence[int]) -> None:
    """Begin to measure anew."""
    for pid in pids:
        with suppress(OSError):
            write_page(f"/proc/{pid}/clear_refs", b"5")


def _field(pid: int, page: str, name: bytes) -> int:
    with suppress(*_GONE):
        text = read_page(f"/proc/{pid}/{page}")
        # A zombie's page has no such line: then there is nothing before the first blank.
        return int(text.partition(name)[2].split(None, 1)[0])
    return 0
