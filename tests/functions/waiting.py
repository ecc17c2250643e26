"""Waiting for something that must come, however slow the machine is."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

__all__ = ["until"]

_PAUSE_S = 0.002
_PATIENCE_S = 60


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again until something is so; bounded, and looking costs little."""
    never = asyncio.Event()
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        if is_so():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(never.wait(), _PAUSE_S)
    raise AssertionError("what was awaited did not happen")
