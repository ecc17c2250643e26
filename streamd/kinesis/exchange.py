"""What passes between the dialect and its operations: a call going in, an answer coming back, as plain values."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamd.core.put_tokens import PutToken
from streamd.engine.engine import Engine
from streamd.kinesis.codecs import Codec

__all__ = ["TARGET_PREFIX", "Answer", "Call", "Handler"]

TARGET_PREFIX = "Kinesis_20131202."
"""What stands in front of an operation's name in a request's ``X-Amz-Target``."""

Answer: TypeAlias = Mapping[str, Any] | bytes | AsyncGenerator[bytes, None] | None
"""A document to encode, a body that is encoded already, an event stream's messages, or nothing (AWS's empty answer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an operation: its checked members, and what else of the request an operation may need.

    ``depth`` is how deep in a chain of invocations the caller is.
    """

    operation: str
    members: Mapping[str, Any]
    region: str
    codec: Codec
    wait_ms: int = 0
    depth: int = 0
    token: PutToken | None = None

    def get(self, member: str) -> Any:
        """Give a member, None when it was not sent."""
        return self.members.get(member)


Handler: TypeAlias = Callable[[Engine, Call], Awaitable[Answer]]
