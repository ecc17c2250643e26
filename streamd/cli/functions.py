"""``streamd function``: functions as things that are deployed, invoked, looked at and deleted."""

import asyncio
import sys
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import click

from streamd.cli.deploying import deployed, entry_point, runtime_of
from streamd.cli.function_logs import logs
from streamd.cli.options import connect_functions, examples, json_option, server_options
from streamd.cli.output import byte_count_text, json_text, table, write
from streamd.sdk.client import JsonObject
from streamd.sdk.lambda_client import LambdaAnswer, LambdaClient
from streamd.storage.deploys import names_in, zip_of

__all__ = ["function"]

_FUNCTIONS = "/2015-03-31/functions"
_STATUS_FUNCTION_FAILED = 1


@click.group()
def function() -> None:
    """Deploy, invoke, look into and delete functions."""


function.add_command(logs)


@function.command(
    epilog=examples(
        "streamd function deploy ./mentions",
        "streamd function deploy app.py --name alerts --env STREAM=alerts --memory 256 --timeout 10",
        "streamd function deploy build.zip --runtime provided.al2023",
    )
)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="The function's name.  [default: the folder's or file's]")
@click.option("--handler", help="What to call, MODULE.FUNCTION.  [default: handler in app, main or the only module]")
@click.option("--runtime", help="The runtime.  [default: found from the files]")
@click.option("--role", default="arn:aws:iam::000000000000:role/streamd", show_default=True, help="Its role's ARN.")
@click.option("--memory", type=click.IntRange(128, 10_240), metavar="MB", help="Memory in MB.  [default: 128]")
@click.option("--timeout", type=click.IntRange(1, 900), metavar="S", help="Seconds for one invocation.  [default: 3]")
@click.option("--env", "variables", multiple=True, metavar="KEY=VALUE", help="Set a variable; may be repeated.")
@click.option("--layer", "layers", multiple=True, metavar="ARN", help="Add a layer's version; may be repeated.")
@click.option("--description", help="What it is for.")
@click.option("--publish", is_flag=True, help="Publish a version of it.")
@json_option()
@server_options
def deploy(
    path: Path,
    *,
    name: str | None,
    handler: str | None,
    runtime: str | None,
    role: str,
    memory: int | None,
    timeout: int | None,
    variables: tuple[str, ...],
    layers: tuple[str, ...],
    description: str | None,
    publish: bool,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Zip a folder or a file, make or update a function of it, and wait until it is active."""
    names = names_in(path)
    runtime = runtime or runtime_of(names)
    members: JsonObject = {
        "Runtime": runtime,
        "Handler": handler or entry_point(names, runtime),
        "Role": role,
        "MemorySize": memory,
        "Timeout": timeout,
        "Description": description,
        "Layers": list(layers) or None,
        "Environment": {"Variables": _pairs(variables)} if variables else None,
    }
    settings = {member: value for member, value in members.items() if value is not None}
    own_name = name or path.resolve().name.removesuffix(path.suffix if path.is_file() else "")

    async def run() -> tuple[JsonObject, bool]:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            return await deployed(client, own_name, zip_of(path), settings, publish=publish)

    told, is_new = asyncio.run(run())
    if as_json:
        write(json_text(told))
        return
    version = "" if told["Version"] == "$LATEST" else f" as version {told['Version']}"
    size = byte_count_text(told["CodeSize"])
    write(f"{own_name}: {'created' if is_new else 'updated'}{version} ({told['Runtime']}, {told['Handler']}, {size})")


@function.command(
    epilog=examples(
        'streamd function invoke mentions \'{"text": "hello"}\'',
        "streamd function invoke mentions --file event.json --logs",
        "streamd function invoke mentions --event < event.json",
    )
)
@click.argument("name")
@click.argument("payload", required=False)
@click.option("--file", type=click.File("rb"), help="Read the event from a file; - is stdin.")
@click.option("--event", is_flag=True, help="Only have it kept for later: it is tried three times.")
@click.option("--logs", "shows_logs", is_flag=True, help="Show the end of the invocation's log on stderr.")
@click.option("--qualifier", help="A version or an alias.")
@server_options
def invoke(
    name: str,
    payload: str | None,
    *,
    file: BinaryIO | None,
    event: bool,
    shows_logs: bool,
    qualifier: str | None,
    endpoint: str,
    region: str,
) -> None:
    """Invoke a function and print what it answers.

    Without a payload the event is {}. Exit status 1: the function ended with an error, which is printed.
    """
    if payload is not None and file is not None:
        raise click.UsageError("Give the event once: as an argument or with --file.")
    body = (payload or "").encode() if file is None else file.read()
    headers = {"X-Amz-Invocation-Type": "Event" if event else "RequestResponse"}
    if shows_logs and not event:
        headers["X-Amz-Log-Type"] = "Tail"

    async def run() -> LambdaAnswer:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            query = {"Qualifier": qualifier} if qualifier else {}
            return await client.call(
                "POST", f"{_FUNCTIONS}/{name}/invocations", query=query, body=body, headers=headers
            )

    answer = asyncio.run(run())
    if event:
        write(f"{name}: kept as {answer.headers.get('x-amzn-requestid', '')}")
        return
    if tail := answer.headers.get("x-amz-log-result"):
        click.echo(b64decode(tail).decode(errors="replace"), nl=False, err=True)
    write(answer.body.decode(errors="replace"))
    if "x-amz-function-error" in answer.headers:
        sys.exit(_STATUS_FUNCTION_FAILED)


@function.command("list", epilog=examples("streamd function list", "streamd function list --json"))
@json_option()
@server_options
def list_(*, as_json: bool, endpoint: str, region: str) -> None:
    """List all functions, in the order of their names."""

    async def run() -> list[JsonObject]:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            return await _every_page(client, _FUNCTIONS, "Functions")

    functions = asyncio.run(run())
    if as_json:
        write(json_text(functions))
        return
    rows = [
        [
            each["FunctionName"],
            each["Runtime"],
            each["Handler"],
            str(each["MemorySize"]),
            str(each["Timeout"]),
            byte_count_text(each["CodeSize"]),
            each["LastModified"][:19],
        ]
        for each in functions
    ]
    write(table(["function", "runtime", "handler", "MB", "s", "code", "modified (UTC)"], rows, right=(3, 4)))


@function.command(epilog=examples("streamd function delete mentions --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@server_options
def delete(name: str, *, yes: bool, endpoint: str, region: str) -> None:
    """Delete a function and all its versions. Its event source mappings stay, and stop."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to ask: give --yes to delete without a question.")
        click.confirm(f"Delete function {name}?", abort=True, err=True)

    async def run() -> None:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            await client.call("DELETE", f"{_FUNCTIONS}/{name}")

    asyncio.run(run())
    write(f"{name}: deleted")


async def _every_page(client: LambdaClient, path: str, member: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    query: Mapping[str, str] = {}
    while True:
        document = (await client.call("GET", path, query=query)).document()
        found += document[member]
        if not document.get("NextMarker"):
            return found
        query = {"Marker": document["NextMarker"]}


def _pairs(told: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for each in told:
        key, separator, value = each.partition("=")
        if not separator:
            raise click.UsageError(f"--env {each} has no value: write it as KEY=VALUE.")
        pairs[key] = value
    return pairs
