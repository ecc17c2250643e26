"""This run of the machine, by the name that the system gives it."""

from pathlib import Path

__all__ = ["boot_id"]

_PATH = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Name this run of the machine, for as long as its ticks grow; empty where the system has no name for it."""
    try:
        return _PATH.read_text().strip()
    except OSError:
        return ""
