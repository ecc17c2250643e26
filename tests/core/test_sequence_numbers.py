"""Sequence numbers: their form, their order, and what they tell."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.sequence_numbers import POSITION_STEP, SequenceNumber, parse, sequence_numbers

SECONDS = st.integers(0, (1 << 36) - 1)
NUMBERS = st.builds(
    SequenceNumber,
    shard_created_s=SECONDS,
    shard_index=st.integers(0, (1 << 32) - 1),
    position=st.integers(0, (1 << 63) - 1),
    arrival_s=SECONDS,
)


@given(NUMBERS)
def test_a_number_is_read_back_as_it_was_written(number: SequenceNumber) -> None:
    text = str(number)

    assert parse(text) == number
    assert len(text) == 56
    assert int(text) == int(number)


def test_the_parts_lie_where_kinesis_puts_them() -> None:
    number = SequenceNumber(
        shard_created_s=0x54C07C6F2, shard_index=0xABCDEF01, position=0x1234567890ABCDEF, arrival_s=0x54C07C6FF
    )

    assert f"{int(number):x}" == "2" + "54c07c6f2" + "1" + "1234567890abcdef" + "00" + "54c07c6ff" + "abcdef01" + "2"


def test_a_number_from_awss_own_documentation_is_understood() -> None:
    number = parse("49590338271490256608559692538361571095921575989136588898")

    assert number == SequenceNumber(
        shard_created_s=1542776258, shard_index=6, position=1734642199, arrival_s=1545084650
    )


@given(NUMBERS, st.integers(0, (1 << 63) - 1), SECONDS)
def test_a_later_position_is_a_larger_number_whenever_it_arrived(
    number: SequenceNumber, position: int, arrival_s: int
) -> None:
    other = replace(number, position=position, arrival_s=arrival_s)

    if position != number.position:
        assert (int(other) > int(number)) == (position > number.position)


@given(NUMBERS, NUMBERS)
def test_all_numbers_of_a_later_shard_are_larger(number: SequenceNumber, other: SequenceNumber) -> None:
    if other.shard_created_s > number.shard_created_s:
        assert int(other) > int(number)


@given(NUMBERS, st.integers(1, 500))
def test_records_that_arrive_together_are_numbered_position_by_position(number: SequenceNumber, count: int) -> None:
    first = replace(number, position=number.position // 2)

    texts = sequence_numbers(first, count)

    assert texts == [str(replace(first, position=first.position + offset)) for offset in range(count)]
    assert int(first) + POSITION_STEP == int(replace(first, position=first.position + 1))


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "5",
        # The version in front, and the version behind, of other generations of numbers.
        str((1 << 185) >> 1 | 2),
        str((2 << 184) | 3),
        # Bits that are always empty.
        str(int(SequenceNumber(shard_created_s=1, shard_index=1, position=1, arrival_s=1)) | 1 << 72),
        # The low digit of the shard's index, twice told and different.
        str(int(SequenceNumber(shard_created_s=1, shard_index=1, position=1, arrival_s=1)) ^ 1 << 144),
        # A position beyond 63 bits.
        str(int(SequenceNumber(shard_created_s=1, shard_index=1, position=1, arrival_s=1)) | 1 << 143),
        "9" * 129,
    ],
)
def test_what_is_no_number_of_this_form_is_not_read(text: str) -> None:
    assert parse(text) is None
