"""Decides whether a history is linearizable: Wing and Gong's search, with Lowe's memory of what was met before.

A history is linearizable if its operations can be put in one order that a sequential model accepts, and in which an
operation that ended before another one was called comes before it. The search builds such orders from the front: next
may come whatever was called before anything else that is still to come has ended. Two orders of the same operations
that lead to the same state are one, so what was met before is not searched again.

A look, which changes nothing, is taken as soon as the state fits it. That loses no order: where a look is possible,
taking it later cannot help, as it leaves the state as it is and only ends what others must wait for.

An operation whose end nobody saw may have happened at any time since its call, or not at all.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

__all__ = ["Obstacle", "Operation", "find_obstacle"]

S = TypeVar("S", bound=Hashable)

_CONFIGURATION_COUNT_MAX = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[S]):
    """What was done between two moments; ``step`` gives the states it can lead to, none where it cannot happen.

    A look gives the state itself. ``returned`` is None where nobody saw the end.
    """

    name: str
    called: int
    returned: int | None
    step: Callable[[S], Iterable[S]]
    is_look: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why there is no order: how many operations the longest one explains, and those of which none can come next."""

    explained_count: int
    operation_count: int
    stuck: Sequence[str]

    def __str__(self) -> str:
        return (
            f"no order explains the history: after {self.explained_count} of {self.operation_count} operations "
            f"none of these fits: {'; '.join(self.stuck)}"
        )


def find_obstacle(operations: Iterable[Operation[S]], initial: S) -> Obstacle | None:
    """Search an order that the model accepts; None when there is one. Raises OverflowError for too many to look at."""
    search = _Search(sorted(operations, key=lambda operation: operation.called))
    stack = [(0, initial)]
    met: set[tuple[int, S]] = set()
    deepest = 0
    while stack:
        done, state = stack.pop()
        done = search.with_looks(done, state)
        if (done, state) in met:
            continue
        if not search.awaited & ~done:
            return None
        met.add((done, state))
        if len(met) > _CONFIGURATION_COUNT_MAX:
            raise OverflowError(f"undecided after {len(met):,} configurations")
        deepest = max(deepest, done, key=int.bit_count)
        for place in search.next_places(done):
            stack += [(done | 1 << place, following) for following in search.operations[place].step(state)]
    return Obstacle(
        explained_count=deepest.bit_count(),
        operation_count=len(search.operations),
        stuck=[search.operations[place].name for place in search.next_places(deepest)],
    )


class _Search(Generic[S]):
    """The operations in order of their calls; those that were done are the bits of a number."""

    def __init__(self, operations: Sequence[Operation[S]]) -> None:
        self.operations = operations
        self.awaited = sum(1 << place for place, each in enumerate(operations) if each.returned is not None)

    def next_places(self, done: int) -> list[int]:
        """List the operations that may come next: called before any that is not done has ended."""
        places: list[int] = []
        first_end: float = inf
        lowest = (~done & (done + 1)).bit_length() - 1
        for place in range(lowest, len(self.operations)):
            if done >> place & 1:
                continue
            operation = self.operations[place]
            if operation.called > first_end:
                break
            places.append(place)
            if operation.returned is not None:
                first_end = min(first_end, operation.returned)
        return places

    def with_looks(self, done: int, state: S) -> int:
        """Take every look that fits, and what may come after it."""
        while True:
            before = done
            for place in self.next_places(done):
                operation = self.operations[place]
                if operation.is_look and any(True for _ in operation.step(state)):
                    done |= 1 << place
            if done == before:
                return done
