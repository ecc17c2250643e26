"""What several commands take alike: which server, which form of output, which shard."""

import os
from collections.abc import Callable
from typing import Final, TypeVar

import click

from streamd.core.sigv4 import Credentials
from streamd.sdk.client import KinesisClient
from streamd.sdk.credentials import credentials_of_process
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["ShardId", "connect", "connect_functions", "examples", "json_option", "server_options", "wait_option"]

ENDPOINT_DEFAULT: Final = "http://127.0.0.1:4567"
REGION_DEFAULT: Final = "us-east-1"
_SHARD_INDEX_DIGIT_COUNT: Final = 12

_Command = TypeVar("_Command", bound=Callable[..., object])


class ShardId(click.ParamType[str]):
    """A shard's id, or only its number."""

    name = "shard"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Write a bare number as the id it stands for."""
        del param, ctx
        if value.isascii() and value.isdigit() and len(value) <= _SHARD_INDEX_DIGIT_COUNT:
            return f"shardId-{int(value):012d}"
        return value


def server_options(command: _Command) -> _Command:
    """Add --endpoint and --region to a command."""
    command = click.option(
        "--region",
        envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
        default=REGION_DEFAULT,
        show_default=True,
        help="Region to sign for; or AWS_REGION.",
    )(command)
    return click.option(
        "--endpoint",
        envvar="STREAMD_ENDPOINT",
        default=ENDPOINT_DEFAULT,
        show_default=True,
        metavar="URL",
        help="Server to call; or STREAMD_ENDPOINT.",
    )(command)


def json_option(sentence: str = "Print JSON instead of text for people.") -> Callable[[_Command], _Command]:
    """Give the decorator that adds --json, as ``as_json``, to a command."""
    return click.option("--json", "as_json", is_flag=True, help=sentence)


def wait_option(command: _Command) -> _Command:
    """Add --no-wait, as ``wait``, to a command that changes a stream."""
    return click.option(
        "--no-wait",
        "wait",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Return at once instead of when the stream is ACTIVE again.",
    )(command)


def connect(*, endpoint: str, region: str) -> KinesisClient:
    """Give a client of the server that a command was told to use; to be opened with ``async with``."""
    return KinesisClient(endpoint, region=region, credentials=_credentials())


def connect_functions(*, endpoint: str, region: str) -> LambdaClient:
    """Give a client of that server's functions; to be opened with ``async with``."""
    return LambdaClient(endpoint, region=region, credentials=_credentials())


def _credentials() -> Credentials | None:
    """Give the keys of the environment, so that a developer whose default profile signs in by SSO can use a server.

    None when a profile is named: then its keys are used.
    """
    is_profile_named = bool(os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"))
    return None if is_profile_named else credentials_of_process()


def examples(*lines: str) -> str:
    """Write the end of a command's help: lines that can be copied into a shell."""
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])
