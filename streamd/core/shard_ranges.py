"""Which shard a partition key goes to, as a client can know it: from what ListShards says.

It is a value, and may be out of date by the time it is used: a reshard is not told to anybody.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from streamd.core.hash_keys import HashKeyRange, digest_of_hash_key, digests

__all__ = ["ShardRanges"]


class ShardRanges:
    """The ranges of hash keys of a stream's shards, by id, and the open ones in order."""

    __slots__ = ("_open_ids", "_open_starts", "_range_by_id")

    def __init__(self, shards: Iterable[Mapping[str, Any]]) -> None:
        """Take shards as ListShards gives them."""
        self._range_by_id: dict[str, HashKeyRange] = {}
        open_shards: list[tuple[int, str]] = []
        for shard in shards:
            ends = shard["HashKeyRange"]
            found = HashKeyRange(int(ends["StartingHashKey"]), int(ends["EndingHashKey"]))
            self._range_by_id[shard["ShardId"]] = found
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]:
                open_shards.append((found.start, shard["ShardId"]))
        open_shards.sort()
        self._open_starts = [digest_of_hash_key(start) for start, _ in open_shards]
        self._open_ids = [shard_id for _, shard_id in open_shards]

    def shard_of(self, key: str, hash_key: str | None) -> str:
        """Give the open shard that takes a key, or an explicit hash key."""
        return self._open_ids[max(0, bisect_right(self._open_starts, _digest(key, hash_key)) - 1)]

    def is_open(self, shard_id: str) -> bool:
        """Tell whether a shard takes records."""
        return shard_id in self._open_ids

    def start_of(self, shard_id: str) -> str:
        """Give a shard's first hash key, by which a record is sent to it."""
        return str(self._range_by_id[shard_id].start)

    def may_hold(self, shard_id: str, key: str, hash_key: str | None) -> bool:
        """Tell whether a key lies in a shard's range; so it does in a shard that is not known."""
        found = self._range_by_id.get(shard_id)
        return found is None or int.from_bytes(_digest(key, hash_key), "big") in found


def _digest(key: str, hash_key: str | None) -> bytes:
    return digests((key.encode(),))[0] if hash_key is None else digest_of_hash_key(int(hash_key))
