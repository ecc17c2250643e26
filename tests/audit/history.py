"""A history: what concurrent clients asked one stream, when, and what they were answered; kept as NDJSON.

All moments are of one clock that never runs backwards. A call was made no later than the server got it, and had
returned no earlier than the server answered it, so what the server did lies between the two.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Event", "read_history", "write_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One call: ``answer`` if it was served, ``refusal`` (the error's type) if not, neither if nothing came back."""

    client: int
    called_ns: int
    returned_ns: int | None
    operation: str
    request: dict[str, Any]
    answer: dict[str, Any] | None = None
    refusal: str | None = None

    def __str__(self) -> str:
        wanted = {name: member for name, member in self.request.items() if name not in {"StreamName", "Records"}}
        outcome = self.refusal or ("answered" if self.answer is not None else "unanswered")
        return f"client {self.client}: {self.operation} {orjson.dumps(wanted).decode()} {outcome}"


def write_history(path: Path, events: Iterable[Event]) -> None:
    """Write a history, one call a line, in the order of the calls."""
    rows = sorted(events, key=lambda event: event.called_ns)
    path.write_bytes(b"".join(orjson.dumps(asdict(event)) + b"\n" for event in rows))


def read_history(path: Path) -> list[Event]:
    """Read what ``write_history`` wrote."""
    return [Event(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
