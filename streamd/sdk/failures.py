"""What a call can fail with, as its caller sees it.

``ServiceRefused`` is the service's own answer, in its own words; ``ServiceUnreachable`` means that no answer
came, so whether the call took effect is unknown; ``WaitTimedOut`` means that a stream did not reach a state
in time.
"""

import os
from typing import Final

from streamd.errors import StreamdError

__all__ = ["THROTTLE_CODES", "ServiceRefused", "ServiceUnreachable", "WaitTimedOut", "reason_of"]

THROTTLE_CODES: Final = frozenset(
    {
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class ServiceRefused(StreamdError):
    """The service answered with an error: its code, its sentence, and the id it logged the call under."""

    def __init__(self, code: str, sentence: str, *, status: int, request_id: str) -> None:
        super().__init__(code, sentence, status, request_id)
        self.code = code
        self.sentence = sentence
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}" if self.sentence else self.code

    @property
    def is_throttle(self) -> bool:
        """Tell whether the call was refused only for coming too soon."""
        return self.status == 429 or self.code in THROTTLE_CODES

    @property
    def is_temporary(self) -> bool:
        """Tell whether the same call may succeed when it is repeated a little later."""
        return self.status >= 500 or self.is_throttle


class ServiceUnreachable(StreamdError):
    """No whole answer came from the endpoint: whether the call took effect is unknown."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(endpoint, reason)
        self.endpoint = endpoint
        self.reason = reason

    def __str__(self) -> str:
        return f"no answer from {self.endpoint}: {self.reason}"


class WaitTimedOut(StreamdError):
    """A stream did not reach the awaited state in time."""

    def __init__(self, stream: str, *, awaited: str, found: str, timeout_s: float) -> None:
        super().__init__(stream, awaited, found, timeout_s)
        self.stream = stream
        self.awaited = awaited
        self.found = found
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"stream {self.stream} is {self.found} and not {self.awaited} after {self.timeout_s:g} s"


def reason_of(error: Exception) -> str:
    """Say in a few words why no answer came, without the library's own wrapping."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else (error.strerror or str(error))
    return str(error) or type(error).__name__
