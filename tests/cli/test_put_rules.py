"""The rules of `streamd put`: cutting lines, choosing keys, filling batches."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.cli.put_batches import Batcher, Counts, Draft, Failed, Stored
from streamd.cli.put_keys import LineRefused, field_key, random_key
from streamd.cli.put_lines import Line, LineCutter
from streamd.sdk.client import KinesisClient
from tests.cli.scripted_server import ScriptedServer

MIB = 1 << 20


@given(pieces=st.lists(st.binary(max_size=12) | st.just(b"\n"), max_size=12), byte_count_max=st.integers(1, 8))
def test_lines_do_not_depend_on_how_the_input_was_cut(pieces: list[bytes], byte_count_max: int) -> None:
    cutter = LineCutter("source", byte_count_max=byte_count_max)

    lines = [line for piece in pieces for line in cutter.feed(piece)] + cutter.finish()

    expected = enumerate(b"".join(pieces).split(b"\n"), 1)
    assert [(line.number, line.data) for line in lines] == [
        (number, data[: byte_count_max + 1]) for number, data in expected if data
    ]


@pytest.mark.parametrize(
    ("path", "document", "key"),
    [
        ("id", {"id": "a"}, "a"),
        ("a.b.c", {"a": {"b": {"c": 1.5}}}, "1.5"),
        ("tags.1", {"tags": ["x", "y"]}, "y"),
        ("0", ["first"], "first"),
        ("ok", {"ok": True}, "true"),
    ],
)
def test_a_field_s_value_becomes_the_key(path: str, document: object, key: str) -> None:
    assert field_key(path)(Line("source", 1, orjson.dumps(document))) == key


@given(document=st.recursive(st.none() | st.text(max_size=300), st.lists), path=st.text("0a.", max_size=4))
def test_whatever_a_line_holds_its_key_is_usable_or_the_line_is_refused(document: object, path: str) -> None:
    line = Line("source", 1, orjson.dumps(document))

    with suppress(LineRefused):
        assert 1 <= len(field_key(path)(line)) <= 256


def test_random_keys_differ() -> None:
    line = Line("source", 1, b"")

    assert len({random_key(line) for _ in range(100)}) == 100


def _ok(count: int) -> dict[str, object]:
    return {"FailedRecordCount": 0, "Records": [{"ShardId": "s", "SequenceNumber": "1"}] * count}


async def test_a_batch_never_exceeds_what_one_call_may_hold(scripted: ScriptedServer) -> None:
    scripted.will_answer("PutRecords", _ok(500))
    scripted.will_answer("PutRecords", _ok(10))
    scripted.will_answer("PutRecords", _ok(2))
    counts = Counts()
    outcomes: list[Stored | Failed] = []

    async with KinesisClient(scripted.url) as client:
        batcher = Batcher(client, "stream", counts, tell=outcomes.extend)
        for number in range(500):
            await batcher.add(Draft(Line("source", number, b"x"), "k"))
        for number in range(12):
            await batcher.add(Draft(Line("source", number, b"x" * (MIB - 1)), "k"))
        await batcher.flush()

    assert [len(document["Records"]) for document in scripted.documents("PutRecords")] == [500, 10, 2]
    assert (counts.record_count, counts.call_count, len(outcomes)) == (512, 3, 512)


async def test_only_what_failed_is_put_again_and_the_order_of_the_answers_stays(scripted: ScriptedServer) -> None:
    stored = {"ShardId": "s", "SequenceNumber": "1"}
    failed = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slowly"}
    scripted.will_answer("PutRecords", {"FailedRecordCount": 2, "Records": [failed, stored, failed]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 1, "Records": [stored, failed]})
    scripted.will_answer("PutRecords", _ok(1))
    outcomes: list[Stored | Failed] = []
    counts = Counts()

    async with KinesisClient(scripted.url) as client:
        batcher = Batcher(client, "stream", counts, tell=outcomes.extend)
        for name in "abc":
            await batcher.add(Draft(Line(name, None, b""), name))
        await batcher.flush()

    keys = [[entry["PartitionKey"] for entry in each["Records"]] for each in scripted.documents("PutRecords")]
    assert keys == [["a", "b", "c"], ["a", "c"], ["c"]]
    assert [outcome.draft.key for outcome in outcomes] == ["a", "b", "c"]
    assert (counts.record_count, counts.failed_count, counts.call_count) == (3, 0, 3)
