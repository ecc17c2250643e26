"""README says what is so: its operations, commands, packages and flags are held against the program."""

import re
import tomllib
from pathlib import Path

import click

from streamd.cli import COMMANDS
from streamd.cli import streamd as cli
from streamd.functions.model import load_model
from streamd.functions.operations import REFUSED_FEATURE_BY_NAME
from streamd.kinesis.operations import HANDLER_BY_OPERATION, LATER_OPERATIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def rows_below(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_operation_stands_in_the_table_with_its_true_state() -> None:
    state_by_operation = {name: state for names, state in rows_below("Operations") for name in names.split(", ")}

    served = {name for name, state in state_by_operation.items() if state.startswith("served")}
    refused = {name for name, state in state_by_operation.items() if state.startswith("refused")}

    assert served == set(HANDLER_BY_OPERATION)
    assert refused == LATER_OPERATIONS
    assert served | refused == set(state_by_operation)


def test_every_lambda_operation_stands_in_the_table_with_its_true_state() -> None:
    rows = [row for row in rows_below("Functions on streams") if len(row) == 2]
    known = set(load_model().operations)
    state_by_operation = {name: state for names, state in rows for name in names.split(", ") if name in known}

    refused = {name for name, state in state_by_operation.items() if state.startswith("refused")}

    assert set(state_by_operation) == known
    assert refused == set(REFUSED_FEATURE_BY_NAME)


def test_every_dependency_stands_in_the_table_with_its_reason() -> None:
    rows = rows_below("Built on")

    named = {row[0] for row in rows}

    wanted = {re.split(r"[<>=;\[ ]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert named == wanted
    assert all(row[1] and row[2] for row in rows)


def test_every_command_stands_in_the_table() -> None:
    named = set(re.findall(r"`streamd ([a-z]+)", " ".join(row[0] for row in rows_below("Running it"))))

    assert named == set(COMMANDS)


def test_every_flag_that_is_named_exists() -> None:
    flags = set(re.findall(r"--[a-z][a-z-]+", README))
    foreign = {
        # The AWS CLI's and systemd's.
        "--stream-name",
        "--shard-count",
        "--partition-key",
        "--data",
        "--shard-id",
        "--shard-iterator-type",
        "--query",
        "--output",
        "--shard-iterator",
        # The audits'.
        "--full",
        "--without-sync",
    }

    known = flags_of(cli, click.Context(cli))

    assert flags <= known | foreign


def test_the_two_commands_stand_on_the_first_screen() -> None:
    first_screen = "\n".join(README.splitlines()[:24])

    assert "pip install . && streamd demo" in first_screen
    assert "pip install -e '.[test]' && pytest" in first_screen


def test_the_changelog_names_the_version_or_what_is_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert "## [Unreleased]" in changelog or f"## [{PROJECT['version']}]" in changelog


def test_every_command_explains_itself() -> None:
    silent = [path for path, command in commands_of(cli, click.Context(cli), "streamd") if not command.help]

    assert silent == []


def flags_of(command: click.Command, context: click.Context) -> set[str]:
    options = [o for parameter in command.get_params(context) for o in (*parameter.opts, *parameter.secondary_opts)]
    found = {option for option in options if option.startswith("--")}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= flags_of(below, context)
    return found


def commands_of(command: click.Command, context: click.Context, path: str) -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += commands_of(below, context, f"{path} {name}")
    return found


def test_every_client_of_the_suite_stands_in_the_table() -> None:
    rows = rows_below("Clients")
    claimed = {row[0] for row in rows}
    sources = [path.read_text() for path in (ROOT / "tests" / "clients").glob("test_*.py")]

    tested = {name for source in sources for name in re.findall(r"seen_by\(\s*f?\"([^\"{]+)", source)}

    assert rows
    assert tested
    assert all(any(client.startswith(name) for client in claimed) for name in tested)
    assert all(any(client.startswith(name) for name in tested) for client in claimed)
    assert {row[4] for row in rows} == {"passed"}
