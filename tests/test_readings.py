"""GET /v1/readings, and the counts of `ringback status`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from enrichment.crms.base import Named
from store.database import connect
from store.readings import (
    STATES,
    CrmEvent,
    list_readings,
    name_contacts,
    readings_by_status,
    readings_of_record,
)
from tests.asgi import Client
from tests.commands import ringback
from tests.crm_posts import reading
from tests.explained import Deed, Node, capture, drawn, explain, rows, walk

if TYPE_CHECKING:
    from tests.wishes import Pool

NOW = datetime.now(UTC)


async def page(client: Client, query: str = "") -> list[str]:
    """Return the record ids of the readings on a page."""
    answer = await client.get(f"/v1/readings{query}")
    assert answer.status == 200, answer
    return [one["record_id"] for one in answer.json()["readings"]]


async def test_a_reading_shows_all_of_it(client: Client, pool: Pool) -> None:
    """Why it was skipped, what named it, and the lookup that it became earlier."""
    id, lookup_id = uuid7(), uuid7()
    await reading(
        pool, id=id, named_by="sweep", state="skipped", reason="has a mobile", ended_at=NOW, lookup_id=lookup_id,
        named_at=NOW, tries=2, error="HTTP 502",
    )  # fmt: skip

    (one,) = (await client.get("/v1/readings")).json()["readings"]

    at = NOW.isoformat().replace("+00:00", "Z")
    assert one.pop("named_at").startswith(at[:19])
    assert one.pop("ended_at").startswith(at[:19])
    assert one == {
        "id": str(id), "source": "hubspot", "record_id": "123", "status": "skipped", "reason": "has a mobile",
        "named_by": "sweep", "lookup_id": str(lookup_id), "tries": 2, "last_error": "HTTP 502",
    }  # fmt: skip


async def test_readings_are_listed_newest_first_and_by_page(client: Client, pool: Pool) -> None:
    """Every reading is on exactly one page, in any state."""
    states: list[dict[str, Any]] = [
        {}, {"state": "reading", "lease_expires_at": NOW}, {"state": "skipped", "reason": "gone", "ended_at": NOW},
        {"state": "done", "lookup_id": uuid7(), "ended_at": NOW}, {},
    ]  # fmt: skip
    for number, values in enumerate(states):
        await reading(pool, str(number), **values)

    seen, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        answer = (await client.get(f"/v1/readings?limit=2{cursor}")).json()
        seen += [one["record_id"] for one in answer["readings"]]
        cursor = answer["next_cursor"] and f"&cursor={answer['next_cursor']}"
        pages += 1

    assert (seen, pages) == (["4", "3", "2", "1", "0"], 3)


async def test_readings_are_filtered(client: Client, pool: Pool) -> None:
    """By status, source and record, alone and together."""
    await reading(pool, "1")
    await reading(pool, "2", state="skipped", reason="gone", ended_at=NOW)
    await reading(pool, "3", source="another")

    assert await page(client, "?status=queued") == ["1"]
    assert await page(client, "?status=skipped&source=hubspot") == ["2"]
    assert await page(client, "?record_id=2") == ["2"]
    assert await page(client, "?record_id=2&status=queued") == []
    assert await page(client, "?record_id=9") == []


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("?status=found", ["status"]),
        ("?source=generic", ["source"]),
        ("?cursor=x&limit=0", ["cursor", "limit"]),
        (f"?record_id={'1' * 256}", ["record_id"]),
        ("?record_id=%00", ["record_id"]),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(client: Client, query: str, paths: list[str]) -> None:
    """One 422 names all of them."""
    answer = await client.get(f"/v1/readings{query}")

    assert answer.status == 422
    assert [error["path"] for error in answer.json()["errors"]] == paths


async def test_readings_are_counted_by_what_became_of_them(pool: Pool) -> None:
    """Open ones all, ended ones of the last day, skipped ones by the kind of their reason."""
    ended: dict[str, Any] = {"state": "skipped", "ended_at": NOW}
    await reading(pool, "1")
    await reading(pool, "2", state="reading", lease_expires_at=NOW)
    await reading(pool, "3", state="done", lookup_id=uuid7(), ended_at=NOW)
    await reading(pool, "4", reason="merged into 300", **ended)
    await reading(pool, "5", reason="merged into 301", **ended)
    await reading(pool, "6", reason="nothing usable: no identifier", **ended)
    await reading(pool, "7", reason="gone", **ended | {"ended_at": NOW - timedelta(days=2)})

    rows = await readings_by_status(pool, NOW - timedelta(days=1))

    assert [tuple(row.values()) for row in rows] == [
        ("hubspot", "done", None, 1),
        ("hubspot", "queued", None, 1),
        ("hubspot", "reading", None, 1),
        ("hubspot", "skipped", "merged into", 2),
        ("hubspot", "skipped", "nothing usable", 1),
    ]


async def test_status_shows_them(pool: Pool, database_url: str, tmp_path: Path) -> None:
    """`ringback status` counts what waits, and why others were skipped."""
    await reading(pool, "1")
    await reading(pool, "2", state="skipped", reason="could not be read: HTTP 400", ended_at=NOW)

    shown = await ringback("status", cwd=tmp_path, DATABASE_URL=database_url)
    told = await ringback("status", "--json", cwd=tmp_path, DATABASE_URL=database_url)

    assert "could not be read" in shown.out
    assert json.loads(told.out)["readings"] == [
        {"source": "hubspot", "status": "queued", "reason": None, "readings": 1},
        {"source": "hubspot", "status": "skipped", "reason": "could not be read", "readings": 1},
    ]


MANY = 10_000  # readings that ended long ago, of two CRMs


@pytest.fixture
async def history(pool: Pool) -> None:
    """Provide many readings of one CRM, of which few are open or ended lately, and few of another."""
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, state, named_by, ended_at, reason)
        SELECT new_id(), 'another', n::text, 'skipped', 'sweep', now() - interval '40 days', 'has a mobile'
          FROM generate_series(1, $1) AS n
        """,
        MANY,
    )
    for number in range(20):
        await reading(pool, str(number))
        await reading(pool, f"open {number}", source="another")
        await reading(pool, f"ended {number}", state="skipped", reason="gone", ended_at=NOW)
    await pool.execute("ANALYZE readings")


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    "deed",
    [
        lambda db: list_readings(db, ["hubspot"], STATES, before=None, limit=21),
        lambda db: list_readings(db, ["hubspot", "another"], ["queued"], before=uuid7(), limit=21),
        lambda db: list_readings(db, ["another"], ["skipped"], before=None, limit=21),
        lambda db: readings_of_record(db, "7", ["hubspot", "another"], STATES, before=None),
        lambda db: readings_by_status(db, NOW - timedelta(days=1)),
        lambda db: name_contacts(
            db, [CrmEvent("hubspot", b"[]", tuple(Named(str(one), "1", events=1) for one in range(50)))]
        ),
    ],
    ids=["all of one", "queued", "skipped", "of a record", "counts", "naming"],
)
async def test_no_statement_reads_through_the_readings(history: None, database_url: str, mode: str, deed: Deed) -> None:
    """However many have ended, a page, the counts and a naming cost what they show."""
    db = await connect(database_url, name="tests")
    try:
        await db.execute(f"SET plan_cache_mode = {mode}")
        plans = await explain(db, await capture(db, deed))
    finally:
        await db.close()

    assert plans
    for plan in plans:
        nodes = [Node(one) for one in walk(plan)]
        looked_at = [rows(node) for node in nodes if node.table == "readings"]
        assert max(looked_at, default=0) <= 200, drawn(plan)
