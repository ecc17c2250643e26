"""How deep in a chain of invocations something is: what a function causes is one deeper than what caused it.

A function that writes to the stream that feeds it runs for ever. AWS counts the invocations of such a chain in the
``Lineage`` of the trace header (``X-Amzn-Trace-Id``), which its SDKs pass on from a function to whatever it calls, and
stops at about 16; so does streamd. The count is the first number of the lineage: how many functions ran before.

The header and its parts are described by AWS X-Ray, the stop by "Use Lambda recursive loop detection".
"""

import re
from typing import Final
from zlib import crc32

__all__ = ["DEPTH_MAX", "DEPTH_STORED_MAX", "depth_of", "is_too_deep", "lineage"]

DEPTH_MAX: Final = 16
"""So many functions may run in one chain, unless one is allowed to run in a loop."""

DEPTH_STORED_MAX: Final = 31
"""Deeper than this is told as this: nothing depends on it any more."""

_NOTICE_DEPTH: Final = DEPTH_MAX + 1
_LINEAGE: Final = re.compile(r"(?:^|;)\s*Lineage=([0-9]{1,9}):")


def depth_of(trace: str | None) -> int:
    """Read how many functions ran before whoever sends this trace header, None for a request without one."""
    if trace is None or "Lineage=" not in trace:
        return 0
    match = _LINEAGE.search(trace)
    return 0 if match is None else min(int(match[1]), DEPTH_STORED_MAX)


def lineage(depth: int, arn: str) -> str:
    """Write the part of a trace header that tells a function what its calls are to say."""
    return f"Lineage={min(depth, DEPTH_STORED_MAX)}:{crc32(arn.encode()):08x}:0"


def is_too_deep(depth: int) -> bool:
    """Tell whether a function may not run so deep, unless it may run in a loop.

    What says that a chain was stopped is one deeper than the stop. It is let through, once: what tells a function or a
    stream of the end of a loop must not be lost for being part of it, and what that function causes is stopped again.
    """
    return depth >= DEPTH_MAX and depth != _NOTICE_DEPTH
