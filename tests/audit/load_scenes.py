"""The scenes of a load audit: each is what clients do to a daemon, well-meaning or not, for some seconds.

A scene is given the port, how long it lasts, its chance and a tally, and ends when all of its clients have gone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import orjson

from tests.audit.load_clients import CUT, Line, Tally, get_of, iterator_of, pause, put_of, puts_of
from tests.server.connections import JSON, head_of

__all__ = ["SCENES", "Scene", "Setting"]

_KIB = 1024
_ANNOUNCED = {"Content-Type": JSON, "Content-Length": str(13 * 1024 * _KIB)}
_TRICKLE_PAUSE_S = 0.2
_SHARD_COUNT = 4
_CUT_OFF = "cut off, having taken nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a scene plays, and how long."""

    port: int
    seconds: float
    random: Random
    tally: Tally

    def line(self) -> Line:
        """Give a connection that is not open yet."""
        return Line(self.port, self.tally)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is done, by how many connections at a time, and what they may be answered."""

    name: str
    client_count: int
    play: Callable[[Setting, int], Awaitable[None]]
    allowed: frozenset[str] = frozenset({"200"})
    has_slow_disk: bool = False


async def _many_connections(setting: Setting, count: int) -> None:
    """Keep many connections open and put over each in turn, all at the same time."""
    await _keep_asking(setting, count, lambda number: put_of(100, str(number)))


async def _slow_loris(setting: Setting, count: int) -> None:
    """Begin heads and bodies, and send a byte now and then."""
    until_s = time.monotonic() + setting.seconds

    async def trickle(number: int) -> None:
        line = setting.line()
        writer = await line.open()
        # Heads, small bodies, and large ones of which a good part comes at once.
        begun = head_of("PutRecords", _ANNOUNCED) + b" " * (number % 3 * 300 * _KIB)
        writer.write(begun[: 20 + number % 60] if number % 3 == 0 else begun)
        answer = asyncio.ensure_future(line.answer())
        while not answer.done() and time.monotonic() < until_s:
            writer.write(b"x")
            await asyncio.wait([answer], timeout=_TRICKLE_PAUSE_S)
        if answer.done():
            what = CUT if answer.exception() is not None else answer.result()[0]
            setting.tally.answers[what] += 1
        else:
            setting.tally.answers["still waited for"] += 1
        answer.cancel()
        line.close()

    await _all(trickle, count)


async def _large_bodies(setting: Setting, count: int) -> None:
    """Send bodies of ten megabytes of data, all at once, again and again."""
    request = puts_of(10, 1024 * _KIB - _KIB)
    await _keep_asking(setting, count, lambda _: request)


async def _fast_producers(setting: Setting, count: int) -> None:
    """Put a megabyte at a time from many connections, far faster than the disk."""
    await _keep_asking(setting, count, lambda number: put_of(1_000_000, str(number)))


async def _vanishing_clients(setting: Setting, count: int) -> None:
    """Hang up anywhere in a head or body, or behind it, gently or with a reset; then come again."""
    until_s = time.monotonic() + setting.seconds
    requests = [put_of(100), put_of(40_000), puts_of(5, 300_000)]

    async def come_and_go(_: int) -> None:
        while time.monotonic() < until_s:
            line = setting.line()
            writer = await line.open()
            request = setting.random.choice(requests)
            writer.write(request[: setting.random.randrange(1, len(request) + 1)])
            await pause(setting.random.choice((0, 0, 0.01)))
            line.close(rudely=setting.random.random() < 0.5)
            setting.tally.answers["vanished"] += 1

    await _all(come_and_go, count)


async def _slow_readers(setting: Setting, count: int) -> None:
    """Ask for ten megabytes over every connection and take nothing; one client beside reads as it should."""
    until_s = time.monotonic() + setting.seconds
    filling = setting.line()
    for _ in range(_SHARD_COUNT):
        await filling.ask(puts_of(10, 1024 * _KIB - _KIB))
    iterators = [orjson.loads(await filling.ask(iterator_of(index)))["ShardIterator"] for index in range(_SHARD_COUNT)]
    filling.close()

    async def stare(number: int) -> None:
        line = setting.line()
        writer = await line.open(takes_little=True)
        writer.write(get_of(iterators[number % len(iterators)]))
        while time.monotonic() < until_s:
            await pause(_TRICKLE_PAUSE_S)
        await line.settle(unless=_CUT_OFF)
        line.close()

    async def read() -> None:
        line = setting.line()
        while time.monotonic() < until_s:
            await line.ask(get_of(setting.random.choice(iterators)))
        line.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await _all(stare, count)


async def _keep_asking(setting: Setting, count: int, request_of: Callable[[int], bytes]) -> None:
    """Ask over each connection its own request, again and again, once at least."""
    until_s = time.monotonic() + setting.seconds

    async def go_on(number: int) -> None:
        line = setting.line()
        while True:
            await line.ask(request_of(number))
            if time.monotonic() > until_s:
                break
        line.close()

    await _all(go_on, count)


async def _all(play: Callable[[int], Awaitable[None]], count: int) -> None:
    async def one(number: int) -> None:
        await play(number)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


_REFUSALS = frozenset({"200", "503 ServiceUnavailable"})

SCENES = (
    Scene(name="many connections", client_count=2_000, play=_many_connections),
    Scene(
        name="slow-loris",
        client_count=300,
        play=_slow_loris,
        allowed=frozenset({"408", "still waited for"}),
    ),
    Scene(name="bodies of 10 MB at once", client_count=64, play=_large_bodies, allowed=_REFUSALS),
    Scene(name="faster than the disk", client_count=256, play=_fast_producers, allowed=_REFUSALS, has_slow_disk=True),
    Scene(
        name="slow readers",
        client_count=400,
        play=_slow_readers,
        allowed=frozenset({"200", "400 ProvisionedThroughputExceededException", _CUT_OFF}),
    ),
    Scene(name="vanishing clients", client_count=100, play=_vanishing_clients, allowed=frozenset({"vanished"})),
)
