"""The environments of all functions: runs invocations in them, starts and ends them, and never has too many.

An invocation takes the idle environment that was used last, else one that is on its way, else starts one, in whose
place an idle one of another function may have to go. When the last idle one of a function is taken, another is started
beside it, if there is room. Idle ones end after a while, and at once when their revision is gone.

``serve`` is the parent of all of them and must run; ``close`` ends them all within a bound.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from streamd.engine.clock import Clock
from streamd.errors import SandboxFailed
from streamd.functions.environments.environment import INIT_LIMIT_S, Environment
from streamd.functions.environments.launch import Launches
from streamd.functions.environments.pool import Key, Pool, key_of
from streamd.functions.environments.slots import Slots
from streamd.functions.environments.states import State
from streamd.functions.running import Finished, Invocation, Runnable, TakesLogs
from streamd.functions.sandbox.cells import Plan, Sandbox
from streamd.storage.runtime_folder import ScratchFolders

__all__ = ["Counts", "Environments"]

_PAUSE_S_MAX = 5.0
_END_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many environments a function has, by what they do; what was refused, and how many cold starts there were."""

    busy: int
    idle: int
    starting: int
    throttle_count: int
    cold_start_count: int


class Environments:
    """Runs functions: implements ``Runs``, and the ``Concurrency`` of the Lambda API."""

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        launches: Launches,
        scratches: ScratchFolders,
        logs: TakesLogs,
        clock: Clock,
        region: str,
        account_limit: int,
        idle_s: float,
        gateway: Callable[[], asyncio.Protocol] | None = None,
        has_spares: bool = True,
        init_limit_s: float = INIT_LIMIT_S,
        release: Callable[[Path], Awaitable[None]] | None = None,
    ) -> None:
        self.account_limit = account_limit
        self._sandbox = sandbox
        self._launches = launches
        self._scratches = scratches
        self._logs = logs
        self._clock = clock
        self._region = region
        self._idle_s = idle_s
        self._gateway = gateway
        self._has_spares = has_spares
        self._init_limit_s = init_limit_s
        self._release = release
        self._slots = Slots(account_limit)
        self._pools: dict[Key, Pool] = {}
        self._pool_of: dict[Environment, Pool] = {}
        self._cold_start_count_by_name: Counter[str] = Counter()
        self._group: asyncio.TaskGroup | None = None
        self._housed_count = 0
        self._is_open = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_closed = False

    async def serve(self) -> NoReturn:
        """Be the parent of all environments; end those that nobody needs, keep warm what should be."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._is_open.set()
            pause_s = min(_PAUSE_S_MAX, max(0.01, self._idle_s / 4))
            while True:
                await asyncio.sleep(pause_s)
                self._tend()
        raise AssertionError("the loop above has no end")

    async def run(self, runnable: Runnable, invocation: Invocation, *, may_wait: bool) -> Finished:
        """Run it once. Raises Throttled, unless the caller may wait; SandboxFailed when there can be no environment.

        Nothing is concurrently allowed at all (reserved 0): then it is Throttled even for who may wait.
        """
        if self._group is None:
            await self._is_open.wait()
        self._slots.reserve(runnable.name, runnable.reserved)
        await self._slots.claim(runnable.name, may_wait=may_wait)
        if self._is_closed:
            self._slots.release(runnable.name)
            raise SandboxFailed("the server is stopping")
        # From here on the slot is the environment's, which gives it back however this ends.
        return await self._taken(runnable).begin(invocation)

    def reserve(self, name: str, count: int | None) -> None:
        """Carve a function's reserved concurrency out of the account's, also while nobody calls it."""
        self._slots.reserve(name, count)

    def retire(self, name: str, keep_revisions: frozenset[str]) -> None:
        """End the environments of a function's other revisions: now, or once they have answered."""
        for key, pool in list(self._pools.items()):
            if key[0] != name or key[2] in keep_revisions:
                continue
            pool.is_retired = True
            pool.warm_count = 0
            for environment in list(pool.living):
                if not environment.has_turn:
                    self._stop(pool, environment)
            self._drop_if_empty(pool)

    def keep_warm(self, runnable: Runnable, count: int) -> None:
        """Keep this many environments of a version ready; 0 ends that."""
        for key, pool in list(self._pools.items()):
            if key[:2] == (runnable.name, runnable.version):
                pool.warm_count = 0
                self._drop_if_empty(pool)
        if count:
            pool = self._pool(runnable)
            pool.warm_count = count
            self._warm(pool)

    def provisioned(self, arn: str) -> int:
        """Tell how many environments of a version's ARN are ready, those in use included."""
        return sum(
            pool.ready_count
            for pool in self._pools.values()
            if pool.warm_count and arn == f"{pool.runnable.arn}:{pool.runnable.version}"
        )

    def counts(self) -> dict[str, Counts]:
        """Tell how things are, by function."""
        states = Counter((each.runnable.name, _shown(each)) for each in self._pool_of)
        throttles = self._slots.throttle_count_by_name
        cold_starts = self._cold_start_count_by_name
        names = {name for name, _ in states} | set(throttles) | set(cold_starts)
        return {
            name: Counts(
                busy=self._slots.busy(name),
                idle=states[name, State.IDLE],
                starting=states[name, State.STARTING],
                throttle_count=throttles[name],
                cold_start_count=cold_starts[name],
            )
            for name in names
        }

    async def close(self, *, patience_s: float = 2.0) -> None:
        """Take nothing more, give what is in hand this much time, and end everything."""
        self._is_closed = True
        self._slots.close()
        for environment, pool in list(self._pool_of.items()):
            pool.warm_count = 0
            if not environment.has_turn:
                self._stop(pool, environment)
        await self._wait_for_ends(patience_s)
        for environment, pool in list(self._pool_of.items()):
            self._stop(pool, environment)
        await self._wait_for_ends(_END_PATIENCE_S)

    # What environments say.

    def became_idle(self, environment: Environment) -> None:
        """Take one that is ready, and nobody's."""
        pool = self._pool_of[environment]
        if pool.is_retired or self._is_closed:
            self._stop(pool, environment)
        else:
            pool.add(environment, is_new=True)

    def freed(self, environment: Environment) -> None:
        """Take one back that has answered."""
        pool = self._pool_of[environment]
        if pool.is_retired or self._is_closed:
            environment.stop()
        else:
            pool.add(environment)
        self._slots.release(pool.runnable.name)

    def ended(self, environment: Environment) -> None:
        """Forget one."""
        pool = self._pool_of.pop(environment)
        pool.end(environment, asyncio.get_running_loop().time())
        self._drop_if_empty(pool)

    # Who takes which.

    def _taken(self, runnable: Runnable) -> Environment:
        pool = self._pool(runnable)
        environment = pool.take()
        if environment is None:
            self._make_room()
            environment = self._start(pool)
            self._cold_start_count_by_name[runnable.name] += 1
        elif self._has_spares and not pool.idle and not pool.starting:
            self._start_spare(pool)
        return environment

    def _pool(self, runnable: Runnable) -> Pool:
        key = key_of(runnable)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(runnable)
        return pool

    def _drop_if_empty(self, pool: Pool) -> None:
        key = key_of(pool.runnable)
        if pool.is_empty and self._pools.get(key) is pool:
            del self._pools[key]

    def _start(self, pool: Pool) -> Environment:
        assert self._group is not None, "environments have a parent"
        day = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).strftime("%Y/%m/%d")
        stream = f"{day}/[{pool.runnable.version}]{uuid.uuid4().hex}"
        scratch = self._scratches.place()
        is_provisioned = bool(pool.warm_count)

        async def plan() -> Plan:
            await self._scratches.make(scratch)
            return self._launches.plan(pool.runnable, scratch=scratch, stream=stream, is_provisioned=is_provisioned)

        environment = Environment(
            pool.runnable,
            stream=stream,
            plan=plan,
            sandbox=self._sandbox,
            owner=self,
            logs=self._logs,
            clock=self._clock,
            region=self._region,
            gateway=self._gateway,
            init_limit_s=self._init_limit_s,
        )
        pool.living.add(environment)
        self._pool_of[environment] = pool
        self._housed_count += 1
        self._group.create_task(self._house(environment, scratch))
        return environment

    async def _house(self, environment: Environment, scratch: Path) -> None:
        try:
            await environment.live()
        finally:
            try:
                if self._release is not None:
                    # A sandbox may have mounted something there, which has to go first.
                    await self._release(scratch)
                await self._scratches.remove(scratch)
            finally:
                self._housed_count -= 1
                self._changed.set()

    def _start_spare(self, pool: Pool) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._living_count() < self.account_limit and pool.may_prestart(now_s) and not self._is_closed:
            pool.starting.append(self._start(pool))

    def _living_count(self) -> int:
        return sum(each.state is not State.STOPPING for each in self._pool_of)

    def _make_room(self) -> None:
        """End the environment that was idle longest, when there are as many as there may be."""
        if self._living_count() < self.account_limit:
            return
        free = [(each, pool) for pool in self._pools.values() for each in (*pool.idle, *pool.starting)]
        if not free:
            return
        # Those kept warm go last; one that is only starting has cost least.
        environment, pool = min(
            free, key=lambda pair: (len(pair[1].living) <= pair[1].warm_count, pair[0].idle_since_s)
        )
        self._stop(pool, environment)

    def _stop(self, pool: Pool, environment: Environment) -> None:
        pool.forget(environment)
        environment.stop()

    def _tend(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for pool in list(self._pools.values()):
            for environment in pool.expired(now_s, self._idle_s):
                self._stop(pool, environment)
            self._warm(pool)

    def _warm(self, pool: Pool) -> None:
        now_s = asyncio.get_running_loop().time()
        while (
            len(pool.living) < pool.warm_count
            and self._living_count() < self.account_limit
            and pool.may_prestart(now_s)
            and self._group is not None
            and not self._is_closed
        ):
            pool.starting.append(self._start(pool))

    async def _wait_for_ends(self, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        while self._housed_count and loop.time() < deadline_s:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), deadline_s - loop.time())


def _shown(environment: Environment) -> State:
    return State.STARTING if environment.state is State.INIT else environment.state
