"""Compare what a provider says of its account with our ledger: what was charged, and is in no ledger?

    credits used      both figures are of one month (UTC), and the provider counts the credits used in it (Nyne)
    balance           the balance fell by what was charged, unless credits were bought meanwhile
    month             there is no figure from before: the month's credits used, against our ledger's month
    nothing           there is neither; only the provider's own console can tell

Others who use the same account make the difference larger. It never proves that nothing was paid, only that no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

Basis: TypeAlias = Literal["credits used", "balance", "month", "nothing"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What a provider said at a moment, and what our ledger had booked for it by then, in credits."""

    at: datetime
    balance: Decimal | None
    used: Decimal | None  # in the month
    charged: Decimal


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the provider and our ledger have charged from *since* on, in credits, by this *basis*."""

    basis: Basis
    since: datetime | None = None
    by_vendor: Decimal | None = None
    by_ledger: Decimal | None = None

    @property
    def unexplained(self) -> Decimal | None:
        """Return the credits that are in no ledger; None if the figures cannot tell, or credits were bought."""
        if self.by_vendor is None or self.by_ledger is None or self.by_vendor < 0:
            return None
        return self.by_vendor - self.by_ledger


def compare(before: Figure | None, now: Figure, charged_this_month: Decimal) -> Comparison:
    """Compare the figure from *before* the restored data ended, if there is one, with that of *now*."""
    if before is not None and (found := between(before, now)) is not None:
        return found
    if now.used is not None:
        began = now.at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Comparison("month", began, now.used, charged_this_month)
    return Comparison("nothing")


def between(before: Figure, now: Figure) -> Comparison | None:
    """Compare two figures of one provider; None if they cannot be compared."""
    if before.used is not None and now.used is not None and _month(before) == _month(now):
        return Comparison("credits used", before.at, now.used - before.used, now.charged - before.charged)
    if before.balance is not None and now.balance is not None:
        return Comparison("balance", before.at, before.balance - now.balance, now.charged - before.charged)
    return None


def _month(figure: Figure) -> tuple[int, int]:
    at = figure.at.astimezone(UTC)
    return at.year, at.month
