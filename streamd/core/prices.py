"""What a month of functions would have cost on AWS: the rules of billing as values.

Amounts are US dollars for us-east-1, exact to ten decimals of a dollar for each function; the total is their sum.

How it is reckoned, as AWS does it. Every invocation is rounded up to a whole step by itself; here only the sums of
those steps, times the memory, are seen. What is free in a month belongs to the account, not to a function: it is taken
off the account's use, and each function has of it what its share of that use is, so that no order among functions
decides who pays. What is then left of GB-seconds is priced tier by tier, for each architecture by itself, and again
shared out by use: every function of an architecture pays the same for a GB-second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

__all__ = ["AWS_2015", "AWS_2026", "PRICES_BY_NAME", "Bill", "Cost", "Prices", "Tier", "Use", "bill", "billed_ms"]

_MB_MS_PER_GB_S: Final = 1024 * 1000
_DOLLAR_STEPS: Final = 10**10


@dataclass(frozen=True, slots=True)
class Tier:
    """A price (dollars for a GB-second) up to so many GB-seconds in a month; None is without an end."""

    gb_s_max: int | None
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A price list. ``step_ms`` is what an invocation is rounded up to, and ``bills_init`` whether a cold start counts.

    Free counts are for a month and the account. ``scratch_price`` is for a GB-second of /tmp beyond 512 MB.
    """

    name: str
    request_price: Decimal
    request_count_free: int
    gb_s_free: int
    tiers_by_architecture: Mapping[str, Sequence[Tier]]
    scratch_price: Decimal
    step_ms: int
    bills_init: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A month of one function on one architecture, in the steps of the price list.

    ``mb_ms`` is the sum of memory (MB) times billed milliseconds, ``scratch_mb_ms`` the same of /tmp beyond 512 MB.
    """

    function: str
    architecture: str
    request_count: int
    mb_ms: int
    scratch_mb_ms: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars, by what they are for."""

    requests: Decimal = Decimal(0)
    compute: Decimal = Decimal(0)
    scratch: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.requests + self.compute + self.scratch

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.requests + other.requests, self.compute + other.compute, self.scratch + other.scratch)


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's cost: of each function, and the sum of them."""

    cost_by_function: Mapping[str, Cost]
    total: Cost


AWS_2015: Final = Prices(
    name="aws-2015",
    request_price=Decimal("0.20") / 1_000_000,
    request_count_free=1_000_000,
    gb_s_free=400_000,
    tiers_by_architecture=MappingProxyType(
        dict.fromkeys(("x86_64", "arm64"), (Tier(None, Decimal("0.00001667")),)),
    ),
    scratch_price=Decimal(0),
    step_ms=100,
    bills_init=False,
)
"""As it was in 2015: every 100 ms begun, cold starts free. There was one architecture, so both are priced alike."""

AWS_2026: Final = Prices(
    name="aws-2026",
    request_price=Decimal("0.20") / 1_000_000,
    request_count_free=1_000_000,
    gb_s_free=400_000,
    tiers_by_architecture=MappingProxyType(
        {
            "x86_64": (
                Tier(6_000_000_000, Decimal("0.0000166667")),
                Tier(15_000_000_000, Decimal("0.0000150000")),
                Tier(None, Decimal("0.0000133334")),
            ),
            "arm64": (
                Tier(7_500_000_000, Decimal("0.0000133334")),
                Tier(18_750_000_000, Decimal("0.0000120001")),
                Tier(None, Decimal("0.0000106667")),
            ),
        }
    ),
    scratch_price=Decimal("0.0000000309"),
    step_ms=1,
    bills_init=True,
)
"""As it is in 2026: every millisecond begun, cold starts included, and tiers at 6 and 15 billion GB-seconds (x86)."""

PRICES_BY_NAME: Final[Mapping[str, Prices]] = MappingProxyType({prices.name: prices for prices in (AWS_2015, AWS_2026)})


def billed_ms(*, duration_us: int, step_ms: int) -> int:
    """Round a duration up to whole steps: what an invocation is billed for (ms)."""
    step_us = step_ms * 1000
    return -(-duration_us // step_us) * step_ms


def bill(uses: Iterable[Use], prices: Prices) -> Bill:
    """Price a month of the whole account. An architecture that the list does not know is priced as x86_64."""
    told = list(uses)
    request_rate = _request_rate(told, prices)
    compute_rate_by_architecture = _compute_rates(told, prices)
    costs: dict[str, Cost] = {}
    for use in told:
        compute_rate = compute_rate_by_architecture[_priced_as(use.architecture, prices)]
        cost = Cost(
            requests=_dollars(use.request_count * request_rate),
            compute=_dollars(_gb_s(use.mb_ms) * compute_rate),
            scratch=_dollars(_gb_s(use.scratch_mb_ms) * Fraction(prices.scratch_price)),
        )
        costs[use.function] = costs.get(use.function, Cost()) + cost
    return Bill(costs, sum(costs.values(), Cost()))


def _request_rate(uses: Sequence[Use], prices: Prices) -> Fraction:
    """Give what a request costs once the free ones are shared out."""
    count = sum(use.request_count for use in uses)
    if not count:
        return Fraction(0)
    return Fraction(max(0, count - prices.request_count_free), count) * Fraction(prices.request_price)


def _compute_rates(uses: Sequence[Use], prices: Prices) -> dict[str, Fraction]:
    """Give what a GB-second of each architecture costs once the free ones are shared out."""
    used = dict.fromkeys(prices.tiers_by_architecture, Fraction(0))
    for use in uses:
        used[_priced_as(use.architecture, prices)] += _gb_s(use.mb_ms)
    whole = sum(used.values(), Fraction(0))
    billed_share = max(Fraction(0), whole - prices.gb_s_free) / whole if whole else Fraction(0)
    return {
        architecture: _tiered(gb_s * billed_share, prices.tiers_by_architecture[architecture]) / gb_s if gb_s else gb_s
        for architecture, gb_s in used.items()
    }


def _tiered(gb_s: Fraction, tiers: Sequence[Tier]) -> Fraction:
    """Price GB-seconds tier by tier."""
    dollars, below = Fraction(0), Fraction(0)
    for tier in tiers:
        top = gb_s if tier.gb_s_max is None else min(gb_s, Fraction(tier.gb_s_max))
        dollars += max(Fraction(0), top - below) * Fraction(tier.price)
        below = max(below, top)
    return dollars


def _priced_as(architecture: str, prices: Prices) -> str:
    return architecture if architecture in prices.tiers_by_architecture else "x86_64"


def _gb_s(mb_ms: int) -> Fraction:
    return Fraction(mb_ms, _MB_MS_PER_GB_S)


def _dollars(amount: Fraction) -> Decimal:
    """Round to ten decimals of a dollar, half up."""
    steps = (amount * _DOLLAR_STEPS * 2 + 1) // 2
    return Decimal(int(steps)) / _DOLLAR_STEPS
