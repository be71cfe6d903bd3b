"""Rows that the CHECKs allow: name what matters to the test, and the factory fills in the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.wish import Keys, keys_of
from store.database import Db
from tests.wishes import POLICY

PRICES = {"leadmagic": Decimal(5), "nyne": Decimal(3)}


async def lookup(db: Db, **overrides: Any) -> asyncpg.Record:
    """Insert a lookup (open, unless *final_status* says otherwise), its event, and the search begun for it; no job.

    With *search_id*, it waits for that search, or took its answer.
    """
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
    contact = Contact(**{field: values.get(field) for field in ("profile_url", "work_email", "personal_email", "name")})
    keys = keys_of(contact, None, POLICY.hash)
    values |= {"keys": sorted(keys.own), "identifiers": sorted(keys.identifiers)}
    if "search_id" not in values:
        values["search_id"] = (await _search(db, values, keys))["id"]
    await insert(db, "events", {"id": values["event_id"], "source": values["source"], "body": b"{}"})
    return await insert(db, "lookups", values)


async def _search(db: Db, lookup: dict[str, Any], keys: Keys) -> asyncpg.Record:
    """Insert the search that began for this lookup, and its keys."""
    status = lookup.get("final_status")
    values: dict[str, Any] = {
        "id": UUID(int=lookup["id"].int ^ 1 << 40),  # made at the same time as the lookup
        "begun_for": lookup["id"],
        "keys": sorted(keys.own),
        "asked": sorted(keys.asked),
        "providers": lookup["providers"],
        "said": "{}",
    }
    if status is not None:
        values |= {"status": "dropped" if status in ("cancelled", "suppressed") else status}
        values["ended_at"] = lookup["finished_at"]
    if status == "found":
        values["said"] = json.dumps({lookup["provider"]: "answered"})
        values["numbers"] = json.dumps({lookup["provider"]: {"mobile": lookup["mobile"], "raw": lookup["mobile_raw"]}})
    for key in keys.own:
        await db.execute(
            """
            INSERT INTO keys (key, searches) VALUES ($1, ARRAY[$2::uuid])
                ON CONFLICT (key) DO UPDATE SET searches = keys.searches || excluded.searches
            """,
            key,
            values["id"],
        )
    return await insert(db, "searches", values)


async def search_of(db: Db, lookup_id: UUID) -> asyncpg.Record:
    """Return the search that this lookup waits for, or whose answer it took."""
    row: asyncpg.Record | None = await db.fetchrow(
        "SELECT searches.* FROM searches JOIN lookups ON lookups.search_id = searches.id WHERE lookups.id = $1",
        lookup_id,
    )
    assert row is not None
    return row


async def job(db: Db, state: str = "queued", **overrides: Any) -> asyncpg.Record:
    """Insert an open job in *state*, of a lookup of its own unless *lookup_id* names one; reserve its credits."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"id": uuid7(), "provider": "nyne", "state": state, "todo": [], "source": "generic"}
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
    if "search_id" not in values:
        values["search_id"] = (await search_of(db, values["lookup_id"]))["id"]
    if values.get("reserved"):
        await _use(db, values, reserved=values["reserved"])
    return await insert(db, "jobs", values)


async def finished_job(db: Db, state: str = "answered", **overrides: Any) -> asyncpg.Record:
    """Insert a job that is over; unknown and lost ones are possibly charged, in the ledger as well."""
    now = datetime.now(UTC)
    price = PRICES[overrides.get("provider", "nyne")]
    doubtful = state in ("unknown", "lost")
    values: dict[str, Any] = {
        "id": uuid7(),
        "provider": "nyne",
        "source": "generic",
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
    if "search_id" not in values:
        values["search_id"] = (await search_of(db, values["lookup_id"]))["id"]
    await db.execute(
        "UPDATE searches SET said = said || jsonb_build_object($2::text, $3::text) WHERE id = $1",
        values["search_id"],
        values["provider"],
        state,
    )
    await _use(db, values, charged=values["credits"], possible=values["possible"])
    for kind, credits in (("charged", values["credits"]), ("possible", values["possible"])):
        if credits:
            await insert(
                db,
                "ledger",
                {
                    "job_id": values["id"], "lookup_id": values["lookup_id"], "provider": values["provider"],
                    "kind": kind, "credits": credits, "day": values["reserved_on"],
                },
            )  # fmt: skip
    return await insert(db, "finished_jobs", values)


async def delivery(db: Db, state: str = "queued", **overrides: Any) -> asyncpg.Record:
    """Insert a delivery to the webhook in *state*, of a found lookup of its own unless *lookup_id* names one."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"id": uuid7(), "channel": "webhook", "state": state}
    if "lookup_id" not in overrides:
        values["lookup_id"] = (await lookup(db, final_status="found"))["id"]
    if state == "sending":
        values |= {"attempt": 1, "lease_expires_at": now + timedelta(seconds=20), "claimed_by": uuid7()}
    elif state != "queued":
        values |= {"attempt": 1, "ended_at": now}
    if state in ("refused", "given_up", "skipped"):
        values["reason"] = "HTTP 410"
    return await insert(db, "deliveries", values | overrides)


async def _use(db: Db, values: dict[str, Any], **sums: Any) -> None:
    await db.execute(
        """
        INSERT INTO usage (provider, source, day, slot, reserved, charged, possible)
        VALUES ($1, $6, $2, 0, $3, $4, $5)
            ON CONFLICT (provider, source, day, slot) DO UPDATE
           SET reserved = usage.reserved + excluded.reserved,
               charged = usage.charged + excluded.charged,
               possible = usage.possible + excluded.possible
        """,
        values["provider"],
        values["reserved_on"],
        *(sums.get(name, 0) for name in ("reserved", "charged", "possible")),
        values["source"],
    )


async def insert(db: Db, table: str, values: dict[str, Any]) -> asyncpg.Record:
    """Insert one row, and return it."""
    columns = ", ".join(values)
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    row = await db.fetchrow(f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING *", *values.values())  # noqa: S608
    assert row is not None
    return row
