"""The rules of `streamd tail`: where to begin, how pages merge, and what a reader does when the server falters."""

import asyncio
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.cli.tail_merge import ArrivalMerge, Record
from streamd.cli.tail_reader import StreamReader
from streamd.cli.tail_start import HORIZON, LATEST, Start, parse_start
from streamd.sdk.client import KinesisClient, ServiceRefused
from tests.cli.scripted_server import ScriptedServer

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("horizon", HORIZON),
        ("latest", LATEST),
        ("now", LATEST),
        ("-10m", Start("AT_TIMESTAMP", timestamp_ms=NOW_MS - 600_000)),
        ("-2d", Start("AT_TIMESTAMP", timestamp_ms=NOW_MS - 172_800_000)),
        ("-999999999d", Start("AT_TIMESTAMP", timestamp_ms=0)),
        ("1970-01-01T00:00:01.5Z", Start("AT_TIMESTAMP", timestamp_ms=1500)),
        ("1970-01-01T01:00:01+01:00", Start("AT_TIMESTAMP", timestamp_ms=1000)),
        ("1970-01-02", Start("AT_TIMESTAMP", timestamp_ms=86_400_000)),
        ("4" * 56, Start("AT_SEQUENCE_NUMBER", sequence_number="4" * 56)),
    ],
)
def test_a_start_is_read(text: str, start: Start) -> None:
    assert parse_start(text, now_ms=NOW_MS) == start


@given(text=st.text(max_size=20))
def test_any_other_text_is_no_start(text: str) -> None:
    start = parse_start(text, now_ms=NOW_MS)

    assert start is None or start.timestamp_ms is None or start.timestamp_ms >= 0


@given(
    moment=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
)
def test_a_time_means_the_same_with_and_without_its_zone(moment: datetime) -> None:
    with_zone = parse_start(moment.isoformat(), now_ms=NOW_MS)
    without = parse_start(moment.replace(tzinfo=None).isoformat(), now_ms=NOW_MS)

    assert with_zone == without
    assert with_zone is not None


def _record(shard_id: str, arrival_ms: int, place: int = 0) -> Record:
    return Record(arrival_ms, shard_id, str(place), "k", b"")


@given(
    arrivals_by_shard=st.dictionaries(
        st.sampled_from("abcde"), st.lists(st.integers(0, 50), max_size=12).map(sorted), min_size=1
    ),
    seed=st.integers(0, 1 << 32),
)
def test_records_that_are_there_already_come_out_in_exact_order(
    arrivals_by_shard: dict[str, list[int]], seed: int
) -> None:
    chance = Random(seed)
    merge = ArrivalMerge()
    left = {
        shard: [_record(shard, arrival_ms, place) for place, arrival_ms in enumerate(arrivals)]
        for shard, arrivals in arrivals_by_shard.items()
    }
    everything = [record for records in left.values() for record in records]
    for shard in left:
        merge.open(shard)
    taken: list[Record] = []

    while left:
        for shard in [each for each in left if merge.is_drained(each) and chance.random() < 0.5]:
            count = chance.randint(0, 3)
            page, left[shard] = left[shard][:count], left[shard][count:]
            merge.add(shard, page, is_behind=bool(left[shard]))
            if not left[shard]:
                merge.close(shard)
                del left[shard]
        taken += merge.take(chance.randint(1, 4))
    taken += merge.take(len(everything))

    order = sorted(everything, key=lambda record: (record.arrival_ms, record.shard_id, int(record.sequence_number)))
    assert taken == order
    assert merge.is_over


def test_a_shard_that_is_behind_holds_the_others_back_and_one_that_has_caught_up_does_not() -> None:
    merge = ArrivalMerge()
    merge.open("a")
    merge.open("b")

    merge.add("a", [_record("a", 5)], is_behind=False)
    held = merge.take(10)
    merge.add("b", [], is_behind=False)
    given_out = merge.take(10)

    assert held == []
    assert given_out == [_record("a", 5)]


def _shard(number: int, *parents: str, closed: bool = False) -> dict[str, object]:
    numbers = {"StartingSequenceNumber": "1"} | ({"EndingSequenceNumber": "9"} if closed else {})
    names = dict(zip(["ParentShardId", "AdjacentParentShardId"], parents, strict=False))
    return {"ShardId": f"shard-{number}", "SequenceNumberRange": numbers, **names}


def _page(*numbers: int, following: str | None = "next", **more: object) -> dict[str, object]:
    records = [
        {"SequenceNumber": str(each), "ApproximateArrivalTimestamp": each, "Data": "eA==", "PartitionKey": "k"}
        for each in numbers
    ]
    return {"Records": records, "NextShardIterator": following, "MillisBehindLatest": 0, **more}


async def _read(
    server: ScriptedServer, *, start: Start = HORIZON, follow: bool = False, count_max: int | None = None
) -> list[str]:
    taken: list[str] = []
    async with KinesisClient(server.url) as client:
        reader = StreamReader(client, "stream", start=start, shard_id=None, follow=follow)
        async with asyncio.timeout(30):
            await reader.run(
                lambda records: taken.extend(record.sequence_number for record in records), count_max=count_max
            )
    return taken


async def test_an_expired_iterator_is_taken_again_after_the_last_record(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [_shard(0)]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "first"})
    scripted.will_answer("GetRecords", _page(1, 2, MillisBehindLatest=5))
    scripted.will_refuse("GetRecords", "ExpiredIteratorException")
    scripted.will_answer("GetRecords", _page(3))

    taken = await _read(scripted)

    iterators = scripted.documents("GetShardIterator")
    assert taken == ["1", "2", "3"]
    assert [each["ShardIteratorType"] for each in iterators] == ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"]
    assert iterators[1]["StartingSequenceNumber"] == "2"


async def test_an_expired_iterator_of_a_quiet_shard_leaves_nothing_out(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [_shard(0)]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "first"})
    scripted.will_answer("GetRecords", _page(MillisBehindLatest=5))
    scripted.will_refuse("GetRecords", "ExpiredIteratorException")
    scripted.will_answer("GetRecords", _page(3))

    taken = await _read(scripted, start=LATEST)

    iterators = scripted.documents("GetShardIterator")
    assert taken == ["3"]
    assert [each["ShardIteratorType"] for each in iterators] == ["LATEST", "AT_TIMESTAMP"]


async def test_an_empty_page_is_no_end_while_the_shard_is_behind(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [_shard(0)]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "first"})
    scripted.will_answer("GetRecords", _page(MillisBehindLatest=1000))
    scripted.will_answer("GetRecords", _page(1))

    assert await _read(scripted) == ["1"]


async def test_children_are_found_in_the_list_when_the_answer_lacks_them(scripted: ScriptedServer) -> None:
    # Older servers of this API know no ChildShards.
    scripted.will_answer("ListShards", {"Shards": [_shard(0)]})
    scripted.will_answer("ListShards", {"Shards": [_shard(0, closed=True), _shard(1, "shard-0"), _shard(2, "shard-0")]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "first"})
    scripted.will_answer("GetRecords", _page(1, following=None))
    scripted.will_answer("GetRecords", _page(2))
    scripted.will_answer("GetRecords", _page(3))

    taken = await _read(scripted)

    assert taken == ["1", "2", "3"]
    assert [each["ShardId"] for each in scripted.documents("GetShardIterator")] == ["shard-0", "shard-1", "shard-2"]


async def test_a_child_waits_for_both_its_parents(scripted: ScriptedServer) -> None:
    shards = [_shard(0, closed=True), _shard(1, closed=True), _shard(2, "shard-0", "shard-1")]
    scripted.will_answer("ListShards", {"Shards": shards})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "any"})
    child = {"ShardId": "shard-2", "ParentShards": ["shard-0", "shard-1"], "HashKeyRange": {}}
    scripted.will_answer("GetRecords", _page(1, following=None, ChildShards=[child]))
    scripted.will_answer("GetRecords", _page(2, following=None, ChildShards=[child]))
    scripted.will_answer("GetRecords", _page(3))

    taken = await _read(scripted)

    assert taken == ["1", "2", "3"]
    assert [each["ShardId"] for each in scripted.documents("GetShardIterator")] == ["shard-0", "shard-1", "shard-2"]


async def test_a_follower_asks_the_server_to_hold_empty_answers(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [_shard(0)]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "first"})
    scripted.will_answer("GetRecords", _page())
    scripted.will_answer("GetRecords", _page(1))

    taken = await _read(scripted, follow=True, count_max=1)

    waits = [asked.headers.get("x-streamd-wait-ms") for asked in scripted.asked if asked.operation == "GetRecords"]
    assert taken == ["1"]
    assert waits[0] is None
    assert waits[1] == "5000"


async def test_an_error_ends_the_reading_with_its_own_reason(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [_shard(0), _shard(1)]})
    scripted.will_refuse("GetShardIterator", "AccessDeniedException")

    with pytest.raises(ServiceRefused, match="AccessDeniedException"):
        await _read(scripted)
