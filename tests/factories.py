"""Rows, legal by construction: say what matters to the test, and the rest is filled in as the CHECKs demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.identity import person_keys
from store.database import Db

PRICES = {"leadmagic": Decimal(5), "nyne": Decimal(3)}


async def lookup(db: Db, **overrides: Any) -> asyncpg.Record:
    """A lookup (open, unless *final_status* says otherwise) and its event, without a job."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid7(),
        "event_id": uuid7(),
        "source": "generic",
        "work_email": f"{uuid7()}@acme.co",
        "providers": ["leadmagic", "nyne"],
    }
    if overrides.get("final_status"):
        values["finished_at"] = now
    if overrides.get("final_status") == "found":
        values |= {"mobile": "+15551234567", "mobile_raw": "+1-555-123-4567", "provider": "nyne"}
    values |= overrides
    await _insert(db, "events", {"id": values["event_id"], "source": values["source"], "body": b"{}"})
    return await _insert(db, "lookups", values)


async def speak(db: Db, speaker: asyncpg.Record) -> None:
    """The lookup *speaker* speaks for its person: the next event for that person follows it."""
    fields = ("profile_url", "work_email", "personal_email", "name", "company")
    for key in person_keys(Contact(**{field: speaker[field] for field in fields})):
        await _insert(db, "keys", {"key": key, "lookup_id": speaker["id"]})


async def job(db: Db, state: str = "queued", **overrides: Any) -> asyncpg.Record:
    """An open job in *state*, of a lookup of its own unless *lookup_id* names one; its credits are reserved."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"id": uuid7(), "provider": "nyne", "state": state, "todo": []}
    if "lookup_id" not in overrides:
        values["lookup_id"] = (await lookup(db))["id"]
    if state != "queued":
        price = PRICES[overrides.get("provider", "nyne")]
        values |= {"attempt": 1, "submitted_at": now, "reserved": price, "reserved_on": now.date()}
    if state == "submitting":
        values["lease_expires_at"] = now + timedelta(seconds=20)
    if state == "awaiting":
        values |= {"request_id": f"req-{uuid7()}", "callback_expected": True, "due_at": now + timedelta(minutes=1)}
    values |= overrides
    if values.get("reserved"):
        await _use(db, values, reserved=values["reserved"])
    return await _insert(db, "jobs", values)


async def finished_job(db: Db, state: str = "answered", **overrides: Any) -> asyncpg.Record:
    """A job that is over; unknown and lost ones are possibly charged, in the ledger as well."""
    now = datetime.now(UTC)
    price = PRICES[overrides.get("provider", "nyne")]
    doubtful = state in ("unknown", "lost")
    values: dict[str, Any] = {
        "id": uuid7(),
        "provider": "nyne",
        "state": state,
        "answered_by": "callback" if state == "answered" else None,
        "attempt": 1,
        "polls": 0,
        "credits": 0,
        "possible": price if doubtful else 0,
        "reserved_on": now.date(),
        "submitted_at": now,
    }
    if "lookup_id" not in overrides:
        status = {"answered": "not_found", "failed": "failed"}.get(state, "unresolved")
        values["lookup_id"] = (await lookup(db, final_status=status))["id"]
    values |= overrides
    await _use(db, values, charged=values["credits"], possible=values["possible"])
    for kind, credits in (("charged", values["credits"]), ("possible", values["possible"])):
        if credits:
            await _insert(
                db,
                "ledger",
                {
                    "job_id": values["id"], "lookup_id": values["lookup_id"], "provider": values["provider"],
                    "kind": kind, "credits": credits, "day": values["reserved_on"],
                },
            )  # fmt: skip
    return await _insert(db, "finished_jobs", values)


async def _use(db: Db, values: dict[str, Any], **sums: Any) -> None:
    await db.execute(
        """
        INSERT INTO usage (provider, day, slot, reserved, charged, possible)
        VALUES ($1, $2, 0, $3, $4, $5)
            ON CONFLICT (provider, day, slot) DO UPDATE
           SET reserved = usage.reserved + excluded.reserved,
               charged = usage.charged + excluded.charged,
               possible = usage.possible + excluded.possible
        """,
        values["provider"],
        values["reserved_on"],
        *(sums.get(name, 0) for name in ("reserved", "charged", "possible")),
    )


async def _insert(db: Db, table: str, values: dict[str, Any]) -> asyncpg.Record:
    columns = ", ".join(values)
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    row = await db.fetchrow(f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING *", *values.values())  # noqa: S608
    assert row is not None
    return row
