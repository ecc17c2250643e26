"""What a call can fail with, as its caller sees it: one tree under StreamdError.

    ServiceRefused             the service's own answer, in its own words
        Throttled              the call came too soon, or a bound was reached: the same call may succeed later
        ServiceFaltered        the service failed (5xx): the same call may succeed later
        NotFound               there is no such stream, shard or consumer
        InUse                  the resource exists already, or is being changed
        IteratorExpired        an iterator was kept for more than 5 minutes
        RequestInvalid         the request says what cannot be
        CallerRefused          the keys, the signature or the policy do not allow the call
    ServiceUnreachable         no answer came: whether the call took effect is unknown
    WaitTimedOut               a stream did not reach a state in time
    RecordInvalid              a record cannot be put into any stream: nothing of it was sent
    ProducerClosed             a producer takes no more records

``code`` is always the service's own word, for whatever has no class here.
"""

import os
from typing import Final

from streamd.errors import StreamdError

__all__ = [
    "THROTTLE_CODES",
    "CallerRefused",
    "InUse",
    "IteratorExpired",
    "NotFound",
    "ProducerClosed",
    "RecordInvalid",
    "RequestInvalid",
    "ServiceFaltered",
    "ServiceRefused",
    "ServiceUnreachable",
    "Throttled",
    "WaitTimedOut",
    "reason_of",
    "refusal_of",
]

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


class Throttled(ServiceRefused):
    """The call came too soon, or a bound is reached: the same call may succeed later."""


class ServiceFaltered(ServiceRefused):
    """The service failed at a call that it would otherwise have taken."""


class NotFound(ServiceRefused):
    """There is no such stream, shard, consumer or policy."""


class InUse(ServiceRefused):
    """The resource exists already, or is being made, changed or deleted."""


class IteratorExpired(ServiceRefused):
    """A shard iterator, or a token of a listing, is too old: get a new one."""


class RequestInvalid(ServiceRefused):
    """The request says what cannot be; repeating it will not help."""


class CallerRefused(ServiceRefused):
    """The caller's keys, signature or policy do not allow the call."""


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


class RecordInvalid(StreamdError):
    """A record cannot be put into any stream: its key or its size is out of bounds. Nothing of it was sent."""


class ProducerClosed(StreamdError):
    """A producer takes no more records: its ``async with`` has ended."""


_CLASS_BY_CODE: Final[dict[str, type[ServiceRefused]]] = {
    "AccessDeniedException": CallerRefused,
    "ExpiredIteratorException": IteratorExpired,
    "ExpiredNextTokenException": IteratorExpired,
    "ExpiredTokenException": CallerRefused,
    "IncompleteSignatureException": CallerRefused,
    "InvalidArgumentException": RequestInvalid,
    "InvalidSignatureException": CallerRefused,
    "MissingAuthenticationTokenException": CallerRefused,
    "ResourceInUseException": InUse,
    "ResourceNotFoundException": NotFound,
    "SerializationException": RequestInvalid,
    "UnknownOperationException": RequestInvalid,
    "UnrecognizedClientException": CallerRefused,
    "ValidationException": RequestInvalid,
}


def refusal_of(code: str, sentence: str, *, status: int, request_id: str) -> ServiceRefused:
    """Make the error for what a service answered."""
    kind = _CLASS_BY_CODE.get(code, ServiceRefused)
    if status == 429 or code in THROTTLE_CODES:
        kind = Throttled
    elif status >= 500:
        kind = ServiceFaltered
    return kind(code, sentence, status=status, request_id=request_id)


def reason_of(error: Exception) -> str:
    """Say in a few words why no answer came, without the library's own wrapping."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else (error.strerror or str(error))
    return str(error) or type(error).__name__
