"""What the members of a group know of its leases, and what is wrong with an answer.

A call that is under way may have been done or not; so may one whose answer never came. What was answered holds: whoever
asks after it must see it, whatever was killed or cut off in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamd.core.lease import TRIM_HORIZON, Place, is_behind

__all__ = ["KnownGroup", "KnownLease"]


@dataclass(slots=True)
class KnownLease:
    """One shard's lease: ``tries`` are the members that asked for each epoch, whatever they were answered.

    What is sure holds for whoever asks after the moment that stands beside it.
    """

    tries: dict[int, set[str]] = field(default_factory=dict)
    owner_by_epoch: dict[int, str] = field(default_factory=dict)
    given_up: set[tuple[str, int]] = field(default_factory=set)
    highest_tried: Place = TRIM_HORIZON
    sure_epochs: list[tuple[int, int]] = field(default_factory=list)
    sure_places: list[tuple[int, Place]] = field(default_factory=list)
    seek_count: int = 0
    seeks_under_way: int = 0
    sought_at: int = 0

    def epoch_before(self, moment: int) -> int:
        """Give the epoch that the lease had at a moment, or a lower one."""
        return max((epoch for at, epoch in self.sure_epochs if at < moment), default=0)

    def place_before(self, moment: int) -> Place:
        """Give the place that was reached at a moment, or one behind it."""
        places = [place for at, place in self.sure_places if at < moment]
        return places[-1] if places else TRIM_HORIZON

    def may_be_past(self, epoch: int) -> bool:
        """Tell whether the lease may have a greater epoch than this."""
        return bool(self.seek_count) or any(tried > epoch for tried in self.tries)


@dataclass(slots=True)
class KnownGroup:
    """A group: its leases and members, as far as anybody knows."""

    faults: list[str]
    is_made: bool = False
    lease_by_shard: dict[str, KnownLease] = field(default_factory=dict)
    beat_by_member: dict[str, tuple[int, int]] = field(default_factory=dict)
    checkpoint_count: int = 0
    refused_count: int = 0

    def was_acquired(self, shard_id: str, member_id: str, lease: Mapping[str, Any], *, epoch: int, at: int) -> None:
        """Note a lease that a member got; it asked for the one with ``epoch``."""
        known = self.lease_by_shard[shard_id]
        if (lease["Epoch"], lease.get("Owner")) != (epoch + 1, member_id):
            self.faults.append(f"{member_id} asked for {shard_id} after epoch {epoch} and got {lease}")
        if known.owner_by_epoch.setdefault(epoch + 1, member_id) != member_id:
            self.faults.append(f"{shard_id} has two owners of epoch {epoch + 1}")
        known.sure_epochs.append((at, epoch + 1))

    def was_not_acquired(self, shard_id: str, member_id: str, *, epoch: int, is_first_try: bool) -> None:
        """Judge a refusal: somebody must have been quicker."""
        known = self.lease_by_shard[shard_id]
        rivals = known.tries[epoch + 1] - ({member_id} if is_first_try else set())
        if not rivals and not known.may_be_past(epoch + 1):
            self.faults.append(f"{member_id} was refused {shard_id} after epoch {epoch}, and nobody else asked for it")

    def was_saved(self, shard_id: str, member_id: str, place: Place, *, epoch: int, asked_at: int, at: int) -> None:
        """Judge a checkpoint that was accepted, and note it."""
        known = self.lease_by_shard[shard_id]
        self.checkpoint_count += 1
        who = f"{member_id} saved {place} in {shard_id} with epoch {epoch}"
        if known.epoch_before(asked_at) > epoch:
            self.faults.append(f"{who}, which was over")
        if member_id not in known.tries.get(epoch, ()):
            self.faults.append(f"{who}, which was never its own")
        is_alone = not known.seeks_under_way and known.sought_at < asked_at
        if is_alone and is_behind(place, known.place_before(asked_at)):
            self.faults.append(f"{who}, behind {known.place_before(asked_at)}")
        if is_alone and not (known.sure_places and is_behind(place, known.sure_places[-1][1])):
            known.sure_places.append((at, place))

    def was_not_saved(self, shard_id: str, member_id: str, place: Place, *, epoch: int, error: str) -> None:
        """Judge a checkpoint that was refused: there must be a reason."""
        known = self.lease_by_shard[shard_id]
        self.refused_count += 1
        who = f"{member_id} could not save {place} in {shard_id} with epoch {epoch}: {error}"
        match error:
            case "LeaseLostException":
                is_over = known.may_be_past(epoch) or (member_id, epoch) in known.given_up
                if known.owner_by_epoch.get(epoch) == member_id and not is_over:
                    self.faults.append(f"{who}, and nobody took it")
            case "PlaceBehindException":
                if not is_behind(place, known.highest_tried) and not known.seek_count:
                    self.faults.append(f"{who}, and nobody was further")
            case "InvalidArgumentException":
                self.faults.append(who)
            case _:
                return

    def begin_seek(self, shard_id: str) -> None:
        """Note that a lease may be moved back from now on."""
        known = self.lease_by_shard[shard_id]
        known.seek_count += 1
        known.seeks_under_way += 1
        known.sure_places.clear()

    def end_seek(self, shard_id: str, *, at: int) -> None:
        """Note that it was moved back by now, or never will be."""
        known = self.lease_by_shard[shard_id]
        known.seeks_under_way -= 1
        known.sought_at = at
        known.sure_places.clear()

    def server_ended(self, *, at: int) -> None:
        """Note that nothing is under way any more."""
        for shard_id, known in self.lease_by_shard.items():
            while known.seeks_under_way:
                self.end_seek(shard_id, at=at)

    def look(self, snapshot: Mapping[str, Any], *, asked_at: int, at: int) -> None:
        """Judge what the group looks like, asked for and answered at these moments, and note it."""
        row_by_shard = {row["ShardId"]: row for row in snapshot["Leases"]}
        for shard_id, known in self.lease_by_shard.items():
            row = row_by_shard.get(shard_id)
            if row is None:
                if any(seen_at < asked_at for seen_at, _ in known.sure_epochs):
                    self.faults.append(f"the lease of {shard_id} is gone")
                continue
            if row["Epoch"] < known.epoch_before(asked_at):
                self.faults.append(f"{row} had epoch {known.epoch_before(asked_at)} already")
            if is_behind(row["Place"], known.place_before(asked_at)):
                self.faults.append(f"{row} is behind {known.place_before(asked_at)}")
            if "Owner" in row and row["Owner"] not in known.tries.get(row["Epoch"], ()):
                self.faults.append(f"{row} has an owner that never asked for it")
            known.sure_epochs.append((at, row["Epoch"]))
        for shard_id, row in row_by_shard.items():
            if shard_id not in self.lease_by_shard:
                self.lease_by_shard[shard_id] = KnownLease(sure_epochs=[(at, row["Epoch"])])
        beats = {row["MemberId"]: row["Beat"] for row in snapshot["Members"]}
        for member_id, (beaten_at, beat) in self.beat_by_member.items():
            if beaten_at < asked_at and beats.get(member_id, 0) < beat:
                self.faults.append(f"{member_id} has beat {beats.get(member_id, 0)}, and had {beat}")
