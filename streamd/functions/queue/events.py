"""An asynchronous invocation as it waits: whom it is for, what it holds, how often it was tried, how it ended last."""

from base64 import b64decode, b64encode
from dataclasses import dataclass

import orjson
from xxhash import xxh3_64_intdigest

__all__ = ["QueuedEvent", "lane_of"]

_RESPONSE_BYTE_COUNT_MAX = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedEvent:
    """One event. ``pause_count`` counts the tries since the last attempt that were none.

    ``depth`` is how many functions ran one after another until it was asked for.
    """

    arn: str
    request_id: str
    payload: bytes
    first_ms: int
    attempt_count: int = 0
    pause_count: int = 0
    response: bytes | None = None
    error: str | None = None
    version: str = ""
    depth: int = 0

    def to_content(self) -> bytes:
        """Write it down. A response that is very large is not kept: it is told only when the last attempt gave it."""
        response = self.response
        if response is not None and len(response) > _RESPONSE_BYTE_COUNT_MAX:
            response = None
        head = {
            "arn": self.arn,
            "request_id": self.request_id,
            "first_ms": self.first_ms,
            "attempt_count": self.attempt_count,
            "pause_count": self.pause_count,
            "response": None if response is None else b64encode(response).decode(),
            "error": self.error,
            "version": self.version,
            "depth": self.depth,
        }
        # JSON holds no newline that is not escaped, so the first one ends the head.
        return orjson.dumps(head) + b"\n" + self.payload

    @classmethod
    def from_content(cls, content: bytes) -> "QueuedEvent":
        """Read what was written."""
        head, _, payload = content.partition(b"\n")
        told = orjson.loads(head)
        response = told["response"]
        return cls(**{**told, "payload": payload, "response": None if response is None else b64decode(response)})


def lane_of(arn: str) -> int:
    """Give the lane of a function's events: one for all its versions and aliases."""
    return int(xxh3_64_intdigest(":".join(arn.split(":")[:7]).encode()))
