"""The audit's own judgement: it finds nothing where all is well, and everything that is planted."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.audit.journals import Attempt
from tests.audit.records import NOTHING, AuditRecord, Chain, parse
from tests.audit.verdict import Life, ReadBack, faults_in

LIFE = Life(stream="s", deleted_ns=10, created_ns=20, looked_ns=1_000)
COUNT = 6

Shards = dict[str, list[ReadBack]]
Attempts = dict[str, Attempt]


def _world() -> tuple[Shards, Attempts]:
    """Six records of one chain over a parent and its child, all acknowledged but the third and the last."""
    shards: Shards = {"parent": [], "child": []}
    attempts: Attempts = {}
    previous = NOTHING
    for number in range(1, COUNT + 1):
        record = AuditRecord(
            chain=Chain("s", "k"), number=number, attempt=number, previous=previous, filler_byte_count=number
        )
        shard_id = "parent" if number <= 3 else "child"
        place = (shard_id, str(1000 + number))
        attempts[record.digest] = Attempt(record, sent_ns=100 + number)
        if number not in {3, COUNT}:
            attempts[record.digest].place = place
            attempts[record.digest].acknowledged_ns = 200 + number
            previous = record.digest
        shards[shard_id].append(ReadBack(*place, "k", record.text, float(number)))
    return shards, attempts


def _lose(shards: Shards, attempts: Attempts) -> None:
    del shards["parent"][1]


def _alter(shards: Shards, attempts: Attempts) -> None:
    record = shards["child"][0]
    shards["child"][0] = replace(record, text=record.text[:-20] + b"\x55" + record.text[-19:])


def _double(shards: Shards, attempts: Attempts) -> None:
    shards["child"].append(replace(shards["parent"][0], shard_id="child", sequence_number="1099", arrival_s=9.0))


def _turn_round(shards: Shards, attempts: Attempts) -> None:
    first, second = shards["child"][:2]
    shards["child"][:2] = [replace(second, sequence_number="1004"), replace(first, sequence_number="1005")]


def _repeat_number(shards: Shards, attempts: Attempts) -> None:
    shards["child"][1] = replace(shards["child"][1], sequence_number="1004")


def _arrive_earlier(shards: Shards, attempts: Attempts) -> None:
    shards["child"][1] = replace(shards["child"][1], arrival_s=1.0)


def _invent(shards: Shards, attempts: Attempts) -> None:
    made = AuditRecord(chain=Chain("s", "k"), number=9, attempt=1, previous=NOTHING, filler_byte_count=0)
    shards["child"].append(ReadBack("child", "1009", "k", made.text, 9.0))


def _change_key(shards: Shards, attempts: Attempts) -> None:
    shards["child"][0] = replace(shards["child"][0], key="other")


def _resurrect(shards: Shards, attempts: Attempts) -> None:
    attempt = next(iter(attempts.values()))
    attempt.sent_ns, attempt.acknowledged_ns = 1, 5


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_lose, "is lost"),
        (_alter, "was altered"),
        (_double, "is there twice"),
        (_turn_round, "what was sent as (4, 4) follows (5, 5)"),
        (_repeat_number, "1004 follows 1004"),
        (_arrive_earlier, "arrived before"),
        (_invent, "was never attempted"),
        (_change_key, "under other"),
        (_resurrect, "its stream was deleted"),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Shards, Attempts], None], sentence: str) -> None:
    shards, attempts = _world()

    plant(shards, attempts)

    assert any(sentence in fault for fault in faults_in(shards, attempts, LIFE))


def test_what_is_as_promised_has_no_fault() -> None:
    assert faults_in(*_world(), LIFE) == []


def test_a_loss_shows_in_the_chain_alone_without_the_journal_of_what_was_lost() -> None:
    shards, attempts = _world()
    lost = parse(shards["parent"].pop(1).text)
    assert lost is not None

    del attempts[lost.digest]

    faults = faults_in(shards, attempts, LIFE)
    assert faults
    assert all("is missing in front of it" in fault for fault in faults)


@pytest.mark.parametrize("number", [3, COUNT])
def test_an_unacknowledged_record_may_be_missing(number: int) -> None:
    shards, attempts = _world()

    for records in shards.values():
        records[:] = [record for record in records if record.sequence_number != str(1000 + number)]

    assert faults_in(shards, attempts, LIFE) == []


def test_what_was_acknowledged_after_the_look_may_not_have_been_read() -> None:
    shards, attempts = _world()
    last = list(attempts.values())[-2]
    last.acknowledged_ns = LIFE.looked_ns + 1

    del shards["child"][1:]

    assert faults_in(shards, attempts, LIFE) == []
