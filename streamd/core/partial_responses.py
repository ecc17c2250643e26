"""What a function's answer says of its batch: which record is the first that failed, and the state of a window.

Everything from the lowest failed sequence number on is to be tried again. An answer that names an item that is not in
the batch, or names it wrongly, fails the whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

__all__ = ["STATE_BYTE_COUNT_MAX", "BatchAnswer", "read_answer"]

STATE_BYTE_COUNT_MAX: Final = 1024 * 1024
"""The most that a window's state may be, as JSON, before the window is closed early."""

_WHOLE_BATCH: Final = 0


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """An answer: how many records went well before the first that failed, and the state, None without one."""

    good_count: int
    state: bytes | None = None


def read_answer(
    response: bytes, numbers: Sequence[str], *, reports_items: bool, wants_state: bool
) -> BatchAnswer | None:
    """Read an answer to a batch of these sequence numbers; None when it lacks the state that it must have."""
    if not reports_items and not wants_state:
        return BatchAnswer(len(numbers))
    try:
        document = orjson.loads(response) if response else None
    except orjson.JSONDecodeError:
        return None if wants_state else BatchAnswer(_WHOLE_BATCH)
    members: dict[str, Any] = document if isinstance(document, dict) else {}
    good_count = _good_count(members.get("batchItemFailures"), numbers) if reports_items else len(numbers)
    if not wants_state:
        return BatchAnswer(good_count)
    state = members.get("state")
    return None if state is None else BatchAnswer(good_count, orjson.dumps(state))


def _good_count(failures: Any, numbers: Sequence[str]) -> int:
    if failures is None or failures == []:
        return len(numbers)
    if not isinstance(failures, list):
        return _WHOLE_BATCH
    named = [failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures]
    place_by_number = {number: place for place, number in enumerate(numbers)}
    places = [place_by_number.get(name) if isinstance(name, str) else None for name in named]
    return min((_WHOLE_BATCH if place is None else place for place in places), default=_WHOLE_BATCH)
