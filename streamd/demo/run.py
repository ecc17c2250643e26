"""A run of the demo from its first post to its verdict: starts every part, and takes them down in reverse.

The daemon is watched all the while: if it ends, the run ends with the daemon's own words and not with the
broken connections of everybody else.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamd.demo.alerts import AlertReader
from streamd.demo.checkpoints import Checkpoints
from streamd.demo.deployment import deploy_counter
from streamd.demo.failures import DaemonFailed
from streamd.demo.inputs import PostInput
from streamd.demo.mentions import MentionFinder
from streamd.demo.own_daemon import own_daemon
from streamd.demo.post_reader import PostReader
from streamd.demo.progress import Progress
from streamd.demo.replay import Replay
from streamd.demo.summary import Summary
from streamd.demo.verify import DirectCount, ShardSpan, judge, judge_function
from streamd.sdk.client import KinesisClient
from streamd.sdk.credentials import CREDENTIALS_STAND_IN
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["DemoPlan", "run_demo"]

STREAM: Final = "posts"
ALERTS: Final = "posts-alerts"


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run."""

    posts: PostInput
    finder: MentionFinder
    posts_per_s: float | None
    shard_count: int
    worker_count: int | None
    producer_count: int
    directory: Path
    keeps_data: bool


async def run_demo(plan: DemoPlan, progress: Progress, *, show: Callable[[], Coroutine[Any, Any, None]]) -> Summary:
    """Run the demo on a daemon of its own; ``show`` runs beside it until it is cancelled.

    Raises the errors of ``failures``, of the input's files, and of the SDK's client.
    """
    log_path = plan.directory / "daemon.log"
    with _first_cause():
        async with (
            own_daemon(plan.directory / "data", log_path=log_path, worker_count=plan.worker_count) as daemon,
            # The demo's daemon checks no signatures; whatever keys are in the environment stay out of it.
            KinesisClient(daemon.url, credentials=CREDENTIALS_STAND_IN) as client,
            LambdaClient(daemon.url, credentials=CREDENTIALS_STAND_IN) as functions,
            Checkpoints(plan.directory / "checkpoints.sqlite") as checkpoints,
            asyncio.TaskGroup() as group,
        ):
            watching = group.create_task(daemon.watch())
            spans = await _create_stream(client, shard_count=plan.shard_count)
            await _deploy(client, functions, plan.finder.names)
            progress.stream_place = f"stream {STREAM} at {daemon.url}"
            showing = group.create_task(show())
            summary = await _run_pipeline(plan, progress, client, checkpoints, spans)
            watching.cancel()
            showing.cancel()
    return summary


async def _run_pipeline(
    plan: DemoPlan, progress: Progress, client: KinesisClient, checkpoints: Checkpoints, spans: Sequence[ShardSpan]
) -> Summary:
    direct = DirectCount(plan.finder)
    alerts = AlertReader(client, stream=ALERTS, progress=progress)
    post_count: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    started_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(alerts.run(post_count))
        await _replay_and_count(plan, progress, client, checkpoints, spans, direct)
        elapsed_s = time.monotonic() - started_s
        progress.is_verifying = True
        if plan.posts.is_rereadable:
            await asyncio.to_thread(_count_again, plan.posts, direct)
        # The function's last windows are still to be closed.
        post_count.set_result(direct.post_count)
    totals = await checkpoints.totals()
    faults = judge(direct, totals)
    faults.add(judge_function(direct, post_count=alerts.post_count, mentions=alerts.mentions))
    return Summary(
        input_label=plan.posts.label,
        post_count=direct.post_count,
        read_count=totals.post_count,
        elapsed_s=elapsed_s,
        names=plan.finder.names,
        mentions=totals.mentions,
        shard_count=len(spans),
        entries_put_again=progress.entries_put_again,
        lag_ms_max=progress.lag_ms_max,
        fault_count_by_kind=faults.count_by_kind,
        faults=faults.first,
        function_mentions=alerts.mentions,
        alert_count=progress.alert_count,
        kept_directory=str(plan.directory) if plan.keeps_data else None,
    )


async def _replay_and_count(
    plan: DemoPlan,
    progress: Progress,
    client: KinesisClient,
    checkpoints: Checkpoints,
    spans: Sequence[ShardSpan],
    direct: DirectCount,
) -> None:
    """Put the posts, and read them back to the last one."""
    all_put = asyncio.Event()
    replay = Replay(
        client,
        stream=STREAM,
        producer_count=plan.producer_count,
        posts_per_s=plan.posts_per_s,
        progress=progress,
        count_while_reading=None if plan.posts.is_rereadable else direct,
    )
    reader = PostReader(
        client, stream=STREAM, spans=spans, finder=plan.finder, checkpoints=checkpoints, progress=progress
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(reader.run(all_put))
        await reader.has_begun.wait()
        await replay.run(plan.posts.read)
        all_put.set()


async def _deploy(client: KinesisClient, functions: LambdaClient, names: Sequence[str]) -> None:
    """Deploy the function that counts beside the consumers, and the stream for its alerts."""
    await client.create_stream(ALERTS, shard_count=1)
    await client.wait_until_active(ALERTS)
    stream_arn = str((await client.describe_stream_summary(STREAM))["StreamARN"])
    await deploy_counter(functions, stream_arn=stream_arn, alerts=ALERTS, names=names)


async def _create_stream(client: KinesisClient, *, shard_count: int) -> list[ShardSpan]:
    await client.create_stream(STREAM, shard_count=shard_count)
    await client.wait_until_active(STREAM)
    return [
        ShardSpan(
            shard["ShardId"],
            int(shard["HashKeyRange"]["StartingHashKey"]),
            int(shard["HashKeyRange"]["EndingHashKey"]),
        )
        for shard in await client.list_shards(STREAM)
    ]


def _count_again(posts: PostInput, direct: DirectCount) -> None:
    for piece in posts.read():
        direct.take(piece)


@contextlib.contextmanager
def _first_cause() -> Iterator[None]:
    """Raise what went wrong instead of the group of everything that went wrong after it."""
    try:
        yield
    except BaseExceptionGroup as group:
        causes = list(_leaves_of(group))
        # A daemon that died explains every broken connection.
        raise next((cause for cause in causes if isinstance(cause, DaemonFailed)), causes[0]) from group


def _leaves_of(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for cause in error.exceptions:
            yield from _leaves_of(cause)
    else:
        yield error
