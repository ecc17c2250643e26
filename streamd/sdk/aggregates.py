"""Aggregates: records of users packed into one record of the stream, in the form of the Kinesis Producer Library.

Every record goes to the shard that its own key (or hash key) belongs to: there is one aggregate for each shard, and it
is sent with the first hash key of its shard. Who reads must take the packed records apart; KCL, Lambda's libraries,
``streamd tail`` and this SDK's Consumer do.

After a reshard the ranges known here are out of date. An aggregate that comes to another shard than it was meant for
shows it: then the ranges are asked for anew, and those of its records that do not belong to the shard it came to are
put once more. Readers of AWS pass over the strayed ones, whose hash key is not of their shard.
"""

from collections.abc import Sequence
from hashlib import md5
from typing import Final

from streamd.core.shard_ranges import ShardRanges
from streamd.sdk.aggregate_form import aggregated_record_type
from streamd.sdk.parcels import PackedParcel, Parcel

__all__ = ["AGGREGATE_BYTE_COUNT_MAX", "Packer"]

# The KPL's own default: readers hold a whole aggregate in memory, and a larger one gains nothing.
AGGREGATE_BYTE_COUNT_MAX: Final = 50 * 1024
_MAGIC: Final = b"\xf3\x89\x9a\xc2"
# What a record costs in an aggregate beside its data, and a key in its table: tags, lengths and places, rounded up.
_RECORD_BYTE_COUNT: Final = 24
_KEY_BYTE_COUNT: Final = 8


class Packer:
    """Collects records by shard, and packs them when an aggregate is full or the producer asks for it."""

    def __init__(self, ranges: ShardRanges, *, ordered: bool) -> None:
        """Take the ranges as they are now. Raises ConfigInvalid without the package protobuf."""
        self.ranges = ranges
        self._is_ordered = ordered
        self._message_type = aggregated_record_type()
        self._members_by_shard: dict[str, list[Parcel]] = {}
        self._byte_count_by_shard: dict[str, int] = {}

    def add(self, parcel: Parcel) -> list[Parcel]:
        """Take a record; gives what is to be sent now because of it."""
        shard_id = self.ranges.shard_of(parcel.key, parcel.hash_key)
        cost = len(parcel.data) + _RECORD_BYTE_COUNT + (parcel.byte_count - len(parcel.data)) + _KEY_BYTE_COUNT
        ready = []
        if self._byte_count_by_shard.get(shard_id, 0) + cost > AGGREGATE_BYTE_COUNT_MAX:
            ready += self._close(shard_id)
        if cost > AGGREGATE_BYTE_COUNT_MAX:
            return [*ready, parcel]
        self._members_by_shard.setdefault(shard_id, []).append(parcel)
        self._byte_count_by_shard[shard_id] = self._byte_count_by_shard.get(shard_id, 0) + cost
        return ready

    @property
    def is_empty(self) -> bool:
        """Whether no record waits here."""
        return not self._members_by_shard

    def is_open(self, shard_id: str) -> bool:
        """Tell whether a shard takes records, as far as is known."""
        return self.ranges.is_open(shard_id)

    def close_all(self) -> list[Parcel]:
        """Pack whatever is here."""
        return [parcel for shard_id in list(self._members_by_shard) for parcel in self._close(shard_id)]

    def members(self) -> list[Parcel]:
        """List the records that are not packed yet."""
        return [member for members in self._members_by_shard.values() for member in members]

    def strays_of(self, parcel: Parcel, shard_id: str) -> list[Parcel]:
        """List the members of a parcel that do not belong to the shard it came to."""
        if not isinstance(parcel, PackedParcel) or parcel.shard_id == shard_id:
            return []
        return [m for m in parcel.members if not self.ranges.may_hold(shard_id, m.key, m.hash_key)]

    def divided(self, members: Sequence[Parcel]) -> list[Parcel]:
        """Pack members of one parcel by the ranges as they are now; each key's order is kept in one of the parts."""
        by_shard: dict[str, list[Parcel]] = {}
        for member in members:
            by_shard.setdefault(self.ranges.shard_of(member.key, member.hash_key), []).append(member)
        parts = [self._packed(shard_id, found) for shard_id, found in by_shard.items()]
        held: set[str] = set()
        for part in reversed(parts):
            part.order_keys = tuple(key for key in part.order_keys if key not in held)
            held.update(part.order_keys)
        return parts

    def _close(self, shard_id: str) -> list[Parcel]:
        members = self._members_by_shard.pop(shard_id, None)
        self._byte_count_by_shard.pop(shard_id, None)
        return [self._packed(shard_id, members)] if members else []

    def _packed(self, shard_id: str, members: Sequence[Parcel]) -> Parcel:
        if len(members) == 1:
            return members[0]
        keys: dict[str, int] = {}
        hash_keys: dict[str, int] = {}
        message = self._message_type()
        add = message.records.add
        for member in members:
            record = add()
            record.partition_key_index = keys.setdefault(member.key, len(keys))
            if member.hash_key is not None:
                record.explicit_hash_key_index = hash_keys.setdefault(member.hash_key, len(hash_keys))
            record.data = member.data
        message.partition_key_table.extend(keys)
        message.explicit_hash_key_table.extend(hash_keys)
        body = message.SerializeToString()
        data = b"".join([_MAGIC, body, md5(body, usedforsecurity=False).digest()])
        order_keys = tuple(keys) if self._is_ordered else ()
        return PackedParcel(
            data, members, shard_id=shard_id, hash_key=self.ranges.start_of(shard_id), order_keys=order_keys
        )
