"""``streamd stream``: streams as things that are made, looked at, changed and deleted.

Every verb that changes a stream waits until it is ACTIVE again, so that the next line of a script can rely on
it; ``--no-wait`` leaves that to the caller. With ``--json`` a verb prints the API's own document.
"""

import asyncio
import sys

import click

from streamd.cli.options import connect, examples, json_option, server_options, wait_option
from streamd.cli.output import json_text, table, write
from streamd.cli.reshards import merge, scale, split
from streamd.cli.stream_page import described, is_open, stream_page
from streamd.core.limits import RECORD_KIB_MAX, RETENTION_HOURS_DEFAULT, RETENTION_HOURS_MAX
from streamd.sdk.client import JsonObject, KinesisClient

__all__ = ["stream"]


@click.group()
def stream() -> None:
    """Create, list, change and delete streams."""


stream.add_command(split)
stream.add_command(merge)
stream.add_command(scale)


@stream.command(
    epilog=examples(
        "streamd stream create orders --shards 2",
        "streamd stream create clicks --on-demand --retention 168 --tag team=web --tag stage=test",
    )
)
@click.argument("name")
@click.option("--shards", type=click.IntRange(min=1), metavar="N", help="How many shards to start with.")
@click.option("--on-demand", is_flag=True, help="Let the stream split its shards by itself under load.")
@click.option(
    "--retention",
    type=click.IntRange(RETENTION_HOURS_DEFAULT, RETENTION_HOURS_MAX),
    metavar="HOURS",
    help=f"Keep records this long, {RETENTION_HOURS_DEFAULT} to {RETENTION_HOURS_MAX} hours.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag the stream; may be repeated.")
@click.option(
    "--max-record-kib",
    type=click.IntRange(1024, RECORD_KIB_MAX),
    metavar="KIB",
    help=f"Largest record, its key counted: 1024 (the default) to {RECORD_KIB_MAX} KiB.",
)
@wait_option
@json_option()
@server_options
def create(
    name: str,
    *,
    shards: int | None,
    on_demand: bool,
    retention: int | None,
    tags: tuple[str, ...],
    max_record_kib: int | None,
    wait: bool,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Create a stream.

    Without --shards or --on-demand the server decides, as AWS does: 4 shards.
    """
    if shards is not None and on_demand:
        raise click.UsageError("--shards and --on-demand exclude each other.")
    if retention is not None and not wait:
        raise click.UsageError("--retention needs an ACTIVE stream: give it without --no-wait.")
    tag_by_key = dict(_key_and_value(tag) for tag in tags)

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            await client.create_stream(
                name,
                shard_count=shards,
                on_demand=on_demand,
                tags=tag_by_key,
                record_kib_max=max_record_kib,
            )
            if wait:
                summary = await client.wait_until_active(name)
                await _change_retention(client, name, summary, hours=retention)
            await _tell(client, name, "created", as_json=as_json)

    asyncio.run(run())


@stream.command("list", epilog=examples("streamd stream list", "streamd stream list --json | jq '.[].StreamName'"))
@json_option()
@server_options
def list_(*, as_json: bool, endpoint: str, region: str) -> None:
    """List all streams, in the order of their names."""

    async def run() -> list[JsonObject]:
        async with connect(endpoint=endpoint, region=region) as client:
            return await client.list_streams()

    summaries = asyncio.run(run())
    if as_json:
        write(json_text(summaries))
        return
    rows = [
        [
            summary["StreamName"],
            summary.get("StreamStatus", ""),
            summary.get("StreamModeDetails", {}).get("StreamMode", ""),
        ]
        for summary in summaries
    ]
    write(table(["stream", "status", "mode"], rows))


@stream.command(epilog=examples("streamd stream describe orders", "streamd stream describe orders --open"))
@click.argument("name")
@click.option("--open", "open_only", is_flag=True, help="Leave closed shards out.")
@json_option()
@server_options
def describe(name: str, *, open_only: bool, as_json: bool, endpoint: str, region: str) -> None:
    """Show a stream and its shards.

    A shard's share is the part of all hash keys that it holds. Its numbers are the first and, once it is
    closed, the last sequence number it can hold.
    """

    async def run() -> tuple[JsonObject, list[JsonObject]]:
        async with connect(endpoint=endpoint, region=region) as client:
            return await described(client, name)

    summary, shards = asyncio.run(run())
    if open_only:
        shards = [shard for shard in shards if is_open(shard)]
    write(json_text(summary | {"Shards": shards}) if as_json else stream_page(summary, shards))


@stream.command(epilog=examples("streamd stream delete orders", "streamd stream delete orders --yes"))
@click.argument("name")
@click.option("--enforce-consumer-deletion", is_flag=True, help="Delete its registered consumers with it.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option(
    "--no-wait",
    "wait",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Return at once instead of when the stream is gone.",
)
@json_option()
@server_options
def delete(
    name: str,
    *,
    enforce_consumer_deletion: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Delete a stream and every record in it."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to ask: give --yes to delete without a question.")
        click.confirm(f"Delete stream {name} and every record in it?", abort=True, err=True)

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            await client.delete_stream(name, enforce_consumer_deletion=enforce_consumer_deletion)
            if wait:
                await client.wait_until_gone(name)

    asyncio.run(run())
    if as_json:
        write(json_text({"StreamName": name, "Deleted": wait}))
    else:
        write(f"{name}: {'deleted' if wait else 'being deleted'}")


@stream.command(epilog=examples("streamd stream retention orders 168"))
@click.argument("name")
@click.argument("hours", type=click.IntRange(RETENTION_HOURS_DEFAULT, RETENTION_HOURS_MAX))
@wait_option
@json_option()
@server_options
def retention(name: str, hours: int, *, wait: bool, as_json: bool, endpoint: str, region: str) -> None:
    """Keep a stream's records for HOURS hours (24 to 8760), be that more or less than now.

    Records older than a shorter time are gone at once.
    """

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            summary = await client.describe_stream_summary(name)
            await _change_retention(client, name, summary, hours=hours, wait=wait)
            await _tell(client, name, f"keeps records for {hours} hours", as_json=as_json)

    asyncio.run(run())


def _key_and_value(tag: str) -> tuple[str, str]:
    key, separator, value = tag.partition("=")
    if not separator:
        raise click.UsageError(f"--tag {tag} has no value: write it as KEY=VALUE.")
    return key, value


async def _change_retention(
    client: KinesisClient, name: str, summary: JsonObject, *, hours: int | None, wait: bool = True
) -> None:
    current_hours = summary["RetentionPeriodHours"]
    if hours is None or hours == current_hours:
        return
    if hours > current_hours:
        await client.increase_retention(name, hours=hours)
    else:
        await client.decrease_retention(name, hours=hours)
    if wait:
        await client.wait_until_active(name)


async def _tell(client: KinesisClient, name: str, sentence: str, *, as_json: bool) -> None:
    """Print what became of a stream."""
    if as_json:
        write(json_text(await client.describe_stream_summary(name)))
    else:
        write(f"{name}: {sentence}")
