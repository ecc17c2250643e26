"""Members of a group while their clocks, and the server's, are set back an hour, forward a day, or stand still.

Who lives is told by beats, and each member counts by the time that passes for it how long another one was silent: no
jump of the clock has a shard taken from a member that lives, or leaves it with one that is dead.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from streamd.core.lease import TRIM_HORIZON, Lease, Snapshot, Start
from streamd.errors import LeaseLost
from streamd.sdk.client import KinesisClient
from streamd.sdk.leases_streamd import StreamdLeases
from tests.conftest import DaemonFactory
from tests.durability.wall_clock import MOVES, WallClock
from tests.sdk.consumers import client_at, made_stream, put

__all__: list[str] = []
STREAM, GROUP = "jumps", "chaos"
SHARD_COUNT = 4
TIMEOUT_S = 2.0
# As many as would be enough to take a member for dead, were the time between two looks taken from the moved clock.
BEAT_COUNT = 3
PAUSE_S = 0.02
LOOK_COUNT_MAX = 3000


class Group:
    """The group as the server knows it, and its members: processes that go by the moved clock."""

    def __init__(self, client: KinesisClient, clock: WallClock, folder: Path) -> None:
        self.client = client
        self.leases = StreamdLeases(client)
        self._clock = clock
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *, url: str) -> None:
        """Start a member."""
        command = [sys.executable, "-m", "tests.sdk.chaos_member", url, STREAM, name, self._log(name), str(TIMEOUT_S)]
        self._processes[name] = subprocess.Popen(command, env={**os.environ, **self._clock.environment})

    def kill(self, name: str) -> None:
        """End a member at once."""
        self._processes[name].kill()
        self._processes[name].wait()

    def kill_all(self) -> None:
        """End what is left of the members."""
        for name in self._processes:
            self.kill(name)

    async def until(self, is_so: Callable[[Snapshot], bool]) -> Snapshot:
        """Look at the group again and again until something is so."""
        never = asyncio.Event()
        for _ in range(LOOK_COUNT_MAX):
            snapshot = await self.leases.snapshot(STREAM, GROUP)
            if is_so(snapshot):
                return snapshot
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), PAUSE_S)
        raise AssertionError("what was awaited did not happen")

    async def more_beats(self) -> None:
        """Wait until each member has beaten some more."""
        before = _beats(await self.leases.snapshot(STREAM, GROUP))
        await self.until(lambda now: all(_beats(now)[name] >= beat + BEAT_COUNT for name, beat in before.items()))

    async def all_of(self, wanted: Collection[str]) -> None:
        """Wait until members were given all of these texts."""
        await self.until(lambda _: self._delivered().issuperset(wanted))

    def _delivered(self) -> set[str]:
        logs = [Path(self._log(name)).read_bytes() for name in self._processes]
        rows = [orjson.loads(line) for log in logs for line in log.split(b"\n")[:-1]]
        return {text for row in rows if row["kind"] == "delivered" for _, text in row["records"]}

    def _log(self, name: str) -> str:
        return str(self._folder / f"{name}.log")


@pytest.fixture
async def group(daemon_factory: DaemonFactory, clock: WallClock, tmp_path: Path) -> AsyncIterator[Group]:
    """Give a group of two members that have shared the shards."""
    daemon = daemon_factory(environment=clock.environment)
    async with client_at(daemon.url) as client:
        await made_stream(client, STREAM, shards=SHARD_COUNT)
        await StreamdLeases(client).open_group(STREAM, GROUP, start=Start(place=TRIM_HORIZON))
        made = Group(client, clock, tmp_path)
        try:
            for name in ("a", "b"):
                made.start(name, url=daemon.url)
            await made.until(lambda now: _owned_counts(now) == {"a": SHARD_COUNT // 2, "b": SHARD_COUNT // 2})
            yield made
        finally:
            made.kill_all()


async def test_jumps_take_no_lease_from_the_living_and_leave_none_with_the_dead(group: Group, clock: WallClock) -> None:
    shared = _leases(await group.leases.snapshot(STREAM, GROUP))
    wanted: list[str] = []

    for number, move in enumerate(MOVES.values()):
        move(clock)
        await group.more_beats()
        wanted += await put(group.client, STREAM, range(100 * number, 100 * (number + 1)))
        await group.all_of(wanted)
    after_jumps = await group.leases.snapshot(STREAM, GROUP)
    group.kill("b")
    taken = _leases(await group.until(lambda now: _owned_counts(now)["a"] == SHARD_COUNT))
    wanted += await put(group.client, STREAM, range(1000, 1100))
    await group.all_of(wanted)

    assert _holders(_leases(after_jumps)) == _holders(shared)
    for shard_id, lease in shared.items():
        if lease.owner == "b":
            assert taken[shard_id].epoch == lease.epoch + 1
            with pytest.raises(LeaseLost):
                await group.leases.checkpoint(
                    STREAM,
                    GROUP,
                    shard_id=shard_id,
                    member_id="b",
                    epoch=lease.epoch,
                    place=taken[shard_id].place,
                )


def _beats(snapshot: Snapshot) -> dict[str, int]:
    return {member.member_id: member.beat for member in snapshot.members}


def _owned_counts(snapshot: Snapshot) -> dict[str, int]:
    """Count the leases of the members that have any."""
    return Counter(lease.owner for lease in snapshot.leases if lease.owner is not None)


def _leases(snapshot: Snapshot) -> dict[str, Lease]:
    return {lease.shard_id: lease for lease in snapshot.leases}


def _holders(leases: dict[str, Lease]) -> dict[str, tuple[str | None, int]]:
    """Tell who holds each shard, and under which epoch."""
    return {shard_id: (lease.owner, lease.epoch) for shard_id, lease in leases.items()}
