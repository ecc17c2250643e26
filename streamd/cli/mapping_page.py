"""A mapping's status for people: a line for each shard, and below it what blocks it."""

import time
from collections.abc import Mapping
from typing import Any

from streamd.cli.output import fields, table

__all__ = ["mapping_page"]


def mapping_page(told: Mapping[str, Any]) -> str:
    """Draw a status document."""
    head = fields(
        {
            "mapping": str(told.get("uuid", "")),
            "source": str(told.get("source", "")),
            "function": str(told.get("function", "")),
            "state": str(told.get("state", "")),
            "last result": str(told.get("last_result", "")),
            **{name.replace("_", " "): f"{count:,}" for name, count in (told.get("counters") or {}).items()},
        }
    )
    now_ms = int(time.time() * 1000)
    rows = [_row(shard, now_ms=now_ms) for shard in told.get("shards", ())]
    shards = table(["shard", "checkpoint", "behind", "age", "queued", "blocked by"], rows, right=(2, 3, 4))
    return f"{head}\n\n{shards}"


def _row(shard: Mapping[str, Any], *, now_ms: int) -> list[str]:
    lanes = shard.get("lanes") or ()
    blocks = [_block(lane, now_ms=now_ms) for lane in lanes if lane.get("error")]
    lag_ms = shard.get("lag_ms")
    return [
        str(shard.get("shard_id", "")),
        str(shard.get("checkpoint") or "-") + (" (done)" if shard.get("is_done") else ""),
        "" if shard.get("lag_records") is None else f"{shard['lag_records']:,}",
        "" if lag_ms is None else f"{lag_ms / 1000:.1f} s",
        str(sum(lane.get("queued", 0) for lane in lanes)),
        "; ".join(blocks),
    ]


def _block(lane: Mapping[str, Any], *, now_ms: int) -> str:
    text = f"attempt {lane.get('attempt', 0)}: {lane['error']}"
    if (next_ms := lane.get("next_try_ms")) is not None:
        text += f", again in {max(0, next_ms - now_ms) / 1000:.1f} s"
    return text
