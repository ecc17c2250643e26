"""What passes between the Lambda dialect and its operations: a call going in, an answer coming back, plain values."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Call", "Operation", "Route"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. ``path`` holds the parts of the path that the route names, unquoted; ``query`` its pairs, by name.

    ``document`` is the JSON body, an empty one where none was sent; ``body`` the bytes as they came. ``members`` holds
    what an operation of AWS's model takes, from wherever it was sent, checked and of its type: moments are
    milliseconds, blobs bytes. ``origin`` is the address under which the caller reached the server, ``peer`` the
    caller's own IP address as the socket tells it, empty where nobody knows it.
    """

    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    document: Mapping[str, Any]
    body: bytes
    region: str
    origin: str = ""
    peer: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)

    def get(self, member: str) -> Any:
        """Give a member, None when it was not sent."""
        return self.members.get(member)

    def first(self, name: str) -> str | None:
        """Give the first value of a query parameter, None without one."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an operation answers: a document (None: no body), or a body as it is, and headers of its own."""

    status: int = 200
    document: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Operation = Callable[[Call], Awaitable[Answer]]
"""Carries out a call. Raises Fault for what AWS would refuse."""


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, and what reaches it: a method and a path with ``{parts}``; a part ends at a slash."""

    name: str
    method: str
    path: str
    operation: Operation
    is_raw: bool = False
    """Whether the body is not looked at: it need not be JSON."""
    is_open: bool = False
    """Whether it lets in by itself whoever may come in: no signature is asked for."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The path as an expression over the quoted path, an optional slash behind it."""
        parts = re.split(r"\{(\w+)\}", self.path)
        text = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        return re.compile(text + "/?")
