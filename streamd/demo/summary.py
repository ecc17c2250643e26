"""The summary of a run: its figures, its verdict, and both as a document for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamd.demo.verify import Fault, FaultKind, MentionKey

__all__ = ["Summary", "minute_label", "summary_document"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Summary:
    """All there is to say about a finished run."""

    input_label: str
    post_count: int
    read_count: int
    elapsed_s: float
    names: tuple[str, ...]
    mentions: Mapping[MentionKey, int]
    shard_count: int
    entries_put_again: int
    lag_ms_max: int
    fault_count_by_kind: Mapping[FaultKind, int]
    faults: Sequence[Fault]
    function_mentions: Mapping[str, int]
    alert_count: int
    kept_directory: str | None

    @property
    def is_verified(self) -> bool:
        """Tell whether every post came through once, unchanged, and in order."""
        return not self.faults

    @property
    def posts_per_s(self) -> float:
        """The pace from the first post put to the last one counted."""
        return self.post_count / self.elapsed_s if self.elapsed_s else 0.0

    def by_minute(self, name: str) -> dict[int, int]:
        """Give the count of posts that mention a name in each minute of post time that has any, in order."""
        return {minute: count for (found, minute), count in sorted(self.mentions.items()) if found == name}


def minute_label(minute: int) -> str:
    """Write a minute of post time as ISO 8601."""
    return (_EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%MZ")


def summary_document(summary: Summary) -> dict[str, Any]:
    """Put a summary into a document for JSON."""
    return {
        "verified": summary.is_verified,
        "input": summary.input_label,
        "posts_in": summary.post_count,
        "posts_counted": summary.read_count,
        "elapsed_s": round(summary.elapsed_s, 3),
        "posts_per_s": round(summary.posts_per_s, 1),
        "shards": summary.shard_count,
        "mentions": {name: _mentions_document(summary.by_minute(name)) for name in summary.names},
        "lag_ms_max": summary.lag_ms_max,
        "entries_put_again": summary.entries_put_again,
        "function": {"alerts": summary.alert_count, "mentions": dict(summary.function_mentions)},
        "faults": {kind.value.replace(" ", "_"): summary.fault_count_by_kind.get(kind, 0) for kind in FaultKind},
        "fault_sentences": [fault.sentence for fault in summary.faults],
        "data": summary.kept_directory,
    }


def _mentions_document(by_minute: Mapping[int, int]) -> dict[str, Any]:
    return {
        "posts": sum(by_minute.values()),
        "by_minute": {minute_label(minute): count for minute, count in by_minute.items()},
    }
