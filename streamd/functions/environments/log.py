"""The log of one environment: what its process prints, and AWS's lines around each invocation, as text or as JSON."""

import time
from collections.abc import Callable, Mapping

from streamd.engine.clock import Clock
from streamd.functions.environments import wording
from streamd.functions.environments.output import Lines
from streamd.functions.running import Finished, LogLine, Runnable, TakesLogs
from streamd.functions.sandbox.cells import Exit

__all__ = ["Log"]


class Log:
    """Writes one environment's lines, each with the request that it belongs to, if to any."""

    def __init__(
        self,
        runnable: Runnable,
        *,
        stream: str,
        logs: TakesLogs,
        clock: Clock,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines = Lines(self._take, now_s=now_s)
        self._runnable = runnable
        self._stream = stream
        self._logs = logs
        self._clock = clock
        self._request_id = ""
        self._is_json = runnable.log_format == "JSON"

    def flush(self) -> None:
        """Write what was printed without an end."""
        self.lines.flush()

    def init_started(self, region: str) -> None:
        """Write that the environment begins."""
        version = f"{wording.runtime_version(self._runnable.runtime)}.streamd"
        record = {"phase": "init", "runtimeVersion": version, "functionName": self._runnable.name}
        self._say("initStart", wording.init_start_line(self._runnable, region), record)

    def init_failed(self, init_ms: float, status: str, kind: str = "") -> None:
        """Write that its process could not begin."""
        self.lines.flush()
        record = {"phase": "init", "status": status, "errorType": kind, "metrics": {"durationMs": round(init_ms, 2)}}
        self._say("initReport", wording.init_report_line(init_ms, status, kind), record)

    def started(self, request_id: str) -> None:
        """Write that an invocation begins; its tail does, too."""
        self.lines.begin()
        self._request_id = request_id
        version = self._runnable.version
        self._say("start", wording.start_line(request_id, version), {"requestId": request_id, "version": version})

    def timed_out(self) -> None:
        """Write that an invocation took too long."""
        self.lines.flush()
        self.lines.say(wording.timeout_line(self._request_id, self._runnable.timeout_s, self._clock.now_ms()))

    def exited(self, ended: Exit) -> None:
        """Write that the process ended in the middle of an invocation."""
        self.lines.flush()
        self.lines.say(f"RequestId: {self._request_id} Error: {wording.exit_sentence(ended)}")
        self.lines.say(wording.EXIT_ERROR)

    def finished(self, finished: Finished, status: str, kind: str) -> bytes:
        """Write what an invocation took, and give its tail."""
        if not self._is_json:
            self.lines.say(wording.end_line(finished.request_id))
        record = wording.report_record(finished, status, kind) if self._is_json else {}
        self._say("report", wording.report_line(finished, status, kind), record)
        self._request_id = ""
        return self.lines.tail()

    def _say(self, kind: str, line: str, record: Mapping[str, object]) -> None:
        self.lines.say(wording.platform_line(kind, self._clock.now_ms(), record) if self._is_json else line)

    def _take(self, line: bytes, time_ms: int | None) -> None:
        self._logs.take(
            LogLine(
                function=self._runnable.name,
                version=self._runnable.version,
                stream=self._stream,
                time_ms=self._clock.now_ms() if time_ms is None else time_ms,
                request_id=self._request_id,
                text=line,
            )
        )
