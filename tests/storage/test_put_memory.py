"""The memory of puts beside a model: each token is stored once, old ones are refused, idle producers are forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamd.core.limits import PUT_MEMORY_COUNT, PUT_MEMORY_MS
from streamd.core.put_tokens import PutToken, Remembered
from streamd.errors import PutForgotten, PutMismatched, ShardClosed
from streamd.storage.shard_log import ShardBatch, ShardKey
from tests.clocks import ManualClock
from tests.storage.stores import batch, open_bench

SHARD = ShardKey(1, 0)
OTHER = ShardKey(1, 1)
PRODUCER = bytes(15) + b"\x01"
# All ones: nothing sorts after it but another shard.
LAST_PRODUCER = b"\xff" * 16


def put_of(data: list[bytes], sequence: int, *, shard: ShardKey = SHARD, producer: bytes = PRODUCER) -> ShardBatch:
    plain = batch(shard, data)
    asked = len(data), plain.byte_count
    return plain._replace(token=PutToken(producer, sequence), asked=asked)


async def outcome_of(store: Any, put: ShardBatch) -> Any:
    """Append one put; its outcome, whatever it is."""
    (outcome,) = await store.append([put])
    return outcome


async def data_in(store: Any, shard: ShardKey = SHARD) -> int:
    return int((await store.state(shard)).live_record_count)


@pytest.mark.parametrize("producer", [PRODUCER, LAST_PRODUCER], ids=["some", "last"])
async def test_a_repeated_put_gets_the_outcome_of_the_first(tmp_path: Path, producer: bytes) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD, OTHER])
        await bench.store.append([batch(SHARD, [b"before"])])
        put = put_of([b"a", b"b"], 7, producer=producer)

        first = await outcome_of(bench.store, put)
        bench.clock.advance(1000)
        again = await outcome_of(bench.store, put)
        elsewhere = await outcome_of(bench.store, put._replace(shard=OTHER))

        assert first == Remembered(2, first.arrival_ms, 2, is_repeat=False)
        assert again == first._replace(is_repeat=True)
        assert elsewhere.is_repeat is False
        assert await data_in(bench.store) == 3


async def test_twins_in_one_commit_are_stored_once(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        put = put_of([b"a"], 1)

        outcomes = await asyncio.gather(*[outcome_of(bench.store, put) for _ in range(20)])

        assert {outcome.first_position for outcome in outcomes} == {1}
        assert [outcome.is_repeat for outcome in outcomes].count(False) == 1
        assert await data_in(bench.store) == 1


async def test_what_was_refused_stays_refused(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        whole = put_of([b"a", b"b", b"c"], 1)
        part = whole._replace(records=batch(SHARD, [b"a"]).records)
        nothing = put_of([b"x"], 2)._replace(records=batch(SHARD, []).records)

        stored = await outcome_of(bench.store, part)
        again = await outcome_of(bench.store, whole)
        refused = await outcome_of(bench.store, nothing)
        still = await outcome_of(bench.store, put_of([b"x"], 2))

        assert (stored.record_count, again.record_count) == (1, 1)
        assert (refused.record_count, still.record_count) == (0, 0)
        assert await data_in(bench.store) == 1


async def test_a_number_that_is_used_for_other_records_is_refused(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        await bench.store.append([put_of([b"a"], 1)])

        outcome = await outcome_of(bench.store, put_of([b"a", b"b"], 1))

        assert isinstance(outcome, PutMismatched)
        assert await data_in(bench.store) == 1


async def test_numbers_before_the_window_are_refused_and_take_no_room(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        numbers = range(1, PUT_MEMORY_COUNT + 11)
        for number in numbers:
            await bench.store.append([put_of([b"a"], number)])

        outcomes = [await outcome_of(bench.store, put_of([b"a"], number)) for number in numbers]
        kept = [number for number in numbers if await bench.store.remembered([SHARD], PutToken(PRODUCER, number))]

        assert [isinstance(outcome, PutForgotten) for outcome in outcomes] == [number <= 10 for number in numbers]
        assert kept == list(numbers)[10:]
        assert await data_in(bench.store) == len(numbers)


async def test_late_numbers_within_the_window_are_stored(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])

        outcomes = [await outcome_of(bench.store, put_of([b"a"], number)) for number in (200, 3, 100, 3)]

        assert [outcome.is_repeat for outcome in outcomes] == [False, False, False, True]


async def test_a_closed_shard_answers_for_what_it_stored_and_takes_nothing_new(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        first = await outcome_of(bench.store, put_of([b"a"], 1))
        await bench.store.seal([SHARD])

        again = await outcome_of(bench.store, put_of([b"a"], 1))
        new = await outcome_of(bench.store, put_of([b"b"], 2))
        nothing = await outcome_of(bench.store, put_of([b"b"], 3)._replace(records=batch(SHARD, []).records))

        assert again == first._replace(is_repeat=True)
        assert isinstance(new, ShardClosed)
        assert isinstance(nothing, ShardClosed)


async def test_producers_from_which_nothing_comes_are_forgotten_and_the_others_are_not(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_bench(tmp_path, clock) as bench:
        await bench.store.open([SHARD, OTHER])
        idle, busy = bytes(16), LAST_PRODUCER
        for number in range(1, 6):
            await bench.store.append([put_of([b"a"], number, producer=idle, shard=OTHER)])
            await bench.store.append([put_of([b"a"], number, producer=busy)])
        clock.advance(PUT_MEMORY_MS + 1)
        await bench.store.append([put_of([b"a"], 6, producer=busy)])

        await bench.store.forget_puts(before_ms=clock.now_ms() - PUT_MEMORY_MS)

        assert not await bench.store.remembered([OTHER], PutToken(idle, 5))
        assert await bench.store.remembered([SHARD], PutToken(busy, 1))


async def test_a_dropped_shard_takes_its_memory_with_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD, OTHER])
        for shard in (SHARD, OTHER):
            await bench.store.append([put_of([b"a"], 1, shard=shard)])

        while not await bench.store.drop(SHARD):
            pass

        assert list(await bench.store.remembered([SHARD, OTHER], PutToken(PRODUCER, 1))) == [OTHER]


async def test_the_memory_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.store.open([SHARD])
        first = await outcome_of(bench.store, put_of([b"a"], 1))

    async with open_bench(tmp_path) as bench:
        again = await outcome_of(bench.store, put_of([b"a"], 1))

        assert again == first._replace(is_repeat=True)
