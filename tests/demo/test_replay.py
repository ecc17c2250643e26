"""The replay: what producers put, in which order, when the service refuses some of it; and the whole pipeline."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.generator import generate_posts
from streamd.demo.inputs import generated_input
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.post_reader import PostReader
from streamd.demo.posts import Post
from streamd.demo.progress import Progress
from streamd.demo.records import decode_post
from streamd.demo.replay import BATCH_BYTE_COUNT_MAX, ENTRY_COUNT_MAX, Replay
from streamd.demo.verify import DirectCount, ShardSpan, judge
from streamd.sdk.answers import Answer
from streamd.sdk.base64_text import b64decode
from streamd.sdk.client import KinesisClient
from streamd.sdk.credentials import CREDENTIALS_STAND_IN as KEYS
from streamd.sdk.credentials import FixedCredentials
from streamd.sdk.failures import Throttled
from streamd.sdk.transport import Transport
from tests.daemons import Daemon

__all__: list[str] = []

FINDER = MentionFinder(DEFAULT_NAMES)


class _Sink(Transport):
    """Takes entries into a list; of every few requests it refuses the entries of one shard of four."""

    def __init__(self, *, refuses_every: int = 0) -> None:
        super().__init__(
            "http://sink.invalid", region="us-east-1", credentials=FixedCredentials(KEYS), connection_count_max=64
        )
        self.taken: list[dict[str, Any]] = []
        self.requests: list[list[dict[str, Any]]] = []
        self._refuses_every = refuses_every

    async def _send(self, body: bytes, headers: Mapping[str, str], *, wait_ms: int) -> Answer:  # noqa: ARG002 - as it is asked
        """Take what it does not refuse."""
        document = orjson.loads(body)
        assert document["StreamName"] == "posts"
        await asyncio.sleep(0)
        entries = [entry | {"Data": b64decode(entry["Data"])} for entry in document["Records"]]
        self.requests.append(entries)
        count = len(self.requests)
        shard_refused = count % 4 if self._refuses_every and count % self._refuses_every == 0 else None
        results: list[dict[str, Any]] = []
        for entry in entries:
            if sum(entry["PartitionKey"].encode()) % 4 == shard_refused:
                results.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "no"})
            else:
                self.taken.append(entry)
                results.append({"SequenceNumber": str(len(self.taken)), "ShardId": "shard-0"})
        refused_count = sum("ErrorCode" in result for result in results)
        return Answer(200, {}, orjson.dumps({"FailedRecordCount": refused_count, "Records": results}))


class _SinkClient(KinesisClient):
    """A client whose calls come to a sink."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__("http://sink.invalid", region="us-east-1", credentials=KEYS)
        self._transport = sink


def _posts(count: int) -> list[Post]:
    return list(islice((post for piece in generate_posts(9, DEFAULT_NAMES) for post in piece), count))


def _replay(sink: _Sink, **settings: Any) -> Replay:
    defaults: dict[str, Any] = {
        "stream": "posts",
        "producer_count": 4,
        "posts_per_s": None,
        "progress": Progress(),
        "count_while_reading": None,
    }
    return Replay(_SinkClient(sink), **(defaults | settings))


async def test_posts_of_a_user_stay_in_order_although_some_are_refused() -> None:
    posts = _posts(8_000)
    sink = _Sink(refuses_every=3)
    progress = Progress()

    await _replay(sink, progress=progress).run(lambda: iter([posts[:3_000], posts[3_000:]]))

    taken_by_user: dict[str, list[Post]] = defaultdict(list)
    for entry in sink.taken:
        taken_by_user[entry["PartitionKey"]].append(decode_post(entry["Data"]).post)
    posts_by_user: dict[str, list[Post]] = defaultdict(list)
    for post in posts:
        posts_by_user[post.user].append(post)
    assert taken_by_user == posts_by_user
    assert progress.posts_put == 8_000
    assert progress.entries_put_again > 0


async def test_a_request_keeps_within_the_bounds_of_its_operation() -> None:
    posts = [Post(f"user-{number % 7}", "x" * 60_000, number) for number in range(400)]
    posts += [Post(f"user-{number % 7}", "short", number) for number in range(5_000)]
    sink = _Sink()

    await _replay(sink, producer_count=2).run(lambda: iter([posts]))

    assert len(sink.taken) == 5_400
    assert max(len(request) for request in sink.requests) == ENTRY_COUNT_MAX
    sizes = [sum(len(entry["Data"]) for entry in request) for request in sink.requests]
    assert 0.9 * BATCH_BYTE_COUNT_MAX < max(sizes) <= BATCH_BYTE_COUNT_MAX


async def test_a_service_that_goes_on_refusing_ends_the_replay() -> None:
    post = Post("mira", "hello", 0)
    refused = sum(post.user.encode()) % 4
    sink = _Sink(refuses_every=1)
    # As many requests as let the next one refuse this user's shard, and no time to repeat it.
    sink.requests = [[]] * (refused + 3)
    replay = _replay(sink, give_up_after_s=0)

    with pytest.raises(ExceptionGroup) as failed:
        await replay.run(lambda: iter([[post]] * 8))

    assert failed.group_contains(Throttled, match="no")


async def test_an_input_that_fails_ends_the_replay() -> None:
    def read() -> Iterator[Sequence[Post]]:
        yield [Post("mira", "hello", 0)]
        raise OSError("gone")

    with pytest.raises(ExceptionGroup) as failed:
        await _replay(_Sink()).run(read)

    assert failed.group_contains(OSError, match="gone")


async def test_an_input_is_counted_while_it_is_read() -> None:
    posts = _posts(2_000)
    counted_while_reading, counted_after = DirectCount(FINDER), DirectCount(FINDER)

    await _replay(_Sink(), count_while_reading=counted_while_reading).run(lambda: iter([posts[:700], posts[700:]]))
    counted_after.take(posts)

    assert counted_while_reading == counted_after


async def test_readers_killed_again_and_again_on_a_real_daemon_lose_and_repeat_nothing(
    tmp_path: Path, daemon: Daemon, stream_name: str
) -> None:
    posts = generated_input(4, DEFAULT_NAMES, post_count=12_000)
    all_put = asyncio.Event()
    path = tmp_path / "checkpoints.sqlite"
    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=3)
        await client.wait_until_active(stream_name)
        spans = [
            ShardSpan(
                shard["ShardId"],
                int(shard["HashKeyRange"]["StartingHashKey"]),
                int(shard["HashKeyRange"]["EndingHashKey"]),
            )
            for shard in await client.list_shards(stream_name)
        ]

        async def run_until_killed(posts_until_death: int | None) -> int:
            progress = _Killing(posts_until_death)
            async with Checkpoints(path) as checkpoints, asyncio.TaskGroup() as readers:
                reader = PostReader(
                    client,
                    stream=stream_name,
                    spans=spans,
                    finder=FINDER,
                    checkpoints=checkpoints,
                    progress=progress,
                )
                progress.task = readers.create_task(reader.run(all_put))
            return progress.posts_read

        async with asyncio.TaskGroup() as group:
            replay = group.create_task(_replay_into(client, stream_name).run(posts.read))
            read_counts = [await run_until_killed(death) for death in (1, 2_000, 2_500)]
            await replay
            all_put.set()
        read_counts.append(await run_until_killed(None))
        direct = DirectCount(FINDER)
        for piece in posts.read():
            direct.take(piece)
        async with Checkpoints(path) as checkpoints:
            faults = judge(direct, await checkpoints.totals())

    assert faults.first == []
    assert sum(read_counts) >= 12_000 - 4 * 2_000
    assert all(read_counts)


class _Killing(Progress):
    """Cancels the reader once so many posts were counted."""

    __slots__ = ("_posts_until_death", "task")

    def __init__(self, posts_until_death: int | None) -> None:
        super().__init__()
        self.task: asyncio.Task[None] | None = None
        self._posts_until_death = posts_until_death

    def note_lag(self, shard_id: str, lag_ms: int) -> None:
        """Kill when it is time."""
        super().note_lag(shard_id, lag_ms)
        if self._posts_until_death is not None and self.posts_read >= self._posts_until_death:
            assert self.task is not None
            self.task.cancel()


def _replay_into(client: KinesisClient, stream_name: str) -> Replay:
    return Replay(
        client,
        stream=stream_name,
        producer_count=4,
        posts_per_s=6_000,
        progress=Progress(),
        count_while_reading=None,
    )
