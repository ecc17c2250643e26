"""What the log and the callers read about an invocation, in AWS's words: lines of the log, documents of errors."""

import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import orjson

from streamd.functions.environments.runtime_api import RESPONSE_BYTE_COUNT_MAX
from streamd.functions.running import Finished, Invocation, Runnable
from streamd.functions.sandbox.cells import Exit

__all__ = [
    "EXIT_ERROR",
    "NO_REASON",
    "end_line",
    "entry_document",
    "error_type",
    "exit_document",
    "exit_sentence",
    "init_report_line",
    "init_start_line",
    "platform_line",
    "report_line",
    "report_record",
    "runtime_version",
    "start_line",
    "timeout_document",
    "timeout_line",
    "too_large_document",
]

EXIT_ERROR: Final = "Runtime.ExitError"
NO_REASON: Final = b'{"errorType":"Runtime.Unknown","errorMessage":""}'

_SIGNAL_NAMES: dict[int, str] = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGPIPE: "broken pipe",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
}


def init_start_line(runnable: Runnable, region: str) -> str:
    """Tell that an environment begins."""
    name = runtime_version(runnable.runtime)
    return f"INIT_START Runtime Version: {name}.streamd\tRuntime Version ARN: arn:aws:lambda:{region}::runtime:streamd"


def init_report_line(init_ms: float, status: str, error: str = "") -> str:
    """Tell that an environment could not begin."""
    behind = f"\tError Type: {error}" if error else ""
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {status}{behind}"


def start_line(request_id: str, version: str) -> str:
    """Tell that an invocation begins."""
    return f"START RequestId: {request_id} Version: {version}"


def end_line(request_id: str) -> str:
    """Tell that an invocation has ended."""
    return f"END RequestId: {request_id}"


def report_line(finished: Finished, status: str, kind: str = "") -> str:
    """Tell what an invocation took; a status says what became of it if it did not end by itself."""
    behind = f"Status: {status}" if status else ""
    if kind:
        behind += f"\tError Type: {kind}"
    init = "" if finished.init_ms is None else f"Init Duration: {finished.init_ms:.2f} ms\t"
    return (
        f"REPORT RequestId: {finished.request_id}\tDuration: {finished.duration_ms:.2f} ms\t"
        f"Billed Duration: {finished.billed_ms} ms\tMemory Size: {finished.memory_mb} MB\t"
        f"Max Memory Used: {finished.memory_peak_mb} MB\t{init}{behind}"
    )


def timeout_line(request_id: str, timeout_s: int, now_ms: int) -> str:
    """Tell that an invocation took too long."""
    return f"{_moment(now_ms)} {request_id} Task timed out after {timeout_s:.2f} seconds"


def timeout_document(invocation: Invocation, timeout_s: int) -> bytes:
    """Answer for a function that took too long."""
    return _document(invocation, "Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds")


def exit_sentence(ended: Exit) -> str:
    """Say how a process ended."""
    if ended.is_out_of_memory:
        return "Runtime exited with error: signal: killed"
    if ended.signal is not None:
        return f"Runtime exited with error: signal: {_SIGNAL_NAMES.get(ended.signal, str(ended.signal))}"
    if ended.status:
        return f"Runtime exited with error: exit status {ended.status}"
    return "Runtime exited without providing a reason"


def exit_document(invocation: Invocation, ended: Exit) -> bytes:
    """Answer for a process that ended in place of answering."""
    return _document(invocation, EXIT_ERROR, exit_sentence(ended))


def entry_document(invocation: Invocation, sentence: str) -> bytes:
    """Answer for a package that has nothing to start."""
    return _document(invocation, "Runtime.InvalidEntrypoint", sentence)


def too_large_document() -> bytes:
    """Answer for a response that is too large."""
    sentence = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTE_COUNT_MAX} bytes)."
    return orjson.dumps({"errorMessage": sentence, "errorType": "Function.ResponseSizeTooLarge"})


def error_type(document: bytes) -> str:
    """Give the type that an error's document names."""
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return "Unknown"
    return str(value.get("errorType", "Unknown")) if isinstance(value, dict) else "Unknown"


def _document(invocation: Invocation, kind: str, sentence: str) -> bytes:
    return orjson.dumps({"errorType": kind, "errorMessage": f"RequestId: {invocation.request_id} Error: {sentence}"})


def platform_line(kind: str, now_ms: int, record: Mapping[str, object]) -> str:
    """Write an event of the platform, as logs in JSON have it."""
    return orjson.dumps({"time": _moment(now_ms), "type": f"platform.{kind}", "record": record}).decode()


def report_record(finished: Finished, status: str, kind: str) -> dict[str, object]:
    """Tell what an invocation took, for logs in JSON."""
    metrics: dict[str, float] = {
        "durationMs": finished.duration_ms,
        "billedDurationMs": finished.billed_ms,
        "memorySizeMB": finished.memory_mb,
        "maxMemoryUsedMB": finished.memory_peak_mb,
    }
    if finished.init_ms is not None:
        metrics["initDurationMs"] = round(finished.init_ms, 2)
    ended = status or ("error" if finished.error else "success")
    record: dict[str, object] = {"requestId": finished.request_id, "metrics": metrics, "status": ended}
    return {**record, "errorType": kind} if kind else record


def _moment(now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return f"{moment.removesuffix('+00:00')}Z"


def runtime_version(runtime: str) -> str:
    """Give a runtime's name as AWS writes it with a version."""
    for family in ("python", "nodejs", "java", "dotnet", "ruby"):
        if runtime.startswith(family):
            return f"{family}:{runtime.removeprefix(family)}"
    return runtime
