"""Quote a campaign from a sample of it: match rate, cost, and cost per number, each with a 95 % interval.

The sample is drawn at random from the rows that may cost something, and is a part of them. Nothing is assumed of the
rows but that none costs less than nothing or more than the most: hits may come in clusters, and costs in any mixture.

The interval of the rate is exact: it holds each number of hits among which the sample's is not too rare.

Those of the costs are empirical likelihood: they hold each figure that follows from some shares of the kinds of row in
the sample, if the sample is not too unlikely under these shares. What is rare and costly may be missing in a sample.
So one more row counts as drawn, the worst that there could be. With it, the interval of a single price holds in 95 %
of samples whatever the rate; without it, in 82 % for some.

https://doi.org/10.1093/biomet/75.2.237 (Owen), https://doi.org/10.1198/106186008X321068 (Chen and others: the row)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import exp, lgamma, log
from typing import TypeAlias

EACH_SIDE = 0.025  # how rarely the sample may have so many hits, or so few
CHI_SQUARE = 3.8415  # the 95 % quantile, one degree of freedom: how much less likely than the best shares others may be

Kind: TypeAlias = tuple[bool, float]  # of rows: whether a number was found, and the credits


@dataclass(frozen=True, slots=True)
class Answered:
    """What one sampled row came to."""

    found: bool
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; no *value* if the sample says nothing of it, no *high* if nothing limits it."""

    value: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What the rows that may cost something come to, those of the sample among them."""

    sampled: int
    population: int
    spent: float  # credits, for the sample
    rate: Estimate  # of numbers found, 0 to 1
    cost: Estimate  # credits
    cost_per_number: Estimate  # credits; without a value and a high if the sample has no number


def quote(sample: Sequence[Answered], population: int, most_per_row: Decimal) -> Quote:
    """Return the quote for *population* rows, of which *sample* was drawn at random; no row costs over *most_per_row*.

    Raise ValueError if the sample is empty or larger than the population.
    """
    if not 1 <= len(sample) <= population:
        raise ValueError(f"a sample of {len(sample)} rows says nothing about {population}")
    kinds = Counter((one.found, float(one.credits)) for one in sample)
    most = max(float(most_per_row), *(credits for _, credits in kinds))
    spent = sum(kind[1] * times for kind, times in kinds.items())
    return Quote(
        sampled=len(sample),
        population=population,
        spent=spent,
        rate=_rate(sum(one.found for one in sample), len(sample), population),
        cost=_cost(kinds, spent, most, population),
        cost_per_number=_cost_per_number(kinds, spent, most, population),
    )


def _rate(found: int, sampled: int, population: int) -> Estimate:
    """Return the share of rows with a number, by inverting the hypergeometric distribution."""
    return Estimate(
        found / sampled,
        (population - _most_hits(sampled - found, sampled, population)) / population,
        _most_hits(found, sampled, population) / population,
    )


def _cost(kinds: Mapping[Kind, int], spent: float, most: float, population: int) -> Estimate:
    sampled = sum(kinds.values())
    unseen = population - sampled
    low = population * _extreme(kinds, (False, 0.0), population, least=True)
    high = population * _extreme(kinds, (False, most), population)
    estimate = spent * population / sampled, max(low, spent), min(high, spent + unseen * most)
    return Estimate(*(round(credits, 2) for credits in estimate))


def _cost_per_number(kinds: Mapping[Kind, int], spent: float, most: float, population: int) -> Estimate:
    found = sum(times for kind, times in kinds.items() if kind[0])
    unseen = population - sum(kinds.values())
    low = _extreme(kinds, (True, 0.0), population, least=True, per=_number)
    low = max(low, spent / max(1, found + unseen))
    if not found:
        return Estimate(None, low, None)
    high = _extreme(kinds, (False, most), population, per=_number)
    return Estimate(spent / found, low, min(high, (spent + unseen * most) / found))


def _row(_: Kind) -> float:
    return 1.0


def _number(kind: Kind) -> float:
    return float(kind[0])


def _extreme(
    kinds: Mapping[Kind, int],
    worst: Kind,
    population: int,
    *,
    least: bool = False,
    per: Callable[[Kind], float] = _row,
) -> float:
    """Return the most or *least* credits *per* row or number that are likely, with one more row drawn, of kind *worst*.

    Dinkelbach's method: the shares that are extreme at one ratio give a ratio nearer to the extreme one.
    https://doi.org/10.1287/mnsc.13.7.492
    """
    drawn = Counter({worst: 1}) + Counter(kinds)
    limit = CHI_SQUARE * (1 - sum(kinds.values()) / population)  # as usual, a larger part of the rows says more
    sign = -1.0 if least else 1.0
    ratio = _ratio(drawn, per)
    for _ in range(50):
        before = ratio
        ratio = _ratio(_extreme_shares({k: sign * (k[1] - before * per(k)) for k in drawn}, drawn, limit), per)
        if abs(ratio - before) <= 1e-7 * ratio:
            break
    return ratio


def _ratio(weights: Mapping[Kind, float], per: Callable[[Kind], float]) -> float:
    return sum(w * kind[1] for kind, w in weights.items()) / sum(w * per(kind) for kind, w in weights.items())


def _extreme_shares(value: Mapping[Kind, float], drawn: Mapping[Kind, int], limit: float) -> dict[Kind, float]:
    """Return the shares with the largest mean *value* of all whose log-likelihood ratio is within *limit*.

    They are proportional to drawn / (pole - value); as the pole comes nearer to the largest value, the mean grows.
    """
    top = max(value.values())
    spread = top - min(value.values())
    size = sum(drawn.values())

    def shares(nearness: float) -> dict[Kind, float]:
        pole = top + (spread or 1.0) * exp(-nearness)
        parts = {kind: times / (pole - value[kind]) for kind, times in drawn.items()}
        whole = sum(parts.values())
        return {kind: part / whole for kind, part in parts.items()}

    far, near = -30.0, 30.0
    for _ in range(30):
        middle = (far + near) / 2
        tried = shares(middle)
        if 2 * sum(times * log(times / size / tried[kind]) for kind, times in drawn.items()) <= limit:
            far = middle
        else:
            near = middle
    return shares(far)


def _most_hits(found: int, sampled: int, population: int) -> int:
    """Return the most hits of *population* rows with which *found* or fewer in the sample are not too rare."""
    low, high = found, population - sampled + found
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(found, sampled, middle, population) > EACH_SIDE:
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(found: int, sampled: int, hits: int, population: int) -> float:
    """Return the probability of *found* hits or fewer in a sample of a population with *hits* of them."""
    misses = population - hits
    fewest = max(0, sampled - misses)
    if found >= min(sampled, hits):
        return 1.0
    if found * population > sampled * hits:  # sum up the smaller side: the other begins with what rounds to zero
        return 1 - _at_most(sampled - found - 1, sampled, misses, population)
    chance = exp(_log_ways(hits, found) + _log_ways(misses, sampled - found) - _log_ways(population, sampled))
    total = chance
    for x in range(found, fewest, -1):
        chance *= x * (misses - sampled + x) / ((hits - x + 1) * (sampled - x + 1))
        total += chance
        if chance < total * 1e-12:
            break
    return total


def _log_ways(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)
