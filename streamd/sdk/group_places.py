"""Moving a whole group: back to the oldest record, to the newest, or to a time.

A group that is moved reads on from there at once, whether its members run or not: each lease loses its owner, so what
is still in a member's hands can no longer be checkpointed, and is delivered again by whoever takes the lease next.
"""

import time
from collections.abc import Collection

from streamd.core.lease import TRIM_HORIZON, Place, place_at_time
from streamd.errors import GroupNotFound
from streamd.sdk.leases import LeaseStore

__all__ = ["reset_group", "seek_group"]


async def seek_group(
    store: LeaseStore, stream: str, group: str, *, time_ms: int, shard_ids: Collection[str] | None = None
) -> list[str]:
    """Have a group read on from the first records that arrived then (milliseconds since 1970) or later.

    A time to come is now: what arrives from this moment on is read. ``shard_ids`` are all of the group's where they are
    not given. Gives the shards that were moved. Raises GroupNotFound.
    """
    now_ms = time.time_ns() // 1_000_000
    return await _move(store, stream, group, place_at_time(min(time_ms, now_ms)), shard_ids)


async def reset_group(
    store: LeaseStore, stream: str, group: str, *, shard_ids: Collection[str] | None = None
) -> list[str]:
    """Have a group read everything again, from the oldest records that there are. As ``seek_group``."""
    return await _move(store, stream, group, TRIM_HORIZON, shard_ids)


async def _move(
    store: LeaseStore, stream: str, group: str, place: Place, shard_ids: Collection[str] | None
) -> list[str]:
    leases = (await store.snapshot(stream, group)).leases
    wanted = [lease.shard_id for lease in leases if shard_ids is None or lease.shard_id in shard_ids]
    missing = sorted(set(shard_ids or ()) - set(wanted))
    if missing:
        raise GroupNotFound(f"{group} with a lease of {missing[0]}")
    return await store.seek(stream, group, place_by_shard=dict.fromkeys(wanted, place))
