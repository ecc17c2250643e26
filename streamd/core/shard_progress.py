"""How far a mapping is in one shard, as the one value that is stored after each outcome, before the lane goes on.

Everything at or below ``checkpoint`` is finished in every lane: reading goes on after it, or, while it is None, where
the mapping starts in this shard. What single lanes finished beyond it is in ``lanes``, so that a restart does not
repeat it. Lanes are told by ``md5(partition key) mod parallelization``; what was noted under another parallelization
stays true and is kept in ``older`` until the checkpoint has passed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.errors import FormatUnknown

__all__ = ["LaneMarks", "LaneProgress", "PartMark", "ShardProgress", "WindowState"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PartMark:
    """A batch that is being retried, or a piece of one: its first and last record, and how often it failed."""

    first: str
    last: str
    failure_count: int


@dataclass(frozen=True, slots=True)
class LaneProgress:
    """One lane: the last record it finished beyond the checkpoint, and the batches it has begun."""

    finished: str | None = None
    parts: tuple[PartMark, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneMarks:
    """What lanes had finished when there were another number of them."""

    finished: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """An open tumbling window: the function's state as JSON, and the last record that is counted in it.

    ``is_early`` says that the window is to be closed before its end; ``failure_count`` is of its final call.
    """

    start_ms: int
    end_ms: int
    state: bytes
    last_number: str
    last_arrival_ms: int
    is_early: bool = False
    failure_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardProgress:
    """The durable progress of one mapping in one shard. ``is_done``: the shard ended and all of it is finished."""

    checkpoint: str | None = None
    lanes: tuple[LaneProgress, ...] = ()
    older: tuple[LaneMarks, ...] = ()
    window: WindowState | None = None
    is_done: bool = False

    def encode(self) -> bytes:
        """Write the value as JSON, small when little is going on."""
        return orjson.dumps(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Write the value as JSON values."""
        document: dict[str, Any] = {"v": _FORMAT, "n": len(self.lanes)}
        if self.checkpoint is not None:
            document["c"] = self.checkpoint
        if any(lane.finished is not None or lane.parts for lane in self.lanes):
            document["l"] = [_row_of_lane(lane) for lane in self.lanes]
        if self.older:
            document["o"] = [list(marks.finished) for marks in self.older]
        if self.window is not None:
            document["w"] = _row_of_window(self.window)
        if self.is_done:
            document["d"] = True
        return document

    @classmethod
    def decode(cls, encoded: bytes) -> "ShardProgress":
        """Read what ``encode`` wrote. Raises FormatUnknown for what a later version wrote."""
        return cls.from_document(orjson.loads(encoded))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ShardProgress":
        """Read what ``to_document`` wrote. Raises FormatUnknown for what a later version wrote."""
        if document["v"] != _FORMAT:
            raise FormatUnknown("a mapping's progress", found=str(document["v"]), known=str(_FORMAT))
        rows = document.get("l") or [[None, []]] * document["n"]
        return cls(
            checkpoint=document.get("c"),
            lanes=tuple(_lane_from_row(row) for row in rows),
            older=tuple(LaneMarks(tuple(finished)) for finished in document.get("o", ())),
            window=_window_from_row(document["w"]) if "w" in document else None,
            is_done=document.get("d", False),
        )


def _row_of_lane(lane: LaneProgress) -> list[Any]:
    return [lane.finished, [[part.first, part.last, part.failure_count] for part in lane.parts]]


def _lane_from_row(row: Sequence[Any]) -> LaneProgress:
    finished, parts = row
    return LaneProgress(finished, tuple(PartMark(*part) for part in parts))


def _row_of_window(window: WindowState) -> list[Any]:
    return [
        window.start_ms,
        window.end_ms,
        window.state.decode(),
        window.last_number,
        window.last_arrival_ms,
        window.is_early,
        window.failure_count,
    ]


def _window_from_row(row: Sequence[Any]) -> WindowState:
    start_ms, end_ms, state, last_number, last_arrival_ms, is_early, failure_count = row
    return WindowState(
        start_ms=start_ms,
        end_ms=end_ms,
        state=state.encode(),
        last_number=last_number,
        last_arrival_ms=last_arrival_ms,
        is_early=is_early,
        failure_count=failure_count,
    )
