"""A seed's whole story: lives of a server, ended by power cuts and kills, and after each a reading of everything."""

import asyncio
from dataclasses import dataclass, field

from streamd.metrics import Metrics
from tests.simulation.clients import DOOMED, MAIN, Follower, Meddler, Producer, Reader, make_stream
from tests.simulation.disk import Lie
from tests.simulation.loop import SeededLoop
from tests.simulation.machine import Machine
from tests.simulation.members import Member, look_at_group
from tests.simulation.subscriber import Subscriber
from tests.simulation.walker import Walker
from tests.simulation.world import World

__all__ = ["Story", "tell"]

_STEP_COUNT_MAX = 200_000
_GENTLE_CHANCE = 0.5
_KILL_CHANCE = 0.4
_SET_CHANCE = 0.2


@dataclass(slots=True, kw_only=True)
class Story:
    """What came of a seed."""

    seed: int
    digest: str
    log: list[str]
    faults: list[str]
    figures: dict[str, int] = field(default_factory=dict)


class _Clients:
    """All clients of a story, and what they do in one life of the server."""

    def __init__(self, world: World) -> None:
        random = world.random
        self.world = world
        self.producers = [Producer(number, random.randrange(3, 9), world) for number in range(random.randrange(1, 4))]
        self.reader = Reader(world, random.randrange(1, 4))
        self.follower = Follower(world, random.randrange(1, 4))
        self.walker = Walker(world, random.randrange(0, 20))
        self.subscriber = Subscriber(world, random.randrange(0, 15))
        self.meddler = Meddler(world, random.randrange(0, 6))
        self.members = [Member(number, random.randrange(10, 30), world) for number in range(random.choice((0, 2, 3)))]

    async def run(self, machine: Machine) -> None:
        """Look at what is there, then do what is left to do."""
        await self._look(machine)
        if machine.failures:
            return
        machine.tidy()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reader.run(machine))
            group.create_task(self.follower.run(machine))
            group.create_task(self.subscriber.run(machine))
            group.create_task(self.walker.run(machine))
            group.create_task(self.meddler.run(machine))
            for member in self.members:
                group.create_task(member.run(machine))
            for producer in self.producers:
                group.create_task(producer.run(machine))
        await self.walker.walk_to_the_end(machine)
        if self.world.random.random() < _GENTLE_CHANCE:
            await machine.close()

    async def _look(self, machine: Machine) -> None:
        """Look whether everything is there that must be, before anybody does anything."""
        known = self.world.known
        for name in (MAIN, DOOMED):
            life = known.lives.get(name)
            while life is None or (name == MAIN and life.made_at is None):
                made = await make_stream(self.world, machine, name)
                if machine.failures:
                    return
                life = known.lives[name]
                if made.error == "ResourceInUseException":
                    # The server ended before the answer came.
                    known.note_made(life, active_ms=machine.now_ms() + self.world.transition_ms)
            if not await self.reader.read(machine, name) and life.made_at is not None and life.doomed_at is None:
                known.faults.append(f"stream {name} cannot be read")
        began = known.began(machine.now_ms())
        is_seen = not known.group.is_made or await look_at_group(self.world, machine) is not None
        if not is_seen and not known.may_be_new(known.lives[MAIN], began, now_ms=machine.now_ms()):
            known.faults.append("the group cannot be seen")


def tell(seed: int, metrics: Metrics, *, lie: Lie = Lie.NONE) -> Story:
    """Run a seed."""
    world = World(seed, lie)
    clients = _Clients(world)
    world.note(f"seed {seed}, {world.worker_count} workers, {len(clients.producers)} producers")
    planned = world.random.randrange(0, 5)
    ends = {"power cuts": 0, "kills": 0}
    while not _lived(world, clients, metrics, may_end=sum(ends.values()) >= planned, ends=ends):
        pass
    # A last life in which nothing is left to do: it only looks.
    _lived(world, clients, metrics, may_end=True, ends={})
    known = world.known
    figures = {
        **ends,
        "acknowledged records": known.acknowledged_count,
        "records read": known.read_count,
        "repeated puts": known.repeat_count,
        "looks at what must be encrypted": known.sealed_count,
        "events pushed": clients.subscriber.event_count,
        "keys followed into another shard": clients.walker.crossed_count,
        "checkpoints": known.group.checkpoint_count,
        "refused checkpoints": known.group.refused_count,
        "commits": world.disk.commit_count,
        **{f"meddling: {kind}": count for kind, count in sorted(clients.meddler.figures.items())},
    }
    return Story(seed=seed, digest=world.digest, log=world.log, faults=known.faults, figures=figures)


def _lived(world: World, clients: _Clients, metrics: Metrics, *, may_end: bool, ends: dict[str, int]) -> bool:
    """Live once; True when the clients came to their end, False when it was cut short; that is counted in ``ends``."""
    loop = world.loop = SeededLoop(  # type: ignore[abstract]  # it has the part of a loop that the server uses
        world.random, time_s=world.time_s, keeps_order=world.keeps_order
    )
    if world.random.random() < _SET_CHANCE:
        world.set_clock()
    world.note("power on")
    loop.step_count_max = _STEP_COUNT_MAX
    if not may_end:
        _plan_end(world, loop)
    asyncio._set_running_loop(loop)
    machine = Machine(world, loop, metrics)
    asyncio._set_running_loop(None)
    task = loop.create_task(clients.run(machine))
    is_done = loop.run(task)
    world.disk.on_written = lambda: None
    if is_done and not task.cancelled() and (error := task.exception()) is not None:
        world.known.faults.append(f"a client failed: {error!r}")
    elif not is_done and may_end:
        world.known.faults.append("the story does not end")
    kind = "kills" if world.random.random() < _KILL_CHANCE else "power cuts"
    machine.end(is_killed=kind == "kills")
    if kind == "power cuts":
        world.boot()
    for producer in clients.producers:
        producer.was_cut_off()
    world.known.look_at_disk(world.disk.content())
    world.known.group.server_ended(at=world.known.tick())
    world.note(f"the end, one of the {kind}")
    is_whole = is_done and not machine.failures
    if not is_whole:
        ends[kind] = ends.get(kind, 0) + 1
    return is_whole


def _plan_end(world: World, loop: SeededLoop) -> None:
    """Have it end at any step, or, since most of what can go wrong goes wrong there, around some commit."""
    if world.random.random() < 0.3:
        loop.end_within(int(world.random.expovariate(1 / 400)) + 20)
        return
    left = world.random.randrange(1, 20)

    def written() -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.end_within(world.random.randrange(1, 40))

    world.disk.on_written = written
