"""One environment: a process that runs one version of a function, one invocation at a time, for as long as it lasts.

Its life is STARTING (the cell), INIT (the process, until it first asks for an event), then IDLE and BUSY in turn, and
STOPPING. A process that ended in the middle of an invocation, or was ended because it took too long, is followed by a
new one in the same environment: the globals are gone, the scratch folder is as it was. A process that ended while it
had nothing to do, or could not begin, ends the environment.

Promised: every invocation that was begun is answered, by the function, by AWS's words for how it ended, or by
SandboxFailed when there could be no process; also when nobody waits for the answer any more. On the way out nothing
of the process is left.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from streamd.engine.clock import Clock
from streamd.errors import SandboxFailed
from streamd.functions.environments import wording
from streamd.functions.environments.launch import EntryInvalid
from streamd.functions.environments.log import Log
from streamd.functions.environments.output import Frames, Reading
from streamd.functions.environments.runtime_api import Event, RuntimeApi
from streamd.functions.environments.states import End, State
from streamd.functions.environments.turn import Turn
from streamd.functions.running import Finished, Invocation, Runnable, TakesLogs
from streamd.functions.sandbox.cells import Cell, Exit, Plan, Sandbox

__all__ = ["INIT_LIMIT_S", "Environment", "Owns"]

_LOG = logging.getLogger(__name__)

INIT_LIMIT_S = 10.0
_STOP_PATIENCE_S = 0.5


class Owns(Protocol):
    """Hears how an environment is; calls come from the loop and must not block or fail."""

    def became_idle(self, environment: "Environment") -> None:
        """Take it: it began without an invocation, or was not ready for the next one until now."""
        ...

    def freed(self, environment: "Environment") -> None:
        """Take note that its invocation was answered; its state says what may follow."""
        ...

    def ended(self, environment: "Environment") -> None:
        """Forget it."""
        ...


class Environment:
    """One environment. ``live`` is its life, in a task of its owner's; ``begin`` gives it work."""

    def __init__(
        self,
        runnable: Runnable,
        *,
        stream: str,
        plan: Callable[[], Awaitable[Plan]],
        sandbox: Sandbox,
        owner: Owns,
        logs: TakesLogs,
        clock: Clock,
        region: str,
        gateway: Callable[[], asyncio.Protocol] | None = None,
        init_limit_s: float = INIT_LIMIT_S,
    ) -> None:
        self.runnable = runnable
        self.state = State.STARTING
        self.idle_since_s = 0.0
        self.has_failed_init = False
        self._plan = plan
        self._sandbox = sandbox
        self._owner = owner
        self._clock = clock
        self._region = region
        self._gateway = gateway
        self._init_limit_s = init_limit_s
        self._loop = asyncio.get_running_loop()
        self._log = Log(runnable, stream=stream, logs=logs, clock=clock)
        self._readings: list[Reading] = []
        self._api = RuntimeApi(self)
        self._cell: Cell | None = None
        self._turn: Turn | None = None
        self._is_begun = False
        """Whether the present process has asked for an event."""
        self._needs_next = False
        self._failure = b""
        self._started_s = 0.0
        self._init_timer: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._end: asyncio.Future[End | Exit] = self._loop.create_future()

    @property
    def has_turn(self) -> bool:
        """Whether an invocation is in hand."""
        return self._turn is not None

    def begin(self, invocation: Invocation) -> asyncio.Future[Finished]:
        """Run an invocation, as soon as the process is ready. There is one at a time."""
        assert self._turn is None, "an environment has one invocation in hand"
        turn = Turn(invocation, self._loop.create_future())
        self._turn = turn
        if self._is_begun and not self._end.done():
            self._dispatch(turn)
        return turn.answer

    def stop(self) -> None:
        """End it, whatever it does."""
        self._is_stopping = True
        self.state = State.STOPPING
        self._finish_process(End.STOPPED)

    async def live(self) -> None:
        """Start the process, and another one after it for as long as that makes sense."""
        error = SandboxFailed(f"an environment of {self.runnable.name} was ended")
        try:
            self._log.init_started(self._region)
            while await self._live_once():
                pass
        except SandboxFailed as failure:
            self.has_failed_init = True
            error = failure
            if self._turn is None:
                _LOG.warning("an environment of %s that was to be ready has failed: %s", self.runnable.name, failure)
        except EntryInvalid as invalid:
            self.has_failed_init = True
            self._fail_entry(invalid)
        finally:
            self.state = State.STOPPING
            self._log.flush()
            if self._turn is not None:
                self._turn.fail(error)
                self._turn = None
                self._owner.freed(self)
            self._owner.ended(self)

    # What the Runtime API hears.

    def ready(self) -> None:
        """Take note that the process asks for an event."""
        if self._end.done():
            return
        if self._is_begun:
            if self._needs_next:
                self._needs_next = False
                self._rest()
                self._owner.became_idle(self)
            return
        self._is_begun = True
        self._cancel_init_timer()
        self._drain()
        if self._turn is None:
            self._rest()
            self._owner.became_idle(self)
            return
        if not self._turn.is_started:
            self._turn.init_ms = self._elapsed_ms()
        self._dispatch(self._turn)

    def answered(self, payload: bytes, *, is_error: bool) -> None:
        """Take the function's answer."""
        if self._turn is not None and not self._end.done():
            self._rest()
            self._finish(payload, "Unhandled" if is_error else None)

    def answered_too_much(self) -> None:
        """Take note of an answer that was refused: what the process makes of that is not known yet."""
        if self._turn is not None and not self._end.done():
            self._needs_next = True
            self._finish(wording.too_large_document(), "Unhandled")

    def init_failed(self, document: bytes) -> None:
        """Take the reason why the process cannot begin."""
        if not self._is_begun:
            self._failure = document or wording.NO_REASON
            self._finish_process(End.INIT_FAILED)

    # One process.

    async def _live_once(self) -> bool:
        """Live for as long as one process does; whether another one should follow."""
        if self._is_stopping:
            return False
        self.state = State.STARTING
        self._is_begun = self._needs_next = False
        self._failure = b""
        self._end = self._loop.create_future()
        self._started_s = time.monotonic()
        cell = await self._start_cell()
        self._cell = cell
        servers: list[asyncio.Server] = []
        try:
            await self._open(cell, servers)
            end = await self._wait(cell)
        except OSError as error:
            raise SandboxFailed(f"an environment of {self.runnable.name} cannot be listened to: {error}") from error
        finally:
            self._cancel_init_timer()
            await cell.kill()
            self._api.close()
            for server in servers:
                server.close()
            for reading in self._readings:
                reading.close()
            self._readings = []
        return self._settle(end)

    async def _start_cell(self) -> Cell:
        try:
            return await self._sandbox.start(await self._plan())
        except OSError as error:
            raise SandboxFailed(f"an environment of {self.runnable.name} cannot be started: {error}") from error

    async def _open(self, cell: Cell, servers: list[asyncio.Server]) -> None:
        self._api = api = RuntimeApi(self)
        self._readings = [Reading(cell.output, self._log.lines.feed, self._loop)]
        if cell.telemetry is not None:
            self._readings.append(Reading(cell.telemetry, Frames(self._log.lines).feed, self._loop))
        if self.state is State.STARTING:
            self.state = State.INIT
        if self._turn is not None and self._turn.is_started:
            # Its time may have ended while there was no process.
            self._time(self._turn)
        else:
            self._init_timer = self._loop.call_later(self._init_limit_s, self._finish_process, End.INIT_LIMIT)
        servers.append(await self._loop.create_server(api.connect, sock=cell.runtime_listener))
        if cell.gateway_listener is not None:
            if self._gateway is None:
                cell.gateway_listener.close()
            else:
                servers.append(await self._loop.create_server(self._gateway, sock=cell.gateway_listener))

    async def _wait(self, cell: Cell) -> End | Exit:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(cell))
            end = await self._end
            if not isinstance(end, Exit):
                if self._turn is not None:
                    self._turn.memory_peak_mb = cell.memory_peak_mb()
                await cell.kill(patience_s=_STOP_PATIENCE_S if end is End.STOPPED else 0.0)
        return end

    async def _watch(self, cell: Cell) -> None:
        ended = await cell.ended()
        # A process may answer and end at once: what it said is on its way and counts.
        for _ in range(3):
            await asyncio.sleep(0)
        if not self._end.done():
            self._end.set_result(ended)

    def _finish_process(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)

    def _settle(self, end: End | Exit) -> bool:
        """Answer for a process that is gone; whether another one should follow."""
        match end:
            case Exit():
                return self._settle_exit(end)
            case End.INIT_FAILED:
                self._fail_init(self._failure, wording.error_type(self._failure))
                return False
            case End.INIT_LIMIT:
                self._log.init_failed(self._elapsed_ms(), "timeout")
                if self._turn is None:
                    self.has_failed_init = True
                    return False
                # AWS begins anew within the first invocation, which then has its whole time for both.
                self._start(self._turn)
                return True
            case End.TIMEOUT:
                if self._turn is not None:
                    self._log.timed_out()
                    document = wording.timeout_document(self._turn.invocation, self.runnable.timeout_s)
                    self._fall(document, "timeout")
                return True
            case End.STOPPED:
                return False

    def _settle_exit(self, ended: Exit) -> bool:
        turn = self._turn
        if not self._is_begun:
            document = b"" if turn is None else wording.exit_document(turn.invocation, ended)
            self._fail_init(document, wording.EXIT_ERROR)
            return False
        if turn is None:
            return self._needs_next
        if not self._api.is_given:
            # It ended between two invocations; the next one has not been seen by anybody.
            return True
        self._log.exited(ended)
        self._fall(wording.exit_document(turn.invocation, ended), "error", wording.EXIT_ERROR)
        return True

    def _fail_init(self, document: bytes, kind: str) -> None:
        self.has_failed_init = True
        self._log.init_failed(self._elapsed_ms(), "error", kind)
        if self._turn is not None:
            self._start(self._turn, at_s=self._started_s)
            self.state = State.STOPPING
            self._finish(document, "Unhandled", "error", kind)

    def _fail_entry(self, invalid: EntryInvalid) -> None:
        if self._turn is not None:
            self._start(self._turn)
            self.state = State.STOPPING
            self._finish(
                wording.entry_document(self._turn.invocation, str(invalid)),
                "Unhandled",
                "error",
                "Runtime.InvalidEntrypoint",
            )

    # One invocation.

    def _dispatch(self, turn: Turn) -> None:
        self.state = State.BUSY
        self._start(turn)
        if self._cell is not None:
            self._cell.reset_memory_peak()
        invocation = turn.invocation
        self._api.offer(
            Event(
                request_id=invocation.request_id,
                arn=invocation.arn,
                deadline_ms=turn.started_ms + self.runnable.timeout_s * 1000,
                trace=turn.trace(),
                payload=invocation.payload,
                client_context=turn.client_context(),
            )
        )

    def _start(self, turn: Turn, *, at_s: float | None = None) -> None:
        """Let the time of an invocation begin, if it has not."""
        if turn.is_started:
            return
        now_s = time.monotonic()
        turn.started_s = now_s if at_s is None else at_s
        turn.started_ms = self._clock.now_ms() - int((now_s - turn.started_s) * 1000)
        self._time(turn)
        self._log.started(turn.invocation.request_id)

    def _time(self, turn: Turn) -> None:
        """Let a process end when the time of its invocation does."""
        if turn.timer is not None:
            turn.timer.cancel()
        # Its clock is finer than the loop's, which counts whole milliseconds.
        left_s = max(0.0, turn.started_s + self.runnable.timeout_s - time.monotonic())
        turn.timer = self._loop.call_later(left_s, self._finish_process, End.TIMEOUT)

    def _fall(self, document: bytes, status: str, kind: str = "") -> None:
        """Answer for a process that another one follows."""
        self.state = State.STOPPING if self._is_stopping else State.STARTING
        self._finish(document, "Unhandled", status, kind)

    def _finish(self, payload: bytes, error: str | None, status: str = "", kind: str = "") -> None:
        turn = self._turn
        assert turn is not None, "who answers has something in hand"
        now_s = time.monotonic()
        self._drain()
        peak_mb = max(turn.memory_peak_mb, 0 if self._cell is None else self._cell.memory_peak_mb())
        finished = turn.finished(payload, error, now_s=now_s, runnable=self.runnable, memory_peak_mb=peak_mb)
        self._turn = None
        turn.succeed(finished, self._log.finished(finished, status, kind))
        self._owner.freed(self)

    def _rest(self) -> None:
        self.state = State.IDLE
        self.idle_since_s = self._loop.time()

    def _drain(self) -> None:
        for reading in self._readings:
            reading.drain()
        self._log.flush()

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._started_s) * 1000

    def _cancel_init_timer(self) -> None:
        if self._init_timer is not None:
            self._init_timer.cancel()
            self._init_timer = None
