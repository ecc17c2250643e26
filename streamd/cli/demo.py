"""``streamd demo``: the guiding pipeline on a daemon of its own, with a verdict.

Exit status 0 is a verified count; 1 a post that was lost, repeated, altered or out of order, or a daemon that
failed; 2 an input that cannot be used.
"""

import asyncio
import contextlib
import gc
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
import uvloop
from rich.console import Console

from streamd.demo.failures import DirectoryNotEmpty, InputChanged, NameUnusable, PostInvalid
from streamd.demo.inputs import PostInput, file_input, generated_input, standard_input
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.progress import Progress
from streamd.demo.run import DemoPlan, run_demo
from streamd.demo.screen import show_progress, show_summary
from streamd.demo.summary import Summary, summary_document

__all__ = ["demo"]

DEFAULT_POST_COUNT: Final = 200_000
STATUS_NOT_VERIFIED: Final = 1

_COLLECTOR_THRESHOLD: Final = 10_000

_Result = TypeVar("_Result")


class _InputUnusable(click.ClickException):
    """The posts cannot be used as they are: wrong use, like a wrong option."""

    exit_code = 2


@click.command(
    short_help="Run the guiding pipeline and verify its count.",
    epilog="\b\nExamples:\n"
    "  streamd demo\n"
    "  streamd demo --rate 2000 --mention Lyra --mention 'Kestrel Air'\n"
    "  streamd demo --posts posts.ndjson --mention 'Ada Lovelace' --json\n"
    "  tail -f posts.ndjson | streamd demo --posts - --mention ada\n",
)
@click.option(
    "--rate",
    "posts_per_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Posts per second; as fast as it can by default.",
)
@click.option(
    "--mention",
    "mentions",
    multiple=True,
    metavar="NAME",
    help="A name to count; give it again for more names."
    f" By default the invented ones that the generated posts are about: {', '.join(DEFAULT_NAMES)}.",
)
@click.option(
    "--posts",
    "posts_path",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    metavar="FILE",
    help="Replay these posts: a JSON object a line, with text, user, time (ISO 8601 or seconds since 1970);"
    " - is standard input. By default posts are generated.",
)
@click.option(
    "--count",
    "post_count",
    type=click.IntRange(min=1),
    help=f"How many posts: {DEFAULT_POST_COUNT:,} generated ones by default, or all that --posts has.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which posts are generated.")
@click.option(
    "--shards",
    "shard_count",
    type=click.IntRange(1, 500),
    default=8,
    show_default=True,
    help="Shards of the stream.",
)
@click.option(
    "--workers",
    "worker_count",
    type=click.IntRange(1, 64),
    help="Worker processes of the daemon; as many as `streamd serve` starts by default.",
)
@click.option(
    "--producers",
    "producer_count",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="How many producers share the users.",
)
@click.option(
    "--data",
    "data_directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the data in this new or empty directory; a temporary one that is removed by default.",
)
@click.option("--keep", "keeps_data", is_flag=True, help="Keep the temporary directory, and say where it is.")
@click.option("--json", "is_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def demo(
    context: click.Context,
    posts_per_s: float | None,
    mentions: Sequence[str],
    posts_path: str | None,
    post_count: int | None,
    seed: int,
    shard_count: int,
    worker_count: int | None,
    producer_count: int,
    data_directory: Path | None,
    *,
    keeps_data: bool,
    is_json: bool,
) -> None:
    """Replay social posts through a stream, count who is mentioned, and verify the count.

    Starts a daemon with a data directory of its own, creates a stream, puts the posts from several producers,
    and reads them back with a consumer, which saves counts and place after every batch in one transaction. It
    counts the posts that mention each name as a whole word, in any case, also as @name or #name, by
    the minute the posts were made. At the end the input is counted again without the daemon. The exit status
    is 1 if a single post was lost, repeated, altered or out of order.
    """
    try:
        finder = MentionFinder(mentions or DEFAULT_NAMES)
    except NameUnusable as error:
        raise click.UsageError(str(error), context) from error
    posts = _input_of(posts_path, finder, seed=seed, post_count=post_count)
    with _directory(data_directory, keeps_data=keeps_data) as directory:
        plan = DemoPlan(
            posts=posts,
            finder=finder,
            posts_per_s=posts_per_s,
            shard_count=shard_count,
            worker_count=worker_count,
            producer_count=producer_count,
            directory=directory,
            keeps_data=keeps_data or data_directory is not None,
        )
        try:
            summary = _run_to_end(_watched(plan))
        except (PostInvalid, InputChanged) as error:
            raise _InputUnusable(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"the demo cannot go on: {error}") from error
    if is_json:
        sys.stdout.write(orjson.dumps(summary_document(summary), option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
    else:
        show_summary(summary, Console(file=sys.stdout))
    context.exit(0 if summary.is_verified else STATUS_NOT_VERIFIED)


def _input_of(posts_path: str | None, finder: MentionFinder, *, seed: int, post_count: int | None) -> PostInput:
    if posts_path is None:
        return generated_input(seed, finder.names, post_count=post_count or DEFAULT_POST_COUNT)
    if posts_path == "-":
        return standard_input(post_count_max=post_count)
    return file_input(Path(posts_path), post_count_max=post_count)


@contextlib.contextmanager
def _directory(given: Path | None, *, keeps_data: bool) -> Iterator[Path]:
    """Give an empty directory. Raises DirectoryNotEmpty: another run's checkpoints would spoil the count."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        if any(given.iterdir()):
            raise DirectoryNotEmpty(str(given))
        yield given
    elif keeps_data:
        yield Path(tempfile.mkdtemp(prefix="streamd-demo-"))
    else:
        with tempfile.TemporaryDirectory(prefix="streamd-demo-") as directory:
            yield Path(directory)


async def _watched(plan: DemoPlan) -> Summary:
    progress = Progress()
    console = Console(stderr=True)
    return await run_demo(plan, progress, show=lambda: show_progress(progress, plan.finder.names, console))


def _run_to_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run on uvloop; SIGTERM ends it as Ctrl-C does, so that the demo's daemon never outlives it."""

    async def interruptible() -> _Result:
        task = asyncio.current_task()
        assert task is not None, "a coroutine that runs has a task"
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    # As README advises those who put much: else each full collection walks through all that was imported, and hundreds
    # of small ones through posts on their way, which are in no cycles.
    gc.freeze()
    gc.set_threshold(_COLLECTOR_THRESHOLD)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(interruptible())
        except asyncio.CancelledError:
            raise click.Abort from None
