"""The command line: a module for each noun, a function for each verb.

Data goes to stdout and nothing else does, so that every command can stand in a pipe; errors are one line on
stderr that says the fix. The exit status is 0 when all went well, 1 when something was refused or failed, 2
when the command was given wrongly, and 130 after Ctrl-C. A reader that closes the pipe (``| head``) ends a
command quietly, with 0.

A command's module is imported when the command is used, so that ``streamd --help`` is quick and ``streamd
serve`` carries nothing that only people at a terminal need.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import click

from streamd import __version__
from streamd.errors import StreamdError
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable

__all__ = ["COMMANDS", "LazyCommand", "main", "streamd"]

STATUS_FAILED: Final = 1
STATUS_WRONG_USE: Final = 2
# What a shell expects of a program that was ended by SIGINT.
STATUS_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and the line that the overview shows without importing it."""

    module: str
    attribute: str
    summary: str


COMMANDS: Final[Mapping[str, LazyCommand]] = MappingProxyType(
    {
        "serve": LazyCommand("streamd.cli.serve", "serve", "Run the server."),
        "demo": LazyCommand("streamd.cli.demo", "demo", "Run the guiding pipeline and verify its count."),
        "stream": LazyCommand("streamd.cli.streams", "stream", "Create, list, change and delete streams."),
        "function": LazyCommand("streamd.cli.functions", "function", "Deploy, invoke, look into and delete functions."),
        "mapping": LazyCommand("streamd.cli.mappings", "mapping", "Feed streams to functions."),
        "usage": LazyCommand("streamd.cli.usage", "usage", "Show what functions did, and what AWS would bill."),
        "put": LazyCommand("streamd.cli.put", "put", "Put lines or files into a stream."),
        "tail": LazyCommand("streamd.cli.tail", "tail", "Print a stream's records as they arrive."),
        "consume": LazyCommand("streamd.cli.consume", "consume", "Read a stream as a member of a group."),
        "mirror": LazyCommand("streamd.cli.mirror", "mirror", "Copy a stream into another, resumably."),
        "group": LazyCommand("streamd.cli.groups", "group", "Look at groups of readers, and move or delete them."),
        "data": LazyCommand("streamd.cli.data", "data", "Check, measure, back up or restore data."),
        "tls": LazyCommand("streamd.cli.tls", "tls", "Make certificates for serving TLS."),
        "completion": LazyCommand("streamd.cli.completion", "completion", "Print a shell's completion script."),
    }
)


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command: click.Command = getattr(import_module(place.module), place.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        # Both are ordinary ends of a command in a shell. They are met here because click's own main would add
        # a line for one and the status 1 for the other.
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_stdout()
            ctx.exit(0)
        except KeyboardInterrupt:
            ctx.exit(STATUS_INTERRUPTED)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  streamd serve --data ./data\n"
    "  streamd stream create orders --shards 2\n"
    "  streamd put orders 'hello'\n"
    "  streamd tail orders --from horizon\n",
)
@click.version_option(__version__, prog_name="streamd", message="%(prog)s %(version)s")
def streamd() -> None:
    """Serve Amazon Kinesis Data Streams from your own machine, and drive any Kinesis endpoint.

    Commands that call a server take its address from --endpoint or STREAMD_ENDPOINT (http://127.0.0.1:4567
    unless set), the region from --region or AWS_REGION, and sign with AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY when they are set. `streamd COMMAND --help` tells more of each.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name (by default the process's), and give its exit status."""
    try:
        status = streamd.main(None if argv is None else list(argv), prog_name="streamd", standalone_mode=False)
    except click.UsageError as error:
        where = f" See `{error.ctx.command_path} --help`." if error.ctx is not None else ""
        return _fail(error.format_message() + where, status=STATUS_WRONG_USE)
    except click.ClickException as error:
        return _fail(error.format_message(), status=error.exit_code)
    except click.Abort:
        return STATUS_INTERRUPTED
    except StreamdError as error:
        return _fail(f"{error}{_hint_of(error)}", status=STATUS_FAILED)
    return status if isinstance(status, int) else 0


def _fail(sentence: str, *, status: int) -> int:
    click.echo(f"streamd: {' '.join(sentence.split())}", err=True)
    return status


def _hint_of(error: StreamdError) -> str:
    """Say what to do about an error, after its own sentence."""
    match error:
        case ServiceUnreachable():
            return ". Is `streamd serve` running? --endpoint or STREAMD_ENDPOINT names another server."
        case ServiceRefused(code="ResourceNotFoundException") if "unction" in str(error):
            return " `streamd function list` shows the functions there are."
        case ServiceRefused(code="ResourceNotFoundException"):
            return " `streamd stream list` shows the streams there are."
        case ServiceRefused(
            code="MissingAuthenticationTokenException" | "UnrecognizedClientException" | "InvalidSignatureException"
        ):
            return " Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that the server knows."
        case _:
            return ""


def _drop_stdout() -> None:
    """Give up on what stdout still holds: nobody reads it, and Python would complain about it at exit."""
    with suppress(BrokenPipeError):
        sys.stdout.close()
