"""Taking over: two members share a stream into which records are put all the time; one of them is killed.

"Time to take over" is from the kill to the moment at which the survivor had given out a record of every shard of the
dead; "repeats" are deliveries beyond the first of each record; "missing" records came from nobody within the time.
async-kinesis takes part where a Python that has it is given and redis-server is installed: its members take what they
may and never give up any, so the one that dies may take half and the other all.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.functions.server import served
from benchmarks.programs import free_port, started_program
from benchmarks.results import Measurement
from benchmarks.sdk.consumer import PEER_SCRIPT
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer

__all__ = ["REFERENCE", "measure"]

REFERENCE = "Consumer"
_SHARD_COUNT = 8
_TIMEOUT_S = 10
_KEY_COUNT = 200
_WARM_S = 15.0
_AFTER_S = 3.0
_PATIENCE_S = 90.0


@dataclass
class _Run:
    """What was put, where it went, and who gave out what."""

    shard_by_text: dict[str, str] = field(default_factory=dict)
    killed_ns: int = 0


def measure(
    folder: Path, *, record_count: int, worker_count: int, peer_python: Path | None = None
) -> list[Measurement]:
    """Measure each system once; ``record_count`` says nothing here, as records are put for as long as it takes."""
    del record_count
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Measurement] = []
    with served(folder / "takeover", "--workers", str(worker_count)) as server:
        url = f"http://127.0.0.1:{server.port}"
        server.create_stream("ours", shard_count=_SHARD_COUNT)
        ours = [sys.executable, "-m", "benchmarks.sdk.takeover", url, "ours", "--log"]
        found += asyncio.run(_measured(url, "ours", folder, REFERENCE, [ours, ours], {}))
        if peer_python is not None and shutil.which("redis-server") is not None:
            server.create_stream("peers", shard_count=_SHARD_COUNT)
            peer = [str(peer_python), str(PEER_SCRIPT), url, "peers", "--timeout", str(_TIMEOUT_S)]
            half, whole = str(_SHARD_COUNT // 2), str(_SHARD_COUNT)
            commands = [
                [*peer, "--shards", half, "--member", "one", "--log"],
                [*peer, "--shards", whole, "--member", "two", "--log"],
            ]
            with _redis(folder) as environment:
                found += asyncio.run(_measured(url, "peers", folder, "async-kinesis", commands, environment))
    return found


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[dict[str, str]]:
    port = str(free_port())
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    program = started_program(command, folder=folder / "redis")
    try:
        yield {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port}
    finally:
        program.stop()


async def _measured(
    url: str, stream: str, folder: Path, system: str, commands: list[list[str]], environment: dict[str, str]
) -> list[Measurement]:
    logs = [folder / f"{stream}-{number}.log" for number in range(len(commands))]
    for log in logs:
        log.touch()
    members = []
    run = _Run()
    over = asyncio.Event()
    try:
        async with KinesisClient(url, region="us-east-1") as client, asyncio.TaskGroup() as group:
            group.create_task(_put(client, stream, run, over))
            for command, log in zip(commands, logs, strict=True):
                members.append(await _started([*command, str(log)], environment))
                await _pass(_WARM_S / len(commands))
            victims = {run.shard_by_text[text] for _, text in _noted(logs[0])[-_KEY_COUNT * 2 :]}
            members[0].kill()
            run.killed_ns = time.monotonic_ns()
            seconds = await _taken_over(run, victims, logs[1])
            over.set()
        await _pass(_AFTER_S)
    finally:
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                member.kill()
            await member.wait()
    return _figures(system, run, logs, seconds)


async def _started(command: list[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)


async def _put(client: KinesisClient, stream: str, run: _Run, over: asyncio.Event) -> None:
    number = 0
    while not over.is_set():
        texts = [f"k{key}:{number}" for key in range(_KEY_COUNT)]
        rows = [{"Data": text.encode(), "PartitionKey": text.partition(":")[0]} for text in texts]
        answer = await client.put_records(stream, rows)
        run.shard_by_text |= {text: row["ShardId"] for text, row in zip(texts, answer["Records"], strict=True)}
        number += 1
        await _pass(0.2)


async def _taken_over(run: _Run, victims: set[str], log: Path) -> float:
    """Wait until the survivor gave out a record of every shard of the dead, and tell how long that took."""
    while time.monotonic_ns() < run.killed_ns + _PATIENCE_S * 1e9:
        first: dict[str, int] = {}
        for moment_ns, text in _noted(log):
            if moment_ns > run.killed_ns:
                first.setdefault(run.shard_by_text.get(text, ""), moment_ns)
        if victims <= first.keys():
            return (max(first[shard] for shard in victims) - run.killed_ns) / 1e9
        await _pass(0.1)
    return _PATIENCE_S


def _figures(system: str, run: _Run, logs: list[Path], seconds: float) -> list[Measurement]:
    texts = [text for log in logs for _, text in _noted(log)]
    missing = len(run.shard_by_text.keys() - set(texts))
    figures = [
        ("time to take over", seconds, "s"),
        ("repeats", len(texts) - len(set(texts)), "records"),
        ("missing", missing, "records"),
    ]
    return [
        Measurement(
            work=work,
            case=f"{_SHARD_COUNT} shards, {_TIMEOUT_S} s of silence allowed",
            system=system,
            value=value,
            unit=unit,
            is_more_better=False,
            is_compared=work == "time to take over",
            fault="" if seconds < _PATIENCE_S else "not taken over within the time",
        )
        for work, value, unit in figures
    ]


def _noted(log: Path) -> list[tuple[int, str]]:
    rows = [line.partition(" ") for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [(int(moment), text.strip()) for moment, _, text in rows]


async def _pass(seconds: float) -> None:
    """Let time pass, which is what is measured here."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


@click.command()
@click.argument("url")
@click.argument("stream")
@click.option("--log", type=click.Path(path_type=Path), required=True)
def _main(*, url: str, stream: str, log: Path) -> None:
    """Read as a member, noting each record and when it was given out."""
    asyncio.run(_note(url, stream, log))


async def _note(url: str, stream: str, log: Path) -> None:
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    async with (
        KinesisClient(url, region="us-east-1") as client,
        Consumer(stream, group="takeover", client=client, member_timeout_s=_TIMEOUT_S) as consumer,
    ):
        async for batch in consumer:
            for record in batch.records:
                os.write(file, f"{time.monotonic_ns()} {record.data.decode()}\n".encode())


if __name__ == "__main__":
    _main()
