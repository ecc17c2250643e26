"""Bodies in pieces: what comes is kept whole, and takes about its own size however small the pieces are."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.server.pieces import Pieces

__all__: list[str] = []

_SIZES = st.sampled_from([0, 1, 2, 4096, 4097, 65_535, 65_536, 65_537])


@given(st.lists(_SIZES, max_size=8), st.lists(_SIZES, max_size=3))
def test_pieces_are_given_back_as_one_and_held_no_longer(sizes: list[int], later_sizes: list[int]) -> None:
    first = [bytes((place,)) * size for place, size in enumerate(sizes)]
    later = [bytes((place + 100,)) * size for place, size in enumerate(later_sizes)]
    pieces = Pieces()

    for piece in first:
        pieces.add(piece)
    byte_count, whole = pieces.byte_count, pieces.take()
    for piece in later:
        pieces.add(piece)

    assert (byte_count, whole) == (sum(sizes), b"".join(first))
    assert (pieces.byte_count, pieces.take()) == (sum(later_sizes), b"".join(later))


@pytest.mark.parametrize("size", [1, 2, 100, 4096])
def test_a_body_in_small_pieces_takes_about_its_own_size(size: int) -> None:
    count = (1 << 20) // size
    pieces = Pieces()
    tracemalloc.start()

    for _ in range(count):
        pieces.add(bytes(size))

    held_byte_count, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pieces.byte_count == count * size
    assert held_byte_count < 1.3 * count * size


def test_a_body_that_comes_at_once_is_not_copied() -> None:
    body = bytes(5000)
    pieces = Pieces()

    pieces.add(body)

    assert pieces.take() is body
