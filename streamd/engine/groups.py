"""Groups of readers: members, leases and places, kept in the catalog, each change decided by compare-and-set.

A lease is a document of its own, so that the checkpoints of different shards never meet. A group's document holds an
identity that is part of the keys of everything below it: a group that was deleted and made again finds nothing of the
one before, whatever was written at the same moment. Any worker serves any member, and none remembers anything.

    group/NUMBER/NAME                       where it began, its identity
    grouped/NUMBER/NAME/IDENTITY/lease/ID   a shard's lease
    grouped/NUMBER/NAME/IDENTITY/member/ID  a member

NUMBER is the stream's own, which no other stream ever gets.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import orjson

from streamd.core.lease import Lease, Member, Place, Snapshot, Start, is_behind
from streamd.core.limits import GROUP_COUNT_MAX, LEASE_COUNT_MAX, MEMBER_COUNT_MAX
from streamd.errors import CatalogConflict, GroupFull, GroupNotFound, LeaseLost, PlaceBehind
from streamd.storage.store import Store

__all__ = ["Groups", "forget_groups"]

T = TypeVar("T")

_PREFIX: Final = "group/"
_BELOW: Final = "grouped/"
_IDENTITY_BYTE_COUNT: Final = 8
# Changes of one call that are under way at once, so that they share commits.
_CHANGE_COUNT_MAX: Final = 256


class Groups:
    """The groups of a store's streams; a stream is named by its number."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, number: int, group: str, *, start: Start) -> Start:
        """Make a group, or find it as it is; where it began. Raises GroupFull when the stream has too many."""
        key = f"{_PREFIX}{number}/{group}"
        while True:
            if (found := await self._store.get(key)) is not None:
                return Start(place=orjson.loads(found.content)["start"])
            if len(await self.names(number, limit=GROUP_COUNT_MAX)) >= GROUP_COUNT_MAX:
                raise GroupFull(f"a stream has {GROUP_COUNT_MAX} groups at most")
            content = {"start": start.place, "identity": secrets.token_hex(_IDENTITY_BYTE_COUNT)}
            try:
                await self._store.compare_and_set(key, orjson.dumps(content), expected=None)
            except CatalogConflict:
                continue
            return start

    async def names(self, number: int, *, after: str = "", limit: int) -> list[str]:
        """List a stream's groups, in order of name."""
        return await self._store.scan(f"{_PREFIX}{number}/", after=after, limit=limit)

    async def snapshot(self, number: int, group: str) -> Snapshot:
        """Give a group as it is at one moment. Raises GroupNotFound."""
        start, prefix = await self._find(number, group)
        members: list[Member] = []
        leases: list[Lease] = []
        # Those who join at one moment may be a few more than the bound: they are seen, so that they can be forgotten.
        for document in await self._store.documents(prefix, limit=2 * (LEASE_COUNT_MAX + MEMBER_COUNT_MAX)):
            kind, _, identity = document.key.removeprefix(prefix).partition("/")
            told = orjson.loads(document.content)
            if kind == "lease":
                leases.append(_lease(identity, told))
            else:
                members.append(Member(member_id=identity, beat=told["beat"], about=told["about"]))
        return Snapshot(start=start, members=tuple(members), leases=tuple(leases))

    async def beat(self, number: int, group: str, *, member_id: str, about: str) -> Snapshot:
        """Raise a member's beat, or have it join; the group as it is then. Raises GroupNotFound and GroupFull."""
        _, prefix = await self._find(number, group)

        def decide(told: dict[str, Any] | None) -> dict[str, Any]:
            return {"beat": 1 if told is None else told["beat"] + 1, "about": about}

        key = f"{prefix}member/{member_id}"
        if await self._store.version(key) is None:
            present = await self._store.scan(f"{prefix}member/", limit=MEMBER_COUNT_MAX)
            if len(present) >= MEMBER_COUNT_MAX:
                raise GroupFull(f"a group has {MEMBER_COUNT_MAX} members at most")
        await self._change(key, decide)
        return await self.snapshot(number, group)

    async def add_leases(self, number: int, group: str, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none. Raises GroupNotFound and GroupFull."""
        _, prefix = await self._find(number, group)
        present = set(await self._store.scan(f"{prefix}lease/", limit=LEASE_COUNT_MAX))
        new = [lease for lease in leases if lease.shard_id not in present]
        if len(present) + len(new) > LEASE_COUNT_MAX:
            raise GroupFull(f"a group has {LEASE_COUNT_MAX} leases at most")

        async def add(lease: Lease) -> None:
            await self._change(f"{prefix}lease/{lease.shard_id}", lambda told: told or _row(lease))

        await _together(new, add)

    async def acquire(self, number: int, group: str, *, shard_id: str, member_id: str, epoch: int) -> Lease:
        """Take a lease that still has this epoch; it gets the next. Raises GroupNotFound and LeaseLost."""

        def decide(lease: Lease) -> Lease:
            if (lease.owner, lease.epoch) == (member_id, epoch + 1):
                # Asked again, since the first answer was lost.
                return lease
            if lease.epoch != epoch:
                raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
            return replace(lease, owner=member_id, epoch=epoch + 1)

        return await self._change_lease(number, group, shard_id, decide, member_id=member_id, epoch=epoch)

    async def checkpoint(
        self, number: int, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool
    ) -> None:
        """Move an owner's place, and perhaps give the lease up. Raises GroupNotFound, LeaseLost and PlaceBehind."""

        def decide(lease: Lease) -> Lease:
            if release and (lease.owner, lease.epoch, lease.place) == (None, epoch, place):
                # Asked again, since the first answer was lost.
                return lease
            if (lease.owner, lease.epoch) != (member_id, epoch):
                raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
            if is_behind(place, lease.place):
                raise PlaceBehind(shard_id, place=place)
            return replace(lease, place=place, owner=None if release else member_id)

        await self._change_lease(number, group, shard_id, decide, member_id=member_id, epoch=epoch)

    async def seek(self, number: int, group: str, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move the places of leases, those that are there: each loses its owner and gets the next epoch.

        Gives the shards that were moved, sorted. Raises GroupNotFound.
        """
        _, prefix = await self._find(number, group)
        moved: list[str] = []

        async def move(shard_id: str) -> None:
            def decide(told: dict[str, Any] | None) -> dict[str, Any] | None:
                if told is None:
                    return None
                return told | {"owner": None, "epoch": told["epoch"] + 1, "place": place_by_shard[shard_id]}

            if await self._change(f"{prefix}lease/{shard_id}", decide) is not None:
                moved.append(shard_id)

        await _together(place_by_shard, move)
        return sorted(moved)

    async def leave(self, number: int, group: str, *, member_id: str) -> None:
        """Forget a member, and give up every lease that it owns. Raises GroupNotFound."""
        _, prefix = await self._find(number, group)
        await self._change(f"{prefix}member/{member_id}", lambda _: None)
        leases = (await self.snapshot(number, group)).leases

        async def give_up(shard_id: str) -> None:
            await self._change(f"{prefix}lease/{shard_id}", lambda told: _without_owner(told, member_id))

        await _together([lease.shard_id for lease in leases if lease.owner == member_id], give_up)

    async def drop_leases(self, number: int, group: str, shard_ids: Sequence[str]) -> None:
        """Forget leases; missing ones are no error. Raises GroupNotFound."""
        _, prefix = await self._find(number, group)

        async def drop(shard_id: str) -> None:
            await self._change(f"{prefix}lease/{shard_id}", lambda _: None)

        await _together(set(shard_ids), drop)

    async def delete(self, number: int, group: str) -> None:
        """Forget a group and everything below it. Raises GroupNotFound."""
        await self._find(number, group)
        # First the group: whoever comes from now on finds none, and what is still written below is of a dead identity.
        await _remove(self._store, f"{_PREFIX}{number}/{group}")
        await _remove_below(self._store, f"{_BELOW}{number}/{group}/")

    async def _find(self, number: int, group: str) -> tuple[Start, str]:
        """Give where a group began, and what the keys of everything below it begin with. Raises GroupNotFound."""
        document = await self._store.get(f"{_PREFIX}{number}/{group}")
        if document is None:
            raise GroupNotFound(group)
        told = orjson.loads(document.content)
        return Start(place=told["start"]), f"{_BELOW}{number}/{group}/{told['identity']}/"

    async def _change_lease(
        self,
        number: int,
        group: str,
        shard_id: str,
        decide: Callable[[Lease], Lease],
        *,
        member_id: str,
        epoch: int,
    ) -> Lease:
        _, prefix = await self._find(number, group)

        def decide_row(told: dict[str, Any] | None) -> dict[str, Any]:
            if told is None:
                raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
            return _row(decide(_lease(shard_id, told)))

        row = await self._change(f"{prefix}lease/{shard_id}", decide_row)
        assert row is not None, "a lease that was decided on is there"
        return _lease(shard_id, row)

    async def _change(
        self, key: str, decide: Callable[[dict[str, Any] | None], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Change a document (None: there is none) by a decision, made again when another change came first."""
        while True:
            document = await self._store.get(key)
            present = None if document is None else orjson.loads(document.content)
            wanted = decide(present)
            if wanted == present:
                return wanted
            content = None if wanted is None else orjson.dumps(wanted)
            try:
                await self._store.compare_and_set(key, content, expected=None if document is None else document.version)
            except CatalogConflict:
                continue
            return wanted


async def forget_groups(store: Store, number: int) -> None:
    """Remove all groups of a stream that is gone."""
    await _remove_below(store, f"{_PREFIX}{number}/")
    await _remove_below(store, f"{_BELOW}{number}/")


async def _remove_below(store: Store, prefix: str) -> None:
    while names := await store.scan(prefix, limit=_CHANGE_COUNT_MAX):
        await _together(names, lambda name: _remove(store, prefix + name))


async def _together(things: Iterable[T], run: Callable[[T], Awaitable[None]]) -> None:
    """Do something to each, many at once, so that their changes share commits. Raises what the first failure was."""
    waiting = list(things)
    while waiting:
        now, waiting = waiting[:_CHANGE_COUNT_MAX], waiting[_CHANGE_COUNT_MAX:]
        await asyncio.gather(*[run(thing) for thing in now])


async def _remove(store: Store, key: str) -> None:
    while (version := await store.version(key)) is not None:
        try:
            await store.compare_and_set(key, None, expected=version)
        except CatalogConflict:
            continue


def _row(lease: Lease) -> dict[str, Any]:
    return {"parents": list(lease.parent_ids), "owner": lease.owner, "epoch": lease.epoch, "place": lease.place}


def _lease(shard_id: str, row: Mapping[str, Any]) -> Lease:
    return Lease(
        shard_id=shard_id,
        parent_ids=tuple(row["parents"]),
        owner=row["owner"],
        epoch=row["epoch"],
        place=row["place"],
    )


def _without_owner(row: dict[str, Any] | None, member_id: str) -> dict[str, Any] | None:
    return row | {"owner": None} if row is not None and row["owner"] == member_id else row
