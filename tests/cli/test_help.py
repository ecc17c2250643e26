"""The command line as a manual: help, completion, errors in one line, and a quick start."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from streamd import __version__, cli
from tests.cli.shell import Shell, run_program


def _verbs() -> Iterator[tuple[list[str], click.Command]]:
    context = click.Context(cli.streamd)
    for name in cli.COMMANDS:
        command = cli.streamd.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (([name, verb], inner) for verb, inner in command.commands.items())
        else:
            yield [name], command


VERBS = [pytest.param(words, command, id=" ".join(words)) for words, command in _verbs()]


@pytest.mark.parametrize(("words", "command"), VERBS)
def test_every_verb_has_help_with_an_example(shell: Shell, words: list[str], command: click.Command) -> None:
    said = shell(*words, "--help")

    assert said.status == 0
    assert command.help
    assert f"streamd {' '.join(words)}" in said.out.partition("Example")[2]


@pytest.mark.parametrize(("words", "command"), VERBS)
def test_every_option_of_every_verb_has_help(words: list[str], command: click.Command) -> None:
    options = [option for option in command.params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == [], words


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_overview_says_of_each_command_what_its_own_help_says(name: str) -> None:
    command = cli.streamd.get_command(click.Context(cli.streamd), name)

    assert command is not None
    assert command.get_short_help_str(limit=100) == cli.COMMANDS[name].summary


def test_the_overview_lists_every_command(shell: Shell) -> None:
    said = shell("--help")

    assert said.status == 0
    assert all(f"\n  {name} " in said.out for name in cli.COMMANDS)


def test_the_overview_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys; from streamd import cli; cli.main(['--help']);"
        "heavy = {'aiohttp', 'rich', 'asyncio', 'lmdb', 'orjson', 'streamd.server'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert finished.returncode == 0, finished.stderr


def test_the_version_is_the_package_s(shell: Shell) -> None:
    assert shell("--version").out == f"streamd {__version__}\n"


def test_the_program_runs_as_a_module() -> None:
    said = run_program("--version")

    assert said.status == 0
    assert said.out == f"streamd {__version__}\n"


def test_an_unknown_command_is_refused_in_one_line_with_status_2(shell: Shell) -> None:
    said = shell("streem")

    assert said.status == 2
    assert said.out == ""
    assert said.err == "streamd: No such command 'streem'. See `streamd --help`.\n"


def test_a_wrong_option_is_refused_in_one_line_with_status_2(shell: Shell) -> None:
    said = shell("stream", "create", "--shards", "none", "orders")

    assert said.status == 2
    assert said.err.count("\n") == 1
    assert said.err.endswith("See `streamd stream create --help`.\n")


def test_a_server_that_is_not_there_is_told_in_one_line_with_the_fix(shell: Shell) -> None:
    said = shell("stream", "list", "--endpoint", "http://127.0.0.1:1")

    assert said.status == 1
    assert said.err == (
        "streamd: no answer from http://127.0.0.1:1: Connection refused. Is `streamd serve` running? "
        "--endpoint or STREAMD_ENDPOINT names another server.\n"
    )


def test_an_endpoint_that_is_no_address_is_refused(shell: Shell) -> None:
    said = shell("stream", "list", "--endpoint", "ftp://example")

    assert said.status == 1
    assert "give one like http://127.0.0.1:4567" in said.err


def test_the_endpoint_comes_from_the_environment_too(shell: Shell) -> None:
    said = run_program("stream", "list", environment={"STREAMD_ENDPOINT": shell.url})

    assert said.status == 0


def test_half_a_pair_of_credentials_is_refused(shell: Shell) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": ""}

    said = run_program("stream", "list", "--endpoint", shell.url, environment=environment)

    assert said.status == 1
    assert said.err == "streamd: AWS_SECRET_ACCESS_KEY is not set although its other half is: set both or neither\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_completion_script(shell: Shell, name: str) -> None:
    said = shell("completion", name)

    assert said.status == 0
    assert "_STREAMD_COMPLETE" in said.out


def test_the_completion_script_s_question_is_answered() -> None:
    environment = {"_STREAMD_COMPLETE": "bash_complete", "COMP_WORDS": "streamd stream de", "COMP_CWORD": "2"}

    said = run_program(environment=environment)

    assert sorted(said.out.split()) == ["plain,delete", "plain,describe"]


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(shell: Shell) -> None:
    said = shell("completion", "tcsh")

    assert said.status == 2
    assert "'bash', 'zsh', 'fish'" in said.err
