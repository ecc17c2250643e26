"""Which shards of a stream a mapping may read now: children only after their parents are done.

Done means that the shard ended and that all of it is durably finished in every lane. A parent that the stream no longer
lists holds nothing any more, and so holds nobody up. The child of a merge waits for both parents.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Lineage", "Succession", "succession"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A shard of the stream, and the shards it was made from."""

    shard_id: str
    parent_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """What follows for a mapping.

    ``ready`` may be read now, ``waiting`` are held up by a parent. ``forgotten`` have progress but are no longer in the
    stream: their progress may be removed.
    """

    ready: tuple[str, ...]
    waiting: tuple[str, ...]
    forgotten: tuple[str, ...]


def succession(shards: Iterable[Lineage], *, done: Collection[str], known: Collection[str] = ()) -> Succession:
    """Tell which shards may be read: ``done`` are the ids whose progress says so, ``known`` all ids with progress.

    A shard that existed when the mapping was made starts where the mapping's StartingPosition says (a closed one under
    LATEST is to be marked done then); every other starts at its first record, whatever the StartingPosition.
    """
    by_id = {shard.shard_id: shard for shard in shards}
    ready: list[str] = []
    waiting: list[str] = []
    for shard_id, shard in by_id.items():
        if shard_id in done:
            continue
        is_held_up = any(parent in by_id and parent not in done for parent in shard.parent_ids)
        (waiting if is_held_up else ready).append(shard_id)
    forgotten = tuple(shard_id for shard_id in known if shard_id not in by_id)
    return Succession(ready=tuple(ready), waiting=tuple(waiting), forgotten=forgotten)
