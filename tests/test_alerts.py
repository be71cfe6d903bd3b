"""The alert rules ask for numbers that /metrics has, and Prometheus can read them."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from enrichment.providers.base import Limit
from store.counters import Count, add_counts
from store.providers import register_provider
from tests.asgi import Client
from tests.factories import finished_job, job

RULES = Path(__file__).parent.parent / "ops" / "alerts.yml"


async def test_every_rule_asks_for_a_number_that_there_is(client: Client, pool: asyncpg.Pool[Any]) -> None:
    """A name that is misspelt in a rule would never ring."""
    await register_provider(pool, "nyne", (Limit(100, 60),), {})
    await job(pool, "awaiting")
    await add_counts(pool, {Count("lease_takeovers", "nyne"): 1, Count("questions", "nyne", "throttled"): 2})
    await finished_job(pool)
    await pool.execute(
        "INSERT INTO usage (provider, source, day, slot, lost) VALUES ('nyne', 'generic', '2026-01-01', 0, 3)"
    )

    shown = (await client.get("/metrics")).body.decode()

    asked = set(re.findall(r"ringback_\w+", RULES.read_text(encoding="utf-8")))
    known = set(re.findall(r"^# TYPE (ringback_\w+) ", shown, re.MULTILINE))
    assert asked - known == set()
    assert 'ringback_jobs{provider="nyne",state="awaiting"} 1.0' in shown
    assert 'ringback_lease_takeovers_total{provider="nyne"} 1.0' in shown
    assert 'ringback_questions_total{outcome="throttled",provider="nyne"} 2.0' in shown
    assert 'ringback_jobs_ended_total{fate="lost",provider="nyne"} 3.0' in shown


async def test_metrics_say_so_when_the_database_is_away(offline: Client) -> None:
    """A scrape succeeds all the same: it is how one hears of it."""
    answer = await offline.get("/metrics")

    assert answer.status == 200
    assert b"ringback_database_up 0.0" in answer.body


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_prometheus_can_read_the_rules() -> None:
    """promtool finds nothing to say about them."""
    promtool = await asyncio.create_subprocess_exec("promtool", "check", "rules", str(RULES))

    assert await promtool.wait() == 0
