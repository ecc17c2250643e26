"""``streamd usage`` and ``streamd function logs``, against what answers them in the server."""

import asyncio
import csv
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import click
import orjson
import pytest

from streamd.cli.function_logs import _pages, logs
from streamd.cli.usage import usage
from streamd.functions.journal.logs import Journal, LogRoutes
from streamd.functions.journal.printed_metrics import PrintedMetrics
from streamd.functions.journal.usage import Usage
from streamd.functions.journal.usage_report import UsageReports
from streamd.functions.running import LogLine, Trigger
from streamd.metrics import Metrics
from streamd.sdk.failures import ServiceRefused
from streamd.sdk.lambda_client import LambdaClient
from streamd.storage.function_logs import FunctionLogs
from tests.clocks import START_MS
from tests.functions.journal.finished import RUNNABLE, finished
from tests.functions.journal.served import serving
from tests.storage.stores import open_bench

__all__: list[str] = []


async def _run(command: click.Command, *arguments: str) -> None:
    """Run a command on a thread: it has a loop of its own, while the server runs in the test's."""
    await asyncio.to_thread(command.main, list(arguments), "streamd", standalone_mode=False)


async def _print(kept: FunctionLogs, texts: Sequence[str]) -> None:
    journal = Journal(kept, PrintedMetrics(Metrics()))
    for number, text in enumerate(texts):
        journal.take(
            LogLine(
                function="f",
                version="$LATEST",
                stream="s",
                time_ms=START_MS + number,
                request_id=f"r{number}",
                text=text.encode(),
            )
        )
    await kept.flush()


async def _open(folder: Path) -> tuple[FunctionLogs, LogRoutes]:
    kept = FunctionLogs(folder / "logs", byte_count_max=16 << 20, on_drop=lambda *_: None)
    await kept.open()
    return kept, LogRoutes(kept, lambda name: name == "f")


async def test_the_last_lines_are_printed_and_drive_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, routes = await _open(tmp_path)
    await _print(kept, ["one", "two", "\x1b[31mred\ttabbed\t"])

    async with serving(routes.routes()) as url:
        await _run(logs, "f", "--endpoint", url, "-n", "2")
    await kept.close()

    assert capsys.readouterr().out == ("2025-06-15T15:06:40.001Z two\n2025-06-15T15:06:40.002Z \\x1b[31mred\ttabbed\n")


async def test_all_lines_since_a_time_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, routes = await _open(tmp_path)
    await _print(kept, [f"line {number}" for number in range(2500)])

    async with serving(routes.routes()) as url:
        await _run(logs, "f", "--endpoint", url, "--since", "2025-06-15T15:06:41Z", "--filter", "line", "--json")
        lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
        await _run(logs, "f", "--endpoint", url, "--request-id", "r7")
        one = capsys.readouterr().out
        await _run(logs, "f", "--endpoint", url, "--since", "10m")
        none = capsys.readouterr().out
    await kept.close()

    assert [line["message"] for line in lines] == [f"line {number}" for number in range(1000, 2500)]
    assert lines[0]["time"] == "2025-06-15T15:06:41.000Z"
    assert one == "2025-06-15T15:06:40.007Z line 7\n"
    assert none == ""


async def test_a_follower_gets_what_is_printed_later(tmp_path: Path) -> None:
    kept, routes = await _open(tmp_path)
    await _print(kept, ["before"])
    found = []

    async with (
        serving(routes.routes()) as url,
        LambdaClient(url) as client,
        aclosing(_pages(client, "/_streamd/functions/f/logs", {"limit": "10"}, follow=True)) as pages,
    ):
        found.append(await anext(pages))
        await _print(kept, ["after"])
        found.append(await anext(pages))
    await kept.close()

    assert [[line["message"] for line in page] for page in found] == [["before"], ["after"]]


async def test_the_log_of_a_function_that_is_not_there_is_refused(tmp_path: Path) -> None:
    kept, routes = await _open(tmp_path)

    async with serving(routes.routes()) as url:
        with pytest.raises(ServiceRefused, match="Function not found: gone"):
            await _run(logs, "gone", "--endpoint", url)
    await kept.close()


@pytest.mark.parametrize("arguments", [("--since", "soon"), ("--since", "latest"), ("-f", "--until", "1m")])
async def test_a_wrong_use_is_told_before_anything_is_asked(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        await _run(logs, "f", *arguments)


async def test_usage_is_a_table_json_or_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_bench(tmp_path) as bench:
        counts = Usage(bench.store, bench.clock)
        for _ in range(20):
            counts.count(finished(at_ms=START_MS, memory_mb=1024), RUNNABLE, Trigger.API)
        counts.count(finished(at_ms=START_MS), replace(RUNNABLE, name="a,b"), Trigger.API)
        async with serving(UsageReports(counts, bench.clock).routes()) as url:
            said = []
            for form in ("table", "json", "csv"):
                await _run(usage, "--endpoint", url, "--format", form, "--price", "aws-2015")
                said.append(capsys.readouterr().out)

    table, document, sheet = said
    rows = list(csv.DictReader(sheet.splitlines()))
    assert table.startswith("2025-06 at aws-2015\n")
    assert "1024 (could be 128)" in table
    assert [each["function"] for each in orjson.loads(document)["functions"]] == ["a,b", "f"]
    assert [row["function"] for row in rows] == ["a,b", "f"]
    assert (rows[1]["requests"], rows[1]["billedMs"], rows[1]["mbMs"]) == ("20", "2000", str(2000 * 1024))
    assert rows[1]["totalUsd"] == "0.0000000000"
