"""The account: its limits, and the commitment to a minimum throughput that unlocks warm throughput.

A commitment lasts 24 hours at least. Ended before that, it goes on until the 24 hours are over, and enabling it
again before then takes the end back. Its state is not set by a timer: it follows from two times and the clock, so
every worker sees the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from streamd.core.stream import Stream, StreamMode
from streamd.core.wall_clock import is_during
from streamd.engine.engine import Engine
from streamd.errors import CatalogConflict
from streamd.kinesis.codecs import Timestamp
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault, ValidationFailed
from streamd.kinesis.quotas import on_demand_stream_count, open_shard_count

__all__ = [
    "Commitment",
    "describe_account_settings",
    "describe_limits",
    "is_committed",
    "require_warm_throughput",
    "update_account_settings",
    "warm_throughput",
]

_SETTINGS_KEY = "account/settings"
_COMMITMENT_MS_MIN = 24 * 3_600_000
# AWS's default limit of 10 GiB each second.
_WARM_MIBPS_MAX = 10_240


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """A commitment to a minimum throughput; ``ended_ms`` may lie ahead, when the end was asked for early."""

    started_ms: int | None = None
    ended_ms: int | None = None

    def status(self, now_ms: int) -> str:
        """Give the commitment's state at a time, in AWS's words."""
        if self.started_ms is None:
            return "DISABLED"
        if self.ended_ms is None:
            return "ENABLED"
        is_ending = is_during(now_ms, since_ms=self.started_ms, until_ms=self.ended_ms)
        return "ENABLED_UNTIL_EARLIEST_ALLOWED_END" if is_ending else "DISABLED"

    def enabled(self, now_ms: int) -> Self:
        """Give the commitment enabled: a running one goes on, an end that is still ahead is taken back."""
        if self.status(now_ms) == "DISABLED":
            return replace(self, started_ms=now_ms, ended_ms=None)
        return replace(self, ended_ms=None)

    def disabled(self, now_ms: int) -> Self:
        """Give the commitment ended: at once, or when its first 24 hours are over."""
        if self.started_ms is None or self.ended_ms is not None:
            return self
        return replace(self, ended_ms=max(now_ms, self.started_ms + _COMMITMENT_MS_MIN))

    def document(self, now_ms: int) -> dict[str, Any]:
        """Write the commitment as AWS answers it."""
        status = self.status(now_ms)
        document: dict[str, Any] = {"Status": status}
        if self.started_ms is not None:
            document["StartedAt"] = Timestamp(self.started_ms)
            document["EarliestAllowedEndAt"] = Timestamp(self.started_ms + _COMMITMENT_MS_MIN)
        if self.ended_ms is not None and status == "DISABLED":
            document["EndedAt"] = Timestamp(self.ended_ms)
        return document


async def describe_limits(engine: Engine, _call: Call) -> Answer:
    """Tell the account's quotas and how much of them is used."""
    return {
        "ShardLimit": engine.shard_quota,
        "OpenShardCount": await open_shard_count(engine),
        "OnDemandStreamCount": await on_demand_stream_count(engine),
        "OnDemandStreamCountLimit": engine.on_demand_stream_quota,
        # None can be made, so none is the limit.
        "ChannelCount": 0,
        "ChannelCountLimit": 0,
    }


async def describe_account_settings(engine: Engine, _call: Call) -> Answer:
    """Tell the account's settings."""
    commitment, _ = await _load(engine)
    return {"MinimumThroughputBillingCommitment": commitment.document(engine.clock.now_ms())}


async def update_account_settings(engine: Engine, call: Call) -> Answer:
    """Enable the commitment, or end it."""
    is_wanted = call.members["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED"
    while True:
        commitment, version = await _load(engine)
        now_ms = engine.clock.now_ms()
        wanted = commitment.enabled(now_ms) if is_wanted else commitment.disabled(now_ms)
        if wanted != commitment:
            content = orjson.dumps({"started_ms": wanted.started_ms, "ended_ms": wanted.ended_ms})
            try:
                await engine.store.compare_and_set(_SETTINGS_KEY, content, expected=version)
            except CatalogConflict:
                continue
        return {"MinimumThroughputBillingCommitment": wanted.document(now_ms)}


async def is_committed(engine: Engine) -> bool:
    """Tell whether the account's commitment holds now."""
    commitment, _ = await _load(engine)
    return commitment.status(engine.clock.now_ms()) != "DISABLED"


async def require_warm_throughput(engine: Engine, mode: StreamMode, mibps: int) -> None:
    """Refuse a warm throughput that the account, the mode or AWS's limit does not allow. Raises Fault."""
    if not await is_committed(engine):
        raise ValidationFailed(f"Account {engine.account_id} is not enabled for minimum throughput billing commitment")
    if mode is not StreamMode.ON_DEMAND:
        raise ValidationFailed("Warm throughput is only supported for ON_DEMAND streams")
    if mibps > _WARM_MIBPS_MAX:
        raise Fault(
            "LimitExceededException",
            f"Warm throughput cannot be greater than {_WARM_MIBPS_MAX} MiBps. Requested: {mibps} MiBps.",
        )


def warm_throughput(stream: Stream) -> dict[str, int]:
    """Write the throughput that a stream takes now, and the one it is scaled towards."""
    # A shard takes 1 MiB each second.
    current_mibps = len(stream.tree.open_shards)
    target_mibps = current_mibps if stream.warm_mibps is None else stream.warm_mibps
    return {"TargetMiBps": target_mibps, "CurrentMiBps": current_mibps}


async def _load(engine: Engine) -> tuple[Commitment, int | None]:
    document = await engine.store.get(_SETTINGS_KEY)
    if document is None:
        return Commitment(), None
    content: Mapping[str, int | None] = orjson.loads(document.content)
    return Commitment(started_ms=content["started_ms"], ended_ms=content["ended_ms"]), document.version
