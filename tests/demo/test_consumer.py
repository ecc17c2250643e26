"""Consumers that die, in every way, and go on from their checkpoints."""

import asyncio
import contextlib
import sqlite3
from itertools import islice
from pathlib import Path

import pytest

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.consumer import RESTART_COUNT_MAX, Consumer
from streamd.demo.failures import CheckpointsFailed
from streamd.demo.generator import generate_posts
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.posts import Post
from streamd.demo.progress import Progress
from streamd.demo.verify import DirectCount, FaultList, ShardSpan, judge
from streamd.sdk.client import ServiceUnreachable
from tests.demo.shards import MemoryShard, records_of

__all__: list[str] = []

FINDER = MentionFinder(DEFAULT_NAMES)


class _KilledAfter(Progress):
    """Dies once so many posts were counted, as a task does that is cancelled between two batches."""

    __slots__ = ("_posts_until_death",)

    def __init__(self, posts_until_death: int) -> None:
        super().__init__()
        self._posts_until_death = posts_until_death

    def note_lag(self, shard_id: str, lag_ms: int) -> None:
        """Die when it is time."""
        super().note_lag(shard_id, lag_ms)
        if self.posts_read >= self._posts_until_death:
            raise asyncio.CancelledError


@pytest.fixture
def posts() -> list[Post]:
    """Give some posts."""
    return list(islice((post for piece in generate_posts(5, DEFAULT_NAMES) for post in piece), 2_000))


def _consumer(shard: MemoryShard, checkpoints: Checkpoints, progress: Progress) -> Consumer:
    return Consumer(
        shard,
        stream="posts",
        span=ShardSpan("shard-0", 0, 2**128 - 1),
        finder=FINDER,
        checkpoints=checkpoints,
        progress=progress,
    )


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def _judge(posts: list[Post], checkpoints: Checkpoints) -> FaultList:
    direct = DirectCount(FINDER)
    direct.take(posts)
    return judge(direct, await checkpoints.totals())


async def test_a_consumer_reads_a_shard_to_its_end_and_is_verified(tmp_path: Path, posts: list[Post]) -> None:
    shard = MemoryShard(records_of(posts))
    progress = Progress()

    async with Checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        await _consumer(shard, checkpoints, progress).run(_set_event())
        faults = await _judge(posts, checkpoints)

    assert faults.first == []
    assert (progress.posts_read, progress.consumer_restarts) == (2_000, 0)


@pytest.mark.parametrize("posts_until_death", [50, 350, 1_950])
async def test_a_consumer_killed_between_batches_is_followed_by_one_that_loses_and_repeats_nothing(
    tmp_path: Path, posts: list[Post], posts_until_death: int
) -> None:
    shard = MemoryShard(records_of(posts))
    path = tmp_path / "checkpoints.sqlite"
    async with Checkpoints(path) as checkpoints:
        with pytest.raises(asyncio.CancelledError):
            await _consumer(shard, checkpoints, _KilledAfter(posts_until_death)).run(_set_event())

    progress = Progress()
    async with Checkpoints(path) as checkpoints:
        await _consumer(shard, checkpoints, progress).run(_set_event())
        faults = await _judge(posts, checkpoints)

    assert faults.first == []
    assert progress.posts_read == 2_000 - posts_until_death


@pytest.mark.parametrize("step_count", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
async def test_a_consumer_cancelled_at_any_await_is_followed_by_one_that_loses_and_repeats_nothing(
    tmp_path: Path, posts: list[Post], step_count: int
) -> None:
    shard = MemoryShard(records_of(posts))
    path = tmp_path / "checkpoints.sqlite"
    async with Checkpoints(path) as checkpoints, asyncio.TaskGroup() as group:
        task = group.create_task(_consumer(shard, checkpoints, Progress()).run(_set_event()))
        await shard.fifth_read.wait()
        for _ in range(step_count):
            await asyncio.sleep(0)
        task.cancel()

    async with Checkpoints(path) as checkpoints:
        await _consumer(shard, checkpoints, Progress()).run(_set_event())
        faults = await _judge(posts, checkpoints)

    assert faults.first == []


async def test_a_consumer_whose_reads_fail_starts_again_from_its_checkpoint(tmp_path: Path, posts: list[Post]) -> None:
    shard = MemoryShard(records_of(posts), failing_reads=[1, 7, 8, 30])
    progress = Progress()

    async with Checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        await _consumer(shard, checkpoints, progress).run(_set_event())
        faults = await _judge(posts, checkpoints)

    assert faults.first == []
    assert progress.consumer_restarts == 4


async def test_a_consumer_that_gets_nowhere_gives_up(tmp_path: Path, posts: list[Post]) -> None:
    shard = MemoryShard(records_of(posts), failing_reads=range(1, 100))

    async with Checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        with pytest.raises(ServiceUnreachable):
            await _consumer(shard, checkpoints, Progress()).run(_set_event())

    assert shard.read_count == RESTART_COUNT_MAX + 1


async def test_a_checkpoint_that_fails_to_save_saves_nothing_of_its_batch(tmp_path: Path, posts: list[Post]) -> None:
    shard = MemoryShard(records_of(posts))
    path = tmp_path / "checkpoints.sqlite"
    async with Checkpoints(path) as checkpoints:
        with pytest.raises(asyncio.CancelledError):
            await _consumer(shard, checkpoints, _KilledAfter(100)).run(_set_event())
        place_before = await checkpoints.place_of("shard-0")
        # What a save touches after place and counts is made to fail.
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE seen")

        with pytest.raises(CheckpointsFailed):
            await _consumer(shard, checkpoints, Progress()).run(_set_event())
        place_after = await checkpoints.place_of("shard-0")

    assert place_after == place_before
