"""Logs of functions: real files, a real writer that is killed, bounds that hold, followers that are woken."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.storage.function_logs import FunctionLogs
from streamd.storage.log_segments import KeptLine, LogQuery, LogSegments

__all__: list[str] = []

MB = 1 << 20
START_MS = 1_750_000_000_000

_WRITER = """
import sys
from pathlib import Path
from streamd.storage.log_segments import KeptLine, LogSegments
segments = LogSegments(Path(sys.argv[1]), byte_count_max=1 << 24)
segments.open()
number = 0
while True:
    lines = [
        KeptLine(time_ms=1750000000000 + number, stream="s", request_id="r", version="1", text=f"line {number + index}")
        for index in range(10)
    ]
    segments.append("f", lines)
    number += 10
    print(number, flush=True)
"""


def line(
    text: str = "hello", *, at: int = 0, request: str = "r1", version: str = "$LATEST", stream: str = "s1"
) -> KeptLine:
    return KeptLine(time_ms=START_MS + at, stream=stream, request_id=request, version=version, text=text)


@asynccontextmanager
async def open_logs(
    folder: Path, *, byte_count_max: int = 16 * MB, dropped: Counter[str] | None = None
) -> AsyncIterator[FunctionLogs]:
    counts: Counter[str] = Counter() if dropped is None else dropped

    def count(name: str, number: int) -> None:
        counts[name] += number

    logs = FunctionLogs(folder / "logs", byte_count_max=byte_count_max, on_drop=count)
    await logs.open()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(logs.run())
        try:
            yield logs
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await logs.close()


async def texts(logs: FunctionLogs, name: str = "f", query: LogQuery | None = None) -> list[str]:
    found: list[str] = []
    query = query or LogQuery()
    while True:
        page = await logs.read(name, query)
        found += [each.text for each in page.lines]
        if not page.has_more:
            return found
        query = replace(query, after=page.reached)


async def test_lines_are_found_again_after_a_restart_and_go_on_where_they_were(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        for number in range(5):
            logs.take("f", line(f"before {number}"))
    async with open_logs(tmp_path) as logs:
        before = await logs.read("f", LogQuery())
        logs.take("f", line("after"))
        await logs.flush()
        after = await logs.read("f", LogQuery(after=before.reached))

    assert [each.text for each in before.lines] == [f"before {number}" for number in range(5)]
    assert [each.text for each in after.lines] == ["after"]
    assert after.lines[0].position == before.end + 1


async def test_files_and_folders_are_open_to_their_owner_alone(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        logs.take("f", line())

    places = [tmp_path / "logs", *(tmp_path / "logs").rglob("*")]
    assert len(places) == 3
    assert {path.stat().st_mode & 0o777 for path in places if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in places if path.is_file()} == {0o600}


async def test_lines_are_told_by_time_request_text_version_and_stream(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        logs.take("f", line("one apple", at=0, request="r1", version="1", stream="a"))
        logs.take("f", line("two apples", at=10, request="r1", version="2", stream="b"))
        logs.take("f", line("three pears", at=20, request="r2", version="2", stream="b"))
        await logs.flush()
        found = [
            await texts(logs, query=query)
            for query in (
                LogQuery(start_ms=START_MS + 10),
                LogQuery(end_ms=START_MS + 10),
                LogQuery(request_id="r1"),
                LogQuery(text="apple"),
                LogQuery(version="2"),
                LogQuery(streams=frozenset({"a"})),
                LogQuery(stream_prefix="b", text="pear"),
            )
        ]
        last = await logs.read("f", LogQuery(is_backward=True, limit=2))

    assert found == [
        ["two apples", "three pears"],
        ["one apple"],
        ["one apple", "two apples"],
        ["one apple", "two apples"],
        ["two apples", "three pears"],
        ["one apple"],
        ["three pears"],
    ]
    assert [each.text for each in last.lines] == ["two apples", "three pears"]


async def test_pages_of_any_size_give_each_line_once_in_both_directions(tmp_path: Path) -> None:
    expected = [f"line {number}" for number in range(300)]
    async with open_logs(tmp_path, byte_count_max=4 * MB) as logs:
        for text in expected:
            logs.take("f", line(text + " " * 500))
        await logs.flush()
        forward = [text.rstrip() for text in await texts(logs, query=LogQuery(limit=7))]
        backward: list[str] = []
        query = LogQuery(is_backward=True, limit=7)
        has_more = True
        while has_more:
            page = await logs.read("f", query)
            backward = [each.text.rstrip() for each in page.lines] + backward
            query, has_more = replace(query, before=page.reached), page.has_more

    assert len(list((tmp_path / "logs" / "f").iterdir())) > 1
    assert forward == backward == expected


async def test_one_who_prints_much_pushes_out_his_own_lines_only(tmp_path: Path) -> None:
    async with open_logs(tmp_path, byte_count_max=MB) as logs:
        for number in range(20):
            logs.take("quiet", line(f"quiet {number}"))
        await logs.flush()
        for _ in range(30):
            for _ in range(100):
                logs.take("loud", line("x" * 1000))
            await logs.flush()
        sizes = await logs.sizes()
        quiet = await texts(logs, "quiet")
    on_disk = sum(path.stat().st_size for path in (tmp_path / "logs").rglob("*.jsonl"))

    assert quiet == [f"quiet {number}" for number in range(20)]
    assert sizes["loud"] <= MB // 2
    assert on_disk == sum(sizes.values())


async def test_many_functions_together_stay_within_the_bound(tmp_path: Path) -> None:
    async with open_logs(tmp_path, byte_count_max=256 << 10) as logs:
        for number in range(100):
            for _ in range(10):
                logs.take(f"f{number}", line("x" * 1000))
        await logs.flush()
        sizes = await logs.sizes()
    async with open_logs(tmp_path, byte_count_max=64 << 10) as logs:
        smaller = await logs.sizes()

    assert 128 << 10 < sum(sizes.values()) <= 256 << 10
    assert sum(smaller.values()) <= 64 << 10


async def test_what_cannot_wait_is_dropped_and_the_log_says_how_much(tmp_path: Path) -> None:
    dropped: Counter[str] = Counter()
    logs = FunctionLogs(
        tmp_path / "logs", byte_count_max=16 * MB, on_drop=lambda name, count: dropped.update({name: count})
    )
    await logs.open()

    for _ in range(3000):
        logs.take("loud", line("x" * 1000))
    logs.take("quiet", line("heard"))
    await logs.flush()
    loud, quiet = await texts(logs, "loud"), await texts(logs, "quiet")
    await logs.close()

    assert dropped["loud"] == 3000 - (len(loud) - 1) > 0
    assert loud[-1] == f"streamd: {dropped['loud']} lines were dropped here: more was printed than could be written"
    assert quiet == ["heard"]
    assert dropped["quiet"] == 0


async def test_a_follower_is_woken_by_a_line_and_by_the_end(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs, asyncio.TaskGroup() as group:
        waiting = group.create_task(logs.wait_past("f", after=-1, timeout_s=60))
        await asyncio.sleep(0)
        logs.take("f", line("first"))
        is_woken = await waiting
        page = await logs.read("f", LogQuery())
        is_timely = await logs.wait_past("f", after=page.reached, timeout_s=0.01)
        last = group.create_task(logs.wait_past("f", after=page.reached, timeout_s=60))
        await asyncio.sleep(0)
        logs.end_waits()
        is_ended = await last

    assert is_woken
    assert [each.text for each in page.lines] == ["first"]
    assert (is_timely, is_ended) == (False, False)


async def test_a_deleted_log_is_gone_and_a_new_one_is_followed_from_the_old_place(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        logs.take("f", line("old"))
        await logs.flush()
        place = (await logs.read("f", LogQuery())).reached
        await logs.delete("f")
        gone = await texts(logs)
        folders = list((tmp_path / "logs").iterdir())
        logs.take("f", line("new", at=60_000))
        is_there = await logs.wait_past("f", after=place, timeout_s=60)
        found = await texts(logs, query=LogQuery(after=place))

    assert (gone, folders) == ([], [])
    assert is_there
    assert found == ["new"]


async def test_a_log_is_discarded_before_what_is_taken_later_is_written(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        logs.take("f", line("kept and removed"))
        await logs.flush()
        logs.take("f", line("never written"))
        logs.discard("f")
        logs.take("f", line("new"))
        await logs.flush()
        found = await texts(logs)
        logs.discard("f")
        await logs.flush()
        sizes = await logs.sizes()

    assert found == ["new"]
    assert sizes == {}


async def test_logs_of_functions_that_are_no_more_are_removed(tmp_path: Path) -> None:
    async with open_logs(tmp_path) as logs:
        for name in ("a", "b", "c"):
            logs.take(name, line())
        await logs.flush()
        await logs.keep_only(frozenset({"b"}))
        sizes = await logs.sizes()

    assert list(sizes) == ["b"]


@pytest.mark.parametrize("name", ["..", "a/b", "", "x" * 200])
async def test_a_name_that_is_no_functions_has_no_file(tmp_path: Path, name: str) -> None:
    dropped: Counter[str] = Counter()
    async with open_logs(tmp_path, dropped=dropped) as logs:
        logs.take(name, line())

    assert list((tmp_path / "logs").iterdir()) == []
    assert dropped[name] == 1


def test_a_torn_last_line_is_passed_over_and_nothing_after_it_is_lost(tmp_path: Path) -> None:
    first = LogSegments(tmp_path, byte_count_max=MB)
    first.open()
    first.append("f", [line("one"), line("two")])
    [path] = (tmp_path / "f").iterdir()
    path.write_bytes(path.read_bytes()[:-9])

    second = LogSegments(tmp_path, byte_count_max=MB)
    second.open()
    second.append("f", [line("three")])
    found = second.read("f", LogQuery()).lines

    assert [each.text for each in found] == ["one", "three"]


def test_bytes_that_are_no_lines_are_passed_over(tmp_path: Path) -> None:
    segments = LogSegments(tmp_path, byte_count_max=MB)
    segments.open()
    segments.append("f", [line("one")])
    [path] = (tmp_path / "f").iterdir()
    with path.open("ab") as file:
        file.write(bytes(4096) + b'\n[1,2]\n{"a":1}\n["x"]\n\xff\xfe]\n')
    segments.append("f", [line("two")])

    found = segments.read("f", LogQuery()).lines

    assert [each.text for each in found] == ["one", "two"]


def test_every_line_told_as_written_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for told in writer.stdout:
            if int(told) >= 2000:
                break
        writer.send_signal(signal.SIGKILL)
    segments = LogSegments(tmp_path, byte_count_max=16 * MB)
    segments.open()

    page = segments.read("f", LogQuery(limit=10**9, byte_count_max=10**9))

    found = [each.text for each in page.lines]
    assert len(found) >= 2000
    assert found == [f"line {number}" for number in range(len(found))]


async def test_lines_that_cannot_be_written_are_counted_and_others_go_on(tmp_path: Path) -> None:
    dropped: Counter[str] = Counter()
    async with open_logs(tmp_path, dropped=dropped) as logs:
        (tmp_path / "logs" / "f").write_bytes(b"a file where the folder should be")
        logs.take("f", line("lost"))
        logs.take("g", line("kept"))
        await logs.flush()
        found = await texts(logs, "g")
        lost = await texts(logs, "f")

    assert (found, lost) == (["kept"], [])
    assert dropped == {"f": 1}
