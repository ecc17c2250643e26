"""What runs which runtime, and the folder that functions see."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.errors import ConfigInvalid
from streamd.functions.environments.runtimes import Runtimes, configured_commands, find_runtimes
from tests.functions.environments.plain import open_bench


def test_every_python_of_aws_has_an_interpreter(runtimes: Runtimes) -> None:
    commands = {runtimes.command(f"python3.{minor}", "app.handler") for minor in range(8, 16)}
    own = runtimes.command(f"python3.{sys.version_info.minor}", "app.handler")

    assert None not in commands
    assert own is not None
    assert own[1:] == ("-S", "{runtime}/start.py", "app.handler")
    assert runtimes.command("java21", "x") is None
    assert {"provided", "provided.al2", "provided.al2023", "python3.12"} <= runtimes.names


def test_what_is_missing_is_said_with_what_takes_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, runtimes: Runtimes
) -> None:
    find_runtimes(tmp_path / "runtime", own_python=sys.executable)

    command = runtimes.command("python3.8", "x")
    assert command is not None
    assert "run by python3." in caplog.text
    assert "python3.8" in caplog.text


def test_commands_of_the_settings_take_the_place_of_what_was_found(tmp_path: Path) -> None:
    commands = configured_commands('[runtime."java21"]\ncommand = ["java", "-jar", "{task}/f.jar", "{handler}"]')

    runtimes = find_runtimes(tmp_path / "runtime", own_python=sys.executable, commands=commands)

    assert runtimes.command("java21", "a.B::c") == ("java", "-jar", "{task}/f.jar", "a.B::c")
    assert "java21" in runtimes.names


@pytest.mark.parametrize(
    "settings",
    ["[runtime", "runtime = 1", '[runtime."java21"]\ncommand = "java"', '[runtime."java21"]\ncommand = []'],
)
def test_settings_that_cannot_be_used_are_refused(settings: str) -> None:
    with pytest.raises(ConfigInvalid):
        configured_commands(settings)


async def test_an_interpreter_without_the_compiled_client_uses_ours(tmp_path: Path) -> None:
    runtimes = find_runtimes(tmp_path / "runtime", own_python=sys.executable)
    compiled = list(runtimes.folder.glob("runtime_client.*.so"))
    for each in compiled:
        each.unlink()
    source = """
import runtime_client
def handler(event, context):
    if event.get("fail"): raise ValueError("no")
    return [event, context.aws_request_id, context.client_context.custom, runtime_client.__file__[-3:]]
"""

    async with open_bench(tmp_path, runtimes) as bench:
        runnable = bench.python(source)
        first = await bench.run(runnable, {"n": 1}, client_context='{"custom":{"a":"b"}}')
        error = await bench.error(runnable, {"fail": True})
        second = await bench.answer(replace(runnable), {"n": "ü"}, client_context='{"custom":{}}')

    assert compiled
    assert first.payload.startswith(b'[{"n": 1}, "' + first.request_id.encode())
    assert error["errorType"] == "ValueError"
    assert (second[0], second[3]) == ({"n": "ü"}, ".py")
