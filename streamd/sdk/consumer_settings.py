"""How a consumer is set: which stream and group, who it is, what it may hold, how long it may be silent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from streamd.core.lease import TRIM_HORIZON, Place, Start, place_at_time
from streamd.core.limits import GET_RECORDS_COUNT_MAX
from streamd.errors import ConfigInvalid

__all__ = ["CheckpointMode", "ConsumerSettings", "PlaceOf", "StartWord", "start_of"]

StartWord = Literal["TRIM_HORIZON", "LATEST"]
CheckpointMode = Literal["auto", "manual"]
PlaceOf = Callable[[str, int], Awaitable[Place | None]]
"""Given a shard's id and the epoch of its lease, claims the shard for that epoch in the caller's own store, and gives
the place after what that store holds of it; None when it holds nothing."""

MEMBER_TIMEOUT_S_MIN: Final = 0.5
BUFFER_BYTE_COUNT_MIN: Final = 1 << 20
# A beat may be late, and the next one too, and yet the member is not taken for dead.
BEATS_PER_TIMEOUT: Final = 6
# A member that could not beat stops giving out batches this much of its timeout after the last beat, so that it has
# stopped when others may take its shards: they count from when they saw that beat, which is later.
FENCE_SHARE: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """What a consumer is told at its start. Raises ConfigInvalid for what cannot be."""

    stream: str
    group: str
    member_id: str
    about: str
    start: Start
    checkpoint: CheckpointMode
    place_of: PlaceOf | None
    member_timeout_s: float
    batch_record_count_max: int
    buffer_byte_count_max: int
    consumer_arn: str | None
    consumer_name: str | None
    deaggregates: bool = True

    def __post_init__(self) -> None:
        if self.checkpoint not in {"auto", "manual"}:
            raise ConfigInvalid(f"checkpoint is {self.checkpoint!r}: it is 'auto' or 'manual'")
        if not 1 <= self.batch_record_count_max <= GET_RECORDS_COUNT_MAX:
            raise ConfigInvalid(f"batch_record_count_max is {self.batch_record_count_max}: it is 1 to 10000")
        if self.member_timeout_s < MEMBER_TIMEOUT_S_MIN:
            raise ConfigInvalid(f"member_timeout_s is {self.member_timeout_s}: it is at least {MEMBER_TIMEOUT_S_MIN}")
        if self.buffer_byte_count_max < BUFFER_BYTE_COUNT_MIN:
            raise ConfigInvalid(f"buffer_byte_count_max is {self.buffer_byte_count_max}: it is at least 1 MiB")
        if self.consumer_arn is not None and self.consumer_name is not None:
            raise ConfigInvalid("a registered consumer is given by its ARN or by its name, not by both")

    @property
    def is_automatic(self) -> bool:
        """Whether a batch is checkpointed by asking for the next."""
        return self.checkpoint == "auto"

    @property
    def beat_interval_s(self) -> float:
        """How often a member shows that it lives."""
        return self.member_timeout_s / BEATS_PER_TIMEOUT

    @property
    def fence_s(self) -> float:
        """How long after its last beat a member still gives out batches."""
        return self.member_timeout_s * FENCE_SHARE


def start_of(start: StartWord | datetime, *, now_ms: int) -> Start:
    """Pin where a new group begins; LATEST is the time at which it is made. Raises ConfigInvalid."""
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ConfigInvalid(f"start is {start}, which has no time zone: say which, for example tzinfo=UTC")
        return Start(place=place_at_time(max(0, round(start.timestamp() * 1000))))
    if start == "LATEST":
        return Start(place=place_at_time(now_ms))
    if start != TRIM_HORIZON:
        raise ConfigInvalid(f"start is {start!r}: it is TRIM_HORIZON, LATEST or a datetime")
    return Start(place=TRIM_HORIZON)
