"""Waiting between attempts: full jitter below a bound that doubles, so that many do not return together."""

import asyncio
from random import uniform
from typing import Final

from streamd.errors import StreamdError
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable

__all__ = ["Backoff", "is_passing"]

# A daemon that restarts is back within a second; one that stays away is asked now and then.
PAUSE_S_BASE: Final = 0.05
PAUSE_S_MAX: Final = 2.0


class Backoff:
    """The pauses of one series of attempts."""

    def __init__(self, *, base_s: float = PAUSE_S_BASE, max_s: float = PAUSE_S_MAX) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._bound_s = base_s

    async def pause(self) -> None:
        """Wait after a failure, longer after each."""
        bound_s = self._bound_s
        self._bound_s = min(bound_s * 2, self._max_s)
        await asyncio.sleep(uniform(0, bound_s))  # noqa: S311 - jitter guards no secret

    def succeeded(self) -> None:
        """Begin anew with the shortest pause."""
        self._bound_s = self._base_s


def is_passing(failure: StreamdError) -> bool:
    """Tell whether the same may succeed later: nothing answered, or the service faltered or asked to slow down."""
    return isinstance(failure, ServiceUnreachable) or (isinstance(failure, ServiceRefused) and failure.is_temporary)
