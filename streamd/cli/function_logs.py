"""``streamd function logs``: what a function printed, and prints."""

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import click
import orjson

from streamd.cli.options import connect_functions, examples, json_option, server_options
from streamd.cli.output import write
from streamd.cli.tail_start import parse_start
from streamd.sdk.client import JsonObject
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["logs"]

_WAIT_MS: Final = 20_000


class _Since(click.ParamType[int]):
    """A moment: so long ago, or a time."""

    name = "since"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        now_ms = time.time_ns() // 1_000_000
        is_ago = value[-1:] in {"s", "m", "h", "d"} and value[:1].isdigit()
        start = parse_start(f"-{value}" if is_ago else value, now_ms=now_ms)
        if start is None or start.timestamp_ms is None:
            self.fail(f"{value!r} is no time: give one like 10m, 2h or 2026-01-01T00:00:00Z.", param, ctx)
        return start.timestamp_ms


@click.command(
    epilog=examples(
        "streamd function logs mentions",
        "streamd function logs mentions -f",
        "streamd function logs mentions --since 10m --filter ERROR",
        "streamd function logs mentions --request-id 6f8f3f4b-9f2f-4a51-9a40-0c1d2e3f4a5b --json",
    )
)
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed from now on, until Ctrl-C.")
@click.option(
    "--since",
    type=_Since(),
    metavar="TIME",
    help="Begin so long ago (10m, 2h, 3d) or at a time like 2026-01-01T00:00:00Z.  [default: the last lines]",
)
@click.option("--until", type=_Since(), metavar="TIME", help="End so long ago or at a time.")
@click.option("--request-id", metavar="ID", help="Only the lines of one invocation.")
@click.option("--filter", "text", metavar="TEXT", help="Only lines that hold this text.")
@click.option("--version", metavar="VERSION", help="Only the lines of one version, such as $LATEST or 3.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many last lines.",
)
@json_option("Print each line as a line of JSON: time, stream, requestId, version, message.")
@server_options
def logs(
    name: str,
    *,
    follow: bool,
    since: int | None,
    until: int | None,
    request_id: str | None,
    text: str | None,
    version: str | None,
    count: int,
    as_json: bool,
    endpoint: str,
    region: str,
) -> None:
    """Print what a function printed: its last lines, or all since a time.

    Control characters are printed as escapes. Ctrl-C ends it.
    """
    if follow and until is not None:
        raise click.UsageError("--follow has no end: leave --until out.")
    told = {
        "start": since,
        "end": until,
        "request-id": request_id,
        "filter": text,
        "version": version,
        "limit": count if since is None else None,
    }
    query = {member: str(value) for member, value in told.items() if value is not None}
    line_of = _json_line if as_json else _text_line

    def give(page: list[JsonObject]) -> None:
        if page:
            write("".join(map(line_of, page)))

    async def run() -> None:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            async for page in _pages(client, f"/_streamd/functions/{quote(name, safe='')}/logs", query, follow=follow):
                give(page)

    asyncio.run(run())


async def _pages(
    client: LambdaClient, path: str, query: dict[str, str], *, follow: bool
) -> AsyncGenerator[list[JsonObject], None]:
    """Read page after page: to the end, or, following, on and on."""
    while True:
        document = (await client.call("GET", path, query=query)).document()
        yield document["lines"]
        query = {member: value for member, value in query.items() if member not in {"limit", "wait-ms"}}
        query["next"] = document["next"]
        if not document["hasMore"]:
            if not follow:
                return
            query["wait-ms"] = str(_WAIT_MS)


def _json_line(line: JsonObject) -> str:
    return orjson.dumps({**line, "time": _time(line["time"])}, option=orjson.OPT_APPEND_NEWLINE).decode()


def _text_line(line: JsonObject) -> str:
    return f"{_time(line['time'])} {_printable(line['message'])}\n"


def _time(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _printable(text: str) -> str:
    """Let tabs through, which AWS's own lines hold, and nothing else that drives a terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\t" else letter.encode("unicode_escape").decode()
        for letter in text.rstrip("\t")
    )
