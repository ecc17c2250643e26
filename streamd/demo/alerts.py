"""Reads the alerts that the demo's function puts to its own stream, and adds them up: one for each shard and window.

A window that was closed twice has two alerts that say the same, and counts once.
"""

import asyncio
import time
from collections import Counter
from typing import Any, Final

import orjson

from streamd.demo.progress import Progress
from streamd.sdk.client import KinesisClient

__all__ = ["AlertReader"]

_WAIT_MS: Final = 1_000
# The end of the last window, a start of an environment on a busy machine, and retries.
_PATIENCE_S: Final = 90.0


class AlertReader:
    """Reads a stream of alerts."""

    def __init__(self, client: KinesisClient, *, stream: str, progress: Progress) -> None:
        self._client = client
        self._stream = stream
        self._progress = progress
        self._posts_by_window: dict[tuple[str, str], int] = {}
        self.mentions: Counter[str] = Counter()

    @property
    def post_count(self) -> int:
        """How many posts the windows held that were closed so far."""
        return sum(self._posts_by_window.values())

    async def run(self, expected_count: "asyncio.Future[int]") -> None:
        """Read until as many posts were counted as it turns out there are, or nothing came for long after that."""
        iterator = await self._iterator()
        quiet_since_s = time.monotonic()
        while not (expected_count.done() and self.post_count >= expected_count.result()):
            answer = await self._client.get_records(iterator, wait_ms=_WAIT_MS)
            iterator = str(answer["NextShardIterator"])
            for record in answer["Records"]:
                self._take(orjson.loads(record["Data"]))
            if answer["Records"] or not expected_count.done():
                quiet_since_s = time.monotonic()
            elif time.monotonic() - quiet_since_s > _PATIENCE_S:
                return

    async def _iterator(self) -> str:
        [shard] = await self._client.list_shards(self._stream)
        return await self._client.get_shard_iterator(self._stream, shard["ShardId"])

    def _take(self, alert: dict[str, Any]) -> None:
        window = alert["shard"], alert["window"]["start"]
        if window in self._posts_by_window:
            return
        self._posts_by_window[window] = alert["posts"]
        self.mentions.update(alert["mentions"])
        self._progress.note_alert(alert["posts"], alert["mentions"])
