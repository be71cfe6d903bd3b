"""/ledger: the credits by day, provider and source, what was perhaps charged, and what providers say themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.figures import Figure, between
from enrichment.guards import read_budgets
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import given
from receiver.dashboard.rendering import as_page
from receiver.pages import Place, read_place, whole_number, write_cursor
from receiver.usage import DEFAULT_DAYS, MOST_DAYS
from store import figures, ledger, reports
from store.budgets import read_budgets_left

SPANS = (7, 31, 92, 366)  # days that the page offers
FATES = ("charged", "possibly_charged", "reserved")


@dataclass(frozen=True, slots=True)
class Span:
    """The time between two figures of one provider, and the credits that each side counted in it."""

    since: datetime
    to: datetime
    by_vendor: Decimal
    by_ledger: Decimal


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider said last, and the days on which its figures can be compared with our ledger, oldest first."""

    provider: str
    last: Figure
    compared: list[Span]

    @property
    def by_vendor(self) -> Decimal:
        """Return the credits that the provider says were used on these days."""
        return sum((day.by_vendor for day in self.compared), Decimal(0))

    @property
    def by_ledger(self) -> Decimal:
        """Return the credits that our ledger charged on these days."""
        return sum((day.by_ledger for day in self.compared), Decimal(0))


class LedgerPage:
    """The handler of the page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Show the credits of the last days, and below them the questions that were perhaps charged."""
        query = given(request)
        days = whole_number(query, "days", default=DEFAULT_DAYS, most=MOST_DAYS)
        place = read_place(query)
        pool = self._desk.pool
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since = midnight - timedelta(days=days - 1)
        by_day = [dict(row) for row in await reports.usage_by_day(pool, since.date())]
        in_doubt = await ledger.credits_in_doubt(pool)
        doubtful, cursor = await self._doubtful(place, in_doubt) if in_doubt else ([], None)
        return as_page(
            request,
            "ledger.html",
            days=days,
            spans=sorted({*SPANS, days}),
            by_day=by_day,
            by_payer=_sums(by_day),
            totals={fate: sum((row[fate] for row in by_day), Decimal(0)) for fate in FATES},
            budgets=[dict(row) for row in await read_budgets_left(pool, read_budgets(self._desk.settings))],
            told=_told(await figures.figures_by_day(pool, since - timedelta(days=1))),
            in_doubt=in_doubt,
            doubtful=[dict(row) for row in doubtful],
            is_first=place.before is None,
            cursor=cursor,
        )

    async def _doubtful(self, place: Place, in_doubt: Decimal) -> tuple[Sequence[asyncpg.Record], str | None]:
        """Return a page of the questions that were perhaps charged, and the cursor of the next one."""
        found, further = await ledger.perhaps_charged(self._desk.pool, place.before, place.one_more, in_doubt=in_doubt)
        shown, cursor = place.cut(found, lambda row: row["id"])
        return shown, cursor or (write_cursor(further) if further else None)


def _sums(by_day: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the credits by provider and source, over all days."""
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for row in by_day:
        of_payer = sums.setdefault((row["provider"], row["source"]), dict.fromkeys(FATES, Decimal(0)))
        for fate in FATES:
            of_payer[fate] += row[fate]
    return [{"provider": provider, "source": source, **sums[provider, source]} for provider, source in sorted(sums)]


def _told(figures: Mapping[str, Sequence[Figure]]) -> list[Told]:
    """Compare each provider's figures, one of each day, with the one before."""
    return [Told(provider, of_days[-1], _spans(of_days)) for provider, of_days in sorted(figures.items())]


def _spans(figures: Sequence[Figure]) -> list[Span]:
    """Return the times between two figures of which both sides are known."""
    found = []
    for before, now in pairwise(figures):
        compared = between(before, now)
        if compared is None or compared.by_vendor is None or compared.by_ledger is None or compared.by_vendor < 0:
            continue  # another month, or credits were bought
        found.append(Span(before.at, now.at, compared.by_vendor, compared.by_ledger))
    return found
