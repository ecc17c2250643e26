"""Who descends from a process, and signals to them.

Below a cell's root nobody escapes: it is the first process of a namespace, or a subreaper, so that orphans become its
children, whatever sessions they made for themselves.
"""

import os
import signal
from contextlib import suppress

from streamd.functions.sandbox.proc_files import read_page

__all__ = ["family", "tell", "tell_descriptor"]

# Far beyond what an environment may have: a walk stays short whatever a function does.
_FAMILY_COUNT_MAX = 4096


def family(root: int) -> list[int]:
    """Give the processes below one, nearest first."""
    found: list[int] = []
    open_pids = [root]
    while open_pids and len(found) < _FAMILY_COUNT_MAX:
        below = [child for pid in open_pids for child in _children(pid)]
        found += below
        open_pids = below
    return found


def tell(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def tell_descriptor(descriptor: int, number: signal.Signals) -> None:
    """Send a signal to the very process that a descriptor stands for."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, number)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    # A thread may have children too.
    with suppress(OSError, ValueError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - ten times a second for each environment
            children += map(int, read_page(f"/proc/{pid}/task/{thread}/children").split())
    return children
