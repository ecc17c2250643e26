"""``streamd tail``: a stream's records on stdout, of all shards, in the order in which they arrived."""

import asyncio

import click

from streamd.cli.options import ShardId, connect, examples, json_option, server_options
from streamd.cli.output import write
from streamd.cli.tail_lines import json_line, text_line
from streamd.cli.tail_merge import Record
from streamd.cli.tail_reader import StreamReader
from streamd.cli.tail_start import HORIZON, LATEST, Start, StartParameter

__all__ = ["tail"]


@click.command(
    short_help="Print a stream's records as they arrive.",
    epilog=examples(
        "streamd tail orders",
        "streamd tail orders --from horizon --no-follow --json | jq -r .data",
        "streamd tail orders --from -10m --max 100",
        "streamd tail clicks --deaggregate --json",
        "streamd tail orders --shard 0 --from 2026-01-01T00:00:00Z",
    ),
)
@click.argument("stream")
@click.option(
    "--from",
    "start",
    type=StartParameter(),
    metavar="START",
    help="horizon (the oldest record kept), latest or now (only what comes from now on), a time like"
    " 2026-01-01T00:00:00Z (UTC unless it says otherwise), a time ago like -10m (s, m, h, d), or, with --shard, the"
    " sequence number of a record.  [default: latest, or horizon with --no-follow]",
)
@click.option("--shard", type=ShardId(), metavar="SHARD", help="Read only this shard (its id or number), to its end.")
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Wait for new records, or end where the stream ends now.",
)
@click.option("--max", "count_max", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@click.option(
    "--deaggregate",
    is_flag=True,
    help="Show the records inside those that the Kinesis Producer Library aggregated, each with its own key, and with"
    " its place in the aggregate behind the shard: shardId-000000000000#2. Each counts for --max.",
)
@json_option(
    "Print each record as a line of JSON: time, shard, sequence_number, key, data or data_base64; those out of"
    " an aggregate have a sub_sequence_number too, and their explicit_hash_key if they were given one."
)
@server_options
def tail(
    stream: str,
    *,
    start: Start | None,
    shard: str | None,
    follow: bool,
    count_max: int | None,
    deaggregate: bool,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Print STREAM's records as they arrive: time, shard, key and data.

    All shards are merged by time of arrival: older records in exact order, new ones as each round of reading
    brings them. When a shard is split or merged, its children are read after it.

    Data that is no UTF-8 is printed as base64, and control characters as escapes. Ctrl-C ends it.
    """
    if start is None:
        start = LATEST if follow else HORIZON
    if start.sequence_number is not None and shard is None:
        raise click.UsageError("A sequence number is a place in one shard: say which by --shard.")
    line_of = json_line if as_json else text_line

    def give(records: list[Record]) -> None:
        write("".join(map(line_of, records)))

    async def run(start: Start) -> None:
        async with connect(endpoint=endpoint, region=region) as client:
            reader = StreamReader(client, stream, start=start, shard_id=shard, follow=follow, deaggregates=deaggregate)
            await reader.run(give, count_max=count_max)

    asyncio.run(run(start))
