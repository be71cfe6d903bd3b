"""The page "Now": what is outstanding, how providers and CRMs are, what is left of budgets, and the brake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from enrichment.guards import read_budgets
from receiver.dashboard.desk import Desk
from receiver.dashboard.rendering import as_page
from receiver.fresh import Fresh
from store import deliveries, present, reports
from store.budgets import read_budgets_left
from store.floods import held_for_flood
from store.pauses import find_pauses
from store.restore_reports import held_by_source

LOOKED_BACK = timedelta(hours=24)
MINUTES = 15  # of callbacks and answers that the page shows
OFTEN, RARELY = 2.0, 10.0  # seconds that what is outstanding, and what came of it, stay as they were read
PATIENCE = 5.0  # seconds that a visitor waits for the database


@dataclass(frozen=True, slots=True)
class Now:
    """What the page shows, but for who looks at it."""

    outstanding: list[dict[str, Any]]
    providers: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    pauses: list[dict[str, Any]]
    floods: list[dict[str, Any]]
    restored: list[dict[str, Any]]
    budgets: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    lookups: dict[str, int]
    minutes: list[dict[str, Any]]

    @property
    def braked(self) -> bool:
        """Tell whether a person stopped all paid questions."""
        return any(pause["provider"] is None and pause["source"] is None for pause in self.pauses)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing has come in yet."""
        return not (self.lookups or self.outstanding)

    @property
    def callbacks_a_minute(self) -> float:
        """Return the mean of the last whole minutes."""
        whole = self.minutes[-6:-1]
        return sum(minute["callbacks"] for minute in whole) / len(whole) if whole else 0.0

    @property
    def awaiting(self) -> int:
        """Return how many jobs wait for a callback or a poll."""
        return sum(row["jobs"] for row in self.outstanding if row["state"] == "awaiting")

    @property
    def oldest(self) -> timedelta | None:
        """Return the age of the oldest outstanding job."""
        return max((row["oldest"] for row in self.outstanding), default=None)


class NowPage:
    """The handlers of the page, and what they read, shared by all who look at it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._recent = Fresh(self._read_recent, RARELY)
        self._now = Fresh(self._read, OFTEN)

    async def page(self, request: Request) -> Response:
        """Answer GET /; after a form of ours, as it is since then, which only a script would see a moment later."""
        if "said" in request.query_params:
            self._now.forget()
        return as_page(request, "now.html", now=await self.read())

    async def read(self) -> Now:
        """Return what happens now, read a moment ago at most. Raise TimeoutError if the database is too slow."""
        return await self._now.get(PATIENCE)

    def close(self) -> None:
        """End what is still under way."""
        self._now.close()
        self._recent.close()

    async def _read(self) -> Now:
        pool, settings = self._desk.pool, self._desk.settings
        lookups, minutes = await self._recent.get(PATIENCE)
        outstanding = [dict(row) for row in await reports.outstanding(pool)]
        return Now(
            outstanding=outstanding,
            providers=await self._providers(),
            connections=[dict(row) for row in await reports.connections(pool)],
            pauses=await find_pauses(pool),
            floods=[dict(row) for row in await held_for_flood(pool)],
            restored=[dict(row) for row in await held_by_source(pool)],
            budgets=[dict(row) for row in await read_budgets_left(pool, read_budgets(settings))],
            deliveries=[dict(row) for row in await deliveries.outstanding(pool)],
            lookups=lookups,
            minutes=minutes,
        )

    async def _read_recent(self) -> tuple[dict[str, int], list[dict[str, Any]]]:
        now = datetime.now(UTC)
        lookups = await reports.lookups_by_status(self._desk.pool, now - LOOKED_BACK)
        minutes = await present.answers_by_minute(self._desk.pool, now, MINUTES)
        return {row["status"]: row["lookups"] for row in lookups}, [dict(row) for row in minutes]

    async def _providers(self) -> list[dict[str, Any]]:
        """Describe each provider and CRM: whether it can be asked, its balance and its limits."""
        pool, now = self._desk.pool, datetime.now(UTC)
        told = await present.balances(pool)
        limits = await present.limits_used(pool)
        return [
            {
                "name": row["name"],
                "is_asked": row["name"] in self._desk.settings.providers,
                "state": present.provider_state(row, now),
                "why": row["paused_reason"],
                "until": max((at for at in (row["open_until"], row["rest_until"]) if at and at > now), default=None),
                "told": told.get(row["name"]),
                "limits": [limit for limit in limits if limit.provider == row["name"]],
            }
            for row in await reports.provider_states(pool)
        ]
