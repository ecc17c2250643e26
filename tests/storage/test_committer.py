"""The committer: one sync for many, bounded in bytes, and honest about what did not reach the disk."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from streamd.core.limits import ADMITTED_BYTE_COUNT_MAX, COMMIT_BYTE_COUNT_MAX
from streamd.errors import CatalogConflict, ShardClosed, ShardMissing, StoreFailed, StoreFull
from streamd.storage.inspect import check
from streamd.storage.shard_log import Appended, ShardBatch, ShardKey, StoredRun
from tests.storage.locks import writer_lock_held
from tests.storage.stores import Bench, batch, data_key, open_bench

MIB = 1 << 20
SHARD = ShardKey(1, 0)
OTHER_SHARD = ShardKey(1, 1)
LARGE_BYTE_COUNT = 8 * MIB


async def test_appends_that_wait_for_the_disk_together_share_its_next_sync(tmp_path: Path) -> None:
    caller_count = 50
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        await bench.store.open([SHARD, OTHER_SHARD])
        commit_count_before = bench.commit_count

        with writer_lock_held(bench.path):
            tasks = [
                group.create_task(bench.store.append([batch((SHARD, OTHER_SHARD)[place % 2], [b"%d" % place])]))
                for place in range(caller_count)
            ]
            await _let_all_begin()
        outcomes = [(await task)[0] for task in tasks]

        # The writing thread may have taken some of them before the others came.
        assert bench.commit_count - commit_count_before <= 2
        for shard in (0, 1):
            mine = outcomes[shard::2]
            assert [o.first_position for o in mine if isinstance(o, Appended)] == list(range(1, 26))
        run = await _read(bench, SHARD)
        assert len(run.blocks) <= 2
        assert sum(block.header.record_count for block in run.blocks) == caller_count // 2


async def test_what_may_wait_for_the_disk_is_bounded_in_bytes_and_so_is_a_commit(tmp_path: Path) -> None:
    caller_count = 12
    admitted_count = ADMITTED_BYTE_COUNT_MAX // LARGE_BYTE_COUNT
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        await bench.store.open([SHARD])
        commit_count_before = bench.commit_count

        with writer_lock_held(bench.path):
            tasks = [group.create_task(bench.store.append([_large_batch()])) for _ in range(caller_count)]
            await _let_all_begin()

            committer = bench.store._committer
            assert committer._admitted_byte_count == ADMITTED_BYTE_COUNT_MAX
            assert len(committer._room_waiters) == caller_count - admitted_count
            assert not any(task.done() for task in tasks)
        outcomes = [(await task)[0] for task in tasks]

        # Those at the door came in once there was room, in the order in which they had come.
        assert [o.first_position for o in outcomes if isinstance(o, Appended)] == list(range(1, caller_count + 1))
        assert committer._admitted_byte_count == 0
        assert bench.commit_count - commit_count_before >= caller_count * LARGE_BYTE_COUNT // COMMIT_BYTE_COUNT_MAX
        registry = bench.metrics._registry
        # The sixteen mebibytes that a commit may have, as Prometheus writes them.
        within = registry.get_sample_value("streamd_commit_bytes_bucket", {"le": "1.6777216e+07"})
        assert within == bench.commit_count


async def test_one_append_larger_than_all_that_may_wait_is_let_in_alone(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD])
        huge = batch(SHARD, [bytes(MIB)] * (ADMITTED_BYTE_COUNT_MAX // MIB + 1))

        (outcome,) = await bench.store.append([huge])

        assert isinstance(outcome, Appended)
        assert (await bench.store.state(SHARD)).live_byte_count == huge.byte_count


async def test_a_caller_that_goes_away_takes_neither_its_records_nor_room_with_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD])
        committer = bench.store._committer

        with writer_lock_held(bench.path):
            async with asyncio.TaskGroup() as group:
                begun = [
                    group.create_task(bench.store.append([_large_batch()]))
                    for _ in range(ADMITTED_BYTE_COUNT_MAX // LARGE_BYTE_COUNT)
                ]
                at_door = group.create_task(bench.store.append([batch(SHARD, [b"never"])]))
                await _let_all_begin()
                for task in (*begun, at_door):
                    task.cancel()
        (outcome,) = await bench.store.append([batch(SHARD, [b"after"])])

        # Those that had begun are kept although nobody waited; the one at the door never was.
        assert outcome == Appended(len(begun) + 1, bench.clock.time_ms)
        assert all(task.cancelled() for task in (*begun, at_door))
        assert committer._admitted_byte_count == 0


async def test_a_caller_hears_of_each_shard_on_its_own(tmp_path: Path) -> None:
    missing = ShardKey(9, 9)
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD, OTHER_SHARD])
        await bench.store.seal([SHARD])

        outcomes = await bench.store.append([batch(SHARD, [b"a"]), batch(OTHER_SHARD, [b"b"]), batch(missing, [b"c"])])

        assert [type(outcome) for outcome in outcomes] == [ShardClosed, Appended, ShardMissing]
        assert (await bench.store.state(SHARD)).live_record_count == 0


async def test_records_in_the_clear_and_sealed_ones_of_one_commit_follow_each_other(tmp_path: Path) -> None:
    clear = batch(SHARD, [b"clear", b"clear"])
    sealed = ShardBatch(SHARD, clear.records, clear.byte_count, data_key(1, 1))
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        await bench.store.open([SHARD])

        with writer_lock_held(bench.path):
            first = group.create_task(bench.store.append([clear]))
            await _let_all_begin()
            rest = [group.create_task(bench.store.append([one])) for one in (sealed, clear, sealed)]
            await _let_all_begin()
        outcomes = [(await task)[0] for task in (first, *rest)]

        starts = sorted(o.first_position for o in outcomes if isinstance(o, Appended))
        assert starts == [1, 3, 5, 7]
        run = await _read(bench, SHARD)
        held = b"".join(block.content for block in run.blocks if block.header.is_encrypted)
        assert held
        assert b"clear" not in held


async def test_a_change_that_is_refused_undoes_nobody_elses(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        with writer_lock_held(bench.path):
            tasks = [
                group.create_task(_outcome_of_change(bench, key, expected))
                for key, expected in (("first", None), ("refused", 77), ("third", None))
            ]
            await _let_all_begin()
        outcomes = [await task for task in tasks]

        assert outcomes == [True, False, True]
        assert await bench.store.get("first") is not None
        assert await bench.store.get("refused") is None
        assert await bench.store.get("third") is not None


async def test_a_full_store_refuses_whole_puts_reads_on_and_takes_puts_again_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with open_bench(tmp_path / "data", size_max=4 * MIB) as bench:
        await bench.store.open([SHARD, OTHER_SHARD])
        stored_count = await _fill(bench)

        for _ in range(3):
            with pytest.raises(StoreFull, match="size limit"):
                await bench.store.append([batch(SHARD, [bytes(MIB)]), batch(OTHER_SHARD, [b"small"])])

        assert bench.store.failure is None
        assert bench.failures == []
        assert len((await _read(bench, SHARD)).blocks) == stored_count
        assert (await bench.store.state(OTHER_SHARD)).live_record_count == 0
        assert bench.store._committer._admitted_byte_count == 0
        await bench.store.compare_and_set("catalog/goes/on", b"", expected=None)

        bench.clock.time_ms += 1
        trimmed = await bench.store.trim(SHARD, before_ms=bench.clock.time_ms)
        (outcome,) = await bench.store.append([batch(SHARD, [bytes(MIB)])])

        assert trimmed.record_count == stored_count
        assert isinstance(outcome, Appended)
        assert outcome.first_position == stored_count + 1
    assert check(tmp_path / "data", progress=lambda _done, _total: None).faults == []


async def test_a_full_store_can_be_emptied_and_filled_many_times(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data", size_max=4 * MIB) as bench:
        await bench.store.open([SHARD])

        counts = []
        for _ in range(8):
            counts.append(await _fill(bench))
            bench.clock.time_ms += 1
            await bench.store.trim(SHARD, before_ms=bench.clock.time_ms)

        # The room that retention frees is really used again, or the later rounds would hold less.
        assert min(counts[1:]) >= counts[0] - 1


async def test_a_write_that_fails_ends_the_store_for_good_and_everybody_hears_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD])
        (kept,) = await bench.store.append([batch(SHARD, [b"kept"])])

        with _files_bounded((tmp_path / "data/log/data.mdb").stat().st_size):
            outcomes = await asyncio.gather(
                *(bench.store.append([batch(SHARD, [bytes(MIB)])]) for _ in range(5)), return_exceptions=True
            )
        with pytest.raises(StoreFailed):
            await bench.store.append([batch(SHARD, [b"after"])])
        with pytest.raises(StoreFailed):
            await bench.store.compare_and_set("after", b"", expected=None)

        assert all(isinstance(outcome, StoreFailed) for outcome in outcomes)
        assert len(bench.failures) == 1
        assert bench.store.failure is bench.failures[0]
    async with open_bench(tmp_path / "data") as bench:
        run = await _read(bench, SHARD)
        assert [block.position for block in run.blocks] == [kept.first_position if isinstance(kept, Appended) else 0]
        assert run.state.next_position == 2


async def test_those_who_wait_at_the_door_hear_of_a_failure_too(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD])

        with _files_bounded((tmp_path / "data/log/data.mdb").stat().st_size):
            outcomes = await asyncio.gather(
                *(bench.store.append([_large_batch()]) for _ in range(12)), return_exceptions=True
            )

        assert all(isinstance(outcome, StoreFailed) for outcome in outcomes)
        assert len(bench.failures) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_a_change_ends_the_store_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    def stumble(_transaction: lmdb.Transaction) -> None:
        raise ZeroDivisionError("a bug")

    async with open_bench(tmp_path / "data") as bench, asyncio.timeout(60):
        await bench.store.open([SHARD])

        outcomes = await asyncio.gather(
            bench.store._committer.change(stumble),
            bench.store.append([batch(SHARD, [b"x"])]),
            return_exceptions=True,
        )

        assert all(isinstance(outcome, StoreFailed) for outcome in outcomes)
        assert "ZeroDivisionError('a bug')" in str(bench.failures[0])
        assert (await bench.store.state(SHARD)).live_record_count == 0


async def test_closing_commits_what_waits_and_takes_nothing_more(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        await bench.store.open([SHARD])
        with writer_lock_held(bench.path):
            waiting = [group.create_task(bench.store.append([batch(SHARD, [b"x"])])) for _ in range(10)]
            await _let_all_begin()
            closing = group.create_task(bench.store._committer.close())
            await _let_all_begin()
            with pytest.raises(StoreFailed, match="stopping"):
                await bench.store.append([batch(SHARD, [b"late"])])
        await closing

        assert [(await task)[0] for task in waiting] == [Appended(n, bench.clock.time_ms) for n in range(1, 11)]


async def test_a_waiting_reader_is_woken_by_a_record_a_seal_and_a_removal(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench, asyncio.TaskGroup() as group:
        await bench.store.open([SHARD])

        # Far more than the test may take: only a wake-up ends these waits in time.
        by_record = group.create_task(bench.store.wait_past(SHARD, after=0, timeout_s=600))
        await _let_all_begin()
        await bench.store.append([batch(SHARD, [b"x"])])
        assert await by_record

        by_seal = group.create_task(bench.store.wait_past(SHARD, after=1, timeout_s=600))
        await _let_all_begin()
        await bench.store.seal([SHARD])
        assert await by_seal

        assert await bench.store.drop(SHARD)
        assert await bench.store.wait_past(SHARD, after=1, timeout_s=600)


async def test_waiting_in_vain_ends_with_the_time(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        await bench.store.open([SHARD])

        assert not await bench.store.wait_past(SHARD, after=0, timeout_s=0)


def _large_batch() -> ShardBatch:
    # The key counts too: three bytes.
    return batch(SHARD, [bytes(LARGE_BYTE_COUNT - 3)])


async def _let_all_begin() -> None:
    """Let every task run up to its first real wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def _read(bench: Bench, shard: ShardKey) -> StoredRun:
    return await bench.store.read(shard, after=0, byte_count_max=1 << 30, record_count_max=1 << 30, horizon_ms=0)


async def _fill(bench: Bench) -> int:
    """Append until the store is full; how many records it took."""
    for count in range(100):
        try:
            await bench.store.append([batch(SHARD, [bytes(MIB // 2)])])
        except StoreFull:
            return count
    raise AssertionError("the store never was full")


async def _outcome_of_change(bench: Bench, key: str, expected: int | None) -> bool:
    try:
        await bench.store.compare_and_set(key, b"", expected=expected)
    except CatalogConflict:
        return False
    return True


@contextmanager
def _files_bounded(byte_count: int) -> Iterator[None]:
    """Let every write of this process past a file size fail, as a broken disk would (but not a full one)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
