"""A worker of a simulated server: the real engine, store and committer, and the calls that it is answering."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from streamd.config import AccountConfig
from streamd.engine.engine import Engine
from streamd.engine.retention import Janitor
from streamd.engine.subscriptions import SubscriptionRules
from streamd.errors import StoreFailed
from streamd.kinesis.operation import KinesisDialect
from streamd.metrics import Metrics
from streamd.server.auth import Authenticator
from streamd.storage.counters import Counters
from streamd.storage.signals import Bells
from streamd.storage.store import Store
from tests.simulation.environment import MemoryEnvironment
from tests.simulation.loop import SeededLoop
from tests.simulation.turns import SeededTurns
from tests.simulation.world import World

__all__ = ["Worker"]

T = TypeVar("T")
_SECRET = bytes(32)
# Short, so that much happens in a short life.
_RULES = SubscriptionRules(duration_ms=60_000, guard_ms=5, idle_ms=20)


class Worker:
    """A running worker. Make it on its loop."""

    def __init__(
        self, world: World, loop: SeededLoop, metrics: Metrics, counters: Counters, bells: Bells, number: int
    ) -> None:
        self._loop = loop
        self._is_alive = True
        # Not a set, which has an order that no seed decides.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._turns = SeededTurns(loop, world.random)
        self._environment = MemoryEnvironment(world.disk, size_max=world.size_max, pause=self._turns.pause)
        self.failures: list[StoreFailed] = []
        self.store = Store(
            self._environment,
            now_ms=world.now_ms,
            metrics=metrics,
            on_failure=self._failed,
            bells=bells,
            worker=number,
            turns=self._turns,
        )
        engine = Engine.on(
            self.store,
            counters=counters,
            clock=world,
            metrics=metrics,
            account=AccountConfig(limits_mode="off", transition_ms=world.transition_ms),
            master_key=lambda: _SECRET,
            token_secret=_SECRET,
            rules=_RULES,
        )
        self.dialect = KinesisDialect(engine, Authenticator(None, world.now_ms, region="us-east-1"))
        self.janitor = Janitor(self.store, engine.streams, engine.resharder, world, metrics)

    @property
    def bug(self) -> BaseException | None:
        """Why its committer ended, where that was neither a failure nor its end."""
        return self._turns.bug

    def begin(self, run: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do something for as long as the worker lives."""
        task = self._loop.create_task(run)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def stop(self) -> None:
        """End its committer where it stands."""
        self._is_alive = False
        self._turns.stop()

    def kill(self) -> None:
        """End it where it stands, while the other workers and the power stay."""
        is_writing = self._environment.is_writing
        self.stop()
        if is_writing:
            self._environment.writer_was_killed()
        for task in self._tasks:
            task.cancel()

    def _failed(self, failure: StoreFailed) -> None:
        if self._is_alive:
            self.failures.append(failure)
