"""README's programs that consume do what it says: one prints, one counts each record once, killed or not."""

import asyncio
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamd.sdk.client import KinesisClient
from tests.daemons import Daemon
from tests.sdk.consumers import client_at, made_stream, put

__all__: list[str] = []

_ROOT = Path(__file__).parents[2]
_KILL_COUNT = 10
_PUT_COUNT = 400


def program(number: int) -> str:
    section = (_ROOT / "README.md").read_text().split("\n## Consuming\n", 1)[1].split("\n## ", 1)[0]
    return str(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number])


def started(source: Path, *arguments: str) -> subprocess.Popen[bytes]:
    # The program runs where it lies, and imports what this test imports.
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "AWS_REGION": "us-east-1"}
    return subprocess.Popen([sys.executable, str(source), *arguments], stdout=subprocess.PIPE, env=environment)


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[KinesisClient]:
    async with client_at(daemon.url) as opened:
        yield opened


async def test_the_first_program_prints_keys_and_data(client: KinesisClient, stream_name: str, tmp_path: Path) -> None:
    await made_stream(client, stream_name, shards=1)
    source = tmp_path / "printing.py"
    source.write_text(program(0))
    await put(client, stream_name, range(3), keys=3)

    process = started(source, client.endpoint, stream_name)
    assert process.stdout is not None
    lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
    process.kill()
    process.communicate()

    assert lines == [b"k0 k0:0\n", b"k1 k1:1\n", b"k2 k2:2\n"]


@pytest.mark.timeout(300)
async def test_the_counting_program_is_exact_however_often_it_is_killed(
    client: KinesisClient, stream_name: str, tmp_path: Path
) -> None:
    await made_stream(client, stream_name, shards=4)
    source = tmp_path / "counting.py"
    source.write_text(program(1))
    database = tmp_path / "counts.db"
    chance = random.Random(11)
    running: list[subprocess.Popen[bytes]] = []
    texts: list[str] = []

    async def add() -> None:
        texts.extend(await put(client, stream_name, range(len(texts), len(texts) + _PUT_COUNT)))

    try:
        for number in range(_KILL_COUNT):
            while len(running) < 2:
                running.append(started(source, client.endpoint, stream_name, str(database)))
            await add()
            if number == 3:
                await client.split_shard(stream_name, "shardId-000000000000", hash_key=1 << 120)
                await client.wait_until_active(stream_name)
            before = total(database)
            await until(lambda before=before: total(database) > before)  # type: ignore[misc]  # a default is bound here
            await moment(chance.uniform(0, 0.4))
            victim = running.pop(chance.randrange(2))
            victim.kill()
            victim.communicate()
        running.append(started(source, client.endpoint, stream_name, str(database)))
        await add()
        await until(lambda: total(database) >= len(texts))
        await moment(1.0)
    finally:
        for process in running:
            process.kill()
            process.communicate()

    with closing(sqlite3.connect(database)) as opened:
        counts = dict(opened.execute("SELECT key, records FROM counts").fetchall())
    keys = [text.partition(":")[0] for text in texts]
    assert counts == {key: keys.count(key) for key in set(keys)}


def total(database: Path) -> int:
    """Give how many records were counted."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=30)) as opened:
        try:
            return int(opened.execute("SELECT coalesce(sum(records), 0) FROM counts").fetchone()[0])
        except sqlite3.OperationalError:
            # The program has not made its tables yet.
            return 0


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; the test's own timeout is the bound."""
    while not await asyncio.to_thread(is_so):
        await moment(0.05)


async def moment(seconds: float) -> None:
    """Let so much time pass that a kill lands anywhere; nothing depends on how much."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)
