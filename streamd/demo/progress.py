"""Progress: what the demo's parts have done so far, for whoever shows it.

Figures only. They are for people to watch; the verdict is made from the checkpoints, never from here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamd.demo.verify import MentionKey

__all__ = ["MINUTE_COUNT_SHOWN", "Progress"]

# The last minutes of post time that a table has room for.
MINUTE_COUNT_SHOWN: Final = 40


@dataclass(slots=True)
class Progress:
    """The figures of a run under way; its parts add to them, a screen reads them."""

    # Where the stream is, so that whoever watches can read it with other tools meanwhile.
    stream_place: str = ""
    posts_put: int = 0
    posts_read: int = 0
    mentions: Counter[str] = field(default_factory=Counter)
    recent_mentions: Counter[MentionKey] = field(default_factory=Counter)
    minute_last: int = 0
    lag_ms_by_shard: dict[str, int] = field(default_factory=dict)
    lag_ms_max: int = 0
    entries_put_again: int = 0
    is_verifying: bool = False
    function_posts: int = 0
    function_mentions: Counter[str] = field(default_factory=Counter)
    alert_count: int = 0

    @property
    def lag_ms(self) -> int:
        """How far the consumer that is furthest behind is behind."""
        return max(self.lag_ms_by_shard.values(), default=0)

    def note_lag(self, shard_id: str, lag_ms: int) -> None:
        """Set how far a shard's consumer is behind."""
        self.lag_ms_by_shard[shard_id] = lag_ms
        self.lag_ms_max = max(self.lag_ms_max, lag_ms)

    def note_alert(self, post_count: int, mentions: Mapping[str, int]) -> None:
        """Add a window that the function closed."""
        self.alert_count += 1
        self.function_posts += post_count
        self.function_mentions.update(mentions)

    def note_read(self, post_count: int, mentions: Counter[MentionKey]) -> None:
        """Add a batch whose checkpoint was saved."""
        self.posts_read += post_count
        for (name, minute), count in mentions.items():
            self.mentions[name] += count
            self.minute_last = max(self.minute_last, minute)
        self.recent_mentions.update(mentions)
        minute_first = self.minute_last - MINUTE_COUNT_SHOWN + 1
        if len(self.recent_mentions) > 2 * MINUTE_COUNT_SHOWN * max(1, len(self.mentions)):
            self.recent_mentions = Counter(
                {key: count for key, count in self.recent_mentions.items() if key[1] >= minute_first}
            )
