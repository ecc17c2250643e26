"""The outbox beside a model: order per key whatever fails, bounded batches, nothing lost."""

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from streamd.sdk.outbox import Outbox
from streamd.sdk.parcels import Parcel, Stored

_COUNT_MAX = 4
_BYTE_COUNT_MAX = 10


class Numbered(Parcel):
    """A parcel that knows when it was added."""

    __slots__ = ("number",)

    def __init__(self, number: int, keys: tuple[str, ...], byte_count: int) -> None:
        future: asyncio.Future[Stored] = asyncio.Future(loop=_LOOP)
        super().__init__(b"", "k", None, byte_count, 0.0, future, keys)
        self.number = number


_LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _loop_is_closed() -> Any:
    yield
    _LOOP.close()


class OutboxMachine(RuleBasedStateMachine):
    """Adds, takes, ends and sends again, in any order."""

    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(count_max=_COUNT_MAX, byte_count_max=_BYTE_COUNT_MAX)
        self.added: list[Numbered] = []
        self.under_way: set[Numbered] = set()
        self.ended: list[Numbered] = []

    @rule(keys=st.sets(st.sampled_from("abc"), max_size=2), byte_count=st.integers(1, 15))
    def add(self, keys: set[str], byte_count: int) -> None:
        parcel = Numbered(len(self.added), tuple(sorted(keys)), byte_count)
        self.added.append(parcel)

        self.outbox.add(parcel)

    @rule(target=batches)
    def take(self) -> Any:
        batch = self.outbox.take()

        assert len(batch) <= _COUNT_MAX
        assert len(batch) <= 1 or sum(parcel.byte_count for parcel in batch) <= _BYTE_COUNT_MAX
        for parcel in batch:
            assert isinstance(parcel, Numbered)
            earlier = [other for other in self.added[: parcel.number] if set(other.order_keys) & set(parcel.order_keys)]
            assert all(other in self.ended for other in earlier), "an earlier one of its key has not ended"
            assert parcel not in self.under_way
            self.under_way.add(parcel)
        return batch or multiple()

    @rule(batch=consumes(batches), data=st.data())
    def answer(self, batch: list[Numbered], data: st.DataObject) -> None:
        failed = [parcel for parcel in batch if data.draw(st.booleans())]
        done = [parcel for parcel in batch if parcel not in failed]
        self.under_way -= set(batch)
        self.ended += done

        self.outbox.ended(done)
        self.outbox.again(failed)

    @invariant()
    def nothing_is_lost(self) -> None:
        here = {id(parcel) for parcel in self.outbox.parcels()}

        assert here == {id(parcel) for parcel in {*self.added} - self.under_way - {*self.ended}}

    @invariant()
    def what_may_go_is_offered(self) -> None:
        if not self.under_way and len(self.ended) < len(self.added):
            assert not self.outbox.is_empty


TestOutbox = OutboxMachine.TestCase


def test_parcels_without_order_leave_as_they_came_in_batches_of_the_bounds() -> None:
    outbox = Outbox(count_max=3, byte_count_max=10)
    full = [outbox.add(Numbered(number, (), size)) for number, size in enumerate([4, 4, 4, 1, 1, 1, 20, 1])]

    batches = []
    while batch := outbox.take():
        batches.append([parcel.number for parcel in batch if isinstance(parcel, Numbered)])

    assert batches == [[0, 1], [2, 3, 4], [5], [6], [7]]
    assert full == [False, False, True, True, True, True, True, True]
