"""Quote a campaign from a sample of it: match rate, cost, and cost per number, each with a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Answered:
    """What one sampled row came to."""

    found: bool
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None is no bound (*high*) or no figure (*value*)."""

    value: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a campaign comes to, over all rows that may cost something; the sample is part of it."""

    sampled: int
    population: int
    rate: Estimate  # of numbers found, 0 to 1
    cost: Estimate  # credits for the whole population
    cost_per_number: Estimate  # credits


def quote(sample: Sequence[Answered], population: int, most_per_row: Decimal) -> Quote:
    """Return the quote for *population* rows, of which *sample* was drawn at random; no row costs over *most_per_row*.

    Raise ValueError if the sample is empty or larger than the population.
    """
    raise NotImplementedError
