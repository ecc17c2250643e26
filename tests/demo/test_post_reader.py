"""The reader, stopped and cut off in every way: whoever comes next goes on from its checkpoints."""

import asyncio
import contextlib
import sqlite3
from itertools import islice
from pathlib import Path

import pytest

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.failures import CheckpointsFailed
from streamd.demo.generator import generate_posts
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.post_reader import PostReader
from streamd.demo.posts import Post
from streamd.demo.progress import Progress
from streamd.demo.verify import DirectCount, FaultList, Place, ShardSpan, judge, tally_batch
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import NotFound
from streamd.sdk.testing import MemoryKinesis
from tests.demo.shards import FaultyKinesis, make_stream_of, records_of

__all__: list[str] = []

FINDER = MentionFinder(DEFAULT_NAMES)
SPAN = ShardSpan("shardId-000000000000", 0, 2**128 - 1)


class _Reading(Progress):
    """One reader in a task, that is cancelled once so many posts were counted."""

    __slots__ = ("_posts_until_death", "_task")

    def __init__(self, posts_until_death: int | None) -> None:
        super().__init__()
        self._posts_until_death = posts_until_death
        self._task: asyncio.Task[None] | None = None

    async def run(self, client: KinesisClient, path: Path) -> None:
        """Read to the end, or to death."""
        async with Checkpoints(path) as checkpoints:
            self._task = asyncio.create_task(_reader(client, checkpoints, self).run(_set_event()))
            await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def note_lag(self, shard_id: str, lag_ms: int) -> None:
        """Die when it is time."""
        super().note_lag(shard_id, lag_ms)
        if self._posts_until_death is not None and self.posts_read >= self._posts_until_death:
            assert self._task is not None
            self._task.cancel()


def _reader(client: KinesisClient, checkpoints: Checkpoints, progress: Progress) -> PostReader:
    return PostReader(
        client,
        stream="posts",
        spans=[SPAN],
        finder=FINDER,
        checkpoints=checkpoints,
        progress=progress,
        batch_record_count_max=50,
    )


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def _judge(posts: list[Post], path: Path) -> FaultList:
    direct = DirectCount(FINDER)
    direct.take(posts)
    async with Checkpoints(path) as checkpoints:
        return judge(direct, await checkpoints.totals())


@pytest.fixture
def posts() -> list[Post]:
    """Give some posts."""
    return list(islice((post for piece in generate_posts(5, DEFAULT_NAMES) for post in piece), 2_000))


async def test_a_shard_is_read_to_its_end_and_verified(tmp_path: Path, posts: list[Post]) -> None:
    path, reading = tmp_path / "checkpoints.sqlite", _Reading(None)

    async with MemoryKinesis() as client:
        await make_stream_of(client, posts)
        await reading.run(client, path)

    assert (await _judge(posts, path)).first == []
    assert reading.posts_read == 2_000


async def test_a_reader_killed_again_and_again_is_followed_by_ones_that_lose_and_repeat_nothing(
    tmp_path: Path, posts: list[Post]
) -> None:
    path, readings = tmp_path / "checkpoints.sqlite", [_Reading(death) for death in (50, 350, 1_000, None)]

    async with MemoryKinesis() as client:
        await make_stream_of(client, posts)
        for reading in readings:
            await reading.run(client, path)

    assert (await _judge(posts, path)).first == []
    assert all(0 < reading.posts_read < 2_000 for reading in readings)


@pytest.mark.parametrize("step_count", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
async def test_a_reader_cancelled_at_any_await_is_followed_by_one_that_loses_and_repeats_nothing(
    tmp_path: Path, posts: list[Post], step_count: int
) -> None:
    path, first_read = tmp_path / "checkpoints.sqlite", _FirstRead()

    async with MemoryKinesis() as client:
        await make_stream_of(client, posts)
        async with Checkpoints(path) as checkpoints:
            task = asyncio.create_task(_reader(client, checkpoints, first_read).run(_set_event()))
            await first_read.came.wait()
            for _ in range(step_count):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await _Reading(None).run(client, path)

    assert task.cancelled()
    assert (await _judge(posts, path)).first == []


class _FirstRead(Progress):
    """Tells when the first batch was counted."""

    __slots__ = ("came",)

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()

    def note_lag(self, shard_id: str, lag_ms: int) -> None:
        """Tell."""
        super().note_lag(shard_id, lag_ms)
        self.came.set()


async def test_reads_that_fail_are_made_again(tmp_path: Path, posts: list[Post]) -> None:
    path = tmp_path / "checkpoints.sqlite"

    async with FaultyKinesis(failing_reads=[1, 4, 5, 9]) as client:
        await make_stream_of(client, posts)
        await _Reading(None).run(client, path)

    assert (await _judge(posts, path)).first == []
    assert client.read_count > 9


async def test_a_stream_that_is_not_there_ends_the_reader(tmp_path: Path) -> None:
    async with MemoryKinesis() as client:
        with pytest.raises(ExceptionGroup) as failed:
            await _Reading(None).run(client, tmp_path / "checkpoints.sqlite")

    assert failed.group_contains(NotFound)


async def test_a_checkpoint_that_fails_to_save_saves_nothing_of_its_batch(tmp_path: Path, posts: list[Post]) -> None:
    path = tmp_path / "checkpoints.sqlite"

    async with MemoryKinesis() as client:
        await make_stream_of(client, posts)
        await _Reading(100).run(client, path)
        async with Checkpoints(path) as checkpoints:
            place_before = await checkpoints.place_of(SPAN.shard_id)
        # What a save touches after place and counts is made to fail, whatever opens the file again.
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TRIGGER broken BEFORE INSERT ON seen BEGIN SELECT RAISE(ABORT, 'broken'); END")

        with pytest.raises(ExceptionGroup) as failed:
            await _Reading(None).run(client, path)
        async with Checkpoints(path) as checkpoints:
            place_after = await checkpoints.place_of(SPAN.shard_id)

    assert failed.group_contains(CheckpointsFailed, match="broken")
    assert place_after == place_before != Place()


async def test_who_lost_a_shard_saves_nothing_of_it(tmp_path: Path, posts: list[Post]) -> None:
    tally = tally_batch(records_of(posts), Place(), span=SPAN, finder=FINDER)
    path = tmp_path / "checkpoints.sqlite"

    async with Checkpoints(path) as checkpoints:
        never_claimed = await checkpoints.save(SPAN.shard_id, tally, epoch=1)
        await checkpoints.claim(SPAN.shard_id, epoch=1)
        await checkpoints.claim(SPAN.shard_id, epoch=2)
        of_the_old = await checkpoints.save(SPAN.shard_id, tally, epoch=1)
        claimed_late = await checkpoints.claim(SPAN.shard_id, epoch=1)
        again_of_the_old = await checkpoints.save(SPAN.shard_id, tally, epoch=1)
        of_the_new = await checkpoints.save(SPAN.shard_id, tally, epoch=2)

    assert [never_claimed, of_the_old, again_of_the_old, of_the_new] == [False, False, False, True]
    assert claimed_late == Place()
    assert (await _judge(posts, path)).first == []
