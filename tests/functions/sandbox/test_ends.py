"""However a cell ends, nothing of it is left."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.functions.sandbox.cells import Exit
from streamd.functions.sandbox.probe import choose
from tests.functions.sandbox.cell_bench import CellBench, is_alive, read_line
from tests.functions.waiting import until

_ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import signal; signal.pause()", sys.argv[1]])
    os._exit(0)
os.wait()
"""
_PAUSE = "import signal; signal.pause()\n"
_PARENT = """
import asyncio, os, sys
from pathlib import Path
from streamd.functions.sandbox.probe import choose
from tests.functions.sandbox.cell_bench import CellBench, read_line

async def run():
    folder = Path(sys.argv[1])
    bench = CellBench(choose(sys.argv[2], folder=folder / "functions" / "cells"), folder, mark=sys.argv[3])
    cell = await bench.start(bench.plan(sys.argv[4]))
    await read_line(cell)
    print("started", flush=True)
    await cell.ended()

asyncio.run(run())
"""


async def test_the_exit_status_is_told(bench: CellBench) -> None:
    ended, printed = await bench.run(bench.plan("import sys; print('hello'); sys.exit(3)"))

    assert ended == Exit(3)
    assert printed == "hello\n"


async def test_the_signal_that_ended_it_is_told(bench: CellBench) -> None:
    ended, _ = await bench.run(bench.plan("import os; os.abort()"))

    assert ended == Exit(None, signal.SIGABRT)


async def test_a_child_that_escaped_ends_with_the_process(bench: CellBench) -> None:
    ended, _ = await bench.run(bench.plan(_ESCAPE))

    assert ended == Exit(0)
    assert not is_alive(bench.mark)


async def test_a_child_that_escaped_is_killed_with_the_process(bench: CellBench) -> None:
    cell = await bench.start(bench.plan(_ESCAPE + "print('ready', flush=True)\n" + _PAUSE))
    await read_line(cell)
    assert is_alive(bench.mark)

    await cell.kill()

    assert not is_alive(bench.mark)


async def test_a_process_may_end_by_itself_if_there_is_patience(bench: CellBench) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('on', flush=True)\n"
    cell = await bench.start(bench.plan(code + _PAUSE))
    await read_line(cell)

    await cell.kill(patience_s=60)

    assert await cell.ended() == Exit(7)


async def test_a_cell_may_be_killed_twice_and_while_its_end_is_awaited(bench: CellBench) -> None:
    cell = await bench.start(bench.plan(_PAUSE))

    ended, _, _ = await asyncio.gather(cell.ended(), cell.kill(), cell.kill())

    assert ended == Exit(None, signal.SIGKILL)
    assert not is_alive(bench.mark)


async def test_a_command_that_cannot_be_run_says_why(bench: CellBench) -> None:
    plan = bench.plan("")
    (plan.code / "bootstrap").write_text("no program")

    ended, printed = await bench.run(replace(plan, command=("{task}/bootstrap",)))

    assert ended == Exit(127)
    assert printed.endswith("/bootstrap: permission denied\n")


async def test_a_command_without_a_path_is_looked_for(bench: CellBench) -> None:
    ended, printed = await bench.run(replace(bench.plan(""), command=("echo", "found")))

    assert ended == Exit(0)
    assert printed == "found\n"


async def test_nothing_outlives_a_killed_daemon(tmp_path: Path, bench: CellBench) -> None:
    tier = bench.sandbox.tier.value
    code = _ESCAPE + "print('ready', flush=True)\n" + _PAUSE
    command = [sys.executable, "-c", _PARENT, str(tmp_path / "other"), tier, bench.mark, code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    assert await asyncio.to_thread(parent.stdout.readline) == b"started\n"
    assert is_alive(bench.mark)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    await until(lambda: not is_alive(bench.mark))
    choose(tier, folder=tmp_path / "other" / "functions" / "cells")


@pytest.mark.parametrize("step_count", [1, 2, 3, 5, 8, 13, 21])
async def test_a_start_that_is_given_up_leaves_nothing(step_count: int, bench: CellBench) -> None:
    starting = asyncio.create_task(bench.start(bench.plan(_PAUSE)))
    for _ in range(step_count):
        await asyncio.wait([starting], timeout=0.002)

    starting.cancel()
    await asyncio.wait([starting])

    for cell in bench.cells:
        await cell.kill()
    await until(lambda: not is_alive(bench.mark))
