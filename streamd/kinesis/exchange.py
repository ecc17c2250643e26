"""What passes between the dialect and its neighbours: a call coming in, a reply going out, as plain values."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamd.engine.engine import Engine
from streamd.kinesis.codecs import Codec

__all__ = ["Answer", "Call", "Handler", "Reply"]

Answer: TypeAlias = Mapping[str, Any] | bytes | None
"""A document to encode, a body that is encoded already, or nothing (AWS's empty answer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an operation: its checked members, and what else of the request an operation may need."""

    operation: str
    members: Mapping[str, Any]
    region: str
    codec: Codec
    wait_ms: int = 0

    def get(self, member: str) -> Any:
        """Give a member, None when it was not sent."""
        return self.members.get(member)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, ready to be sent: a body, or frames that are sent one by one as they come.

    Whoever sends the frames closes the generator, also when the client goes away before its end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    frames: AsyncGenerator[bytes, None] | None = None


Handler: TypeAlias = Callable[[Engine, Call], Awaitable[Answer]]
