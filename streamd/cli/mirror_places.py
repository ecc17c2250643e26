"""How far a mirror came, in a SQLite file of the user's: for sources whose server keeps no groups, like AWS."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from streamd.core.lease import Lease, Place, Start
from streamd.errors import ConfigInvalid
from streamd.sdk.leases_memory import MemoryLeases

__all__ = ["FileLeases"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS start (source TEXT PRIMARY KEY, place TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS lease (
    source TEXT NOT NULL, shard TEXT NOT NULL, parents TEXT NOT NULL, place TEXT NOT NULL, PRIMARY KEY (source, shard)
);
"""


class FileLeases(MemoryLeases):
    """Leases of the one process that has the file, whose places are in it: durable when a checkpoint returns."""

    def __init__(self, path: Path, source: str) -> None:
        """Open the file, or make it; ``source`` names what is copied to where. Raises ConfigInvalid."""
        super().__init__()
        self._path = path
        self._source = source
        try:
            with closing(self._connect()) as database:
                database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ConfigInvalid(f"{path} is no file of a mirror's places: {error}") from error

    async def open_group(self, stream: str, group: str, *, start: Start) -> Start:
        """Make the group as the file knows it, or as it begins."""
        rows = await self._run("SELECT place FROM start WHERE source = ?", self._source)
        if rows:
            start = Start(place=str(rows[0][0]))
        else:
            await self._run("INSERT INTO start VALUES (?, ?)", self._source, start.place)
        opened = await super().open_group(stream, group, start=start)
        known = await self._run("SELECT shard, parents, place FROM lease WHERE source = ?", self._source)
        leases = [
            Lease(shard_id=str(shard), parent_ids=tuple(str(parents).split()), owner=None, epoch=0, place=str(place))
            for shard, parents, place in known
        ]
        await super().add_leases(stream, group, leases=leases)
        return opened

    async def add_leases(self, stream: str, group: str, *, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none yet, in the file too."""
        for lease in leases:
            parents = " ".join(lease.parent_ids)
            await self._run(
                "INSERT OR IGNORE INTO lease VALUES (?, ?, ?, ?)", self._source, lease.shard_id, parents, lease.place
            )
        await super().add_leases(stream, group, leases=leases)

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move a place, in the file too. Raises LeaseLost, PlaceBehind and GroupNotFound."""
        await super().checkpoint(
            *(stream, group), shard_id=shard_id, member_id=member_id, epoch=epoch, place=place, release=release
        )
        await self._run("UPDATE lease SET place = ? WHERE source = ? AND shard = ?", place, self._source, shard_id)

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move places, in the file too; the shards that were moved."""
        moved = await super().seek(stream, group, place_by_shard=place_by_shard)
        for shard_id in moved:
            await self._run(
                *("UPDATE lease SET place = ? WHERE source = ? AND shard = ?", place_by_shard[shard_id]),
                *(self._source, shard_id),
            )
        return moved

    async def drop_leases(self, stream: str, group: str, *, shard_ids: Sequence[str]) -> None:
        """Forget leases, in the file too."""
        await super().drop_leases(stream, group, shard_ids=shard_ids)
        for shard_id in shard_ids:
            await self._run("DELETE FROM lease WHERE source = ? AND shard = ?", self._source, shard_id)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None)

    async def _run(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        """Run one statement, durably, on a thread. Raises ConfigInvalid when the file cannot be used."""

        def run() -> list[tuple[object, ...]]:
            with closing(self._connect()) as database:
                return database.execute(statement, values).fetchall()

        try:
            return await asyncio.to_thread(run)
        except sqlite3.Error as error:
            raise ConfigInvalid(f"{self._path} cannot be used: {error}") from error
