"""What a cell may use has an end, and the daemon does not feel it."""

from collections.abc import Callable

import pytest

from tests.functions.sandbox.cell_bench import CellBench, has_mounts, read_line

_HOLD = """
import signal, sys
held = bytearray({byte_count})
for index in range(0, len(held), 4096):
    held[index] = 1
print("held", flush=True)
"""


async def test_a_process_that_holds_too_much_memory_is_killed_for_it(bench: CellBench) -> None:
    code = _HOLD.format(byte_count=150 << 20) + "signal.pause()\n"

    ended, _ = await bench.run(bench.plan(code, memory_mb=128))

    assert ended.is_out_of_memory
    assert bench.cells[0].memory_peak_mb() > 128


async def test_processes_that_hold_too_much_together_are_killed_for_it(bench: CellBench) -> None:
    code = "import os\nfor _ in range(3): os.fork()\n" + _HOLD.format(byte_count=40 << 20) + "signal.pause()\n"

    ended, _ = await bench.run(bench.plan(code, memory_mb=128))

    assert ended.is_out_of_memory


async def test_the_memory_peak_begins_anew_with_a_reset(bench: CellBench) -> None:
    code = _HOLD.format(byte_count=60 << 20) + "del held\nprint('freed', flush=True)\nsignal.pause()\n"
    cell = await bench.start(bench.plan(code))
    assert await read_line(cell) == "held"
    assert await read_line(cell) == "freed"
    before_mb = cell.memory_peak_mb()

    cell.reset_memory_peak()

    assert 60 <= before_mb <= 90
    assert cell.memory_peak_mb() < 40


async def test_a_fork_bomb_is_bounded(walled: CellBench) -> None:
    code = """
import os, signal
count = 0
while True:
    try:
        child = os.fork()
    except BlockingIOError:
        break
    if child == 0:
        signal.pause()
    count += 1
print(count)
"""

    ended, printed = await walled.run(walled.plan(code, memory_mb=10_240))

    assert ended.status == 0
    assert 900 < int(printed) <= 1024


async def test_descriptors_have_an_end(bench: CellBench) -> None:
    code = """
import errno, os
count = 0
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
        count += 1
except OSError as error:
    print(errno.errorcode[error.errno], count)
"""

    _, printed = await bench.run(bench.plan(code))

    name, count = printed.split()
    assert name == "EMFILE"
    assert 1010 < int(count) < 1024


async def test_a_full_scratch_folder_takes_no_more(walled: CellBench) -> None:
    if not has_mounts(walled):
        pytest.skip("no bounded file system may be mounted here")
    code = """
import errno, os
place = os.environ.get("TMPDIR", "/tmp")
size = 0
try:
    with open(place + "/filler", "wb", buffering=0) as file:
        while True:
            size += file.write(bytes(1 << 16))
except OSError as error:
    print(errno.errorcode[error.errno], size >> 20)
"""

    _, printed = await walled.run(walled.plan(code, scratch_mb=16))

    assert printed.split() == ["ENOSPC", "16"]


async def test_a_scratch_folder_without_a_quota_ends_its_process(make_bench: Callable[[str], CellBench]) -> None:
    bench = make_bench("off")
    code = """
import os, signal
for index in range(4):
    with open(os.environ["TMPDIR"] + f"/{index}", "wb") as file:
        file.write(bytes(6 << 20))
signal.pause()
"""

    ended, _ = await bench.run(bench.plan(code, scratch_mb=16))

    await bench.close()
    assert ended.signal == 9
    assert not ended.is_out_of_memory
