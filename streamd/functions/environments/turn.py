"""One invocation in an environment's hands: when it began, what it took, and the future that its caller waits for."""

import asyncio
import json
import math
import secrets
from dataclasses import replace

from streamd.core.lineage import lineage
from streamd.errors import SandboxFailed
from streamd.functions.running import Finished, Invocation, Runnable

__all__ = ["Turn"]


class Turn:
    """One invocation. It has begun once it has a start; until then its process does."""

    __slots__ = ("answer", "init_ms", "invocation", "memory_peak_mb", "started_ms", "started_s", "timer")

    def __init__(self, invocation: Invocation, answer: asyncio.Future[Finished]) -> None:
        self.invocation = invocation
        self.answer = answer
        self.started_s = -1.0
        self.started_ms = 0
        self.init_ms: float | None = None
        self.memory_peak_mb = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_started(self) -> bool:
        """Whether its time runs."""
        return self.timer is not None

    def trace(self) -> str:
        """Make up what X-Ray would call it: it is not sampled. What the function calls is one deeper than it."""
        digits = secrets.token_hex(20)
        path = f"Root=1-{self.started_ms // 1000:08x}-{digits[:24]};Parent={digits[24:]};Sampled=0"
        return f"{path};{lineage(self.invocation.depth + 1, self.invocation.arn)}"

    def client_context(self) -> str | None:
        """Give the client's context as a field of a head can hold it: on one line, in ASCII."""
        if self.invocation.client_context is None:
            return None
        try:
            return json.dumps(json.loads(self.invocation.client_context))
        except ValueError:
            return None

    def finished(
        self, payload: bytes, error: str | None, *, now_s: float, runnable: Runnable, memory_peak_mb: int
    ) -> Finished:
        """Sum it up; its time stops."""
        if self.timer is not None:
            self.timer.cancel()
        duration_ms = round((now_s - self.started_s) * 1000, 2)
        return Finished(
            request_id=self.invocation.request_id,
            version=runnable.version,
            payload=payload,
            error=error,
            started_ms=self.started_ms,
            duration_ms=duration_ms,
            billed_ms=max(1, math.ceil(duration_ms + (self.init_ms or 0.0))),
            init_ms=self.init_ms,
            memory_mb=runnable.memory_mb,
            memory_peak_mb=memory_peak_mb,
        )

    def succeed(self, finished: Finished, log_tail: bytes) -> None:
        """Answer, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_result(replace(finished, log_tail=log_tail))

    def fail(self, error: SandboxFailed) -> None:
        """Say that there is no answer, if somebody still waits."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.answer.done():
            self.answer.set_exception(error)
