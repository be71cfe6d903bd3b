"""A week of lookups made by hand, with every way in which one is answered, for tests of its figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from store.database import Db
from tests import factories
from tests.old_history import at

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
YESTERDAY, TODAY = 5, 6  # the numbers of these periods, of a week


def moment(days_ago: int) -> datetime:
    """Return noon of that day."""
    return NOW - timedelta(days=days_ago)


async def lookup(db: Db, days_ago: int, status: str | None, seconds: float = 0, **overrides: Any) -> asyncpg.Record:
    """Insert a lookup that began at noon of that day, and ended so many seconds later."""
    began = moment(days_ago)
    values: dict[str, Any] = {"id": at(began), "event_id": at(began), "created_at": began, "final_status": status}
    if status is not None:
        values["finished_at"] = began + timedelta(seconds=seconds)
    if status == "found":
        values |= {"mobile": "+15551234567", "provider": "nyne"}
    return await factories.lookup(db, **(values | overrides))


async def question(
    db: Db, about: asyncpg.Record, provider: str, by: str | None, credits: int = 0, **overrides: Any
) -> None:
    """Insert an ended question about that lookup: answered *by* that way, or with no known outcome."""
    began = about["created_at"]
    await factories.finished_job(
        db, "answered" if by else "unknown", id=at(began), lookup_id=about["id"], provider=provider, answered_by=by,
        source=about["source"], credits=credits, reserved_on=began.date(), submitted_at=began, finished_at=began,
        **overrides,
    )  # fmt: skip


async def make_week(db: Db) -> None:
    """Insert seven ended lookups of yesterday and today, and others that no figure of them may count."""
    second = await lookup(db, 1, "found", 10)
    await question(db, second, "leadmagic", "inline")
    await question(db, second, "nyne", "callback", 3)
    first = await lookup(db, 1, "found", 2, provider="leadmagic")
    await question(db, first, "leadmagic", "inline", 5)
    nobody = await lookup(db, 1, "not_found", source="hubspot")
    await question(db, nobody, "leadmagic", "inline", 1)
    await question(db, nobody, "nyne", "poll")
    taken = {"provider": "leadmagic", "search_id": first["search_id"], "reused_from": first["id"]}
    await lookup(db, 1, "found", source="hubspot", **taken)

    doubtful = await lookup(db, 0, "unresolved", source="hubspot")
    await question(db, doubtful, "nyne", None)
    await lookup(db, 0, "cancelled")
    retried = await lookup(db, 0, "found", 100, provider="leadmagic")
    await question(db, retried, "leadmagic", "callback", 5, search_id=uuid7())  # before a person retried it
    await question(db, retried, "leadmagic", "inline", 5)

    still_open = await lookup(db, 0, None)
    await question(db, still_open, "leadmagic", "inline")
    await factories.job(db, "awaiting", lookup_id=still_open["id"])
    before = await lookup(db, 7, "found", 1)
    await question(db, before, "nyne", "callback", 3)
