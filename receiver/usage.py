"""GET /v1/usage: the credits spent, and the rest of the budgets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.settings import Settings
from receiver.api import as_json
from receiver.messages import BudgetState, Usage, UsageDay
from receiver.pages import whole_number
from store import reports

DEFAULT_DAYS, MOST_DAYS = 31, 366
PERIODS: tuple[Literal["day", "month"], ...] = ("day", "month")


class UsageReport:
    """The handler that reports credits by provider and day, and the budgets."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def read(self, request: Request) -> Response:
        """Answer with credits by provider and UTC day, newest first, and every budget that is set."""
        days = whole_number(request.query_params, "days", default=DEFAULT_DAYS, most=MOST_DAYS)
        today = datetime.now(UTC).date()
        since = today - timedelta(days=days - 1)
        rows = await reports.usage_by_day(self._pool, min(since, today.replace(day=1)))
        used = [UsageDay.model_validate(dict(row)) for row in rows]
        return as_json(
            Usage(days=[day for day in used if day.day >= since], budgets=_budgets(self._settings, used, today))
        )


def _budgets(settings: Settings, used: list[UsageDay], today: date) -> list[BudgetState]:
    states = []
    for provider, source, of in settings.budgeted():
        for period in PERIODS:
            credits: Decimal | None = getattr(of, f"budget_credits_per_{period}")
            if credits is not None:
                start = today if period == "day" else today.replace(day=1)
                spent = _spent(used, provider, source, start)
                left = max(Decimal(0), credits - spent)
                states.append(
                    BudgetState(provider=provider, source=source, period=period, credits=credits, used=spent, left=left)
                )
    return states


def _spent(used: list[UsageDay], provider: str | None, source: str | None, since: date) -> Decimal:
    return sum(
        (
            day.reserved + day.charged + day.possibly_charged
            for day in used
            if day.day >= since and provider in (None, day.provider) and source in (None, day.source)
        ),
        Decimal(0),
    )
