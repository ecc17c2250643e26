"""A program of the user's that reads batches on its stdin and answers with checkpoints on its stdout.

It is started again whenever it ends, after a pause that grows while it dies young, and gets what was under way and not
checkpointed. Its stderr is this process's own. It is run by ``sh -c`` in a session of its own, so that Ctrl-C reaches
``streamd consume`` alone, which then lets it finish.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from streamd.cli.consume_lines import Answer, AnswerMalformed, batch_line, parse_answer
from streamd.errors import LeaseLost, PlaceBehind
from streamd.sdk.batch import Batch, Record

__all__ = ["Program"]

RESTART_PAUSE_S_MIN: Final = 0.25
RESTART_PAUSE_S_MAX: Final = 30.0
# A program that ran for so long did not die young.
STEADY_S: Final = 10.0
LAST_BREATH_S: Final = 5.0
ANSWER_BYTE_COUNT_MAX: Final = 64 * 1024


@dataclass(slots=True)
class _Underway:
    """A batch that the program has, and what of it is not checkpointed."""

    batch: Batch
    rest: list[Record]
    given_to: asyncio.subprocess.Process | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Program:
    """The program's processes, one after another."""

    def __init__(self, command: str, *, warn: Callable[[str], None]) -> None:
        """Take a command for ``sh -c``; ``warn`` is told what people should know."""
        self._command = command
        self._warn = warn
        self._underway: dict[str, _Underway] = {}
        self._writing = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._is_ending = False
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        """Keep the program running until it is told to end."""
        pause_s = RESTART_PAUSE_S_MIN
        try:
            while True:
                began_s = time.monotonic()
                status = await self._run_once()
                if self._is_ending:
                    return
                pause_s = RESTART_PAUSE_S_MIN if time.monotonic() - began_s > STEADY_S else pause_s
                self._warn(f"the program ended with status {status}; it is started again in {pause_s:g} s")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RESTART_PAUSE_S_MAX)
        finally:
            self._has_ended.set()
            for underway in self._underway.values():
                underway.done.set()

    async def give(self, batch: Batch) -> None:
        """Give the program a batch, and wait until it is checkpointed to its end, lost, or the program has ended."""
        if not batch.records:
            # The end of a shard, all of which was checkpointed before.
            with suppress(LeaseLost):
                await batch.checkpoint()
            return
        underway = _Underway(batch, list(batch.records))
        self._underway[batch.shard_id] = underway
        try:
            if not self._has_ended.is_set():
                await self._write(underway)
                await underway.done.wait()
        finally:
            del self._underway[batch.shard_id]

    async def end(self, *, patience_s: float) -> None:
        """Close the program's stdin and wait for its last answers; after so long it is killed."""
        self._is_ending = True
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(patience_s):
                await self._has_ended.wait()
        except TimeoutError:
            self._warn(f"the program did not end within {patience_s:g} s of the end of its input; it is killed")
            _kill(process)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", self._command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTE_COUNT_MAX,
            start_new_session=True,
        )
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write_all())
                await self._hear(process)
                writing.cancel()
            # What closed its stdout and does not end has nothing more to say.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_BREATH_S):
                    await process.wait()
        finally:
            self._process = None
            _kill(process)
            status = await process.wait()
        return status

    async def _write_all(self) -> None:
        for underway in list(self._underway.values()):
            await self._write(underway)

    async def _write(self, underway: _Underway) -> None:
        async with self._writing:
            process = self._process
            if process is None or self._is_ending or underway.given_to is process:
                return
            underway.given_to = process
            assert process.stdin is not None
            # One that died meanwhile gets it from the next process's start on.
            with suppress(ConnectionError):
                process.stdin.write(batch_line(underway.batch, underway.rest))
                await process.stdin.drain()

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self._warn(f"the program said a line of more than {ANSWER_BYTE_COUNT_MAX} bytes: it is killed")
                return
            if not line:
                return
            try:
                answer = parse_answer(line)
            except AnswerMalformed as malformed:
                self._warn(f"a line of the program is ignored: {malformed}")
                continue
            await self._take(answer)

    async def _take(self, answer: Answer) -> None:
        underway = self._underway.get(answer.shard_id)
        places = [record.sequence_number for record in underway.rest] if underway is not None else []
        if underway is None or answer.sequence_number not in places:
            self._warn(f"a checkpoint is ignored: {answer.sequence_number} of {answer.shard_id} is not under way")
            return
        count = len(places) - places[::-1].index(answer.sequence_number)
        is_whole = count == len(places)
        try:
            await underway.batch.checkpoint(through=None if is_whole else answer.sequence_number)
        except LeaseLost as lost:
            self._warn(f"a checkpoint is refused: {lost}")
            is_whole = True
        except PlaceBehind as behind:
            self._warn(f"a checkpoint is refused: {behind}")
        del underway.rest[:count]
        if is_whole:
            underway.done.set()


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a program with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
