"""One side of the SDK in a process of its own: what it told of its work, beside what the daemon spent on it."""

import subprocess
from collections.abc import Sequence

import orjson

from benchmarks.functions.server import Server
from benchmarks.results import Measurement

__all__ = ["SHARD_COUNT", "measured"]

SHARD_COUNT = 4


def measured(
    server: Server, command: Sequence[str], *, side: str, verb: str, system: str, record_count: int
) -> list[Measurement]:
    """Run a command that prints seconds, cpu_s and peak_mib as JSON; ``side`` is producer or consumer."""
    before_s = server.program.cpu_s()
    # The command is written in the benchmarks; the interpreter may be the caller's own choice.
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    told = orjson.loads(ended.stdout)
    server_s = server.program.cpu_s() - before_s
    figures = [
        (f"records {verb}", record_count / told["seconds"], "records/s", True),
        (f"processor time of the {side}", told["cpu_s"] / record_count * 1e6, "us/record", False),
        ("processor time of the daemon", server_s / record_count * 1e6, "us/record", False),
        (f"memory of the {side} at the most", told["peak_mib"], "MiB", False),
    ]
    return [
        Measurement(
            work=work,
            case=f"{record_count} records of 100 B, {SHARD_COUNT} shards",
            system=system,
            value=value,
            unit=unit,
            is_more_better=is_more_better,
            server_cores=server_s / told["seconds"],
            generator_cores=told["cpu_s"] / told["seconds"],
        )
        for work, value, unit, is_more_better in figures
    ]
