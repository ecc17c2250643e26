"""A stream as a value: its settings, its shards, its registered consumers, and its state at a given time.

States are not set by timers but follow from times kept in the value, so every process sees the same one: a stream is
CREATING until ``active_ms``, DELETING from ``deleting_ms`` and gone from ``gone_ms``, UPDATING until ``updated_ms`` or
while a reshard is under way. What began at a time that has not come yet began before the clock was set back: it is
over, so that nothing stays as it is for as long as the clock went back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from streamd.core.limits import RECORD_KIB_DEFAULT, RETENTION_HOURS_DEFAULT
from streamd.core.shard_tree import ReshardStep, Shard, ShardTree, row_of_shard, shard_from_row
from streamd.core.wall_clock import is_during

__all__ = [
    "Consumer",
    "Distribution",
    "Encryption",
    "Reshard",
    "Status",
    "Stream",
    "StreamMode",
    "WrappedKey",
]

HOUR_MS = 3_600_000


class StreamMode(StrEnum):
    """Who minds the number of shards: the user, or the server."""

    PROVISIONED = "PROVISIONED"
    ON_DEMAND = "ON_DEMAND"


class Distribution(StrEnum):
    """Who places records: the server (AUTO), or the partition key."""

    AUTO = "AUTO"
    USER_PARTITION_KEY = "USER_PARTITION_KEY"


class Status(StrEnum):
    """The state of a stream or a consumer."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """One generation of the stream's data key, wrapped by the master key."""

    generation: int
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Whether new records are encrypted (``key_id`` is the user's name of the key), and every data key so far."""

    key_id: str | None = None
    keys: tuple[WrappedKey, ...] = ()

    @property
    def generation(self) -> int:
        """The generation that seals new records; 0 while encryption is off."""
        return self.keys[-1].generation if self.key_id is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A registered consumer (enhanced fan-out)."""

    name: str
    created_ms: int
    active_ms: int
    deleting_ms: int | None = None
    gone_ms: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None

    def status(self, now_ms: int) -> Status:
        """Give the consumer's state at a time."""
        if self.deleting_ms is not None:
            return Status.DELETING
        is_new = is_during(now_ms, since_ms=self.created_ms, until_ms=self.active_ms)
        return Status.CREATING if is_new else Status.ACTIVE

    def is_gone(self, now_ms: int) -> bool:
        """Tell whether the consumer has been deregistered."""
        return _is_over(self.deleting_ms, self.gone_ms, now_ms=now_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshard:
    """Splits and merges that were accepted and are not yet done; ``due_ms`` says when they may be."""

    steps: tuple[ReshardStep, ...]
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream. ``number`` is the store's own name for it and is never given twice."""

    number: int
    name: str
    created_ms: int
    active_ms: int
    tree: ShardTree
    mode: StreamMode = StreamMode.PROVISIONED
    mode_changes_ms: tuple[int, ...] = ()
    scalings_ms: tuple[int, ...] = ()
    retention_hours: int = RETENTION_HOURS_DEFAULT
    horizon_floor_ms: int = 0
    record_kib_max: int = RECORD_KIB_DEFAULT
    distribution: Distribution = Distribution.USER_PARTITION_KEY
    warm_mibps: int | None = None
    encryption: Encryption = field(default_factory=Encryption)
    encryption_starts_ms: tuple[int, ...] = ()
    encryption_stops_ms: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    consumers: tuple[Consumer, ...] = ()
    reshard: Reshard | None = None
    updating_ms: int = 0
    updated_ms: int = 0
    deleting_ms: int | None = None
    gone_ms: int | None = None

    def status(self, now_ms: int) -> Status:
        """Give the stream's state at a time."""
        if self.deleting_ms is not None:
            return Status.DELETING
        if is_during(now_ms, since_ms=self.created_ms, until_ms=self.active_ms):
            return Status.CREATING
        if self.reshard is not None or is_during(now_ms, since_ms=self.updating_ms, until_ms=self.updated_ms):
            return Status.UPDATING
        return Status.ACTIVE

    def is_gone(self, now_ms: int) -> bool:
        """Tell whether the stream's deletion has ended."""
        return _is_over(self.deleting_ms, self.gone_ms, now_ms=now_ms)

    def horizon_ms(self, now_ms: int) -> int:
        """Give the arrival time below which every record has expired.

        Raising the retention never brings back what had expired: the floor remembers it.
        """
        return max(now_ms - self.retention_hours * HOUR_MS, self.horizon_floor_ms)

    def with_retention(self, hours: int, *, now_ms: int) -> "Stream":
        """Give the stream with another retention period."""
        return replace(self, retention_hours=hours, horizon_floor_ms=self.horizon_ms(now_ms))

    def updating(self, *, now_ms: int, transition_ms: int) -> "Stream":
        """Give the stream as one that is UPDATING for a while."""
        return replace(self, updating_ms=now_ms, updated_ms=now_ms + transition_ms)

    def visible_shards(self, now_ms: int) -> list[Shard]:
        """List the shards that are open or closed too lately to have expired."""
        horizon_ms = self.horizon_ms(now_ms)
        return [s for s in self.tree if s.closing is None or s.closing.closed_ms >= horizon_ms]

    def shows(self, shard: Shard, *, now_ms: int) -> bool:
        """Tell whether a shard is open or closed too lately to have expired."""
        return shard.closing is None or shard.closing.closed_ms >= self.horizon_ms(now_ms)

    def live_consumers(self, now_ms: int) -> list[Consumer]:
        """List the consumers that are registered."""
        return [consumer for consumer in self.consumers if not consumer.is_gone(now_ms)]

    def with_consumer(self, consumer: Consumer, *, now_ms: int) -> "Stream":
        """Give the stream with this consumer added, or in place of the one of its name."""
        others = [c for c in self.live_consumers(now_ms) if c.name != consumer.name]
        return replace(self, consumers=(*others, consumer))

    def to_document(self) -> dict[str, Any]:
        """Write the stream as JSON values."""
        return {
            "number": self.number,
            "name": self.name,
            "created_ms": self.created_ms,
            "active_ms": self.active_ms,
            "shards": self.tree.to_document(),
            "mode": self.mode,
            "mode_changes_ms": self.mode_changes_ms,
            "scalings_ms": self.scalings_ms,
            "retention_hours": self.retention_hours,
            "horizon_floor_ms": self.horizon_floor_ms,
            "record_kib_max": self.record_kib_max,
            "distribution": self.distribution,
            "warm_mibps": self.warm_mibps,
            "key_id": self.encryption.key_id,
            "keys": [[key.generation, key.wrapped.hex()] for key in self.encryption.keys],
            "encryption_starts_ms": self.encryption_starts_ms,
            "encryption_stops_ms": self.encryption_stops_ms,
            "metrics": self.metrics,
            "tags": self.tags,
            "policy": self.policy,
            "consumers": [_consumer_to_document(consumer) for consumer in self.consumers],
            "reshard": None if self.reshard is None else _reshard_to_document(self.reshard),
            "updating_ms": self.updating_ms,
            "updated_ms": self.updated_ms,
            "deleting_ms": self.deleting_ms,
            "gone_ms": self.gone_ms,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Stream":
        """Read what ``to_document`` wrote."""
        rest = dict(document)
        keys = tuple(WrappedKey(generation=g, wrapped=bytes.fromhex(w)) for g, w in rest.pop("keys"))
        reshard = rest.pop("reshard")
        return cls(
            tree=ShardTree.from_document(rest.pop("shards")),
            mode=StreamMode(rest.pop("mode")),
            distribution=Distribution(rest.pop("distribution")),
            encryption=Encryption(key_id=rest.pop("key_id"), keys=keys),
            mode_changes_ms=tuple(rest.pop("mode_changes_ms")),
            scalings_ms=tuple(rest.pop("scalings_ms")),
            encryption_starts_ms=tuple(rest.pop("encryption_starts_ms")),
            encryption_stops_ms=tuple(rest.pop("encryption_stops_ms")),
            metrics=tuple(rest.pop("metrics")),
            consumers=tuple(Consumer(**consumer) for consumer in rest.pop("consumers")),
            reshard=None if reshard is None else _reshard_from_document(reshard),
            **rest,
        )


def _is_over(began_ms: int | None, over_ms: int | None, *, now_ms: int) -> bool:
    """Tell whether a deletion is over, if one was begun."""
    return began_ms is not None and over_ms is not None and not is_during(now_ms, since_ms=began_ms, until_ms=over_ms)


def _consumer_to_document(consumer: Consumer) -> dict[str, Any]:
    return {
        "name": consumer.name,
        "created_ms": consumer.created_ms,
        "active_ms": consumer.active_ms,
        "deleting_ms": consumer.deleting_ms,
        "gone_ms": consumer.gone_ms,
        "tags": consumer.tags,
        "policy": consumer.policy,
    }


def _reshard_to_document(reshard: Reshard) -> dict[str, Any]:
    steps = [[step.parent_indexes, [row_of_shard(s) for s in step.children]] for step in reshard.steps]
    return {"due_ms": reshard.due_ms, "steps": steps}


def _reshard_from_document(document: Mapping[str, Any]) -> Reshard:
    steps = tuple(
        ReshardStep(parent_indexes=tuple(parents), children=tuple(shard_from_row(row) for row in rows))
        for parents, rows in document["steps"]
    )
    return Reshard(steps=steps, due_ms=document["due_ms"])
