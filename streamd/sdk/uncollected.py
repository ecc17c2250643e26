"""Making many small objects at once without the collector in between."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from walking, again and again, through thousands of new objects that hold no cycles.

    For what takes milliseconds and never waits: the whole process is without a collector meanwhile.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
