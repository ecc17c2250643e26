"""The disk in memory answers as LMDB does, whatever the store asks of it."""

from pathlib import Path
from random import Random
from typing import Any

import lmdb
import pytest

from tests.simulation.disk import TABLES, Disk
from tests.simulation.transactions import MemoryTransaction

_KEYS = [bytes([first, second]) for first in range(4) for second in range(4)]
_MOVES = ("first", "last", "next", "prev", "set_range", "set_key", "delete")


@pytest.mark.parametrize("seed", range(20))
def test_every_step_has_the_same_answer_as_in_lmdb(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    disk = Disk(random=Random(seed), note=lambda _text: None)
    with lmdb.open(str(tmp_path), max_dbs=8, sync=False) as environment:
        tables = {name: environment.open_db(name.encode()) for name in TABLES}
        for _ in range(30):
            ours: Any = MemoryTransaction(disk, is_writer=True, byte_count_max=1 << 20)
            theirs: Any = environment.begin(write=True, buffers=True)
            for _ in range(20):
                step = _step(random)
                assert _answer(ours, step, "blocks") == _answer(theirs, step, tables["blocks"]), step
            end = random.choice(("commit", "abort"))
            getattr(ours, end)()
            getattr(theirs, end)()


def _step(random: Random) -> tuple[str, bytes, bytes, list[str]]:
    kind = random.choice(("get", "put", "put once", "delete", "walk", "list"))
    return kind, random.choice(_KEYS), bytes([random.randrange(256)]), random.choices(_MOVES, k=6)


def _answer(transaction: Any, step: tuple[str, bytes, bytes, list[str]], db: Any) -> Any:
    kind, key, value, moves = step
    match kind:
        case "get":
            return bytes(transaction.get(key, default=b"none", db=db))
        case "put" | "put once":
            return transaction.put(key, value, db=db, overwrite=kind == "put")
        case "delete":
            return transaction.delete(key, db=db)
        case "list":
            return [(bytes(key), bytes(value)) for key, value in transaction.cursor(db=db)]
        case _:
            return _walked(transaction.cursor(db=db), moves, key)


def _walked(cursor: Any, moves: list[str], key: bytes) -> list[tuple[bool, bytes, bytes]]:
    found = []
    for move in moves:
        takes_key = move.startswith("set_")
        is_there = getattr(cursor, move)(key) if takes_key else getattr(cursor, move)()
        found.append((is_there, bytes(cursor.key()), bytes(cursor.value())))
        if not is_there or not cursor.key():
            # Where a cursor goes from nowhere is asked of neither.
            break
    return found
