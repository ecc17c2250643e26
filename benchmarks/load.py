"""The values of a load: what is sent, how an answer is told, and what came of it.

A `Load` names its requests by a source that builds them, so that the process of the generator makes the bytes
itself, and makes them anew before signatures grow too old. Everything here can be pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

__all__ = ["INBOX_MARK", "Interleaved", "Latency", "Load", "Outcome", "Request", "RequestSource", "Wire"]

# Four bytes that no payload of ours holds. The generator puts the connection's number in their place, because a
# NATS client is answered on a subject that it names itself.
INBOX_MARK = b"~~~~"


class Wire(Enum):
    """How answers look."""

    HTTP = "http"
    REDIS = "redis"
    NATS = "nats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Bytes to send, and what they ask for.

    ``answer_count`` answers must come (a pipeline has many); an answer with ``answer_byte_count`` is complete with
    so many bytes, which only fixed reads can know.
    """

    content: bytes
    record_count: int
    byte_count: int
    is_read: bool = False
    answer_count: int = 1
    answer_byte_count: int = 0


class RequestSource(Protocol):
    """Builds requests."""

    def build(self, now_ms: int) -> Sequence[Request]:
        """Build the distinct requests of a load, signed for this time where they are signed."""
        ...


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Requests of two sources: after so many of the first, one of the second."""

    first: RequestSource
    second: RequestSource
    first_count: int

    def build(self, now_ms: int) -> Sequence[Request]:
        """Build both, mixed."""
        firsts, seconds = self.first.build(now_ms), self.second.build(now_ms)
        mixed: list[Request] = []
        for place, request in enumerate(firsts):
            mixed.append(request)
            if place % self.first_count == self.first_count - 1:
                mixed.append(seconds[place // self.first_count % len(seconds)])
        return mixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests over and over, on so many connections, for so long.

    Each connection sends its next request when the one before is answered. ``greeting`` is sent first, and
    ``greeting_end`` ends what comes back.
    """

    port: int
    wire: Wire
    source: RequestSource
    connection_count: int
    duration_s: float
    greeting: bytes = b""
    greeting_end: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the first byte sent to the last byte of the answer, in milliseconds."""

    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0

    @classmethod
    def of(cls, durations_s: Sequence[float]) -> "Latency":
        """Sum up durations."""
        if not durations_s:
            return cls()
        ordered = sorted(durations_s)
        last = len(ordered) - 1
        return cls(
            p50_ms=ordered[last // 2] * 1000,
            p99_ms=ordered[int(last * 0.99)] * 1000,
            max_ms=ordered[last] * 1000,
        )


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a load came to; ``sent`` counts what was put, answered or not, so that a count after it has a ceiling.

    ``generator_cpu_s`` is what the generator's process used, in user and system mode.
    """

    elapsed_s: float = 0.0
    put_count: int = 0
    put_byte_count: int = 0
    sent_put_count: int = 0
    put_request_count: int = 0
    read_count: int = 0
    read_byte_count: int = 0
    read_request_count: int = 0
    failure_count: int = 0
    first_failure: str = ""
    generator_cpu_s: float = 0.0
    put_latency: Latency = field(default_factory=Latency)
    read_latency: Latency = field(default_factory=Latency)

    @property
    def generator_cores(self) -> float:
        """How many cores the generator was busy on; close to 1 means that the generator was the bound."""
        return self.generator_cpu_s / self.elapsed_s if self.elapsed_s else 0.0
