"""What tests of jumps of the clock put and read: records of the stream ``jumps``."""

from typing import Any

__all__ = ["put", "read", "shard_ids", "whole"]


def put(kinesis: Any, *texts: bytes) -> list[tuple[str, str]]:
    """Put one after another; shard and sequence number of each."""
    answers = [kinesis.put_record(StreamName="jumps", PartitionKey=str(text[:40]), Data=text) for text in texts]
    return [(answer["ShardId"], answer["SequenceNumber"]) for answer in answers]


def read(kinesis: Any, shard_id: str, kind: str = "TRIM_HORIZON", **place: Any) -> list[dict[str, Any]]:
    """Read a shard from a place to its tip."""
    asked = {"StreamName": "jumps", "ShardId": shard_id, "ShardIteratorType": kind, **place}
    return whole(kinesis, kinesis.get_shard_iterator(**asked)["ShardIterator"])


def whole(kinesis: Any, iterator: str | None) -> list[dict[str, Any]]:
    """Read on from an iterator to the tip."""
    found: list[dict[str, Any]] = []
    while iterator is not None:
        answer = kinesis.get_records(ShardIterator=iterator)
        found += answer["Records"]
        if not answer["Records"]:
            break
        iterator = answer.get("NextShardIterator")
    return found


def shard_ids(kinesis: Any) -> list[str]:
    """List the stream's shards."""
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName="jumps")["Shards"]]
