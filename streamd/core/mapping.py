"""An event source mapping as it is kept: what it feeds to what, how, and what it is about to become."""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from streamd.core.mapping_settings import MappingSettings, StartingPosition

__all__ = ["EventSourceMapping", "Transition"]


class Transition(StrEnum):
    """What a mapping is in the middle of, in AWS's words for its state."""

    CREATING = "Creating"
    ENABLING = "Enabling"
    DISABLING = "Disabling"
    UPDATING = "Updating"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """One mapping. ``members`` are the API's own, all that have a default filled in.

    ``starts`` says by shard where reading began, as text, for the shards that were there when it was made; any other
    begins at its first record. ``identity`` tells the stream from one of the same name that is made later.
    """

    uuid: str
    source_arn: str
    function_arn: str
    members: MappingOf[str, Any]
    is_enabled: bool = True
    transition: Transition | None = None
    starts: MappingOf[str, str] = field(default_factory=dict)
    identity: str = ""
    tags: MappingOf[str, str] = field(default_factory=dict)
    modified_ms: int = 0

    @classmethod
    def from_document(cls, document: MappingOf[str, Any]) -> "EventSourceMapping":
        """Read what was kept."""
        transition = document["transition"]
        return cls(**{**document, "transition": None if transition is None else Transition(transition)})

    @property
    def state(self) -> str:
        """AWS's word for its state."""
        if self.transition is not None:
            return self.transition.value
        return "Enabled" if self.is_enabled else "Disabled"

    @property
    def settings(self) -> MappingSettings:
        """The settings as the rules have them."""
        members = self.members
        age_s = members["MaximumRecordAgeInSeconds"]
        start_s = members.get("StartingPositionTimestamp")
        return MappingSettings(
            batch_size=members["BatchSize"],
            window_ms=1000 * members["MaximumBatchingWindowInSeconds"],
            parallelization=members["ParallelizationFactor"],
            attempts_max=members["MaximumRetryAttempts"],
            age_ms_max=-1 if age_s == -1 else 1000 * age_s,
            bisects=members["BisectBatchOnFunctionError"],
            reports_items="ReportBatchItemFailures" in members["FunctionResponseTypes"],
            tumbling_ms=1000 * members["TumblingWindowInSeconds"],
            patterns=tuple(each["Pattern"] for each in (members.get("FilterCriteria") or {}).get("Filters", ())),
            start=StartingPosition(members["StartingPosition"]),
            start_ms=None if start_s is None else round(1000 * start_s),
        )

    @property
    def on_failure(self) -> str | None:
        """Where records go that are given up; None without a destination."""
        return ((self.members.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") or None
