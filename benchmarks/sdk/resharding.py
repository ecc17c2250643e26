"""One split or merge somewhere in a stream, as a dice says."""

from typing import Literal

from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import InUse

__all__ = ["reshard"]


async def reshard(
    client: KinesisClient, stream: str, kind: Literal["split", "merge"], *, lot: float, counts: tuple[int, int]
) -> bool:
    """Split or merge at the open shard that ``lot``, from 0 to below 1, falls on; give whether anything was done.

    Nothing is while a reshard is under way, nor where the number of open shards would leave the bounds.
    """
    shards = [
        (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]), shard["ShardId"])
        for shard in await client.list_shards(stream)
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    shards.sort()
    at = int(lot * (len(shards) - 1))
    start, end, shard_id = shards[at]
    fewest, most = counts
    try:
        if kind == "split" and len(shards) < most:
            await client.split_shard(stream, shard_id, hash_key=(start + end + 1) // 2)
            return True
        if kind == "merge" and len(shards) > fewest:
            await client.merge_shards(stream, shard_id, adjacent_shard_id=shards[at + 1][2])
            return True
    except InUse:
        pass
    return False
