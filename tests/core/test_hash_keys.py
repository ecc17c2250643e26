"""Hash keys: what falls where in the ring."""

from hashlib import md5
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.hash_keys import HASH_KEY_MAX, HashKeyRange, digest_of_hash_key, digests, even_ranges


def test_a_partition_key_falls_where_its_md5_does() -> None:
    found = digests([b"a", "ключ".encode(), b""])

    assert found == [md5(key, usedforsecurity=False).digest() for key in (b"a", "ключ".encode(), b"")]
    assert int.from_bytes(found[0], "big") == 0x0CC175B9C0F1B6A831C399E269772661


@given(st.integers(0, HASH_KEY_MAX), st.integers(0, HASH_KEY_MAX))
def test_digests_order_like_their_hash_keys(left: int, right: int) -> None:
    digest_order = digest_of_hash_key(left) < digest_of_hash_key(right)

    assert digest_order == (left < right)
    assert int.from_bytes(digest_of_hash_key(left), "big") == left


@given(st.integers(1, 500))
def test_even_ranges_cover_the_ring_once_with_equal_widths(count: int) -> None:
    ranges = even_ranges(count)

    assert (ranges[0].start, ranges[-1].end) == (0, HASH_KEY_MAX)
    assert all(low.end + 1 == high.start for low, high in pairwise(ranges))
    widths = {hash_range.end - hash_range.start for hash_range in ranges[:-1]}
    assert len(ranges) == count
    assert len(widths) <= 1
    assert all(0 <= ranges[-1].end - ranges[-1].start - width < count for width in widths)


def test_three_ranges_are_those_that_aws_makes() -> None:
    starts = [hash_range.start for hash_range in even_ranges(3)]

    assert starts == [0, 113427455640312821154458202477256070485, 226854911280625642308916404954512140970]


@pytest.mark.parametrize(("hash_key", "is_inside"), [(9, False), (10, True), (15, True), (20, True), (21, False)])
def test_a_range_holds_both_of_its_ends(hash_key: int, *, is_inside: bool) -> None:
    assert (hash_key in HashKeyRange(10, 20)) is is_inside


def test_a_range_holds_no_text() -> None:
    assert "15" not in HashKeyRange(10, 20)
