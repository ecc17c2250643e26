"""The records of an audit: each says who sent it, under which number and attempt, and is chained to what came before.

A record's text is a JSON head, a filler, and a digest over all of that. The head holds the digest of the last record
of the same producer, stream and key that was acknowledged when this one was made. So whoever reads a record can tell
that it was not altered, and that nothing acknowledged before it is missing in front of it, without any other witness.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

__all__ = ["NOTHING", "AuditRecord", "Chain", "parse"]

NOTHING = ""
"""Stands for the digest before the first."""

_DIGEST_BYTE_COUNT = 16
_MARK = b"|"


class Chain(NamedTuple):
    """Whose records are in order among themselves: one producer's, to one stream, under one key."""

    stream: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One attempt to put one record: ``attempt`` counts the calls of its producer, of which one may hold many records.

    What is tried again keeps its number, and is another record.
    """

    chain: Chain
    number: int
    attempt: int
    previous: str
    filler_byte_count: int

    @property
    def text(self) -> bytes:
        """The record's data."""
        head = orjson.dumps(
            {"s": self.chain.stream, "k": self.chain.key, "n": self.number, "a": self.attempt, "p": self.previous}
        )
        text = head + _MARK + bytes([self.number % 251]) * self.filler_byte_count
        return text + _digest_of(text)

    @property
    def digest(self) -> str:
        """What the next record of the chain is tied to."""
        return self.text[-_DIGEST_BYTE_COUNT:].hex()

    @property
    def place(self) -> tuple[int, int]:
        """Where in its chain it belongs, as it was sent."""
        return self.attempt, self.number


def parse(text: bytes) -> AuditRecord | None:
    """Read a record; None when a single byte of it is not as it was sent."""
    body, digest = text[:-_DIGEST_BYTE_COUNT], text[-_DIGEST_BYTE_COUNT:]
    if _digest_of(body) != digest:
        return None
    head, _, filler = body.partition(_MARK)
    told: Mapping[str, Any] = orjson.loads(head)
    return AuditRecord(
        chain=Chain(told["s"], told["k"]),
        number=told["n"],
        attempt=told["a"],
        previous=told["p"],
        filler_byte_count=len(filler),
    )


def _digest_of(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTE_COUNT).digest()
