"""What a cell cannot see, reach or change."""

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests.functions.sandbox.cell_bench import CellBench, read_line

_TRY = """
import errno, json, os, socket, sys
def attempt(act):
    try:
        return repr(act())
    except OSError as error:
        return errno.errorcode[error.errno]
"""


async def _attempts(bench: CellBench, *acts: str, scratch: str = "one") -> list[str]:
    lines = [f"attempt(lambda: {act})" for act in acts]
    _, printed = await bench.run(bench.plan(f"{_TRY}print(json.dumps([{', '.join(lines)}]))", scratch=scratch))
    answers: list[str] = json.loads(printed)
    return answers


async def test_a_process_has_the_variables_of_its_plan_only(bench: CellBench) -> None:
    os.environ["STREAMD_TEST_SECRET"] = "hidden"
    try:
        plan = bench.plan("import json, os; print(json.dumps(dict(os.environ)))", variables={"A": "1=2\n3"})
        _, printed = await bench.run(plan)
    finally:
        del os.environ["STREAMD_TEST_SECRET"]

    variables = json.loads(printed)
    known = {"A", "PATH", "AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL", "TMPDIR", "LC_CTYPE"}
    assert set(variables) <= known
    assert variables["A"] == "1=2\n3"


async def test_a_process_has_no_privileges_and_can_gain_none(walled: CellBench) -> None:
    _, printed = await walled.run(walled.plan("print(open('/proc/self/status').read())"))

    fields = dict(line.split(":\t", 1) for line in printed.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapAmb"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split()[0] != "0"


async def test_both_ports_are_listened_on(bench: CellBench) -> None:
    code = """
import os, socket, sys
for variable in ("AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL"):
    host, port = os.environ[variable].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as door:
        door.sendall(variable.encode())
"""

    cell = await bench.start(bench.plan(code))

    assert cell.gateway_listener is not None
    for listener, said in ((cell.runtime_listener, "AWS_LAMBDA_RUNTIME_API"), (cell.gateway_listener, "AWS_ENDPOINT")):
        listener.setblocking(True)
        with listener.accept()[0] as door:
            assert door.recv(12).decode() == said[:12]


async def test_there_is_no_way_out_of_a_network_of_its_own(bwrap: CellBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        answers = await _attempts(
            bwrap,
            "socket.create_connection(('192.0.2.1', 80))",
            f"socket.create_connection(('127.0.0.1', {port}))",
        )

    assert answers == ["ENETUNREACH", "ECONNREFUSED"]


async def test_a_process_with_the_network_reaches_the_machine(bwrap: CellBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port})); print('reached')"

        _, printed = await bwrap.run(bwrap.plan(code, has_network=True))

    assert printed == "reached\n"


async def test_code_cannot_be_written_to(walled: CellBench) -> None:
    answers = await _attempts(walled, "open('new.py', 'w')", "open(sys.argv[0], 'a')", "os.chmod(sys.argv[0], 0o777)")

    assert set(answers) <= {"EROFS", "EACCES", "EPERM"}


async def test_nothing_can_be_written_to_but_the_scratch_folder(bwrap: CellBench) -> None:
    answers = await _attempts(
        bwrap, *(f"open('{place}/new', 'w')" for place in ("", "/dev", "/etc", "/usr", "/opt", "/var"))
    )

    assert set(answers) <= {"EROFS", "EACCES", "ENOENT"}


async def test_the_data_directory_cannot_be_read(walled: CellBench) -> None:
    if any("opened (x) to all" in sentence for sentence in walled.sandbox.lacks):
        pytest.skip("without private views the way through the data directory is open, and lacks says so")
    (walled.folder / "secret").write_text("s")
    (walled.folder / "secret").chmod(0o644)

    answers = await _attempts(
        walled, f"os.listdir('{walled.folder / 'functions'}')", f"open('{walled.folder / 'secret'}')"
    )

    assert set(answers) <= {"ENOENT", "EACCES"}


async def test_another_environments_scratch_folder_cannot_be_read(walled: CellBench) -> None:
    code = """
import os, signal
with open(os.environ.get("TMPDIR", "/tmp") + "/mine", "w") as file:
    file.write("secret")
print("written", flush=True)
signal.pause()
"""
    cell = await walled.start(walled.plan(code, scratch="one"))
    assert await read_line(cell) == "written"

    usual = tempfile.gettempdir()
    places = [f"{walled.folder}/scratch/one/mine", f"{walled.folder}/functions/cells/one/mine", f"{usual}/mine"]
    answers = await _attempts(walled, *(f"open('{place}').read()" for place in places), scratch="two")

    assert set(answers) <= {"ENOENT", "EACCES"}


async def test_the_daemon_and_other_environments_cannot_be_looked_at_or_signalled(walled: CellBench) -> None:
    cell = await walled.start(walled.plan("print('on', flush=True); import signal; signal.pause()", scratch="one"))
    await read_line(cell)
    pids = [os.getpid(), *(int(page.parent.name) for page in _pages(walled.mark))]
    assert len(pids) >= 2

    acts = [act for pid in pids for act in (f"open('/proc/{pid}/environ').read(1)", f"os.kill({pid}, 0)")]
    answers = await _attempts(walled, *acts, scratch="two")

    assert set(answers) <= {"ENOENT", "EACCES", "EPERM", "ESRCH"}


def _pages(mark: str) -> list[Path]:
    return [page for page in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(page)]


def _read(page: Path) -> bytes:
    try:
        return page.read_bytes()
    except OSError:
        return b""


async def test_the_user_has_a_name(bwrap: CellBench) -> None:
    _, printed = await bwrap.run(bwrap.plan("import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)"))

    assert printed == "function\n"
