"""Metrics of the whole installation, read from tables of outstanding work, never from history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from enrichment.guards import Budget
from receiver.problems import UNAVAILABLE
from store import counters, deliveries, reports
from store.budgets import read_budgets_left

PATIENCE = 3.0  # seconds; a scrape usually has ten
FRESH = 5.0  # seconds; several scrapers cost no more than one
FATES = ("found", "answered", "failed", "unknown", "lost")
# Counters of the submitters and reconcilers: help text and the name of the second label.
COUNTED = {
    "questions": ("Questions asked, by what the answer said.", "outcome"),
    "polls": ("Polls, by what the answer said.", "outcome"),
    "crm_calls": ("Calls to CRMs, by what the answer said.", "outcome"),
    "readings": ("Contacts read from CRMs, by what became of them.", "outcome"),
    "deliveries": ("Tries to deliver a result, by what became of it.", "outcome"),
    "limiter_wait_seconds": ("Seconds that submitters waited for a permit.", None),
    "lease_takeovers": ("Jobs taken over from a submitter that fell silent.", None),
}


class SharedMetrics(Collector):
    """The state of the whole installation, as of the last refresh."""

    def __init__(self, pool: asyncpg.Pool[Any], sweep_seconds: Mapping[str, float], budgets: Sequence[Budget]) -> None:
        self._pool = pool
        self._budgets = budgets
        self._sweep_seconds = sweep_seconds  # by CRM; 0: not swept
        self._reading: asyncio.Task[list[Metric]] | None = None
        self._read_at = float("-inf")
        self._is_up = False
        self._families: list[Metric] = []

    async def refresh(self) -> None:
        """Read the numbers again if they are older than FRESH seconds; have none if the database is unusable.

        Concurrent scrapes share one reading. It is not cancelled: on a dead network, cancelling takes too long.
        """
        if time.monotonic() - self._read_at < FRESH:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        reading = self._reading  # another scrape may begin a new one meanwhile
        done, _ = await asyncio.wait([reading], timeout=PATIENCE)
        try:
            self._families = reading.result() if done else []
            self._is_up = bool(done)
        except (asyncpg.PostgresError, *UNAVAILABLE):
            self._families, self._is_up = [], False
        self._read_at = time.monotonic()

    def close(self) -> None:
        """Cancel a reading that is still under way."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> list[Metric]:
        return [
            *_providers(await counters.read_ages(self._pool)),
            _jobs(await reports.outstanding(self._pool)),
            *_deliveries(await deliveries.outstanding(self._pool)),
            *_fates(await counters.read_fates(self._pool)),
            *_counted(await counters.read_counts(self._pool)),
            _sweeps(await reports.connections(self._pool), self._sweep_seconds),
            _limits(await counters.read_limits(self._pool)),
            *_budgets(await read_budgets_left(self._pool, self._budgets)),
        ]

    def collect(self) -> Iterable[Metric]:
        """Return one metric family per number."""
        up = GaugeMetricFamily("ringback_database_up", "Whether the database answered this process.")
        up.add_metric([], float(self._is_up))
        return [up, *self._families]


def _providers(rows: Sequence[asyncpg.Record]) -> list[Metric]:
    paused = GaugeMetricFamily("ringback_provider_paused", "Whether a provider is paused.", labels=["provider"])
    opened = GaugeMetricFamily("ringback_breaker_open", "Whether a provider's breaker is open.", labels=["provider"])
    oldest = GaugeMetricFamily(
        "ringback_oldest_seconds", "Age of the oldest outstanding job.", labels=["provider", "state"]
    )
    for row in rows:
        paused.add_metric([row["provider"]], float(row["paused"]))
        opened.add_metric([row["provider"]], float(row["breaker_open"]))
        oldest.add_metric([row["provider"], "queued"], row["oldest_queued"] or 0.0)
        oldest.add_metric([row["provider"], "awaiting"], row["oldest_awaiting"] or 0.0)
    return [paused, opened, oldest]


def _jobs(rows: Sequence[asyncpg.Record]) -> Metric:
    jobs = GaugeMetricFamily("ringback_jobs", "Outstanding jobs.", labels=["provider", "state"])
    for row in rows:
        jobs.add_metric([row["provider"], row["state"]], row["jobs"])
    return jobs


def _deliveries(rows: Sequence[asyncpg.Record]) -> list[Metric]:
    open_ones = GaugeMetricFamily(
        "ringback_outstanding_deliveries", "Deliveries that have not ended.", labels=["channel", "state"]
    )
    overdue = GaugeMetricFamily(
        "ringback_delivery_overdue_seconds", "How long the oldest queued delivery is due.", labels=["channel"]
    )
    for row in rows:
        open_ones.add_metric([row["channel"], row["state"]], row["deliveries"])
        if row["state"] == "queued":
            overdue.add_metric([row["channel"]], row["overdue"])
    return [open_ones, overdue]


def _fates(rows: Sequence[asyncpg.Record]) -> list[Metric]:
    ended = CounterMetricFamily("ringback_jobs_ended", "Jobs that ended, by how.", labels=["provider", "fate"])
    credits = GaugeMetricFamily("ringback_credits", "Credits, by what became of them.", labels=["provider", "fate"])
    for row in rows:
        for fate in FATES:
            ended.add_metric([row["provider"], fate], row[fate])
        for fate in ("reserved", "charged", "possible"):
            credits.add_metric([row["provider"], fate], row[fate])
    return [ended, credits]


def _sweeps(rows: Sequence[asyncpg.Record], sweep_seconds: Mapping[str, float]) -> Metric:
    behind = GaugeMetricFamily(
        "ringback_sweep_intervals_behind", "Intervals since the last sweep that read all changes.", labels=["crm"]
    )
    for row in rows:
        if every := sweep_seconds.get(row["crm"]):
            behind.add_metric([row["crm"]], row["behind"].total_seconds() / every)
    return behind


def _limits(rows: Sequence[asyncpg.Record]) -> Metric:
    limits = GaugeMetricFamily(
        "ringback_limit_per_second",
        "Calls that a rate limit allows, on average; its window in seconds.",
        labels=["provider", "purpose", "window"],
    )
    for row in rows:
        limits.add_metric([row["provider"], row["purpose"], str(row["window"])], row["allowance"] / row["window"])
    return limits


def _budgets(rows: Sequence[asyncpg.Record]) -> list[Metric]:
    names = ["provider", "source", "period"]
    credits = GaugeMetricFamily("ringback_budget_credits", "Credits of a budget; of all, unless named.", labels=names)
    used = GaugeMetricFamily("ringback_budget_used_credits", "Credits of a budget that are used.", labels=names)
    for row in rows:
        of = [row["provider"] or "", row["source"] or "", row["period"]]
        credits.add_metric(of, float(row["credits"]))
        used.add_metric(of, float(row["used"]))
    return [credits, used]


def _counted(counts: dict[counters.Count, float]) -> list[Metric]:
    families: list[Metric] = []
    for name, (says, label) in COUNTED.items():
        family = CounterMetricFamily(
            f"ringback_{name}", says, labels=["provider", label] if label is not None else ["provider"]
        )
        for counted, total in counts.items():
            if counted.name == name:
                family.add_metric([counted.provider, counted.label] if label else [counted.provider], total)
        families.append(family)
    return families
