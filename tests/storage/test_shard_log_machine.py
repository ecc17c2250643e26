"""The store beside a plain list: whatever is done to it in whatever order, it answers as the list does."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamd.core.blocks import RecordColumns, decode, sealed_body
from streamd.errors import ShardClosed, ShardMissing
from streamd.storage.inspect import check, stats
from streamd.storage.shard_log import Appended, ShardBatch, ShardKey, StoredBlock, StoredRun
from tests.storage.stores import Bench, ManualClock, data_key

SHARDS = [ShardKey(1, 0), ShardKey(1, 1), ShardKey(2, 0), ShardKey(256, 7)]
# One shard is busy and is never sealed, so that runs of many blocks come about.
SHARD = st.sampled_from([SHARDS[0], SHARDS[0], SHARDS[0], *SHARDS])
KEY = st.one_of(st.none(), st.binary(max_size=3))
# The last two make blocks that must be cut: a block holds a mebibyte.
SIZE = st.sampled_from([0, 1, 2, 100, 100, 100, 5000, 5000, 400_000, 1_200_000])
GENERATION = st.sampled_from([0, 0, 1, 2])
AGE = st.one_of(st.just(-1), st.integers(-1, 200))
BOUND = st.sampled_from([1, 2, 3, 10, 1000, 10_000_000, 10_000_000, 10_000_000, 10_000_000])


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as the list keeps it."""

    position: int
    key: bytes | None
    data: bytes
    arrival_ms: int


@dataclass(slots=True)
class Model:
    """A shard as a list."""

    live: list[Kept] = field(default_factory=list)
    next_position: int = 1
    last_arrival_ms: int = 0
    is_open: bool = True
    is_there: bool = True
    appended: int = 0


@st.composite
def batches(draw: st.DrawFn) -> ShardBatch:
    """Draw a batch for one shard, encrypted or not."""
    shard, generation = draw(SHARD), draw(GENERATION)
    rows = draw(st.lists(st.tuples(KEY, SIZE), min_size=1, max_size=4))
    data = [bytes([place + 1]) * size for place, (_, size) in enumerate(rows)]
    columns = RecordColumns([key for key, _ in rows], data)
    key = data_key(shard.stream_number, generation) if generation else None
    return ShardBatch(shard, columns, columns.byte_count, key)


class StoreMachine(RuleBasedStateMachine):
    """Drives a store and the lists side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="streamd-machine-")) / "data"
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.models = {shard: Model() for shard in SHARDS}

    @initialize(rows=st.lists(batches(), min_size=4, max_size=12))
    def open_and_fill(self, rows: list[ShardBatch]) -> None:
        """Begin with a store that holds something: each batch is a commit of its own, at a time of its own."""
        self.bench = self.runner.run(self._bench())
        self.runner.run(self.bench.store.open(SHARDS))
        for row in rows:
            self.append([row])
            self.clock.time_ms += 10

    @rule(callers=st.lists(batches(), min_size=1, max_size=4))
    def append_together(self, callers: list[ShardBatch]) -> None:
        """Append for several callers at once, several of them perhaps for one shard."""
        self.append(callers)

    def append(self, callers: list[ShardBatch]) -> None:
        """Append, and hold every outcome against the list."""
        outcomes = self.runner.run(self._append_together(callers))

        for caller, outcome in sorted(zip(callers, outcomes, strict=True), key=lambda pair: _first(pair[1])):
            model = self.models[caller.shard]
            if not model.is_there:
                assert isinstance(outcome, ShardMissing)
            elif not model.is_open:
                assert isinstance(outcome, ShardClosed)
            else:
                assert isinstance(outcome, Appended)
                self._note(model, caller, outcome)

    @rule(shard=SHARD, place=st.integers(0, 60), byte_count_max=BOUND, record_count_max=BOUND, age=AGE)
    def read(self, shard: ShardKey, place: int, byte_count_max: int, record_count_max: int, age: int) -> None:
        """Read from any position, with bounds and a horizon."""
        model = self.models[shard]
        after = place % (model.next_position + 1)
        horizon_ms = 0 if age < 0 else self.clock.time_ms - age
        if not model.is_there:
            with pytest.raises(ShardMissing):
                self._read(shard, after, byte_count_max, record_count_max, horizon_ms)
            return

        run = self._read(shard, after, byte_count_max, record_count_max, horizon_ms)

        wanted = [kept for kept in model.live if kept.position > after and kept.arrival_ms >= horizon_ms]
        found = [kept for block in run.blocks for kept in self._records(shard, block)]
        # A block is given whole, so what is found may begin before the first one wanted.
        start = wanted[0].position if wanted else model.next_position
        live_by_position = {kept.position: kept for kept in model.live}
        assert found == [live_by_position[kept.position] for kept in found]
        assert [kept for kept in found if kept.position >= start] == wanted[: len(found) - _before(found, start)]
        assert bool(found) == bool(wanted)
        self._check_bounds(run, wanted, found, start, byte_count_max, record_count_max)

    @rule(shard=SHARD, time_offset=st.integers(-200, 200))
    def find_by_time(self, shard: ShardKey, time_offset: int) -> None:
        """Find the first record of a time or later."""
        model = self.models[shard]
        time_ms = self.clock.time_ms + time_offset
        if not model.is_there:
            return

        position = self.runner.run(self.bench.store.position_at(shard, time_ms=time_ms))

        later = [kept.position for kept in model.live if kept.arrival_ms >= time_ms]
        assert position == (later[0] if later else model.next_position)

    @rule(shard=SHARD, age=st.integers(-50, 100))
    def trim(self, shard: ShardKey, age: int) -> None:
        """Remove all that arrived before a time."""
        model = self.models[shard]
        before_ms = self.clock.time_ms - age
        if not model.is_there:
            return

        trimmed = self.runner.run(self.bench.store.trim(shard, before_ms=before_ms))

        gone = [kept for kept in model.live if kept.arrival_ms < before_ms]
        assert (trimmed.record_count, trimmed.byte_count) == (len(gone), sum(map(_counted, gone)))
        assert not trimmed.has_more
        model.live = model.live[len(gone) :]

    @rule(shard=st.sampled_from(SHARDS[1:]))
    def seal(self, shard: ShardKey) -> None:
        """Close a shard, perhaps again."""
        model = self.models[shard]
        if not model.is_there:
            return

        last = self.runner.run(self.bench.store.seal([shard]))

        assert last == {shard: model.next_position}
        model.is_open = False

    @rule(shard=st.sampled_from(SHARDS[2:]))
    def drop(self, shard: ShardKey) -> None:
        """Remove a shard with all it holds; doing it twice is no harm."""
        assert self.runner.run(self.bench.store.drop(shard))

        self.models[shard] = Model(is_there=False)

    @rule(move_ms=st.integers(-150, 150))
    def move_clock(self, move_ms: int) -> None:
        """Let the clock jump, backwards too."""
        self.clock.time_ms += move_ms

    @rule()
    def restart(self) -> None:
        """Close the store and open it again."""
        self.runner.run(self.bench.close())
        self.bench = self.runner.run(self._bench())

    @invariant()
    def states_add_up(self) -> None:
        """Compare what the store says of each shard."""
        if not hasattr(self, "bench"):
            return
        found = dict(self.runner.run(self.bench.store.states()))
        assert list(found) == sorted((s for s in SHARDS if self.models[s].is_there), key=ShardKey.pack)
        for shard, state in found.items():
            model = self.models[shard]
            assert state.is_open == model.is_open
            assert state.next_position == model.next_position
            assert state.first_position == (model.live[0].position if model.live else model.next_position)
            assert state.appended_record_count == model.appended
            assert state.live_record_count == len(model.live)
            assert state.live_byte_count == sum(map(_counted, model.live))

    def teardown(self) -> None:
        self.runner.run(self.bench.close())
        self.runner.close()
        report = check(self.path, progress=lambda _done, _total: None)
        live = [kept for model in self.models.values() for kept in model.live]
        assert report.faults == []
        assert report.record_count == len(live)
        assert report.byte_count == sum(map(_counted, live))
        assert sum(shard.record_count for shard in stats(self.path)) == len(live)
        shutil.rmtree(self.path.parent)

    async def _bench(self) -> Bench:
        return Bench(self.path, self.clock)

    async def _append_together(self, callers: list[ShardBatch]) -> list[object]:
        answers = await asyncio.gather(*(self.bench.store.append([caller]) for caller in callers))
        return [outcome for (outcome,) in answers]

    def _note(self, model: Model, caller: ShardBatch, outcome: Appended) -> None:
        assert outcome.first_position == model.next_position
        assert outcome.arrival_ms == max(self.clock.time_ms, model.last_arrival_ms)
        for key, data in zip(caller.records.keys, caller.records.data, strict=True):
            model.live.append(Kept(model.next_position, key, data, outcome.arrival_ms))
            model.next_position += 1
            model.appended += 1
        model.last_arrival_ms = outcome.arrival_ms

    def _read(
        self, shard: ShardKey, after: int, byte_count_max: int, record_count_max: int, horizon_ms: int
    ) -> StoredRun:
        return self.runner.run(
            self.bench.store.read(
                shard,
                after=after,
                byte_count_max=byte_count_max,
                record_count_max=record_count_max,
                horizon_ms=horizon_ms,
            )
        )

    def _records(self, shard: ShardKey, block: StoredBlock) -> list[Kept]:
        header = block.header
        body = sealed_body(block.content)
        if header.is_encrypted:
            key = data_key(shard.stream_number, header.key_generation)
            body = key.open(body, shard_index=shard.shard_index, record_count=header.record_count)
        columns = decode(body, record_count=header.record_count)
        return [
            Kept(block.position + place, key, data, header.arrival_ms)
            for place, (key, data) in enumerate(zip(columns.keys, columns.data, strict=True))
        ]

    def _check_bounds(
        self, run: StoredRun, wanted: list[Kept], found: list[Kept], start: int, byte_max: int, record_max: int
    ) -> None:
        """Check that a read ended at the first block that passed a bound, and not before."""
        byte_count = sum(len(block.content) for block in run.blocks)
        record_count = len(found) - _before(found, start)
        if record_count < len(wanted):
            assert byte_count >= byte_max or record_count >= record_max
        if run.blocks:
            last = run.blocks[-1]
            assert byte_count - len(last.content) < byte_max
            assert max(0, record_count - last.header.record_count) < record_max


def _first(outcome: object) -> int:
    return outcome.first_position if isinstance(outcome, Appended) else 0


def _before(found: list[Kept], position: int) -> int:
    return sum(kept.position < position for kept in found)


def _counted(kept: Kept) -> int:
    return len(kept.data) + len(kept.key or b"")


# A step commits to a real disk: fewer examples than for plain values, and no deadline for any of them.
StoreMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTheStoreAnswersAsAListDoes = StoreMachine.TestCase
