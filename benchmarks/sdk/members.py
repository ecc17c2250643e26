"""Members of a group as processes that note what they give out, and the records that are put for them meanwhile.

A member's log has a line for each record: the moment, in nanoseconds of the machine's monotonic clock, and its text.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.programs import free_port, started_program
from benchmarks.sdk.consumer import PEER_SCRIPT
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer

__all__ = ["Load", "Members", "our_members", "pass_time", "peer_members"]

TIMEOUT_S = 10
_KEY_COUNT = 200
_PUT_INTERVAL_S = 0.2


@dataclass
class Load:
    """What is put into a stream all the time: a record of every key, again and again."""

    shard_by_text: dict[str, str] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def round_count_max(self) -> int:
        """Records of one round."""
        return _KEY_COUNT

    async def put(self, client: KinesisClient, stream: str) -> None:
        """Put until it is over."""
        number = 0
        while not self.over.is_set():
            texts = [f"k{key}:{number}" for key in range(_KEY_COUNT)]
            rows = [{"Data": text.encode(), "PartitionKey": text.partition(":")[0]} for text in texts]
            answer = await client.put_records(stream, rows)
            self.shard_by_text |= {text: row["ShardId"] for text, row in zip(texts, answer["Records"], strict=True)}
            number += 1
            await pass_time(_PUT_INTERVAL_S)


@dataclass
class Members:
    """The members of one system, by name, and the logs of all that ever were."""

    folder: Path
    command: Callable[[str], list[str]]
    environment: dict[str, str]
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    _gone: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self) -> str:
        """Start one more, and give its name."""
        name = f"member-{len(self.logs):02d}"
        log = self.folder / f"{name}.log"
        log.touch()
        command = [*self.command(name), "--log", str(log)]
        environment = {**os.environ, **self.environment}
        with (self.folder / f"{name}.err").open("wb") as errors:
            self.running[name] = await asyncio.create_subprocess_exec(*command, env=environment, stderr=errors)
        self.logs[name] = log
        return name

    def kill(self, name: str) -> None:
        """Let one die without a word."""
        self._take_out(name).kill()

    def ask_to_leave(self, name: str) -> None:
        """Ask one to hand over and end."""
        self._take_out(name).terminate()

    def stop(self, name: str) -> None:
        """Hold one still: it does not know that time passes."""
        self.running[name].send_signal(signal.SIGSTOP)
        self.stopped.add(name)

    def wake(self, name: str) -> None:
        """Let one that was held go on."""
        self.running[name].send_signal(signal.SIGCONT)
        self.stopped.discard(name)

    async def end(self) -> None:
        """Kill all that are left."""
        for name in list(self.running):
            self.kill(name)
        for process in self._gone:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def noted(self, name: str) -> list[tuple[int, str]]:
        """Give what one gave out so far, and when."""
        lines = self.logs[name].read_text().splitlines(keepends=True)
        rows = [line.partition(" ") for line in lines if line.endswith("\n")]
        return [(int(moment), text.strip()) for moment, _, text in rows]

    def texts(self) -> list[str]:
        """Give the records of all logs, repeats included."""
        return [text for name in self.logs for _, text in self.noted(name)]

    def _take_out(self, name: str) -> asyncio.subprocess.Process:
        self.stopped.discard(name)
        process = self.running.pop(name)
        self._gone.append(process)
        return process


@contextlib.contextmanager
def our_members(folder: Path, url: str, stream: str) -> Iterator[Members]:
    """Give members that are streamd's Consumer."""
    folder.mkdir(parents=True)
    yield Members(folder, lambda name: [sys.executable, "-m", __name__, url, stream, "--member", name], {})


@contextlib.contextmanager
def peer_members(
    folder: Path, url: str, stream: str, *, python: Path, share_of: Callable[[str], int]
) -> Iterator[Members]:
    """Give members that are async-kinesis with Redis. ``share_of`` gives the most shards that one may take.

    They take what they may and never give up any.
    """
    folder.mkdir(parents=True)
    port = str(free_port())
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    program = started_program(command, folder=folder / "redis")

    def member(name: str) -> list[str]:
        options = ["--timeout", str(TIMEOUT_S), "--shards", str(share_of(name)), "--member", name]
        return [str(python), str(PEER_SCRIPT), url, stream, *options]

    try:
        yield Members(folder, member, {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port})
    finally:
        program.stop()


async def pass_time(seconds: float) -> None:
    """Let time pass, which is what is measured here."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


@click.command()
@click.argument("url")
@click.argument("stream")
@click.option("--member", required=True)
@click.option("--log", type=click.Path(path_type=Path), required=True)
def _main(*, url: str, stream: str, member: str, log: Path) -> None:
    """Read as a member, noting each record and when it was given out; SIGTERM makes it leave."""
    asyncio.run(_note(url, stream, member, log))


async def _note(url: str, stream: str, member: str, log: Path) -> None:
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    async with (
        KinesisClient(url, region="us-east-1") as client,
        Consumer(stream, group="members", client=client, member_id=member, member_timeout_s=TIMEOUT_S) as consumer,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        async for batch in consumer:
            for record in batch.records:
                os.write(file, f"{time.monotonic_ns()} {record.data.decode()}\n".encode())


if __name__ == "__main__":
    _main()
