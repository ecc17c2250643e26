"""``streamd stream split``, ``merge`` and ``scale``: the verbs that change a stream's shards."""

import asyncio

import click

from streamd.cli.options import ShardId, connect, examples, json_option, server_options, wait_option
from streamd.cli.output import json_text, write
from streamd.cli.stream_page import described, is_open, stream_page
from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.sdk.client import KinesisClient

__all__ = ["merge", "scale", "split"]


@click.command(
    epilog=examples(
        "streamd stream split orders shardId-000000000000",
        "streamd stream split orders 0 --at 85070591730234615865843651857942052864",
    )
)
@click.argument("name")
@click.argument("shard", type=ShardId())
@click.option(
    "--at",
    "hash_key",
    type=click.IntRange(0, HASH_KEY_MAX),
    metavar="HASHKEY",
    help="First hash key of the second child; without it the shard is cut in equal halves.",
)
@wait_option
@json_option()
@server_options
def split(
    name: str, shard: str, *, hash_key: int | None, wait: bool, as_json: bool, endpoint: str, region: str
) -> None:
    """Split SHARD (its id or only its number) in two.

    The shard is closed, and its two children take the records that come from then on.
    """

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            at = await _middle_of(client, name, shard) if hash_key is None else hash_key
            await client.split_shard(name, shard, hash_key=at)
            await _tell(client, name, wait=wait, as_json=as_json)

    asyncio.run(run())


@click.command(epilog=examples("streamd stream merge orders 1 2"))
@click.argument("name")
@click.argument("shard", type=ShardId())
@click.argument("adjacent", type=ShardId())
@wait_option
@json_option()
@server_options
def merge(name: str, shard: str, adjacent: str, *, wait: bool, as_json: bool, endpoint: str, region: str) -> None:
    """Merge SHARD and ADJACENT (ids or only numbers), whose hash keys must touch, into one.

    Both are closed, and their child takes the records that come from then on.
    """

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            await client.merge_shards(name, shard, adjacent_shard_id=adjacent)
            await _tell(client, name, wait=wait, as_json=as_json)

    asyncio.run(run())


@click.command(epilog=examples("streamd stream scale orders 8"))
@click.argument("name")
@click.argument("count", type=click.IntRange(min=1))
@wait_option
@json_option()
@server_options
def scale(name: str, count: int, *, wait: bool, as_json: bool, endpoint: str, region: str) -> None:
    """Bring a stream to COUNT open shards of equal width, by splits and merges.

    One step goes to double the shards at most, and not below half.
    """

    async def run() -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            await client.update_shard_count(name, count)
            await _tell(client, name, wait=wait, as_json=as_json)

    asyncio.run(run())


async def _middle_of(client: KinesisClient, name: str, shard_id: str) -> int:
    """Give the hash key that cuts a shard in equal halves."""
    for shard in await client.list_shards(name):
        if shard["ShardId"] == shard_id:
            hash_range = shard["HashKeyRange"]
            return (int(hash_range["StartingHashKey"]) + int(hash_range["EndingHashKey"]) + 1) // 2
    raise click.ClickException(
        f"Stream {name} has no shard {shard_id}. `streamd stream describe {name}` shows those it has."
    )


async def _tell(client: KinesisClient, name: str, *, wait: bool, as_json: bool) -> None:
    """Print the stream as it is now: whole once its shards are known, else one line."""
    if wait:
        await client.wait_until_active(name)
    summary, shards = await described(client, name)
    if as_json:
        write(json_text(summary | {"Shards": shards}))
    elif wait:
        write(stream_page(summary, [shard for shard in shards if is_open(shard)]))
    else:
        write(f"{name}: {summary['StreamStatus']}")
