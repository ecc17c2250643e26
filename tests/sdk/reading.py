"""Reads a whole stream, as tests of producers want it."""

from typing import Any

from streamd.sdk.client import KinesisClient

__all__ = ["all_records", "made_stream"]


async def made_stream(client: KinesisClient, stream: str, *, shard_count: int = 1) -> None:
    """Make a stream and wait until it can be used."""
    await client.create_stream(stream, shard_count=shard_count)
    await client.wait_until_active(stream)


async def all_records(client: KinesisClient, stream: str) -> dict[str, list[Any]]:
    """Give each shard's records, in order, parents before their children."""
    found: dict[str, list[Any]] = {}
    for shard in await client.list_shards(stream):
        records = found[shard["ShardId"]] = []
        iterator: str | None = await client.get_shard_iterator(stream, shard["ShardId"])
        while iterator is not None:
            answer = await client.get_records(iterator)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] and not answer["MillisBehindLatest"]:
                break
    return found
