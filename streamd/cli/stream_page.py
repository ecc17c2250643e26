"""A stream on one page: its settings, and its shards as a table."""

from datetime import UTC, datetime
from typing import Final

from streamd.cli.output import fields, table
from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.sdk.client import JsonObject, KinesisClient

__all__ = ["described", "is_open", "stream_page"]

_HASH_KEY_COUNT: Final = HASH_KEY_MAX + 1


async def described(client: KinesisClient, name: str) -> tuple[JsonObject, list[JsonObject]]:
    """Give a stream's summary and all its shards. Raises what the client raises."""
    return await client.describe_stream_summary(name), await client.list_shards(name)


def is_open(shard: JsonObject) -> bool:
    """Tell whether a shard still takes records."""
    return "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def stream_page(summary: JsonObject, shards: list[JsonObject]) -> str:
    """Lay out a stream for people."""
    created = datetime.fromtimestamp(summary["StreamCreationTimestamp"], UTC)
    lines = {
        "stream": summary["StreamName"],
        "ARN": summary["StreamARN"],
        "status": summary["StreamStatus"],
        "mode": summary.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED"),
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "retention": f"{summary['RetentionPeriodHours']} hours",
        "largest record": f"{summary.get('MaxRecordSizeInKiB', 1024)} KiB",
        "encryption": summary.get("EncryptionType", "NONE"),
        "consumers": str(summary.get("ConsumerCount", 0)),
        "open shards": str(summary["OpenShardCount"]),
    }
    headings = ["shard", "state", "share", "first number", "last number", "parents"]
    rows = [_row(shard) for shard in shards]
    # Young streams have no closed shards and no parents, and a terminal has no room for empty columns.
    filled = [place for place in range(len(headings)) if any(row[place] for row in rows)]
    shown = [[row[place] for place in filled] for row in [headings, *rows]]
    return f"{fields(lines)}\n\n{table(shown[0], shown[1:], right=[2])}"


def _row(shard: JsonObject) -> list[str]:
    hash_range = shard["HashKeyRange"]
    width = int(hash_range["EndingHashKey"]) - int(hash_range["StartingHashKey"]) + 1
    numbers = shard["SequenceNumberRange"]
    parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
    return [
        shard["ShardId"],
        "OPEN" if is_open(shard) else "CLOSED",
        f"{100 * width / _HASH_KEY_COUNT:.2f} %",
        numbers["StartingSequenceNumber"],
        numbers.get("EndingSequenceNumber", ""),
        " ".join(parent for parent in parents if parent),
    ]
