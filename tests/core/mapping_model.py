"""A stream as a plain list of records, and what must be true of a mapping that works through it.

The model knows nothing of lanes, parts or checkpoints. It sees what the function is handed and what was stored, and
raises AssertionError as soon as a promise is broken.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Condition, Failure


@dataclass(slots=True)
class ModelRecord:
    """A record as it was put; ``is_wanted`` when the filter lets it through.

    ``is_handled`` once the function answered well or the record was given up: what follows may be handed out then.
    ``is_stored`` once that is durable: it must never be handed out again.
    """

    number: int
    shard_id: str
    key: str
    arrival_ms: int
    content: int
    is_poison: bool
    is_wanted: bool
    is_handled: bool = False
    is_stored: bool = False
    is_given_up: bool = False


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """A tumbling window of a shard: the records counted in it. ``is_lost`` when its final call was given up."""

    start_ms: int
    members: list[int]
    is_closed: bool = False
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """What one outcome will have done once it is stored."""

    good: tuple[int, ...] = ()
    given_up: tuple[int, ...] = ()
    window: ModelWindow | None = None


@dataclass(slots=True)
class MappingModel:
    """The promises. ``horizon_ms`` is where retention has come to."""

    settings: MappingSettings
    records: dict[int, ModelRecord] = field(default_factory=dict)
    by_key: dict[str, list[int]] = field(default_factory=dict)
    horizon_ms: int = 0
    in_hand: set[int] = field(default_factory=set)
    failure_count: Counter[int] = field(default_factory=Counter)
    window_by_shard: dict[str, ModelWindow] = field(default_factory=dict)
    closed_windows: list[ModelWindow] = field(default_factory=list)

    def put(self, record: ModelRecord) -> None:
        """Take a record of the stream."""
        self.records[record.number] = record
        self.by_key.setdefault(record.key, []).append(record.number)

    def is_over(self, number: int) -> bool:
        """Tell whether nothing needs to be done for a record any more."""
        record = self.records[number]
        return record.is_handled or not record.is_wanted or record.arrival_ms < self.horizon_ms

    def handed_out(self, numbers: list[int], shard_id: str, attempt: int) -> None:
        """Check a batch that the function is handed."""
        settings, records = self.settings, [self.records[number] for number in numbers]
        assert len(numbers) <= settings.batch_size, "a batch is larger than its size"
        assert numbers == sorted(set(numbers)), "a batch is out of order"
        assert {record.shard_id for record in records} <= {shard_id}, "a batch mixes shards"
        assert all(record.is_wanted for record in records), "a filtered record was handed out"
        assert not any(record.is_stored for record in records), "a record was repeated after its outcome was stored"
        assert settings.attempts_max < 0 or attempt <= settings.attempts_max + 1, "there are too many attempts"
        assert not self.in_hand.intersection(numbers), "a record is in two batches at once"
        for number in numbers:
            earlier = self.by_key[self.records[number].key]
            earlier = earlier[: earlier.index(number)]
            assert all(self.is_over(each) or each in numbers for each in earlier), "a key went out of order"
        self.in_hand.update(numbers)

    def good(self, numbers: list[int]) -> None:
        """Note that the function handled records well."""
        for number in numbers:
            assert not self.records[number].is_poison
            self.records[number].is_handled = True

    def bad(self, numbers: list[int]) -> None:
        """Note that the function failed on a batch."""
        self.failure_count.update(numbers)

    def given_up(self, failure: Failure, *, now_ms: int, is_flaky: bool) -> None:
        """Check records that are given up."""
        settings = self.settings
        numbers = [int(record.number) for record in failure.records]
        match failure.condition:
            case Condition.RETRIES_EXHAUSTED:
                assert settings.attempts_max >= 0, "a batch was given up although retries are unlimited"
                assert failure.invoke_count == settings.attempts_max + 1, "a failure names a wrong count"
                self._check_exhausted(numbers, is_flaky=is_flaky)
            case Condition.AGE_EXCEEDED:
                assert settings.age_ms_max >= 0, "a record was given up although any age is allowed"
                assert all(now_ms - each.arrival_ms > settings.age_ms_max for each in failure.records), "it was young"
            case Condition.TOO_LARGE | Condition.TOO_DEEP:
                raise AssertionError("no record is large here, none was caused by a function")
        for number in numbers:
            self.records[number].is_handled = True
            self.records[number].is_given_up = True

    def stored(self, shard_id: str, outcome: ModelOutcome, *, is_of_lane: bool) -> None:
        """Note that an outcome is durable."""
        for number in (*outcome.good, *outcome.given_up):
            self.records[number].is_stored = True
        if not is_of_lane or not self.settings.tumbling_ms:
            return
        self.window_by_shard.pop(shard_id, None)
        if outcome.window is not None and outcome.window.is_closed:
            self.closed_windows.append(outcome.window)
        elif outcome.window is not None:
            self.window_by_shard[shard_id] = outcome.window

    def window_start(self, number: int) -> int:
        """Tell where the window of a record begins."""
        width_ms = self.settings.tumbling_ms
        return self.records[number].arrival_ms // width_ms * width_ms

    def window_state(self, shard_id: str) -> list[int]:
        """Give the records that are counted in the shard's open window."""
        window = self.window_by_shard.get(shard_id)
        return [] if window is None else window.members

    def check_window(self, event: dict[str, Any], numbers: list[int]) -> None:
        """Check the window that an event names: its state is what was stored, its records lie in it."""
        window = self.window_by_shard.get(event["shardId"])
        assert event["state"].get("n", []) == self.window_state(event["shardId"]), "a state was lost or counted twice"
        starts = {self.window_start(number) for number in numbers} | ({window.start_ms} if window else set())
        assert len(starts) == 1, "an event mixes windows"
        assert event["isFinalInvokeForWindow"] == (not numbers), "a final call holds records, or another holds none"

    def check_end(self, *, is_flaky: bool) -> None:
        """Check that nothing was lost, now that everything is done."""
        for record in self.records.values():
            has_expired = record.arrival_ms < self.horizon_ms
            assert self.is_over(record.number), f"record {record.number} was lost"
            assert record.is_stored or not record.is_wanted or has_expired, f"record {record.number} is not stored"
        is_exact = self.settings.bisects and not is_flaky and self.settings.age_ms_max < 0
        if is_exact and not self.horizon_ms:
            found = {record.number for record in self.records.values() if record.is_given_up}
            poison = {record.number for record in self.records.values() if record.is_poison and record.is_wanted}
            assert found == poison, "the poison was not isolated exactly"
        if self.settings.tumbling_ms:
            self._check_windows()

    def _check_windows(self) -> None:
        assert not self.window_by_shard, "a window was left open"
        counted = Counter(number for window in self.closed_windows for number in window.members)
        assert max(counted.values(), default=1) == 1, "a record was counted in two windows"
        good = {number for number, record in self.records.items() if record.is_stored and not record.is_given_up}
        given_up = {number for number, record in self.records.items() if record.is_given_up}
        assert good <= set(counted) <= good | given_up, "a window misses a record, or has one too many"
        for window in self.closed_windows:
            starts = {self.window_start(number) for number in window.members}
            assert starts <= {window.start_ms}, "a record was counted in another window than its own"

    def _check_exhausted(self, numbers: list[int], *, is_flaky: bool) -> None:
        if not numbers:
            return
        fewest = min(self.failure_count[number] for number in numbers)
        assert fewest > self.settings.attempts_max, "it was given up too early"
        assert len(numbers) == 1 or not self.settings.bisects, "it was given up although it could be halved"
        is_exact = self.settings.bisects and not is_flaky
        assert not is_exact or self.records[numbers[0]].is_poison, "a good record was given up"
