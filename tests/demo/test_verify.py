"""The verdict: a run is verified only if every post came once, unchanged, in order, and from its shard."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import orjson
import pytest

from streamd.demo.checkpoints import Checkpoints
from streamd.demo.generator import generate_posts
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.posts import Post
from streamd.demo.records import SentPost, encode_post
from streamd.demo.verify import (
    CHUNK_POST_COUNT,
    FAULT_SENTENCE_COUNT_MAX,
    DirectCount,
    FaultKind,
    FaultList,
    ShardSpan,
    judge,
    tally_batch,
)
from streamd.sdk.batch import Record
from tests.demo.shards import record_of, records_of

__all__: list[str] = []

SPAN = ShardSpan("shard-0", 0, 2**128 - 1)
FINDER = MentionFinder(DEFAULT_NAMES)
Records = list[Record]


def _posts(count: int) -> list[Post]:
    posts = (post for piece in generate_posts(3, DEFAULT_NAMES) for post in piece)
    return list(islice(posts, count))


def _direct(posts: list[Post]) -> DirectCount:
    direct = DirectCount(FINDER)
    direct.take(posts)
    return direct


async def _verdict(
    path: Path, posts: list[Post], *shards: Records, span: ShardSpan = SPAN, batch_size: int = 100
) -> FaultList:
    """Count the records of each shard in batches, and judge them against the posts."""
    async with Checkpoints(path / "checkpoints.sqlite") as checkpoints:
        for number, records in enumerate(shards):
            place = await checkpoints.claim(f"shard-{number}", epoch=1)
            for start in range(0, len(records), batch_size):
                tally = tally_batch(records[start : start + batch_size], place, span=span, finder=FINDER)
                assert await checkpoints.save(f"shard-{number}", tally, epoch=1)
                place = tally.place
        return judge(_direct(posts), await checkpoints.totals())


async def test_a_faultless_run_is_verified(tmp_path: Path) -> None:
    posts = _posts(CHUNK_POST_COUNT + 1_000)
    records = records_of(posts, producer_count=3)

    faults = await _verdict(tmp_path, posts, records[::2], records[1::2])

    assert faults.first == []
    assert not faults.count_by_kind


def _drop(records: Records) -> None:
    del records[640]


def _drop_the_last(records: Records) -> None:
    del records[-1]


def _repeat_at_once(records: Records) -> None:
    records.insert(641, record_of(10_000, records[640].data, records[640].key or ""))
    _renumber(records)


def _repeat_later(records: Records) -> None:
    records.append(record_of(10_000, records[3].data, records[3].key or ""))


def _swap(records: Records) -> None:
    records[640], records[641] = records[641], records[640]
    _renumber(records)


def _swap_far(records: Records) -> None:
    records[10], records[900] = records[900], records[10]
    _renumber(records)


def _swap_with_numbers(records: Records) -> None:
    records[640], records[641] = records[641], records[640]


def _change_a_letter(records: Records) -> None:
    data = orjson.loads(records[640].data)
    records[640] = records[640]._replace(data=orjson.dumps(data | {"text": data["text"] + "."}))


def _change_a_key(records: Records) -> None:
    records[640] = records[640]._replace(key="somebody-else")


def _cut(records: Records) -> None:
    records[640] = records[640]._replace(data=records[640].data[:-1])


def _forge(records: Records) -> None:
    post = Post(records[640].key or "", "never said", 0)
    records[640] = records[640]._replace(data=encode_post(SentPost(640, 0, post)))


def _renumber(records: Records) -> None:
    for position, record in enumerate(records):
        records[position] = record_of(position, record.data, record.key or "")


@pytest.mark.parametrize(
    ("spoil", "kinds", "sentence"),
    [
        (_drop, {FaultKind.LOST}, "post 640 was not read"),
        (_drop_the_last, {FaultKind.LOST}, "post 999 was not read"),
        (_repeat_at_once, {FaultKind.REPEATED}, "post 640 came again"),
        (_repeat_later, {FaultKind.REPEATED}, "post 3 came again"),
        (_swap, {FaultKind.OUT_OF_ORDER}, "post 640 came after a later post"),
        (_swap_far, {FaultKind.OUT_OF_ORDER}, "post 11 came after a later post"),
        (_swap_with_numbers, {FaultKind.OUT_OF_ORDER}, "shard-0 gave sequence number"),
        (_change_a_letter, {FaultKind.ALTERED, FaultKind.LOST}, "fingerprint of post 640 does not match"),
        (_change_a_key, {FaultKind.ALTERED}, "came under the key somebody-else"),
        (_cut, {FaultKind.ALTERED, FaultKind.LOST}, "shard-0 holds an altered post"),
        (_forge, {FaultKind.ALTERED}, "not the posts of the input"),
    ],
)
async def test_a_spoiled_post_is_named(
    tmp_path: Path, spoil: Callable[[Records], None], kinds: set[FaultKind], sentence: str
) -> None:
    posts = _posts(1_000)
    records = records_of(posts)
    spoil(records)

    faults = await _verdict(tmp_path, posts, records)

    assert kinds <= set(faults.count_by_kind) <= kinds | {FaultKind.MISCOUNTED}
    assert any(sentence in fault.sentence for fault in faults.first)


async def test_a_post_in_two_shards_is_repeated(tmp_path: Path) -> None:
    posts = _posts(500)
    records = records_of(posts)

    faults = await _verdict(tmp_path, posts, records, records[77:78])

    assert faults.count_by_kind == {FaultKind.REPEATED: 1}
    assert faults.first[0].sentence == "post 77 was read from two shards"


async def test_a_post_in_a_shard_that_its_user_does_not_belong_to_is_misplaced(tmp_path: Path) -> None:
    posts = _posts(500)
    records = records_of(posts)
    upper_half = ShardSpan("shard-0", 2**127, 2**128 - 1)

    faults = await _verdict(tmp_path, posts, records, span=upper_half)

    assert set(faults.count_by_kind) == {FaultKind.MISPLACED}
    assert 0 < faults.count_by_kind[FaultKind.MISPLACED] < 500


async def test_a_run_that_reads_nothing_is_all_lost_and_says_so_in_few_words(tmp_path: Path) -> None:
    posts = _posts(CHUNK_POST_COUNT + 5)

    faults = await _verdict(tmp_path, posts)

    assert faults.count_by_kind == {FaultKind.LOST: CHUNK_POST_COUNT + 5}
    assert len(faults.first) == FAULT_SENTENCE_COUNT_MAX


async def test_a_miscount_of_mentions_alone_is_a_fault(tmp_path: Path) -> None:
    posts = _posts(500)
    records = records_of(posts)
    direct = _direct(posts)
    [(key, count)] = direct.mentions.most_common(1)
    direct.mentions[key] = count + 1

    async with Checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        place = await checkpoints.claim("shard-0", epoch=1)
        await checkpoints.save("shard-0", tally_batch(records, place, span=SPAN, finder=FINDER), epoch=1)
        faults = judge(direct, await checkpoints.totals())

    assert faults.count_by_kind == {FaultKind.MISCOUNTED: 1}
