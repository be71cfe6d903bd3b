"""The quote of a campaign: its intervals hold as often as they say, and are narrow enough to decide by."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import accumulate
from math import comb, exp, inf, log
from statistics import median

import pytest

from enrichment.quote import EACH_SIDE, Answered, Estimate, Quote, quote

MOST = Decimal(8)  # LeadMagic's 5 and Nyne's 3
CAMPAIGNS = 200  # of each pricing; five times as many together
RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
NOTHING = Answered(found=False, credits=Decimal(0))

Shares = list[tuple[Answered, float]]


def cost(credits: int, *, found: bool = True) -> Answered:
    return Answered(found, Decimal(credits))


def leadmagic_alone(hit: float, _: random.Random) -> Shares:
    """5 for a number, nothing for none."""
    return [(cost(5), hit)]


def both_providers(hit: float, rng: random.Random) -> Shares:
    """LeadMagic, then Nyne for 3; a miss is free."""
    first = rng.uniform(0.2, 0.8) * hit
    return [(cost(5), first), (cost(3), hit - first)]


def misses_cost(hit: float, rng: random.Random) -> Shares:
    """As both, but Nyne charges 1 for looking, whatever it finds."""
    first = rng.uniform(0.2, 0.8) * hit
    return [(cost(5), first), (cost(4), hit - first), (cost(1, found=False), 1 - hit)]


def charged_in_vain(hit: float, _: random.Random) -> Shares:
    """One row in fifty costs the most, and its answer is lost."""
    return [(cost(8, found=False), 0.02), (cost(5), 0.6 * hit * 0.98), (cost(3), 0.4 * hit * 0.98)]


def any_price(hit: float, rng: random.Random) -> Shares:
    """Each credit count is one that some numbers cost, and some misses cost one."""
    parts = [rng.random() for _ in range(8)]
    numbers = [(cost(price), hit * part / sum(parts)) for price, part in enumerate(parts, 1)]
    return [*numbers, (cost(1, found=False), 0.3 * (1 - hit))]


PRICINGS = (leadmagic_alone, both_providers, misses_cost, charged_in_vain, any_price)


class Campaign:
    """Rows in blocks that are alike, in companies which have hit rates of their own."""

    def __init__(self, rng: random.Random, pricing: Callable[[float, random.Random], Shares]) -> None:
        self.size = round(exp(rng.uniform(log(60), log(100_000))))
        self.rate = rng.choice(RATES)
        blocks = list(self._companies(rng, pricing))
        self.kinds = [kind for kind, _ in blocks]
        self.ends = list(accumulate(rows for _, rows in blocks))
        self.numbers = sum(rows for kind, rows in blocks if kind.found)
        self.credits = float(sum(rows * kind.credits for kind, rows in blocks))

    def _companies(
        self, rng: random.Random, pricing: Callable[[float, random.Random], Shares]
    ) -> Iterator[tuple[Answered, int]]:
        left = self.size
        while left:
            company = min(left, 1 + int(rng.expovariate(30 / self.size)))
            left -= company
            for kind, share in pricing(rng.betavariate(self.rate, 1 - self.rate), rng):
                rows = min(company, int(company * share + rng.random()))
                company -= rows
                yield kind, rows
            yield NOTHING, company

    def sample(self, rng: random.Random, rows: int) -> list[Answered]:
        return [self.kinds[bisect(self.ends, at)] for at in rng.sample(range(self.size), rows)]


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the truth is in the interval, but for what floats round."""
    high = inf if estimate.high is None else estimate.high
    return estimate.low * (1 - 1e-6) <= truth <= high * (1 + 1e-6)


def width(estimate: Estimate, truth: float) -> float:
    """How wide the interval is, in multiples of the truth."""
    return inf if estimate.high is None or not truth else (estimate.high - estimate.low) / truth


@pytest.mark.parametrize("pricing", PRICINGS)
def test_the_intervals_hold_in_93_of_100_campaigns_and_say_something(
    pricing: Callable[[float, random.Random], Shares],
) -> None:
    """In 1,000 campaigns of 60 to 100,000 rows, whatever the prices, and wherever the hits are."""
    rng = random.Random(f"quote {pricing.__name__}")
    held = [0, 0, 0]
    widths: list[tuple[float, float, float]] = []
    for _ in range(CAMPAIGNS):
        campaign = Campaign(rng, pricing)
        quoted = quote(campaign.sample(rng, 50), campaign.size, MOST)
        each = campaign.credits / campaign.numbers if campaign.numbers else inf
        held[0] += holds(quoted.rate, campaign.numbers / campaign.size)
        held[1] += holds(quoted.cost, campaign.credits)
        held[2] += holds(quoted.cost_per_number, each)
        if campaign.rate >= 0.2:
            widths.append(
                (
                    width(quoted.rate, 1),
                    width(quoted.cost, campaign.credits),
                    width(quoted.cost_per_number, each),
                )
            )

    assert min(held) >= 0.93 * CAMPAIGNS
    rate, credits, each = (median(of_all) for of_all in zip(*widths, strict=True))
    assert (rate < 0.28, credits < 0.9, each < 0.9) == (True, True, True)


def test_the_rate_is_exact() -> None:
    """Its ends are the fewest and the most hits that do not make the sample one of the rarest 2.5 %."""

    def at_most(found: int, sampled: int, hits: int, rows: int) -> float:
        ways = (comb(hits, x) * comb(rows - hits, sampled - x) for x in range(found + 1))
        return sum(ways) / comb(rows, sampled)

    for rows in (1, 2, 23):
        for sampled in range(1, rows + 1):
            for found in range(sampled + 1):
                possible = range(found, rows - sampled + found + 1)
                fitting = [
                    hits
                    for hits in possible
                    if at_most(found, sampled, hits, rows) > EACH_SIDE
                    and at_most(sampled - found, sampled, rows - hits, rows) > EACH_SIDE
                ]
                rate = quote([cost(5)] * found + [NOTHING] * (sampled - found), rows, MOST).rate
                assert (rate.low * rows, rate.high and rate.high * rows) == pytest.approx((fitting[0], fitting[-1]))


def test_a_sample_without_a_number_leaves_the_price_of_one_open() -> None:
    """None of 50 may be 7 of 100; such numbers may cost anything, and rows the most."""
    quoted = quote([NOTHING] * 50, 100_000, MOST)

    assert (quoted.rate.value, quoted.rate.low) == (0, 0)
    assert quoted.rate.high == pytest.approx(0.0711, abs=0.0001)
    assert quoted.cost.low == 0
    assert quoted.cost.high == pytest.approx(67_000, rel=0.01)
    assert quoted.cost_per_number == Estimate(None, 0, None)


def test_a_sample_of_numbers_alone_does_not_promise_only_numbers() -> None:
    """50 of 50 may be 93 of 100, and what was not drawn may cost the most."""
    quoted = quote([cost(5)] * 50, 100_000, MOST)

    assert (quoted.rate.value, quoted.rate.high) == (1, 1)
    assert quoted.rate.low == pytest.approx(0.929, abs=0.001)
    assert quoted.cost_per_number.low == pytest.approx(4.58, abs=0.01)
    assert quoted.cost_per_number.high == pytest.approx(5.73, abs=0.01)


@pytest.mark.parametrize("found", [0, 7, 30])
def test_what_is_known_of_every_row_needs_no_interval(found: int) -> None:
    """A sample of all rows is no estimate."""
    quoted = quote([cost(5)] * found + [NOTHING] * (30 - found), 30, MOST)

    assert quoted.rate == Estimate(found / 30, found / 30, found / 30)
    assert quoted.cost == Estimate(5 * found, 5 * found, 5 * found)
    assert quoted.cost_per_number == (Estimate(5, 5, 5) if found else Estimate(None, 0, None))


def test_a_larger_sample_says_more() -> None:
    """All three intervals shrink, and shrink again where the sample is most of the rows."""
    one = [cost(5), cost(3), NOTHING, NOTHING]

    for narrow, wide in (((100, 10_000), (25, 10_000)), ((25, 120), (25, 10_000))):
        quotes: list[Quote] = [quote(one * times, rows, MOST) for times, rows in (narrow, wide)]
        for name in ("rate", "cost", "cost_per_number"):
            first, second = (getattr(quoted, name) for quoted in quotes)
            assert width(first, first.value) < 0.8 * width(second, second.value)


def test_the_rows_that_are_left_cost_no_more_than_they_can() -> None:
    """One row that was not drawn adds its most, and the numbers found are found."""
    quoted = quote([cost(5)] * 10 + [NOTHING] * 39, 50, MOST)

    assert (quoted.cost.low, quoted.cost.high) == (50, 58)
    assert quoted.cost_per_number.high is not None
    assert 50 / 11 <= quoted.cost_per_number.low < 5 < quoted.cost_per_number.high <= 5.8


def test_a_large_sample_of_a_large_file_is_no_problem() -> None:
    """The tails are summed up from the side on which they do not vanish."""
    quoted = quote(([cost(5)] + [NOTHING] * 2) * 7000, 1_000_000, MOST)

    assert quoted.rate.high is not None
    assert 0.326 < quoted.rate.low < 1 / 3 < quoted.rate.high < 0.341


def test_no_rows_and_too_many_are_no_sample() -> None:
    """Whoever asks for such a quote has a defect."""
    for sample, rows in (([], 10), ([NOTHING] * 3, 2)):
        with pytest.raises(ValueError, match="says nothing"):
            quote(sample, rows, MOST)


@pytest.mark.parametrize(("sampled", "rows"), [(10, 5000), (20, 60), (50, 60), (50, 5000)])
def test_the_cost_of_one_price_is_covered_wherever_the_rate_is(sampled: int, rows: int) -> None:
    """Summed up over every sample that there may be, for each share of rows that cost the most."""
    intervals = []
    for priced in range(sampled + 1):
        cost_of = quote([cost(8)] * priced + [NOTHING] * (sampled - priced), rows, MOST).cost
        intervals.append((cost_of.low - 1e-6, (cost_of.high or 0) + 1e-6))

    for truth in range(0, rows + 1, max(1, rows // 250)):
        ways = sum(
            comb(truth, priced) * comb(rows - truth, sampled - priced)
            for priced, (low, high) in enumerate(intervals)
            if low <= 8 * truth <= high
        )
        assert ways / comb(rows, sampled) >= 0.95


def test_the_figure_is_always_in_its_interval() -> None:
    """Whatever a row cost: cents, nothing, or more than it could; and however few were drawn."""
    rng = random.Random("figures")
    prices = [Decimal(price) for price in ("0", "0.01", "0.33", "1", "5", "8", "100")]
    for _ in range(150):
        drawn = rng.choice((1, 2, 5, 50))
        sample = [Answered(found=rng.random() < 0.4, credits=rng.choice(prices)) for _ in range(drawn)]
        quoted = quote(sample, drawn + rng.choice((0, 1, 10, 10**6)), rng.choice(prices))
        for name in ("rate", "cost", "cost_per_number"):
            estimate = getattr(quoted, name)
            figure = estimate.low if estimate.value is None else estimate.value
            assert 0 <= estimate.low <= figure <= (inf if estimate.high is None else estimate.high)
