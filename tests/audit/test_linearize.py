"""The search for an order: beside one that tries them all, on the smallest object there is, a register."""

from collections.abc import Iterator
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.linearize import Operation, find_obstacle

__all__: list[str] = []


def _write(value: int, called: int, returned: int | None) -> Operation[int]:
    def step(_: int) -> Iterator[int]:
        yield value

    return Operation(name=f"write {value}", called=called, returned=returned, step=step)


def _read(value: int, called: int, returned: int) -> Operation[int]:
    def step(state: int) -> Iterator[int]:
        if state == value:
            yield state

    return Operation(name=f"read {value}", called=called, returned=returned, step=step, is_look=True)


def _swap(old: int, new: int, called: int, returned: int) -> Operation[int]:
    def step(state: int) -> Iterator[int]:
        if state == old:
            yield new

    return Operation(name=f"swap {old} for {new}", called=called, returned=returned, step=step)


@pytest.mark.parametrize("last", [1, 2])
def test_what_overlaps_may_be_in_either_order(last: int) -> None:
    writes = [_write(1, 0, 10), _write(2, 0, 10)]

    for following in (_read(last, 11, 12), _swap(last, 0, 11, 12)):
        assert find_obstacle([*writes, following], 0) is None


def test_a_read_of_what_was_overwritten_before_it_was_called_is_refused() -> None:
    operations = [_write(1, 0, 1), _write(2, 2, 3), _read(1, 4, 5)]

    obstacle = find_obstacle(operations, 0)

    assert obstacle is not None
    assert (obstacle.explained_count, obstacle.operation_count, obstacle.stuck) == (2, 3, ["read 1"])
    assert "after 2 of 3 operations none of these fits: read 1" in str(obstacle)


def test_two_reads_that_follow_each_other_do_not_go_back() -> None:
    during_a_write = [_write(1, 0, 10), _read(1, 1, 2), _read(0, 3, 4)]

    assert find_obstacle(during_a_write, 0) is not None


def test_what_nobody_saw_the_end_of_may_happen_late_or_never() -> None:
    late, never = _read(1, 8, 9), _read(0, 8, 9)

    for read in (late, never):
        assert find_obstacle([_write(1, 0, None), _read(0, 5, 6), read], 0) is None


def test_what_was_not_yet_called_has_not_happened() -> None:
    assert find_obstacle([_read(1, 0, 1), _write(1, 2, None)], 0) is not None


_TIMES = st.integers(0, 12)
_VALUES = st.integers(0, 2)


@st.composite
def _operations(draw: st.DrawFn) -> Operation[int]:
    called = draw(_TIMES)
    returned = called + draw(st.integers(0, 6))
    match draw(st.integers(0, 3)):
        case 0:
            return _write(draw(_VALUES), called, draw(st.sampled_from([returned, None])))
        case 1:
            return _swap(draw(_VALUES), draw(_VALUES), called, returned)
        case _:
            return _read(draw(_VALUES), called, returned)


@given(st.lists(_operations(), max_size=6))
def test_the_search_agrees_with_trying_every_order(operations: list[Operation[int]]) -> None:
    assert (find_obstacle(operations, 0) is None) == _some_order_fits(operations)


def _some_order_fits(operations: list[Operation[int]]) -> bool:
    optional = [operation for operation in operations if operation.returned is None]
    for left_out in range(1 << len(optional)):
        out = {id(operation) for place, operation in enumerate(optional) if left_out >> place & 1}
        kept = [operation for operation in operations if id(operation) not in out]
        if any(_fits(order) for order in permutations(kept)):
            return True
    return False


def _fits(order: tuple[Operation[int], ...]) -> bool:
    state = 0
    for place, operation in enumerate(order):
        if any(later.returned is not None and later.returned < operation.called for later in order[place + 1 :]):
            return False
        following = list(operation.step(state))
        if not following:
            return False
        (state,) = following
    return True
