"""What tests of operations share: what a stream is and holds, and daemons that hold states."""

from collections.abc import Callable
from typing import Any

from tests.daemons import Daemon

__all__ = ["HELD_MS", "account_of", "committed_daemon", "held_daemon", "records_of", "summary_of"]

# Longer than any test takes: what is held for so long is held to the end.
HELD_MS = "600000"


def account_of(client: Any) -> str:
    """Ask for the status of the account's commitment."""
    status: str = client.describe_account_settings()["MinimumThroughputBillingCommitment"]["Status"]
    return status


def summary_of(client: Any, name: str) -> dict[str, Any]:
    """Ask for a stream's summary."""
    summary: dict[str, Any] = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    return summary


def records_of(client: Any, name: str) -> list[dict[str, Any]]:
    """Read every record of a stream, shard after shard."""
    found: list[dict[str, Any]] = []
    for shard in client.describe_stream(StreamName=name)["StreamDescription"]["Shards"]:
        place = client.get_shard_iterator(StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while place is not None:
            answer = client.get_records(ShardIterator=place)
            found += answer["Records"]
            place = answer.get("NextShardIterator") if answer["Records"] else None
    return found


def held_daemon(daemon_factory: Callable[..., Daemon], *names: str, **members: Any) -> Daemon:
    """Start a daemon that holds states for the whole test, over streams that are ACTIVE already."""
    first = daemon_factory()
    client = first.client()
    for name in names:
        client.create_stream(StreamName=name, **members)
    first.stop()
    return daemon_factory("--transition-ms", HELD_MS, data=first.data)


def committed_daemon(daemon_factory: Callable[..., Daemon], *flags: str) -> Daemon:
    """Start a daemon whose account has committed itself to a minimum throughput."""
    daemon = daemon_factory(*flags)
    daemon.client().update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    return daemon
