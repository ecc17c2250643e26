"""A moment as the APIs carry it."""

from dataclasses import dataclass

__all__ = ["Timestamp"]


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A moment, in milliseconds since 1970."""

    ms: int
