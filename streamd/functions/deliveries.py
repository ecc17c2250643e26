"""What is sent to a destination, and who sends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Delivers", "Delivery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A document for a target: an ARN, an ``http(s)://`` address or a ``file:`` folder.

    ``attributes`` stand beside the body where the target has such (a queue's messages). ``key`` names the document
    where the target keeps it under a name (a bucket, a folder); ``request_id`` spreads it over a stream's shards.
    ``is_record`` is whether it is the record of an asynchronous invocation, which an event bus wraps. ``depth`` is how
    deep in a chain of invocations it is sent.
    """

    body: bytes
    key: str
    request_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_record: bool = False
    depth: int = 0


class Delivers(Protocol):
    """Sends documents to targets."""

    def check(self, target: str) -> None:
        """Refuse what cannot be reached. Raises TargetUnknown."""
        ...

    async def deliver(self, target: str, delivery: Delivery) -> None:
        """Send a document; it is there when this returns. Raises DeliveryFailed."""
        ...
