"""``streamd mapping``: event source mappings, which feed a stream's records to a function."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import click
import orjson

from streamd.cli.mapping_page import mapping_page
from streamd.cli.options import connect, connect_functions, examples, json_option, server_options
from streamd.cli.output import json_text, table, write
from streamd.errors import ConfigInvalid
from streamd.sdk.client import JsonObject
from streamd.sdk.failures import ServiceRefused, WaitTimedOut
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["mapping"]

_MAPPINGS = "/2015-03-31/event-source-mappings"
_WAIT_S = 300.0
_PAUSE_S = 0.05


def _setting_options(command: Any) -> Any:
    """Add the options that create and update share."""
    for option in (
        click.option("--batch-size", type=click.IntRange(1, 10_000), help="Records in an invocation, at most."),
        click.option("--window", type=click.IntRange(0, 300), metavar="S", help="Seconds to gather a batch."),
        click.option("--parallel", type=click.IntRange(1, 10), help="Batches of one shard at once, by partition key."),
        click.option("--retries", type=click.IntRange(-1, 10_000), help="Retries of a failed batch; -1: no end."),
        click.option("--max-age", type=click.IntRange(-1, 604_800), metavar="S", help="Oldest record; -1: no end."),
        click.option("--bisect/--no-bisect", default=None, help="Halve a batch that failed."),
        click.option("--report-failures", is_flag=True, help="Let the function name the records that failed."),
        click.option("--tumbling", type=click.IntRange(0, 900), metavar="S", help="Tumbling window in seconds."),
        click.option("--filter", "patterns", multiple=True, metavar="JSON", help="A pattern; may be repeated."),
        click.option("--on-failure", metavar="ARN", help="Where records go that are given up: an ARN, a URL, file:."),
    ):
        command = option(command)
    return command


@click.group()
def mapping() -> None:
    """Feed streams to functions."""


@mapping.command(
    epilog=examples(
        "streamd mapping create posts mentions",
        "streamd mapping create posts mentions --from horizon --batch-size 500 --parallel 4 --bisect --retries 3",
        'streamd mapping create posts mentions --filter \'{"data": {"lang": ["en"]}}\'',
    )
)
@click.argument("stream")
@click.argument("function")
@click.option(
    "--from", "start", default="latest", show_default=True, metavar="WHERE", help="latest, horizon, or seconds (1970)."
)
@click.option("--disabled", is_flag=True, help="Do not start yet.")
@_setting_options
@json_option()
@server_options
def create(
    stream: str, function: str, *, start: str, disabled: bool, as_json: bool, endpoint: str, region: str, **told: Any
) -> None:
    """Feed a stream's records to a function; STREAM is a name or an ARN."""
    document = {"FunctionName": function, **_start_of(start), **_members(told)}
    if disabled:
        document["Enabled"] = False

    async def run() -> JsonObject:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            document["EventSourceArn"] = await _arn_of(stream, endpoint=endpoint, region=region)
            made: JsonObject = (await client.call("POST", _MAPPINGS, document=document)).document()
            return await _until_settled(client, made["UUID"])

    _tell(asyncio.run(run()), as_json=as_json)


@mapping.command("list", epilog=examples("streamd mapping list", "streamd mapping list --function mentions"))
@click.option("--function", help="Only those of a function.")
@json_option()
@server_options
def list_(*, function: str | None, as_json: bool, endpoint: str, region: str) -> None:
    """List mappings."""

    async def run() -> list[JsonObject]:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            return await _every_page(client, {"FunctionName": function} if function else {})

    mappings = asyncio.run(run())
    if as_json:
        write(json_text(mappings))
        return
    rows = [
        [
            each["UUID"],
            each.get("EventSourceArn", "").rpartition("/")[2] or each.get("EventSourceArn", ""),
            each["FunctionArn"].partition(":function:")[2],
            each["State"],
            each.get("LastProcessingResult", ""),
        ]
        for each in mappings
    ]
    write(table(["mapping", "stream", "function", "state", "last result"], rows))


@mapping.command(epilog=examples("streamd mapping status 2f1c9d0e-6d0b-4f56-9a55-0b7b8a3f9c11"))
@click.argument("uuid")
@json_option()
@server_options
def status(uuid: str, *, as_json: bool, endpoint: str, region: str) -> None:
    """Show how far a mapping has come in each shard, what blocks it, and when it tries again."""

    async def run() -> JsonObject:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            found: JsonObject = (await client.call("GET", f"/_streamd/mappings/{uuid}")).document()
            return found

    told = asyncio.run(run())
    write(json_text(told) if as_json else mapping_page(told))


@mapping.command(epilog=examples("streamd mapping update 2f1c9d0e-6d0b-4f56-9a55-0b7b8a3f9c11 --disable"))
@click.argument("uuid")
@click.option("--enable/--disable", "enabled", default=None, help="Start or stop it; its place is kept.")
@click.option("--function", help="Another function to feed.")
@_setting_options
@json_option()
@server_options
def update(
    uuid: str, *, enabled: bool | None, function: str | None, as_json: bool, endpoint: str, region: str, **told: Any
) -> None:
    """Change a mapping; it goes on from its checkpoint."""
    document = _members(told)
    if enabled is not None:
        document["Enabled"] = enabled
    if function is not None:
        document["FunctionName"] = function

    async def run() -> JsonObject:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            await client.call("PUT", f"{_MAPPINGS}/{uuid}", document=document)
            return await _until_settled(client, uuid)

    _tell(asyncio.run(run()), as_json=as_json)


@mapping.command(epilog=examples("streamd mapping delete 2f1c9d0e-6d0b-4f56-9a55-0b7b8a3f9c11"))
@click.argument("uuid")
@server_options
def delete(uuid: str, *, endpoint: str, region: str) -> None:
    """Delete a mapping and its checkpoints."""

    async def run() -> None:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            await client.call("DELETE", f"{_MAPPINGS}/{uuid}")
            await _until_gone(client, uuid)

    asyncio.run(run())
    write(f"{uuid}: deleted")


def _start_of(text: str) -> JsonObject:
    match text.lower():
        case "latest":
            return {"StartingPosition": "LATEST"}
        case "horizon" | "trim_horizon":
            return {"StartingPosition": "TRIM_HORIZON"}
        case _:
            try:
                return {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": float(text)}
            except ValueError:
                raise click.UsageError(f"--from {text} is neither latest, horizon nor seconds since 1970.") from None


def _members(told: Mapping[str, Any]) -> JsonObject:
    """Give the API's members of the options that were given."""
    plain = {
        "BatchSize": told["batch_size"],
        "MaximumBatchingWindowInSeconds": told["window"],
        "ParallelizationFactor": told["parallel"],
        "MaximumRetryAttempts": told["retries"],
        "MaximumRecordAgeInSeconds": told["max_age"],
        "BisectBatchOnFunctionError": told["bisect"],
        "TumblingWindowInSeconds": told["tumbling"],
    }
    members: JsonObject = {member: value for member, value in plain.items() if value is not None}
    if told["report_failures"]:
        members["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    if told["patterns"]:
        members["FilterCriteria"] = {"Filters": [{"Pattern": _checked(pattern)} for pattern in told["patterns"]]}
    if told["on_failure"]:
        members["DestinationConfig"] = {"OnFailure": {"Destination": told["on_failure"]}}
    return members


def _checked(pattern: str) -> str:
    try:
        orjson.loads(pattern)
    except orjson.JSONDecodeError as error:
        raise ConfigInvalid(f"--filter {pattern} is no JSON: {error.msg}") from None
    return pattern


async def _arn_of(stream: str, *, endpoint: str, region: str) -> str:
    if stream.startswith("arn:"):
        return stream
    async with connect(endpoint=endpoint, region=region) as client:
        return str((await client.describe_stream_summary(stream))["StreamARN"])


async def _every_page(client: LambdaClient, query: Mapping[str, str]) -> list[JsonObject]:
    found: list[JsonObject] = []
    marker: dict[str, str] = {}
    while True:
        document = (await client.call("GET", _MAPPINGS, query={**query, **marker})).document()
        found += document["EventSourceMappings"]
        if not document.get("NextMarker"):
            return found
        marker = {"Marker": document["NextMarker"]}


async def _until_settled(client: LambdaClient, uuid: str) -> JsonObject:
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        told: JsonObject = (await client.call("GET", f"{_MAPPINGS}/{uuid}")).document()
        if told["State"] in ("Enabled", "Disabled"):
            return told
        if time.monotonic() > deadline_s:
            raise WaitTimedOut(uuid, awaited="Enabled", found=told["State"], timeout_s=_WAIT_S)
        await asyncio.sleep(_PAUSE_S)


async def _until_gone(client: LambdaClient, uuid: str) -> None:
    try:
        await _until_settled(client, uuid)
    except ServiceRefused as refused:
        if refused.status != 404:
            raise


def _tell(told: JsonObject, *, as_json: bool) -> None:
    if as_json:
        write(json_text(told))
        return
    write(f"{told['UUID']}: {told['State']} ({told['EventSourceArn']} to {told['FunctionArn']})")
