"""Prices: examples reckoned by hand, and what must be true of any month."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.prices import AWS_2015, AWS_2026, PRICES_BY_NAME, Prices, Use, bill, billed_ms

__all__: list[str] = []

GB_S = 1024 * 1000
USES = st.lists(
    st.builds(
        Use,
        function=st.sampled_from(["a", "b", "c", "d"]),
        architecture=st.sampled_from(["x86_64", "arm64"]),
        request_count=st.integers(0, 10**10),
        mb_ms=st.integers(0, 10**17),
        scratch_mb_ms=st.integers(0, 10**15),
    ),
    max_size=6,
)
LISTS = st.sampled_from(list(PRICES_BY_NAME.values()))


def _use(name: str = "f", *, requests: int = 0, gb_s: int = 0, architecture: str = "x86_64", scratch: int = 0) -> Use:
    return Use(
        function=name,
        architecture=architecture,
        request_count=requests,
        mb_ms=gb_s * GB_S,
        scratch_mb_ms=scratch * GB_S,
    )


@pytest.mark.parametrize(
    ("duration_us", "step_ms", "expected"),
    [(0, 100, 0), (1, 100, 100), (100_000, 100, 100), (100_001, 100, 200), (3010, 1, 4), (3000, 1, 3), (1, 1, 1)],
)
def test_each_invocation_is_rounded_up_to_whole_steps(duration_us: int, step_ms: int, expected: int) -> None:
    assert billed_ms(duration_us=duration_us, step_ms=step_ms) == expected


def test_the_example_of_2015_costs_what_amazon_said_it_costs() -> None:
    # 512 MB, 3 million requests of 1 s: 1.5 million GB-s. (3 M - 1 M) * 0.20 $ + (1.5 M - 0.4 M) * 0.00001667 $.
    cost = bill([_use(requests=3_000_000, gb_s=1_500_000)], AWS_2015).total

    assert cost.requests == Decimal("0.40")
    assert cost.compute == Decimal("18.337")
    assert cost.total == Decimal("18.737")


def test_the_same_month_costs_a_little_less_in_2026() -> None:
    # 1.1 M * 0.0000166667 $ = 18.33337 $.
    cost = bill([_use(requests=3_000_000, gb_s=1_500_000)], AWS_2026).total

    assert cost.total == Decimal("18.73337")


def test_what_is_free_is_free_to_the_last_request_and_second() -> None:
    assert bill([_use(requests=1_000_000, gb_s=400_000)], AWS_2026).total.total == 0
    assert bill([_use(requests=1_000_001, gb_s=400_001)], AWS_2026).total.total == Decimal("0.0000168667")


def test_tiers_begin_at_six_and_fifteen_billion_gigabyte_seconds() -> None:
    # 20 G and the free part: 6 G * 16.6667 + 9 G * 15.0 + 5 G * 13.3334 dollars for a million.
    cost = bill([_use(gb_s=20_000_400_000)], AWS_2026).total

    assert cost.compute == Decimal("100000.2") + Decimal(135_000) + Decimal(66_667)


def test_arm_is_cheaper_and_shares_the_free_part_with_x86() -> None:
    # 400 k of 800 k are free, so half of each: 200 k * 0.0000166667 and 200 k * 0.0000133334.
    told = bill([_use("x", gb_s=400_000), _use("a", gb_s=400_000, architecture="arm64")], AWS_2026)

    assert told.cost_by_function["x"].compute == Decimal("3.33334")
    assert told.cost_by_function["a"].compute == Decimal("2.66668")


def test_the_free_part_is_shared_by_use() -> None:
    # 0.8 M GB-s, half of it free; one function used three quarters, and pays three quarters.
    told = bill(
        [_use("big", requests=1_500_000, gb_s=600_000), _use("small", requests=500_000, gb_s=200_000)], AWS_2015
    )

    assert told.cost_by_function["big"].compute == Decimal("5.001")
    assert told.cost_by_function["small"].compute == Decimal("1.667")
    assert told.cost_by_function["big"].requests == Decimal("0.15")
    assert told.cost_by_function["small"].requests == Decimal("0.05")


def test_scratch_space_beyond_the_free_half_gigabyte_costs() -> None:
    assert bill([_use(scratch=1_000_000)], AWS_2026).total.scratch == Decimal("0.0309")
    assert bill([_use(scratch=1_000_000)], AWS_2015).total.scratch == 0


@given(uses=USES, prices=LISTS)
def test_the_total_is_the_sum_of_what_the_functions_pay(uses: list[Use], prices: Prices) -> None:
    told = bill(uses, prices)

    assert told.total.total == sum((cost.total for cost in told.cost_by_function.values()), Decimal(0))
    assert all(amount >= 0 for cost in told.cost_by_function.values() for amount in (cost.requests, cost.compute))


@given(uses=USES, prices=LISTS)
def test_no_order_of_functions_changes_what_one_pays(uses: list[Use], prices: Prices) -> None:
    assert bill(uses, prices).cost_by_function == bill(uses[::-1], prices).cost_by_function


@given(uses=USES, more=USES, prices=LISTS)
def test_more_use_never_costs_the_account_less_by_more_than_the_rounding(
    uses: list[Use], more: list[Use], prices: Prices
) -> None:
    # Only with one architecture: another one's use takes a share of the free part, and may be the dearer one's.
    one = [use for use in uses if use.architecture == "x86_64"]
    two = one + [use for use in more if use.architecture == "x86_64"]

    assert bill(two, prices).total.total >= bill(one, prices).total.total - Decimal("1e-7")


@given(duration_us=st.integers(0, 10**12), step_ms=st.sampled_from([1, 100]))
def test_rounding_up_adds_less_than_a_step(duration_us: int, step_ms: int) -> None:
    told = billed_ms(duration_us=duration_us, step_ms=step_ms)

    assert told % step_ms == 0
    assert 0 <= told * 1000 - duration_us < step_ms * 1000
