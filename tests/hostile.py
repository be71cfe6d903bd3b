"""What strangers may write into every field that is theirs, in an installation that is shown in a browser."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from enrichment.event import LONGEST_ID
from store.audit import record
from store.pauses import Scope, add_pause
from tests import factories
from tests.lived_in import callback, reading
from tests.old_history import NOW, at

if TYPE_CHECKING:
    from tests.wishes import Pool

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
BACKWARDS = "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe"
ENDLESS = "W" * 300  # without a place to break
LAST = NOW + timedelta(minutes=2)  # after all that is made meanwhile
NUMBER = "+15551234567"  # of the one who was found
TEXT = f"{ATTACK} {BACKWARDS} {ENDLESS}"


async def attack(pool: Pool) -> None:
    """Write it everywhere, newest of all, so that it is on the first page of each list."""
    contact = {
        "source": "generic", "record_id": TEXT[:LONGEST_ID], "name": TEXT, "company": TEXT, "region_hint": TEXT,
        "profile_url": TEXT, "work_email": TEXT, "personal_email": TEXT, "problems": json.dumps([("work_email", TEXT)]),
    }  # fmt: skip
    waiting = await factories.lookup(pool, id=at(LAST), event_id=at(LAST), **contact)
    await factories.job(pool, "awaiting", lookup_id=waiting["id"], request_id=TEXT, error=TEXT, raw=TEXT)
    failed = await factories.lookup(pool, id=at(LAST), event_id=at(LAST), final_status="failed", reason=TEXT, **contact)
    found = await factories.lookup(
        pool, id=at(LAST), event_id=at(LAST), final_status="found", mobile=NUMBER, mobile_raw=TEXT, **contact
    )
    await pool.execute(
        "UPDATE events SET body = $1 WHERE id = ANY($2)", TEXT.encode(), [found["event_id"], failed["event_id"]]
    )
    job = await factories.finished_job(pool, lookup_id=found["id"], request_id=TEXT, error=TEXT, raw=TEXT, credits=3)
    await callback(pool, job, TEXT.encode())
    await callback(pool, job, b"\xff\xfe not even text", verdict="flagged", flag=TEXT)
    await factories.finished_job(pool, "failed", lookup_id=failed["id"], error=TEXT, raw=TEXT)
    for state in ("refused", "given_up", "skipped"):
        await factories.delivery(
            pool, state, lookup_id=found["id"], record_id=TEXT, reason=TEXT, error=TEXT, answer=TEXT
        )
    await reading(pool, TEXT[:LONGEST_ID], "skipped", ended_at=NOW, reason=TEXT)
    await reading(pool, f"again {TEXT}"[:LONGEST_ID], "queued", tries=1, error=TEXT)
    await pool.execute("UPDATE providers SET paused_reason = $1 WHERE paused_reason IS NOT NULL", TEXT)
    await pool.execute("UPDATE connections SET account = $1, error = $1", TEXT)
    mapping = json.dumps({TEXT: "work_email", f"{TEXT} 2": "name"})
    await pool.execute("UPDATE campaigns SET name = $1, who = $1, mapping = $2 WHERE state = 'quoted'", TEXT, mapping)
    await pool.execute("UPDATE suppressions SET note = $1 WHERE kind = 'email'", TEXT)
    async with pool.acquire(timeout=5) as connection:
        await add_pause(connection, Scope(source="api"), reason=TEXT, who=TEXT)
        await record(connection, who=TEXT, action="retry", subject=TEXT, detail={"why": TEXT})
