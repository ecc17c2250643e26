"""What an event source mapping is set to, as plain values: the API checks them, the rules go by them.

Times are milliseconds; -1 stands for no bound, as AWS writes it.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["MappingSettings", "StartingPosition"]


class StartingPosition(StrEnum):
    """Where a mapping begins in the shards that are there when it is made."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """The settings of one mapping.

    ``attempts_max`` is MaximumRetryAttempts: how often a batch is tried *again*, -1 for ever. ``age_ms_max`` is
    MaximumRecordAgeInSeconds, -1 for any age. ``tumbling_ms`` is 0 without tumbling windows. ``patterns`` are the
    filters as JSON texts, one of which has to match; none lets everything through. ``start_ms`` goes with AT_TIMESTAMP.
    """

    batch_size: int = 100
    window_ms: int = 0
    parallelization: int = 1
    attempts_max: int = -1
    age_ms_max: int = -1
    bisects: bool = False
    reports_items: bool = False
    tumbling_ms: int = 0
    patterns: tuple[str, ...] = ()
    start: StartingPosition = StartingPosition.LATEST
    start_ms: int | None = None

    @property
    def lane_count(self) -> int:
        """How many lanes a shard has: a tumbling window's state is the shard's, and so forces one."""
        return 1 if self.tumbling_ms else self.parallelization
