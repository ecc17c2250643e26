"""Stores of leases beside a plain model: members that join, take, store, give up, are thrown out and die, in any order.

After each step the group must be what the model says, and what was refused must have been refused there too. For a
streamd one of the steps is `kill -9` and a new start; in a table of DynamoDB it is a new client.
"""

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Start
from streamd.errors import GroupNotFound, LeaseLost, PlaceBehind, StreamdError
from streamd.sdk.leases_dynamodb import DynamoDBLeases
from tests.sdk.lease_backends import Backend, DynamoDBBackend, MemoryBackend, StreamdBackend

__all__: list[str] = []

T = TypeVar("T")
_SHARDS = [f"shardId-{index:012d}" for index in range(3)]
_PARENTS = {_SHARDS[2]: (_SHARDS[0], _SHARDS[1])}
_GROUPS = st.sampled_from(["g", "g", "g", "h"])
_MEMBERS = st.sampled_from(["a", "b", "c"])
_SHARD = st.sampled_from(_SHARDS)
_SOME_SHARDS = st.lists(_SHARD, min_size=1, max_size=3, unique=True)
_TIME = "AT:1764240000000"
_STARTS = st.sampled_from([TRIM_HORIZON, _TIME])
# By how much the epoch that is said is off.
_OFFS = st.sampled_from([0, 0, 0, 0, 1, -1])
# A number is which of a shard's sequence numbers is meant.
_PLACES = st.sampled_from([0, 1, 2, 0, 1, 2, TRIM_HORIZON, _TIME, AT_END])
_RESTART_COUNT_MAX = 2


@dataclass
class _ModelLease:
    place: str
    parent_ids: tuple[str, ...]
    owner: str | None = None
    epoch: int = 0


@dataclass
class _ModelGroup:
    start: str
    beats: dict[str, int] = field(default_factory=dict)
    leases: dict[str, _ModelLease] = field(default_factory=dict)


class LeaseMachine(RuleBasedStateMachine):
    """One stream's groups, in a store and in dictionaries."""

    def __init__(self, runner: asyncio.Runner, backend: Backend) -> None:
        super().__init__()
        self._runner = runner
        self._backend = backend
        self._stream = f"s-{uuid.uuid4().hex[:12]}"
        self._groups: dict[str, _ModelGroup] = {}
        self._restart_count = 0
        self._store, self._numbers = runner.run(backend.open(self._stream))

    def teardown(self) -> None:
        """Give back what is open."""
        self._runner.run(self._backend.close())

    @initialize(start=_STARTS)
    def begin(self, start: str) -> None:
        """Have a group with leases from the beginning: most runs are about those."""
        self.open_group("g", start)
        self.add("g", _SHARDS, TRIM_HORIZON)

    @rule(group=_GROUPS, start=_STARTS)
    def open_group(self, group: str, start: str) -> None:
        """Make a group, or find it where it began."""
        told = self._ask(self._store.open_group(self._stream, group, start=Start(place=start)))

        model = self._groups.setdefault(group, _ModelGroup(start))
        assert told == Start(place=model.start)

    @rule(group=_GROUPS, member_id=_MEMBERS)
    def beat(self, group: str, member_id: str) -> None:
        """Whoever beats is a member."""
        told = self._try(group, self._store.beat(self._stream, group, member_id=member_id, about="somewhere"))

        if told is not None:
            beats = self._groups[group].beats
            beats[member_id] = beats.get(member_id, 0) + 1
            assert {member.member_id: member.beat for member in told.members} == beats

    @rule(group=_GROUPS, shard_ids=_SOME_SHARDS, start=_STARTS)
    def add(self, group: str, shard_ids: list[str], start: str) -> None:
        """Only shards without a lease get one."""
        leases = [
            Lease(shard_id=shard_id, parent_ids=_PARENTS.get(shard_id, ()), owner=None, epoch=0, place=start)
            for shard_id in shard_ids
        ]

        self._try(group, self._store.add_leases(self._stream, group, leases=leases))

        if group in self._groups:
            for lease in leases:
                self._groups[group].leases.setdefault(lease.shard_id, _ModelLease(start, lease.parent_ids))

    @rule(group=_GROUPS, shard_id=_SHARD, member_ids=st.lists(_MEMBERS, min_size=1, max_size=3, unique=True), off=_OFFS)
    def acquire(self, group: str, shard_id: str, member_ids: list[str], off: int) -> None:
        """Of members that ask at once, one gets the lease if it still has that epoch; who just got it has it still."""
        model = self._lease(group, shard_id)
        epoch = max(0, (0 if model is None else model.epoch) + off)

        async def grab(member_id: str) -> Lease | None:
            try:
                return await self._store.acquire(
                    self._stream, group, shard_id=shard_id, member_id=member_id, epoch=epoch
                )
            except LeaseLost:
                return None

        async def grab_all() -> list[Lease | None]:
            if isinstance(self._store, DynamoDBLeases):
                # moto's threads decide conditions at the same time and let two win, which DynamoDB does not.
                return [await grab(member_id) for member_id in member_ids]
            return await asyncio.gather(*[grab(member_id) for member_id in member_ids])

        told = self._try(group, grab_all())

        if told is None:
            return
        won = [lease for lease in told if lease is not None]
        if model is not None and model.epoch == epoch:
            (lease,) = won
            model.owner, model.epoch = lease.owner, epoch + 1
            assert lease.owner in member_ids
        elif model is not None and model.epoch == epoch + 1 and model.owner in member_ids:
            (lease,) = won
        else:
            assert won == []
            return
        assert (lease.owner, lease.epoch, lease.place) == (model.owner, model.epoch, model.place)

    @rule(group=_GROUPS, shard_id=_SHARD, member_id=_MEMBERS, off=_OFFS, place=_PLACES, release=st.booleans())
    def checkpoint(
        self, group: str, shard_id: str, member_id: str, off: int, place: int | str, *, release: bool
    ) -> None:
        """Say where a member is, mostly the owner, sometimes one that no longer is."""
        model = self._lease(group, shard_id)
        if off == 0 and model is not None and model.owner is not None:
            member_id = model.owner
        self._save(group, shard_id, member_id, off=off, place=place, release=release)

    @rule(group=_GROUPS, shard_id=_SHARD, member_id=_MEMBERS, place=_PLACES, release=st.booleans())
    def checkpoint_of_anybody(
        self, group: str, shard_id: str, member_id: str, place: int | str, *, release: bool
    ) -> None:
        """Say something with the right epoch, whoever it is."""
        self._save(group, shard_id, member_id, off=0, place=place, release=release)

    @rule(group=_GROUPS, shard_id=_SHARD, member_id=_MEMBERS, places=st.lists(_PLACES, min_size=1, max_size=3))
    def read(self, group: str, shard_id: str, member_id: str, places: list[int | str]) -> None:
        """Take a lease as a living member does, and store one place after another."""
        self.acquire(group, shard_id, [member_id], 0)
        for place in places:
            self._save(group, shard_id, member_id, off=0, place=place, release=False)

    @rule(group=_GROUPS, places=st.dictionaries(_SHARD, _PLACES, min_size=1))
    def seek(self, group: str, places: dict[str, int | str]) -> None:
        """Every lease that is there loses its owner."""
        place_by_shard = {shard_id: self._place(shard_id, place) for shard_id, place in places.items()}

        told = self._try(group, self._store.seek(self._stream, group, place_by_shard=place_by_shard))

        if told is not None:
            leases = self._groups[group].leases
            assert told == sorted(leases.keys() & places.keys())
            for shard_id in told:
                lease = leases[shard_id]
                lease.owner, lease.epoch, lease.place = None, lease.epoch + 1, place_by_shard[shard_id]

    @rule(group=_GROUPS, member_id=_MEMBERS)
    def leave(self, group: str, member_id: str) -> None:
        """Whoever leaves, or is thrown out, owns nothing."""
        self._try(group, self._store.leave(self._stream, group, member_id=member_id))

        if (model := self._groups.get(group)) is not None:
            model.beats.pop(member_id, None)
            for lease in model.leases.values():
                lease.owner = None if lease.owner == member_id else lease.owner

    @rule(group=_GROUPS, shard_ids=_SOME_SHARDS)
    def drop(self, group: str, shard_ids: list[str]) -> None:
        """Forget leases, there or not."""
        self._try(group, self._store.drop_leases(self._stream, group, shard_ids=shard_ids))

        if (model := self._groups.get(group)) is not None:
            for shard_id in shard_ids:
                model.leases.pop(shard_id, None)

    @rule(group=_GROUPS)
    def delete(self, group: str) -> None:
        """Forget a group."""
        self._try(group, self._store.delete_group(self._stream, group))

        self._groups.pop(group, None)

    @rule()
    @precondition(lambda self: self._restart_count < _RESTART_COUNT_MAX)
    def restart(self) -> None:
        """End whatever keeps the leases, at once."""
        self._restart_count += 1

        self._store = self._ask(self._backend.restart())

    @invariant()
    def the_groups_are_the_models(self) -> None:
        """Compare everything."""
        assert self._ask(self._store.groups(self._stream)) == sorted(self._groups)
        for group, model in self._groups.items():
            seen = self._ask(self._store.snapshot(self._stream, group))
            assert seen.start == Start(place=model.start)
            assert {member.member_id: member.beat for member in seen.members} == model.beats
            assert {lease.shard_id: lease for lease in seen.leases} == {
                shard_id: Lease(
                    shard_id=shard_id,
                    parent_ids=lease.parent_ids,
                    owner=lease.owner,
                    epoch=lease.epoch,
                    place=lease.place,
                )
                for shard_id, lease in model.leases.items()
            }

    def _save(self, group: str, shard_id: str, member_id: str, *, off: int, place: int | str, release: bool) -> None:
        model = self._lease(group, shard_id)
        epoch = max(0, (0 if model is None else model.epoch) + off)
        text = self._place(shard_id, place)

        refusal = self._refusal(
            self._store.checkpoint(
                self._stream,
                group,
                shard_id=shard_id,
                member_id=member_id,
                epoch=epoch,
                place=text,
                release=release,
            )
        )

        if group not in self._groups:
            assert isinstance(refusal, GroupNotFound)
        elif model is not None and release and (model.owner, model.epoch, model.place) == (None, epoch, text):
            assert refusal is None
        elif model is None or (model.owner, model.epoch) != (member_id, epoch):
            assert isinstance(refusal, LeaseLost)
        elif _rank(text) < _rank(model.place):
            assert isinstance(refusal, PlaceBehind)
        else:
            assert refusal is None
            model.place, model.owner = text, None if release else member_id

    def _lease(self, group: str, shard_id: str) -> _ModelLease | None:
        model = self._groups.get(group)
        return None if model is None else model.leases.get(shard_id)

    def _place(self, shard_id: str, place: int | str) -> str:
        return place if isinstance(place, str) else self._numbers[shard_id][place]

    def _ask(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    def _try(self, group: str, call: Coroutine[Any, Any, T]) -> T | None:
        """Ask something of a group; None where there is none, which must then be what was said."""
        if group in self._groups:
            return self._ask(call)
        assert isinstance(self._refusal(call), GroupNotFound)
        return None

    def _refusal(self, call: Coroutine[Any, Any, object]) -> StreamdError | None:
        try:
            self._ask(call)
        except StreamdError as error:
            return error
        return None


def _rank(place: str) -> int:
    """Tell how far a place is: what is no number lies before all or behind all."""
    return int(place) if place.isdigit() else 10**60 if place == AT_END else 0


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Give a loop in which a machine asks."""
    with asyncio.Runner() as running:
        yield running


def _run(runner: asyncio.Runner, backend: Backend, *, example_count: int) -> None:
    class Machine(LeaseMachine):
        def __init__(self) -> None:
            super().__init__(runner, backend)

    run_machine(
        Machine,
        settings=settings(
            max_examples=example_count,
            stateful_step_count=30,
            deadline=None,
            # A step of a real store takes too long for a search for the shortest way to a failure.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_leases_in_memory_are_the_models(runner: asyncio.Runner) -> None:
    _run(runner, MemoryBackend(), example_count=200)


def test_leases_in_a_table_of_dynamodb_are_the_models(runner: asyncio.Runner, moto_url: str) -> None:
    _run(runner, DynamoDBBackend(moto_url), example_count=15)


@pytest.mark.timeout(300)
def test_leases_in_a_streamd_that_is_killed_now_and_then_are_the_models(runner: asyncio.Runner, tmp_path: Path) -> None:
    backend = StreamdBackend(tmp_path / "data")
    try:
        _run(runner, backend, example_count=15)
    finally:
        backend.stop()
