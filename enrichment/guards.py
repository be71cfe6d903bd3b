"""Limits on spending: budgets in credits, and the flood guard's limit of each source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from enrichment.money import cents

if TYPE_CHECKING:
    from enrichment.settings import Settings

PERIODS = ("day", "month")


@dataclass(frozen=True, slots=True)
class Budget:
    """At most *credits* in a UTC *period* (day or month): of *provider*, of *source*, or of all if both are None."""

    provider: str | None
    period: str
    credits: Decimal
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits that intake applies: searches that each source may begin per hour, budgets of sources, and prices."""

    floods: Mapping[str, int] = field(default_factory=dict)  # by source; sources that are not listed have no limit
    budgets: tuple[Budget, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)  # of one question, by provider


def read_budgets(settings: Settings) -> list[Budget]:
    """Return the budgets that are set: of all together, of providers and of sources."""
    return [
        Budget(provider, period, credits, source)
        for provider, source, of in settings.budgeted()
        for period in PERIODS
        if (credits := getattr(of, f"budget_credits_per_{period}")) is not None
    ]


def read_guards(settings: Settings) -> Guards:
    """Return the limits of the sources."""
    floods = {
        source: limit
        for _, source, _ in settings.budgeted()
        if source is not None and (limit := settings.source(source).flood_lookups_per_hour)
    }
    budgets = tuple(budget for budget in read_budgets(settings) if budget.source is not None)
    prices = {name: cents(settings.provider(name).credits_per_found) for name in settings.providers}
    return Guards(floods, budgets, prices)
