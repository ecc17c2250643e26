"""A mapping's life in virtual time, from one seed: the real processors, a flaky function, crashes, resharding.

The world puts records, reads them, runs the function and stores progress, each after a delay by chance; at any moment
all of it may crash, and then only stored progress is left. What happens is checked by the model beside it.
"""

import heapq
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from itertools import count
from random import Random

import orjson

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_steps import Failure, Invoke, Settle, Steps
from streamd.core.shard_processor import ShardProcessor
from streamd.core.shard_succession import Lineage, succession
from tests.core.mapping_model import MappingModel, ModelOutcome, ModelRecord, ModelWindow
from tests.core.mapping_shards import HASH_END, WorldShard, data_of, hash_key_of, settings_by

START_MS = 1_795_404_000_000
FIRST_NUMBER = 10**15
LENGTH_MS = 120_000
EVENT_COUNT_MAX = 100_000
KEYS = [f"key-{index}" for index in range(12)]


class World:
    """One simulated life."""

    def __init__(
        self, seed: int, *, processor_class: type[ShardProcessor] = ShardProcessor, waits_for_parents: bool = True
    ) -> None:
        self.chance = Random(seed)
        self.now_ms = START_MS
        self.settings = settings_by(self.chance)
        self.model = MappingModel(self.settings)
        self.shards: dict[str, WorldShard] = {}
        can_give_up = self.settings.attempts_max >= 0 or self.settings.age_ms_max >= 0
        self._failing = self.chance.choice([0, 0, 0.1, 0.5])
        self._throttling = self.chance.choice([0, 0, 0.2])
        self._crashing = self.chance.choice([0, 0.02, 0.1])
        self._poisoned = self.chance.choice([0, 0.1]) if can_give_up else 0
        self._changes_left = 3
        self._is_flaky = self._failing > 0
        self._is_ending = False
        self._make = processor_class
        self._waits_for_parents = waits_for_parents
        self._history = md5(repr(self.settings).encode(), usedforsecurity=False)
        self._acts: list[tuple[int, int, int, Callable[[], None]]] = []
        self._order = count()
        self._numbers = count(FIRST_NUMBER)
        self._life = 1
        self._add_shard(0, HASH_END, ())

    def run(self) -> str:
        """Live until all is done; gives the digest of everything that happened."""
        for _ in range(self.chance.randrange(1, 25)):
            self._outside(self.chance.randrange(LENGTH_MS), self._put)
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            self._outside(self.chance.randrange(LENGTH_MS), self._reshard)
        if self.chance.random() < 0.15:
            self._outside(self.chance.randrange(LENGTH_MS), self._expire)
        self._outside(LENGTH_MS, self._end)
        act_count = 0
        while self._acts and not self._is_done:
            act_count += 1
            assert act_count < EVENT_COUNT_MAX, "the mapping never comes to an end"
            self._act()
            self._pump()
        assert self._is_done, "the mapping stands still although something is left"
        self.model.check_end(is_flaky=self._is_flaky)
        return self._history.hexdigest()

    @property
    def _is_done(self) -> bool:
        return self._is_ending and all(shard.is_done for shard in self.shards.values())

    def _act(self) -> None:
        at_ms, _, life, act = heapq.heappop(self._acts)
        if life not in {0, self._life}:
            return
        self.now_ms = max(self.now_ms, at_ms)
        act()
        if not self._is_ending and self.chance.random() < self._crashing:
            self._crash()

    def _outside(self, delay_ms: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._acts, (self.now_ms + delay_ms, next(self._order), 0, act))

    def _inside(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Plan what a crash prevents."""
        heapq.heappush(self._acts, (self.now_ms + delay_ms, next(self._order), self._life, act))

    def _note(self, *facts: object) -> None:
        self._history.update(repr((self.now_ms, *facts)).encode())

    # The stream.

    def _add_shard(self, first: int, last: int, parent_ids: tuple[str, ...]) -> None:
        shard_id = f"shardId-{len(self.shards):012d}"
        self.shards[shard_id] = WorldShard(shard_id, first, last, parent_ids)

    def _put(self) -> None:
        for _ in range(self.chance.choice([1, 1, 5, 30])):
            key = self.chance.choice(KEYS)
            shard = next(shard for shard in self.shards.values() if shard.takes(hash_key_of(key)))
            content = self.chance.randrange(1000)
            record = ModelRecord(
                number=next(self._numbers),
                shard_id=shard.shard_id,
                key=key,
                arrival_ms=self.now_ms,
                content=content,
                is_poison=self.chance.random() < self._poisoned,
                is_wanted=not self.settings.patterns or (key not in {"key-3", "key-7"} and content < 900),
            )
            shard.numbers.append(record.number)
            self.model.put(record)
        self._note("put", len(self.model.records))

    def _reshard(self) -> None:
        open_shards = sorted((s for s in self.shards.values() if not s.is_closed), key=lambda shard: shard.first)
        place = self.chance.randrange(len(open_shards))
        shard = open_shards[place]
        shard.is_closed = True
        if len(open_shards) > 1 and self.chance.random() < 0.5:
            other = open_shards[place - 1] if place else open_shards[1]
            other.is_closed = True
            first, last = min(shard.first, other.first), max(shard.last, other.last)
            self._add_shard(first, last, (shard.shard_id, other.shard_id))
        else:
            middle = (shard.first + shard.last) // 2
            self._add_shard(shard.first, middle, (shard.shard_id,))
            self._add_shard(middle, shard.last, (shard.shard_id,))
        self._note("reshard", [shard.shard_id for shard in self.shards.values()])

    def _expire(self) -> None:
        self.model.horizon_ms = self.now_ms - self.chance.randrange(30_000)
        self._note("expire")

    def _end(self) -> None:
        """Close the stream and let the function be well from now on, but for poison."""
        for shard in self.shards.values():
            shard.is_closed = True
        self._failing = self._throttling = 0
        self._is_ending = True

    # The poller.

    def _crash(self) -> None:
        self._note("crash")
        self._life += 1
        self.model.in_hand.clear()
        for shard in self.shards.values():
            shard.crash()
        if self._changes_left and self.chance.random() < 0.3:
            self._changes_left -= 1
            lanes = self.chance.randrange(1, 11)
            self.settings = replace(self.settings, parallelization=lanes, batch_size=self.chance.randrange(1, 51))
            self.model.settings = self.settings

    def _pump(self) -> None:
        done = {shard.shard_id for shard in self.shards.values() if shard.is_done}
        lineages = [Lineage(shard.shard_id, shard.parent_ids) for shard in self.shards.values()]
        found = succession(lineages, done=done)
        ready = found.ready if self._waits_for_parents else (*found.ready, *found.waiting)
        for shard_id in ready:
            shard = self.shards[shard_id]
            if shard.processor is None:
                shard.start(self._make, self.settings)
            self._pump_shard(shard)

    def _pump_shard(self, shard: WorldShard) -> None:
        assert shard.processor is not None
        has_more = shard.read_count < len(shard.numbers)
        steps = shard.processor.steps(
            self.now_ms, ticks_ms=self.now_ms, has_more=has_more, horizon_ms=self.model.horizon_ms
        )
        for invoke in steps.invokes:
            self._invoke(shard, invoke)
        for settle in steps.settles:
            self._deliver(shard, settle, ModelOutcome(window=_window_after(shard, self.model, settle.failures)))
        if steps.wake_ms is not None and steps.wake_ms != shard.wake_ms:
            assert steps.wake_ms > self.now_ms, "the processor wants to be asked again at once"
            shard.wake_ms = steps.wake_ms
            self._inside(steps.wake_ms - self.now_ms, lambda: None)
        self._plan_reading(shard, steps)

    def _plan_reading(self, shard: WorldShard, steps: Steps) -> None:
        can_read = shard.read_count < len(shard.numbers) and steps.room.record_count > 0
        is_at_end = shard.is_closed and shard.read_count == len(shard.numbers) and not shard.is_ended
        if shard.is_reading or not (can_read or is_at_end):
            return
        shard.is_reading = True
        self._inside(self.chance.choice([1, 10, 500]), lambda: self._read(shard))

    def _read(self, shard: WorldShard) -> None:
        processor = shard.processor
        assert processor is not None
        shard.is_reading = False
        room = processor.room().record_count
        limit = self.chance.randrange(1, room + 1) if room else 0
        numbers = shard.numbers[shard.read_count : shard.read_count + limit]
        shard.read_count += len(numbers)
        records = [self.model.records[number] for number in numbers]
        records = [record for record in records if record.arrival_ms >= self.model.horizon_ms]
        columns = SourceRecords(
            [str(record.number) for record in records],
            [record.key.encode() for record in records],
            [data_of(record.content) for record in records],
            [record.arrival_ms for record in records],
        )
        processor.feed(columns, now_ms=self.now_ms, ticks_ms=self.now_ms)
        if shard.is_closed and shard.read_count == len(shard.numbers):
            processor.end_of_shard()
            shard.is_ended = True

    def _invoke(self, shard: WorldShard, invoke: Invoke) -> None:
        event = orjson.loads(invoke.payload())
        numbers = [int(record["kinesis"]["sequenceNumber"]) for record in event["Records"]]
        self._note("invoke", shard.shard_id, invoke.lane, invoke.attempt, numbers)
        self.model.handed_out(numbers, shard.shard_id, invoke.attempt)
        if self.settings.tumbling_ms:
            self.model.check_window(event, numbers)
        delay_ms = self.chance.choice([5, 5, 50, 3000])
        self._inside(delay_ms, lambda: self._answer(shard, invoke, event, numbers))

    # The function.

    def _answer(self, shard: WorldShard, invoke: Invoke, event: dict[str, object], numbers: list[int]) -> None:
        processor, now_ms, jitter = shard.processor, self.now_ms, self.chance.random()
        assert processor is not None
        self.model.in_hand.difference_update(numbers)
        if self.chance.random() < self._throttling:
            processor.throttled(invoke.lane, reason="no capacity", now_ms=now_ms, ticks_ms=now_ms, jitter=jitter)
            return
        good_count = self._good_count(numbers)
        if good_count < len(numbers) and not self.settings.reports_items:
            good_count = 0
        is_failing = self.chance.random() < self._failing or (good_count == 0 and bool(numbers))
        if is_failing and (numbers == [] or not self.settings.reports_items or self.chance.random() < 0.5):
            self.model.bad(numbers)
            settle = processor.failed(
                invoke.lane, error="Boom", now_ms=now_ms, ticks_ms=now_ms, jitter=jitter, request_id="r", version="1"
            )
            outcome = ModelOutcome(window=_window_after(shard, self.model, settle.failures))
        else:
            good_count = 0 if is_failing else good_count
            if good_count == 0:
                self.model.bad(numbers)
            outcome, response = self._well(shard, event, numbers, good_count)
            settle = processor.succeeded(
                invoke.lane, response, now_ms=now_ms, ticks_ms=now_ms, jitter=jitter, request_id="r", version="1"
            )
            if settle.failures:
                outcome = ModelOutcome(window=_window_after(shard, self.model, settle.failures))
        self._deliver(shard, settle, outcome)

    def _good_count(self, numbers: list[int]) -> int:
        """Tell how many records the function manages before the first poison."""
        poison = [place for place, number in enumerate(numbers) if self.model.records[number].is_poison]
        return min(poison, default=len(numbers))

    def _well(
        self, shard: WorldShard, event: dict[str, object], numbers: list[int], good_count: int
    ) -> tuple[ModelOutcome, bytes]:
        """Give what an answer without a function error does, and the answer."""
        response: dict[str, object] = {}
        good = numbers[:good_count]
        self.model.good(good)
        before = self.model.window_by_shard.get(shard.shard_id)
        window = before
        if self.settings.tumbling_ms:
            start_ms = before.start_ms if before else self.model.window_start(numbers[0])
            members = [*self.model.window_state(shard.shard_id), *good]
            response["state"] = {"n": members}
            is_final = event["isFinalInvokeForWindow"] is True
            if good or is_final:
                window = ModelWindow(start_ms, members, is_closed=is_final)
        if self.settings.reports_items and good_count < len(numbers):
            failed = [{"itemIdentifier": str(number)} for number in numbers[good_count:]]
            response["batchItemFailures"] = failed[::-1]
        return ModelOutcome(good=tuple(good), window=window), orjson.dumps(response)

    # The store.

    def _deliver(self, shard: WorldShard, settle: Settle, outcome: ModelOutcome) -> None:
        for failure in settle.failures:
            self._note("give up", failure.condition, failure.first_number, failure.record_count)
            self.model.given_up(failure, now_ms=self.now_ms, is_flaky=self._is_flaky)
        given_up = tuple(int(record.number) for failure in settle.failures for record in failure.records)
        whole = replace(outcome, given_up=given_up)
        delay_ms = self.chance.choice([0, 1, 2000]) if settle.failures else 0
        self._inside(delay_ms, lambda: self._begin_store(shard, settle, whole))

    def _begin_store(self, shard: WorldShard, settle: Settle, outcome: ModelOutcome) -> None:
        assert shard.processor is not None
        shard.stores.append((settle, outcome, shard.processor.progress_with(settle)))
        if len(shard.stores) == 1:
            self._inside(self.chance.choice([1, 20]), lambda: self._store(shard))

    def _store(self, shard: WorldShard) -> None:
        """Store one progress, or all that wait by storing the last."""
        assert shard.processor is not None
        store_count = self.chance.choice([1, len(shard.stores)])
        shard.stored = shard.stores[store_count - 1][2].encode()
        self._note("store", shard.shard_id, shard.stored)
        for settle, outcome, _ in shard.stores[:store_count]:
            self.model.stored(shard.shard_id, outcome, is_of_lane=settle.lane is not None)
            shard.processor.settled(settle)
        del shard.stores[:store_count]
        if shard.stores:
            self._inside(1, lambda: self._store(shard))


def _window_after(shard: WorldShard, model: MappingModel, failures: tuple[Failure, ...]) -> ModelWindow | None:
    """Give the shard's window after an outcome without an answer: a final call that was given up loses it."""
    window = model.window_by_shard.get(shard.shard_id)
    if window is not None and any(failure.record_count == 0 for failure in failures):
        return replace(window, is_closed=True, is_lost=True)
    return window
