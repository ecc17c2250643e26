"""Invocations as they end, for what is counted of them."""

from dataclasses import replace
from pathlib import Path

from streamd.functions.running import Finished, Invocation, Runnable, Trigger

__all__ = ["INVOCATION", "RUNNABLE", "finished"]

RUNNABLE = Runnable(
    name="f",
    version="$LATEST",
    arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    revision="r",
    runtime="python3.11",
    handler="app.handler",
    code=Path("code"),
)
INVOCATION = Invocation(request_id="r1", arn=RUNNABLE.arn, payload=b"{}", trigger=Trigger.API)
_PLAIN = Finished(
    request_id="r1",
    version="$LATEST",
    payload=b"null",
    error=None,
    started_ms=0,
    duration_ms=0.0,
    billed_ms=0,
    init_ms=None,
    memory_mb=128,
    memory_peak_mb=36,
)


def finished(
    *,
    at_ms: int,
    ms: float = 3.01,
    init_ms: float | None = None,
    error: str | None = None,
    memory_mb: int = 128,
    peak_mb: int = 36,
) -> Finished:
    """Make one that ended."""
    return replace(
        _PLAIN,
        started_ms=at_ms,
        duration_ms=ms,
        init_ms=init_ms,
        error=error,
        memory_mb=memory_mb,
        memory_peak_mb=peak_mb,
    )
