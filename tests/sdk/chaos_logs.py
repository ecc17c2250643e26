"""What must be so in the logs of a chaos run's members, whatever happened to them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streamd.core.lease import AT_END

__all__ = ["Findings", "findings_of"]


@dataclass
class _Ownership:
    """One epoch of one shard's lease."""

    member: str
    records: list[tuple[int, str]] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def place(self) -> int:
        """The greatest accepted place, as a number; the end is beyond all."""
        return max((_number(row["place"]) for row in self.accepted), default=0)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run gave: ``faults`` are broken promises, in words."""

    record_count: int
    delivery_count: int
    missing_count: int
    checkpoint_count: int
    epoch_count: int
    unsettled_count: int
    faults: list[str]

    @property
    def repeat_count(self) -> int:
        """How many deliveries were not the first of their record."""
        return self.delivery_count - (self.record_count - self.missing_count)


def findings_of(logs: Iterable[Path], *, wanted: set[str]) -> Findings:
    """Read all members' logs and hold them against what was put."""
    faults: list[str] = []
    shards = _read(logs, faults)
    ownerships = [(shard, epoch, own) for shard, epochs in shards.items() for epoch, own in sorted(epochs.items())]
    for shard, epoch, own in ownerships:
        faults += _order_faults(shard, epoch, own)
    for shard, epochs in shards.items():
        faults += _fence_faults(shard, sorted(epochs.items()))
    delivered = [text for _, _, own in ownerships for _, text in own.records]
    missing = wanted - set(delivered)
    if missing:
        faults.append(f"{len(missing)} records were never delivered, for example {min(missing)}")
    unsettled = sum(sum(number > own.place for number, _ in own.records) for _, _, own in ownerships)
    repeats = len(delivered) - len(set(delivered))
    if repeats > unsettled:
        faults.append(f"{repeats} repeats, but only {unsettled} deliveries lay beyond a last checkpoint")
    return Findings(
        record_count=len(wanted),
        delivery_count=len(delivered),
        missing_count=len(missing),
        checkpoint_count=sum(len(own.accepted) for _, _, own in ownerships),
        epoch_count=len(ownerships),
        unsettled_count=unsettled,
        faults=faults,
    )


def _read(logs: Iterable[Path], faults: list[str]) -> dict[str, dict[int, _Ownership]]:
    shards: dict[str, dict[int, _Ownership]] = defaultdict(dict)
    for log in logs:
        for line in log.read_bytes().splitlines():
            row = orjson.loads(line)
            own = shards[row["shard"]].setdefault(row["epoch"], _Ownership(log.stem))
            if own.member != log.stem:
                faults.append(f"{row['shard']} had two owners in epoch {row['epoch']}: {own.member} and {log.stem}")
            if row["kind"] == "accepted":
                own.accepted.append(row)
            else:
                own.records += [(int(number), text) for number, text in row["records"]]
    return shards


def _order_faults(shard: str, epoch: int, own: _Ownership) -> list[str]:
    """Find keys whose records came out of order, or twice, while one member had the shard."""
    last_by_key: dict[str, int] = {}
    faults = []
    for _, text in own.records:
        key, _, number = text.partition(":")
        if int(number) <= last_by_key.get(key, -1):
            faults.append(f"{shard} epoch {epoch}: {text} came after {key}:{last_by_key[key]}")
        last_by_key[key] = int(number)
    return faults


def _fence_faults(shard: str, epochs: list[tuple[int, _Ownership]]) -> list[str]:
    """Find checkpoints that were accepted under an epoch after a greater one's, and readers that began too early."""
    faults = []
    for at, (epoch, own) in enumerate(epochs):
        later = [row for _, other in epochs[at + 1 :] for row in other.accepted]
        first_ended = min((row["ended"] for row in later), default=None)
        last_began = max((row["began"] for row in own.accepted), default=None)
        if first_ended is not None and last_began is not None and last_began > first_ended:
            faults.append(f"{shard}: a checkpoint of epoch {epoch} was accepted after one of a later epoch")
        place = max((other.place for _, other in epochs[:at]), default=0)
        if any(number <= place for number, _ in own.records):
            faults.append(f"{shard} epoch {epoch}: a record came again that was checkpointed before")
    return faults


def _number(place: str) -> int:
    return 1 << 256 if place == AT_END else int(place)
