"""The shards of the simulated stream, and what chance decides of a simulated life at its beginning."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from random import Random

from streamd.core.mapping_events import KinesisEvents
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Settle
from streamd.core.shard_processor import ShardProcessor
from streamd.core.shard_progress import ShardProgress
from tests.core.mapping_model import ModelOutcome

HASH_END = 1 << 128
PATTERN = '{"partitionKey":[{"anything-but":["key-3","key-7"]}],"data":{"n":[{"numeric":["<",900]}]}}'


@dataclass(slots=True)
class WorldShard:
    """A shard: its hash keys from ``first`` to ``last`` (exclusive), its records, and what works on it in this life."""

    shard_id: str
    first: int
    last: int
    parent_ids: tuple[str, ...] = ()
    numbers: list[int] = field(default_factory=list)
    is_closed: bool = False
    stored: bytes | None = None
    processor: ShardProcessor | None = None
    read_count: int = 0
    is_reading: bool = False
    is_ended: bool = False
    wake_ms: int | None = None
    stores: list[tuple[Settle, ModelOutcome, ShardProgress]] = field(default_factory=list)

    @property
    def progress(self) -> ShardProgress:
        """What is stored."""
        return ShardProgress() if self.stored is None else ShardProgress.decode(self.stored)

    @property
    def is_done(self) -> bool:
        """Whether the stored progress says so."""
        return self.stored is not None and self.progress.is_done

    def takes(self, hash_key: int) -> bool:
        """Tell whether records of a hash key come here now."""
        return not self.is_closed and self.first <= hash_key < self.last

    def start(self, make: Callable[..., ShardProcessor], settings: MappingSettings) -> None:
        """Begin to work on the shard from what is stored."""
        events = KinesisEvents(shard_id=self.shard_id, source_arn="arn", role_arn="role", region="us-east-1")
        self.processor = make(settings, events, progress=self.progress)
        checkpoint = self.processor.checkpoint
        self.read_count = sum(1 for number in self.numbers if checkpoint is not None and number <= int(checkpoint))

    def crash(self) -> None:
        """Lose everything but the stored progress."""
        self.processor = None
        self.is_reading = self.is_ended = False
        self.wake_ms = None
        self.stores.clear()


def hash_key_of(key: str) -> int:
    """Give a partition key's hash key."""
    return int.from_bytes(md5(key.encode(), usedforsecurity=False).digest())


def data_of(content: int) -> bytes:
    """Write a record's data."""
    return b'{"n":%d}' % content


def settings_by(chance: Random) -> MappingSettings:
    """Choose a mapping's settings."""
    return MappingSettings(
        batch_size=chance.randrange(1, 51),
        window_ms=chance.choice([0, 0, 1000, 20_000]),
        parallelization=chance.choice([1, 1, 2, 3, 10]),
        attempts_max=chance.choice([-1, 0, 1, 3]),
        age_ms_max=chance.choice([-1, -1, -1, 60_000]),
        bisects=chance.random() < 0.5,
        reports_items=chance.random() < 0.4,
        tumbling_ms=chance.choice([0, 0, 0, 10_000, 60_000]),
        patterns=chance.choice([(), (), (PATTERN,)]),
    )
