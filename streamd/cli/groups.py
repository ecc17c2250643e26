"""``streamd group``: who reads a stream together, how far they came, and moving them."""

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

import click

from streamd.cli.options import ShardId, connect, examples, json_option, server_options
from streamd.cli.output import json_text, table, write
from streamd.cli.tail_start import Start, StartParameter
from streamd.core.lease import time_of_place
from streamd.errors import GroupNotFound
from streamd.sdk.client import JsonObject
from streamd.sdk.group_places import reset_group, seek_group
from streamd.sdk.leases_streamd import StreamdLeases

__all__ = ["group"]


@click.group()
def group() -> None:
    """Look at groups of readers, and move or delete them."""


@group.command("list", epilog=examples("streamd group list orders"))
@click.argument("stream")
@json_option()
@server_options
def list_(stream: str, *, as_json: bool, endpoint: str, region: str) -> None:
    """List the groups that read STREAM, how far each is behind, and how many members it has."""

    async def run() -> list[JsonObject]:
        async with connect(endpoint=endpoint, region=region) as client:
            return await _described(StreamdLeases(client), stream)

    groups = asyncio.run(run())
    if as_json:
        write(json_text(groups))
        return
    rows = [
        [
            each["GroupName"],
            str(len(each["Members"])),
            str(len(each["Leases"])),
            str(sum(lease["RecordsBehind"] for lease in each["Leases"])),
        ]
        for each in groups
    ]
    write(table(["group", "members", "leases", "records behind"], rows, right=[1, 2, 3]))


@group.command(epilog=examples("streamd group describe orders billing", "streamd group describe orders billing --json"))
@click.argument("stream")
@click.argument("name", metavar="GROUP")
@json_option()
@server_options
def describe(stream: str, name: str, *, as_json: bool, endpoint: str, region: str) -> None:
    """Show a group's members, and each shard's lease: its owner, epoch, checkpoint and how far it is behind.

    A member's beat grows for as long as it lives; one whose beat stands still loses its leases to the others.
    """

    async def run() -> JsonObject:
        async with connect(endpoint=endpoint, region=region) as client:
            return await StreamdLeases(client).describe(stream, name)

    told = asyncio.run(run())
    write(json_text(told) if as_json else _page(told))


@group.command(
    epilog=examples(
        "streamd group reset orders billing --to horizon",
        "streamd group reset orders billing --to 2026-01-01T00:00:00Z",
        "streamd group reset orders billing --to -10m --shard 3",
    )
)
@click.argument("stream")
@click.argument("name", metavar="GROUP")
@click.option(
    "--to", "start", type=StartParameter(), required=True, help="Where to read on: horizon, latest, -10m or a time."
)
@click.option("--shard", "shards", type=ShardId(), multiple=True, help="Move this shard only; may be repeated.")
@json_option("Print the shards that were moved as JSON.")
@server_options
def reset(
    stream: str, name: str, *, start: Start, shards: tuple[str, ...], as_json: bool, endpoint: str, region: str
) -> None:
    """Have GROUP read on from another place, whether its members run or not.

    Members notice it at their next checkpoint: what they have in hand is delivered again from the new place.
    """
    if start.sequence_number is not None:
        raise click.UsageError("--to takes horizon, latest or a time: a number is one shard's.")

    async def run() -> list[str]:
        async with connect(endpoint=endpoint, region=region) as client:
            store = StreamdLeases(client)
            wanted = shards or None
            if start.iterator_type == "TRIM_HORIZON":
                return await reset_group(store, stream, name, shard_ids=wanted)
            time_ms = time.time_ns() // 1_000_000 if start.timestamp_ms is None else start.timestamp_ms
            return await seek_group(store, stream, name, time_ms=time_ms, shard_ids=wanted)

    moved = asyncio.run(run())
    write(json_text(moved) if as_json else f"{name}: moved in {len(moved)} shard{'' if len(moved) == 1 else 's'}")


@group.command(epilog=examples("streamd group delete orders billing --yes"))
@click.argument("stream")
@click.argument("name", metavar="GROUP")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@server_options
def delete(stream: str, name: str, *, yes: bool, endpoint: str, region: str) -> None:
    """Delete GROUP, its leases and its checkpoints. Members that run are told that it is gone."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to ask: give --yes to delete without a question.")
        click.confirm(f"Delete group {name} of {stream} and its checkpoints?", abort=True, err=True)

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            await StreamdLeases(client).delete_group(stream, name)

    asyncio.run(run())
    write(f"{name}: deleted")


async def _described(store: StreamdLeases, stream: str) -> list[JsonObject]:
    """Describe all groups of a stream; one that was deleted since it was listed is left out."""
    found: list[JsonObject] = []
    for name in await store.groups(stream):
        with suppress(GroupNotFound):
            found.append({"GroupName": name} | await store.describe(stream, name))
    return found


def _page(told: JsonObject) -> str:
    members = [[each["MemberId"], str(each["Beat"]), each["About"]] for each in told["Members"]]
    leases = [
        [
            each["ShardId"],
            each.get("Owner", "-"),
            str(each["Epoch"]),
            _place_text(each["Place"]),
            str(each["RecordsBehind"]),
            f"{each['MillisBehindLatest'] / 1000:.1f} s",
        ]
        for each in told["Leases"]
    ]
    return "\n".join(
        (
            f"began at {_place_text(told['Start'])}",
            "",
            table(["member", "beat", "about"], members, right=[1]),
            "",
            table(["shard", "owner", "epoch", "checkpoint", "records behind", "behind"], leases, right=[2, 4, 5]),
        )
    )


def _place_text(place: str) -> str:
    if (time_ms := time_of_place(place)) is not None:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
    return {"TRIM_HORIZON": "horizon", "SHARD_END": "end"}.get(place, place)
