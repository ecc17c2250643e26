"""What passes between the dialect and its neighbours: a call coming in, a reply going out, as plain values."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from streamd.engine.engine import Engine
from streamd.kinesis.codecs import Codec

__all__ = ["TARGET_PREFIX", "Answer", "Call", "Handler", "Reply"]

TARGET_PREFIX = "Kinesis_20131202."
"""What stands in front of an operation's name in a request's ``X-Amz-Target``."""

Answer: TypeAlias = Mapping[str, Any] | bytes | AsyncGenerator[bytes, None] | None
"""A document to encode, a body that is encoded already, an event stream's messages, or nothing (AWS's empty answer)."""


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


class Reply(NamedTuple):
    """An answer, ready to be sent: a body, or frames that are sent one by one as they come.

    ``fields`` are the header lines as HTTP/1.1 has them, each with its end, since most answers go out just so.
    Whoever sends the frames closes the generator, also when the client goes away before its end.
    """

    status: int
    fields: bytes
    body: bytes = b""
    frames: AsyncGenerator[bytes, None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The header lines by name."""
        lines = self.fields.decode().split("\r\n")
        return dict(line.split(": ", 1) for line in lines if line)


Handler: TypeAlias = Callable[[Engine, Call], Awaitable[Answer]]
