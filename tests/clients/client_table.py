"""The table of clients that the suite has seen working, made by the suite itself.

Each test of a client notes the operations that did what they should, as they did it. At the end of a session the rows
go to a file, together with those that other sessions wrote there (some clients need an environment of their own).

``python -m tests.clients.client_table`` puts the file's table into README; with ``--check`` it tells what README claims
and the file does not show, and ends with 1.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streamd.functions.model import load_model
from streamd.functions.operations import REFUSED_FEATURE_BY_NAME
from streamd.kinesis.operations import HANDLER_BY_OPERATION

__all__ = ["DEFAULT_PATH", "LAMBDA_OPERATIONS", "ClientRow", "ClientTable", "readme_rows"]

_ROOT = Path(__file__).resolve().parents[2]
_README = _ROOT / "README.md"
DEFAULT_PATH = _ROOT / "build" / "clients.json"
_BEGIN, _END = "<!-- clients: made by the suite -->\n", "<!-- clients: end -->\n"
LAMBDA_OPERATIONS = frozenset(load_model().operations) - set(REFUSED_FEATURE_BY_NAME)
# The words for all of a service's operations; some names are in both services, no row is.
_OPERATIONS_BY_WORDS: dict[str, frozenset[str]] = {
    f"all {len(HANDLER_BY_OPERATION)}": frozenset(HANDLER_BY_OPERATION),
    f"all {len(LAMBDA_OPERATIONS)} of Lambda": LAMBDA_OPERATIONS,
}
_BUT = " but "
_MISSING_COUNT_MAX = 5
_HEAD = ["client", "version", "transport", "operations run", "result"]


@dataclass
class ClientRow:
    """A client over one transport."""

    client: str
    version: str
    transport: str
    operations: list[str] = field(default_factory=list)
    result: str = "passed"

    def ran(self, *operations: str) -> None:
        """Note operations that did what they should."""
        self.operations = list(dict.fromkeys([*self.operations, *operations]))


class ClientTable:
    """The rows of a session."""

    def __init__(self) -> None:
        self._row_by_key: dict[tuple[str, str], ClientRow] = {}

    def row(self, client: str, *, version: str, transport: str) -> ClientRow:
        """Give the row of a client over a transport."""
        return self._row_by_key.setdefault((client, transport), ClientRow(client, version, transport))

    def write(self, path: Path) -> None:
        """Write the rows, over older ones of the same clients."""
        if not self._row_by_key:
            return
        rows = {(row.client, row.transport): row for row in _read(path)} if path.exists() else {}
        rows |= self._row_by_key
        path.parent.mkdir(parents=True, exist_ok=True)
        documents = [vars(row) for _, row in sorted(rows.items())]
        path.write_bytes(orjson.dumps(documents, option=orjson.OPT_INDENT_2) + b"\n")


def readme_rows(text: str) -> list[dict[str, str]]:
    """Read the table out of README."""
    lines = text.partition(_BEGIN)[2].partition(_END)[0].strip().splitlines()
    return [dict(zip(_HEAD, (cell.strip() for cell in line.strip("|").split("|")), strict=True)) for line in lines[2:]]


def _read(path: Path) -> list[ClientRow]:
    found: list[dict[str, Any]] = orjson.loads(path.read_bytes())
    return [ClientRow(**row) for row in found]


def _table(rows: Iterable[ClientRow]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |"
    yield "|---" * len(_HEAD) + "|"
    for row in rows:
        yield f"| {row.client} | {row.version} | {row.transport} | {_named(row.operations)} | {row.result} |"


def _named(operations: Iterable[str]) -> str:
    """Name operations, or those that are missing where nearly all of a service's are there."""
    for words, whole in _OPERATIONS_BY_WORDS.items():
        missing = sorted(whole - set(operations))
        if len(missing) <= _MISSING_COUNT_MAX:
            return f"{words}{_BUT}{', '.join(missing)}" if missing else words
    return ", ".join(sorted(operations))


def _operations_of(names: str) -> set[str]:
    words, _, missing = names.partition(_BUT)
    if whole := _OPERATIONS_BY_WORDS.get(words):
        return set(whole) - set(missing.split(", "))
    return set(names.split(", "))


def _missing(rows: Iterable[ClientRow]) -> Iterator[str]:
    """Say what README claims and the suite has not seen. Versions move on, so they are not compared."""
    seen = {(row.client, row.transport): row for row in rows}
    for claimed in readme_rows(_README.read_text()):
        row = seen.get((claimed["client"], claimed["transport"]))
        name = f"{claimed['client']} over {claimed['transport']}"
        if row is None:
            yield f"{name} was not run"
        elif row.result != claimed["result"]:
            yield f"{name} {row.result}"
        else:
            lacking = _operations_of(claimed["operations run"]) - set(row.operations)
            yield from [f"{name} did not run {operation}" for operation in sorted(lacking)]


def main() -> int:
    """Put the table into README, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT_PATH, help="what the suite wrote")
    parser.add_argument("--check", action="store_true", help="change nothing; tell what README claims too much")
    arguments = parser.parse_args()
    rows = _read(arguments.path)
    if arguments.check:
        missing = list(_missing(rows))
        sys.stdout.write("\n".join(missing or [f"all {len(rows)} rows are as README says"]) + "\n")
        return 1 if missing else 0
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    _README.write_text("".join([before, _BEGIN, "\n", "\n".join(_table(rows)), "\n\n", _END, after]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
