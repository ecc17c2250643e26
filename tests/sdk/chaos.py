"""Chaos: consumers over many shards are killed, stopped and woken, added and removed, while shards split and merge.

``python -m tests.sdk.chaos --seconds 120 --seed 7`` prints what happened and ends with status 1 when a promise was
broken. The members are processes of their own against a real daemon; what they wrote down is held against what was put.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sdk.resharding import reshard
from streamd.core.lease import Snapshot
from streamd.core.lease_balance import ready_leases
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer_settings import BEATS_PER_TIMEOUT
from streamd.sdk.leases_streamd import StreamdLeases
from tests.daemons import start_daemon
from tests.sdk.chaos_logs import Findings, findings_of

__all__ = ["SETTLING_BEATS_MAX", "Chaos", "Report"]

STREAM, GROUP = "chaos", "chaos"
MEMBER_TIMEOUT_S = 1.5
MEMBER_COUNT_MIN, MEMBER_COUNT_MAX = 4, 8
_SHARD_COUNTS = (24, 40)
_KEY_COUNT = 160
_PUT_COUNT = 80
_EVENT_PAUSE_S = (0.2, 1.5)
_EVENTS_PER_SETTLING = 12
# The dead are silent for a timeout; then come the beats to see it, to take, to give up what is too much now and to take
# that, and once more for a shard that ended meanwhile.
SETTLING_BEATS_MAX = 4 * BEATS_PER_TIMEOUT
_PATIENCE_S = 90


@dataclass
class Member:
    """A process that reads."""

    member_id: str
    log: Path
    process: subprocess.Popen[bytes]
    is_stopped: bool = False


@dataclass
class Report:
    """What a run did and gave."""

    event_counts: dict[str, int] = field(default_factory=dict)
    settling_beats: list[int] = field(default_factory=list)
    shard_count: int = 0
    findings: Findings | None = None

    def text(self) -> str:
        """Write it for people."""
        found = self.findings
        assert found is not None
        lines = [
            "events: " + ", ".join(f"{count} {name}" for name, count in sorted(self.event_counts.items())),
            f"shards in all: {self.shard_count}; epochs of leases: {found.epoch_count}",
            f"records: {found.record_count}, never delivered: {found.missing_count}",
            f"deliveries: {found.delivery_count}, repeats: {found.repeat_count}",
            f"deliveries beyond a last checkpoint: {found.unsettled_count}",
            f"checkpoints accepted: {found.checkpoint_count}",
            f"settled {len(self.settling_beats)} times, in beats: {self.settling_beats} (at most {SETTLING_BEATS_MAX})",
            *(f"BROKEN: {fault}" for fault in found.faults[:20]),
        ]
        return "\n".join(lines)


class Chaos:
    """One run against one daemon."""

    def __init__(self, url: str, directory: Path, *, seed: int) -> None:
        self._url = url
        self._directory = directory
        self._chance = random.Random(seed)
        self._members: list[Member] = []
        self._gone: list[Member] = []
        self._logs: list[Path] = []
        self._put: set[str] = set()
        self._over = asyncio.Event()
        self._never = asyncio.Event()
        self.report = Report()

    async def run(self, seconds: float, *, members: int = 6, shards: int = 32) -> Report:
        """Disturb for so many seconds, let it settle now and then and at the end, and read the logs."""
        self._directory.mkdir(parents=True, exist_ok=True)
        async with KinesisClient(self._url, region="us-east-1") as client:
            await client.create_stream(STREAM, shard_count=shards)
            await client.wait_until_active(STREAM)
            try:
                async with asyncio.TaskGroup() as group:
                    for producer in range(2):
                        group.create_task(self._produce(client, producer))
                    for _ in range(members):
                        self._join()
                    await self._settle(client)
                    await self._disturb(client, seconds)
                    self._over.set()
                await self._settle(client)
                await self._read_out(client)
                await self._end()
            finally:
                self._kill_all()
            self.report.shard_count = len(await client.list_shards(STREAM))
        self.report.findings = await asyncio.to_thread(findings_of, self._logs, wanted=self._put)
        return self.report

    async def _produce(self, client: KinesisClient, producer: int) -> None:
        number = 0
        while not self._over.is_set():
            keys = [f"p{producer}k{key}" for key in self._chance.sample(range(_KEY_COUNT), _PUT_COUNT)]
            rows = [{"Data": f"{key}:{number}".encode(), "PartitionKey": key} for key in keys]
            answer = await client.put_records(STREAM, rows)
            assert answer["FailedRecordCount"] == 0
            self._put.update(f"{key}:{number}" for key in keys)
            number += 1
            await self._pause(0.05)

    async def _disturb(self, client: KinesisClient, seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        count = 0
        while time.monotonic() < ends_s:
            await self._event(client)
            count += 1
            if count % _EVENTS_PER_SETTLING == 0:
                await self._settle(client)
            await self._pause(self._chance.uniform(*_EVENT_PAUSE_S))

    async def _event(self, client: KinesisClient) -> None:
        kind = self._chance.choice(["kill", "stop", "stop", "wake", "join", "leave", "split", "merge"])
        running = [member for member in self._members if not member.is_stopped]
        stopped = [member for member in self._members if member.is_stopped]
        if len(running) < MEMBER_COUNT_MIN:
            kind = "wake" if stopped else "join"
        match kind:
            case "kill":
                member = self._chance.choice(self._members)
                member.process.kill()
                self._forget(member)
            case "stop":
                member = self._chance.choice(running)
                member.process.send_signal(signal.SIGSTOP)
                member.is_stopped = True
            case "wake" if stopped:
                self._wake(self._chance.choice(stopped))
            case "join" if len(self._members) < MEMBER_COUNT_MAX:
                self._join()
            case "leave":
                member = self._chance.choice(running)
                member.process.terminate()
                self._forget(member)
            case "split" | "merge" if await reshard(
                client, STREAM, kind, lot=self._chance.random(), counts=_SHARD_COUNTS
            ):
                pass
            case _:
                return
        self.report.event_counts[kind] = self.report.event_counts.get(kind, 0) + 1

    async def _settle(self, client: KinesisClient) -> None:
        """Wake all, and count the beats of the slowest member until the shards are shared evenly."""
        for member in self._members:
            self._wake(member)
        await client.wait_until_active(STREAM)
        leases = StreamdLeases(client)
        ends_s = time.monotonic() + _PATIENCE_S
        names = {member.member_id for member in self._members}
        first: dict[str, int] = {}
        while time.monotonic() < ends_s:
            snapshot = await self._snapshot(leases)
            beats = {found.member_id: found.beat for found in snapshot.members} if snapshot else {}
            # A process that was just started has nothing to do with the sharing before it says its first word.
            if not first and names <= beats.keys():
                first = beats
            if first and snapshot is not None and await self._is_even(client, snapshot):
                self.report.settling_beats.append(max(beats[name] - first[name] for name in names))
                return
            await self._pause(MEMBER_TIMEOUT_S / BEATS_PER_TIMEOUT / 4)
        self.report.settling_beats.append(10**6)

    async def _snapshot(self, leases: StreamdLeases) -> Snapshot | None:
        if GROUP not in await leases.groups(STREAM):
            return None
        return await leases.snapshot(STREAM, GROUP)

    async def _is_even(self, client: KinesisClient, snapshot: Snapshot) -> bool:
        open_ids = {
            shard["ShardId"]
            for shard in await client.list_shards(STREAM)
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        }
        ready = ready_leases(snapshot)
        counts = [sum(lease.owner == member.member_id for lease in ready) for member in self._members]
        return (
            {lease.shard_id for lease in ready} == open_ids
            and sum(counts) == len(ready)
            and max(counts) - min(counts) <= 1
        )

    async def _read_out(self, client: KinesisClient) -> None:
        """Wait until no member is behind any more: its checkpoints reach the newest record of every shard."""
        leases = StreamdLeases(client)
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s:
            group = await leases.describe(STREAM, GROUP)
            if not any(lease.get("RecordsBehind") for lease in group["Leases"]):
                return
            await self._pause(0.1)

    async def _pause(self, seconds: float) -> None:
        """Let that much time pass, which is what the run is about."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._never.wait()

    def _join(self) -> None:
        member_id = f"member-{len(self._logs):03d}"
        log = self._directory / f"{member_id}.ndjson"
        log.touch()
        command = [sys.executable, "-m", "tests.sdk.chaos_member", self._url, STREAM, member_id, str(log)]
        with (self._directory / f"{member_id}.err").open("wb") as errors:
            process = subprocess.Popen([*command, str(MEMBER_TIMEOUT_S)], stderr=errors)
        self._logs.append(log)
        self._members.append(Member(member_id, log, process))

    def _wake(self, member: Member) -> None:
        member.process.send_signal(signal.SIGCONT)
        member.is_stopped = False

    def _forget(self, member: Member) -> None:
        self._members.remove(member)
        self._gone.append(member)

    async def _end(self) -> None:
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            status = await asyncio.to_thread(member.process.wait, _PATIENCE_S)
            assert status == 0, (self._directory / f"{member.member_id}.err").read_text()

    def _kill_all(self) -> None:
        for member in [*self._members, *self._gone]:
            member.process.kill()
            member.process.wait()


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sdk.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to disturb")
    parser.add_argument("--seed", type=int, default=1, help="of what happens")
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--shards", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        daemon = start_daemon(Path(folder) / "data")
        try:
            chaos = Chaos(daemon.url, Path(folder) / "logs", seed=options.seed)
            report = asyncio.run(chaos.run(options.seconds, members=options.members, shards=options.shards))
        finally:
            daemon.stop()
    sys.stdout.write(report.text() + "\n")
    assert report.findings is not None
    is_settled = max(report.settling_beats) <= SETTLING_BEATS_MAX
    return 0 if is_settled and not report.findings.faults else 1


if __name__ == "__main__":
    sys.exit(_main())
