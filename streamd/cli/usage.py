"""``streamd usage``: how much functions were used in a month, and what that would have cost on AWS."""

import asyncio
import csv
import io
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import click

from streamd.cli.options import connect_functions, examples, server_options
from streamd.cli.output import json_text, table, write
from streamd.sdk.client import JsonObject

__all__ = ["usage"]

_COLUMNS: Final = (
    "month",
    "price",
    "function",
    "requests",
    "errors",
    "throttles",
    "coldStarts",
    "durationMs",
    "initMs",
    "billedMs",
    "mbMs",
    "gbSeconds",
    "memoryMb",
    "memoryPeakMb",
    "couldBeMb",
    "requestsUsd",
    "computeUsd",
    "scratchUsd",
    "totalUsd",
)


@click.command(
    short_help="Show what functions did, and what AWS would bill.",
    epilog=examples(
        "streamd usage",
        "streamd usage --month 2026-11 --price aws-2015",
        "streamd usage --format csv > november.csv",
    ),
)
@click.option("--month", metavar="YYYY-MM", help="The month (UTC).  [default: this one]")
@click.option(
    "--price",
    type=click.Choice(["aws-2015", "aws-2026"]),
    default="aws-2026",
    show_default=True,
    help="Reckon with the prices and the rounding of that year.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@server_options
def usage(*, month: str | None, price: str, form: str, endpoint: str, region: str) -> None:
    """Show a month of each function: requests, errors, time, memory, and what AWS would have asked for it.

    The free requests and seconds of the account are taken off, shared by use. Where a function never held nearly as
    much memory as it has, less is advised.
    """
    query = {"price": price} if month is None else {"price": price, "month": month}

    async def run() -> JsonObject:
        async with connect_functions(endpoint=endpoint, region=region) as client:
            document: JsonObject = (await client.call("GET", "/_streamd/usage", query=query)).document()
            return document

    document = asyncio.run(run())
    match form:
        case "json":
            write(json_text(document))
        case "csv":
            write(_csv(document))
        case _:
            write(_table(document))


def _csv(document: JsonObject) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for each in document["functions"]:
        costs = {f"{part}Usd": dollars for part, dollars in each["cost"].items()}
        row: Mapping[str, object] = {"month": document["month"], "price": document["price"], **each, **costs}
        writer.writerow(["" if row[column] is None else row[column] for column in _COLUMNS])
    return text.getvalue()


def _table(document: JsonObject) -> str:
    headings = [
        "function",
        "requests",
        "errors",
        "throttled",
        "cold",
        "average ms",
        "billed s",
        "GB-s",
        "MB",
        "peak",
        "$",
    ]
    rows = [
        [each["function"], *_cells(each), _memory(each), str(each["memoryPeakMb"]), _dollars(each)]
        for each in document["functions"]
    ]
    whole = document["total"]
    rows.append(["total", *_cells(whole), "", "", _dollars(whole)])
    return f"{document['month']} at {document['price']}\n\n{table(headings, rows, right=range(1, len(headings)))}"


def _cells(each: JsonObject) -> list[str]:
    average_ms = each["durationMs"] / each["requests"] if each["requests"] else 0.0
    return [
        str(each["requests"]),
        str(each["errors"]),
        str(each["throttles"]),
        str(each["coldStarts"]),
        f"{average_ms:.2f}",
        f"{each['billedMs'] / 1000:.3f}",
        f"{each['gbSeconds']:.3f}",
    ]


def _memory(each: JsonObject) -> str:
    """Write the memory, and how much less would do."""
    advice = each["couldBeMb"]
    return str(each["memoryMb"]) if advice is None else f"{each['memoryMb']} (could be {advice})"


def _dollars(each: JsonObject) -> str:
    return f"{Decimal(each['cost']['total']):.6f}"
