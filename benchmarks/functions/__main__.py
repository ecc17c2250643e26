"""``python -m benchmarks.functions``: what functions on streams take, each figure beside its aim."""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import orjson

from benchmarks.functions.works import (
    Figure,
    Size,
    cold_starts,
    idle_mappings,
    invocations,
    mapping_throughput,
    put_to_handler,
)
from benchmarks.generator import generator_process
from benchmarks.machine import machine_of
from benchmarks.report import figure

__all__ = ["main"]

_WORKS = {
    "invoke": invocations,
    "mapping": mapping_throughput,
    "put-to-handler": put_to_handler,
    "cold-start": cold_starts,
    "idle": idle_mappings,
}
_WHOLE = Size(
    seconds=10,
    record_count=200_000,
    cold_start_count=20,
    idle_mapping_count=200,
    idle_shard_count=1000,
    idle_seconds=20,
)
_QUICK = Size(
    seconds=1, record_count=2_000, cold_start_count=2, idle_mapping_count=4, idle_shard_count=8, idle_seconds=1
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--work", default=",".join(_WORKS), help="What to measure, with commas between.")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=None, help="Length of Invoke and of puts.")
@click.option("--quick", is_flag=True, help="Only see that it runs.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
def main(*, work: str, seconds: float | None, quick: bool, directory: Path | None, out: Path) -> None:
    """Measure invocations, mappings, cold starts and idle cost."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-functions-", dir=directory))
    found: list[Figure] = []
    size = _QUICK if quick else _WHOLE
    if seconds is not None:
        size = replace(size, seconds=seconds)
    try:
        machine = machine_of(folder)
        with generator_process() as generator:
            for name in work.split(","):
                figures = _WORKS[name](folder / name, size, generator)
                print(*map(_line, figures), sep="\n", file=sys.stderr, flush=True)
                found += figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    rows = [{"name": each.name, "value": each.value, "unit": each.unit, "aim": each.aim} for each in found]
    document = {"machine": str(machine), "command": machine.command, "rows": rows}
    (out / "functions.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    table = ["| what | measured | aim |", "|---|---|---|", *map(_line, found)]
    page = f"# Functions\n\n{machine}.\n`{machine.command}`\n\n" + "\n".join(table) + "\n"
    (out / "functions.md").write_text(page)
    print(page)


def _line(found: Figure) -> str:
    return f"| {found.name} | {figure(found.value)} {found.unit} | {found.aim} |"


if __name__ == "__main__":
    main()
