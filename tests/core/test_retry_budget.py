"""The budget of repeats, beside a model: whole numbers between nothing and the capacity."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamd.core.retry_budget import CAPACITY, RETRY_COST, SUCCESS_REWARD, RetryBudget


class BudgetMachine(RuleBasedStateMachine):
    """Pays and rewards, as calls in any order do."""

    @initialize(capacity=st.integers(0, 50))
    def make(self, capacity: int) -> None:
        self.budget = RetryBudget(capacity)
        self.capacity = self.left = capacity

    @rule()
    def pay(self) -> None:
        can = self.left >= RETRY_COST
        self.left -= RETRY_COST if can else 0

        assert self.budget.pay() is can

    @rule(retry_count=st.integers(0, 4))
    def succeed(self, retry_count: int) -> None:
        self.budget.succeeded(retry_count=retry_count)

        self.left = min(self.capacity, self.left + (RETRY_COST if retry_count > 0 else SUCCESS_REWARD))

    @invariant()
    def it_is_as_full_as_the_model(self) -> None:
        if hasattr(self, "budget"):
            assert self.budget.left == self.left
            assert 0 <= self.left <= self.capacity


TestBudget = BudgetMachine.TestCase


def test_without_any_success_a_hundred_repeats_are_made_and_no_more() -> None:
    budget = RetryBudget()

    paid = [budget.pay() for _ in range(1000)]

    assert sum(paid) == CAPACITY // RETRY_COST == 100
    assert paid == sorted(paid, reverse=True)
