"""What AWS would allow: per-shard rates and call rates, enforced, or in shadow only counted.

The counts are shared by all workers. A refusal is decided before anything is done, so it never half-applies. Seconds
are those of the clock's ticks, so that no debt lasts for as long as the clock was set back.
"""

from enum import StrEnum

from streamd.core.limits import (
    SHARD_READ_BYTE_RATE,
    SHARD_READ_CALL_RATE,
    SHARD_WRITE_BYTE_RATE,
    SHARD_WRITE_RECORD_RATE,
)
from streamd.core.shard_tree import Shard
from streamd.core.stream import Stream
from streamd.engine.clock import Clock
from streamd.metrics import Metrics
from streamd.storage.counters import Counters

__all__ = ["LimitsMode", "Quotas"]


class LimitsMode(StrEnum):
    """What is done about AWS's limits."""

    OFF = "off"
    AWS = "aws"
    SHADOW = "shadow"


class Quotas:
    """Takes calls, records and bytes from AWS's limits."""

    def __init__(self, counters: Counters, clock: Clock, metrics: Metrics, *, mode: LimitsMode) -> None:
        self._counters = counters
        self._clock = clock
        self._metrics = metrics
        self._mode = mode
        self.is_on = mode is not LimitsMode.OFF
        self.is_enforced = mode is LimitsMode.AWS

    def write(self, stream: Stream, shard: Shard, *, byte_count: int) -> bool:
        """Take one record from a shard's write limits; False when it must be refused."""
        place = f"{stream.number}/{shard.index}"
        is_within = self._take(f"write-records/{place}", 1, at_most=SHARD_WRITE_RECORD_RATE) and self._take(
            f"write-bytes/{place}", byte_count, at_most=SHARD_WRITE_BYTE_RATE
        )
        return is_within or self._exceeded(stream, shard, "write", "WriteProvisionedThroughputExceeded")

    def may_read(self, stream: Stream, shard: Shard) -> bool:
        """Take one read from a shard's read limits; False when it must be refused."""
        place = f"{stream.number}/{shard.index}"
        now_ms = self._clock.ticks_ms()
        is_within = not self._counters.is_in_debt(f"read-bytes/{place}", now_ms=now_ms) and self._take(
            f"read-calls/{place}", 1, at_most=SHARD_READ_CALL_RATE
        )
        return is_within or self._exceeded(stream, shard, "read", "ReadProvisionedThroughputExceeded")

    def was_read(self, stream: Stream, shard: Shard, *, byte_count: int) -> None:
        """Charge what a read gave; a large answer is paid off by refusing the next calls."""
        place = f"read-bytes/{stream.number}/{shard.index}"
        now_ms = self._clock.ticks_ms()
        self._counters.owe(place, byte_count, rate_per_s=SHARD_READ_BYTE_RATE, now_ms=now_ms)

    def call(self, operation: str, *, scope: str, stream_name: str, rate_per_s: int) -> bool:
        """Take one call of an operation, counted per scope (the account, a stream or a shard); False: refuse it.

        What is over the rate shows under ``stream_name``, which is empty for the account.
        """
        if self._take(f"call/{operation}/{scope}", 1, at_most=rate_per_s):
            return True
        return self.exceed(operation, stream_name=stream_name)

    def exceed(self, kind: str, *, stream_name: str) -> bool:
        """Count something that is one too many for AWS, of a stream or (empty) the account; False: refuse it."""
        if not self.is_on:
            return True
        is_shadow = self._mode is LimitsMode.SHADOW
        self._metrics.throttled(stream_name, kind, count=1, is_shadow=is_shadow)
        return is_shadow

    def _take(self, name: str, amount: int, *, at_most: int) -> bool:
        return self._counters.take(name, amount, at_most=at_most, now_ms=self._clock.ticks_ms())

    def _exceeded(self, stream: Stream, shard: Shard, kind: str, metric: str) -> bool:
        is_shadow = self._mode is LimitsMode.SHADOW
        self._metrics.throttled(stream.name, kind, count=1, is_shadow=is_shadow)
        if metric in stream.metrics:
            self._metrics.shard(metric, stream.name, shard.id, amount=1)
        return is_shadow
