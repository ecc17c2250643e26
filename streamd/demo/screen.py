"""The screen: a live table while the demo runs on a terminal, a line a second elsewhere, then the summary.

Progress goes to standard error and the summary to standard output, so that the latter can be piped.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamd.demo.progress import MINUTE_COUNT_SHOWN, Progress
from streamd.demo.summary import Summary, minute_label

__all__ = ["show_progress", "show_summary"]

_LIVE_INTERVAL_S: Final = 0.25
_LINE_INTERVAL_S: Final = 1.0
_BARS: Final = " ▁▂▃▄▅▆▇█"
_FAULTS_SHOWN_MAX: Final = 10
# The summary fits 80 columns.
_SUMMARY_BAR_COUNT_MAX: Final = 14


class _Pace:
    """Posts per second since the last look."""

    def __init__(self) -> None:
        self._looked_s = time.monotonic()
        self._posts = 0
        self._posts_per_s = 0.0

    def after(self, posts: int) -> float:
        """Give the pace, smoothed over the last looks."""
        now_s = time.monotonic()
        span_s = max(now_s - self._looked_s, 0.001)
        self._posts_per_s += ((posts - self._posts) / span_s - self._posts_per_s) * min(1.0, 0.7 * span_s + 0.3)
        self._looked_s, self._posts = now_s, posts
        return max(0.0, self._posts_per_s)


async def show_progress(progress: Progress, names: Sequence[str], console: Console) -> NoReturn:
    """Show the run's figures until cancelled."""
    pace = _Pace()
    if not console.is_terminal:
        console.print(Text(progress.stream_place), soft_wrap=True)
        while True:
            await asyncio.sleep(_LINE_INTERVAL_S)
            console.print(_line_of(progress, names, pace.after(progress.posts_put)), soft_wrap=True, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table_of(progress, names, pace.after(progress.posts_put)), refresh=True)
            await asyncio.sleep(_LIVE_INTERVAL_S)


def show_summary(summary: Summary, console: Console) -> None:
    """Print the totals and the verdict."""
    table = Table(title=f"Mentions in {summary.post_count:,} posts", title_justify="left")
    table.add_column("name")
    table.add_column("posts", justify="right")
    table.add_column("function", justify="right")
    table.add_column("busiest minute")
    table.add_column("over post time")
    minutes = [minute for _, minute in summary.mentions] or [0]
    for name in summary.names:
        by_minute = summary.by_minute(name)
        busiest = max(by_minute, key=lambda minute: by_minute[minute], default=None)
        table.add_row(
            Text(name),
            f"{sum(by_minute.values()):,}",
            f"{summary.function_mentions.get(name, 0):,}",
            "" if busiest is None else f"{minute_label(busiest)} ({by_minute[busiest]:,})",
            _bars(by_minute, minute_first=min(minutes), minute_last=max(minutes), width_max=_SUMMARY_BAR_COUNT_MAX),
        )
    console.print(table)
    shards = "shard" if summary.shard_count == 1 else "shards"
    console.print(
        f"{summary.post_count:,} posts from {summary.input_label} in {summary.elapsed_s:.1f} s:"
        f" {summary.posts_per_s:,.0f} posts/s through {summary.shard_count} {shards},"
        f" consumer at most {summary.lag_ms_max:,} ms behind,"
        f" {summary.entries_put_again:,} entries put again",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if summary.kept_directory is not None:
        console.print(f"data kept in {summary.kept_directory}", soft_wrap=True, highlight=False, markup=False)
    _show_verdict(summary, console)


def _show_verdict(summary: Summary, console: Console) -> None:
    if summary.is_verified:
        console.print(
            f"verified: all {summary.post_count:,} posts were read once, unchanged and in order, and both counts of"
            f" mentions, the consumer's and that of the function's {summary.alert_count:,} alerts, agree with a direct"
            " count of the input",
            style="green",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        return
    found = ", ".join(f"{count:,} {kind.value}" for kind, count in summary.fault_count_by_kind.items())
    for line in [
        f"NOT VERIFIED: {found}",
        *(f"  {fault.sentence}" for fault in summary.faults[:_FAULTS_SHOWN_MAX]),
    ]:
        console.print(line, style="red", soft_wrap=True, highlight=False, markup=False)


def _line_of(progress: Progress, names: Sequence[str], posts_per_s: float) -> Text:
    if progress.is_verifying:
        return Text(
            f"posts in {progress.posts_put:,}  counted {progress.posts_read:,}"
            f"  function {progress.function_posts:,} in {progress.alert_count:,} alerts  verifying"
        )
    mentions = "  ".join(f"{name} {progress.mentions[name]:,}" for name in names)
    return Text(
        f"posts in {progress.posts_put:,}  posts/s {posts_per_s:,.0f}  counted {progress.posts_read:,}"
        f"  lag {progress.lag_ms:,} ms  function {progress.function_posts:,} in {progress.alert_count:,} alerts"
        f"  mentions: {mentions}"
    )


def _table_of(progress: Progress, names: Sequence[str], posts_per_s: float) -> Group:
    head = Table.grid(padding=(0, 3))
    state = "verifying" if progress.is_verifying else ""
    head.add_row("posts in", "posts/s", "counted", "consumer lag", "by the function", "alerts", state)
    head.add_row(
        f"[bold]{progress.posts_put:,}[/]",
        f"[bold]{posts_per_s:,.0f}[/]",
        f"[bold]{progress.posts_read:,}[/]",
        f"[bold]{progress.lag_ms:,} ms[/]",
        f"[bold]{progress.function_posts:,}[/]",
        f"[bold]{progress.alert_count:,}[/]",
    )
    table = Table()
    table.add_column("name")
    table.add_column("mentions", justify="right")
    table.add_column("alerted", justify="right")
    table.add_column(f"last {MINUTE_COUNT_SHOWN} minutes of post time", min_width=MINUTE_COUNT_SHOWN)
    minute_first = progress.minute_last - MINUTE_COUNT_SHOWN + 1
    for name in names:
        by_minute = {
            minute: count
            for (found, minute), count in progress.recent_mentions.items()
            if found == name and minute >= minute_first
        }
        bars = _bars(
            by_minute,
            minute_first=minute_first,
            minute_last=progress.minute_last,
            width_max=MINUTE_COUNT_SHOWN,
        )
        table.add_row(Text(name), f"{progress.mentions[name]:,}", f"{progress.function_mentions[name]:,}", bars)
    return Group(Text(progress.stream_place, style="dim"), head, table)


def _bars(count_by_minute: Mapping[int, int], *, minute_first: int, minute_last: int, width_max: int) -> str:
    """Draw counts over time in one line, the span cut into as many parts as fit."""
    width = min(width_max, minute_last - minute_first + 1)
    parts = [0] * width
    for minute, count in count_by_minute.items():
        parts[(minute - minute_first) * width // (minute_last - minute_first + 1)] += count
    highest = max(parts, default=0)
    if not highest:
        return ""
    # Anything at all is at least the lowest bar: an empty place means nobody.
    return "".join(_BARS[-(-part * (len(_BARS) - 1) // highest)] for part in parts)
