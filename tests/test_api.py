"""Reading: one lookup as designed, all of them in pages, and what was spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from receiver.lookup_lists import STATUSES
from tests.asgi import Client
from tests.factories import finished_job, job, lookup
from tests.receiving import status_of, wrong_paths

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

# One lookup


async def test_a_lookup_is_shown_as_designed(client: Client, pool: Pool) -> None:
    """Every field of DESIGN.md is there, with credits as numbers and times in UTC."""
    at = datetime(2026, 11, 22, 9, 30, 15, 123456, UTC)
    row = await lookup(
        pool, final_status="found", record_id="crm-42", region="US", line_type="unknown",
        profile_url="linkedin.com/in/janedoe", work_email="jane@acme.co", name="Jane Doe", company="Acme",
        created_at=at, finished_at=at,
    )  # fmt: skip
    done = await finished_job(
        pool, lookup_id=row["id"], credits=Decimal(3), request_id="req-1", polls=2, submitted_at=at, finished_at=at
    )

    answer = await client.get(f"/v1/lookups/{row['id']}")

    assert answer.status == 200
    assert answer.json() == {
        "id": str(row["id"]), "status": "found", "mobile": "+15551234567", "mobile_raw": "+1-555-123-4567",
        "region": "US", "line_type": "unknown", "provider": "nyne", "credits": 3, "source": "generic",
        "record_id": "crm-42", "search_id": str(row["search_id"]), "reused_from": None, "reason": None,
        "problems": [],
        "person": {
            "profile_url": "linkedin.com/in/janedoe", "work_email": "jane@acme.co", "personal_email": None,
            "name": "Jane Doe", "company": "Acme",
        },
        "created_at": "2026-11-22T09:30:15.123Z", "finished_at": "2026-11-22T09:30:15.123Z",
        "jobs": [{
            "id": str(done["id"]), "provider": "nyne", "state": "answered", "answered_by": "callback",
            "request_id": "req-1", "credits": 3, "possibly_charged": 0, "polls": 2, "attempt": 1,
            "submitted_at": "2026-11-22T09:30:15.123Z", "finished_at": "2026-11-22T09:30:15.123Z",
            "error": None, "raw": None,
        }],
        "deliveries": [],
    }  # fmt: skip


async def test_credits_are_integers_where_they_are_whole(client: Client, pool: Pool) -> None:
    """3.00 is 3, and 0.25 is 0.25."""
    row = await lookup(pool, final_status="found")
    await finished_job(pool, lookup_id=row["id"], credits=Decimal("0.25"))

    body = (await client.get(f"/v1/lookups/{row['id']}")).body

    assert b'"credits":0.25' in body
    assert b'"possibly_charged":0,' in body


async def test_a_strange_answer_can_be_read(client: Client, pool: Pool) -> None:
    """A vendor's unreadable answer is shown verbatim."""
    row = await finished_job(pool, "failed", error="a status never seen", raw='{"status": "galloping"}')

    shown = (await client.get(f"/v1/lookups/{row['lookup_id']}")).json()["jobs"][0]

    assert (shown["error"], shown["raw"]) == ("a status never seen", '{"status": "galloping"}')


async def test_the_open_job_stands_last(client: Client, pool: Pool) -> None:
    """A lookup shows its chain in order; the question in flight is last, without a provider's answer."""
    row = await lookup(pool)
    await finished_job(pool, lookup_id=row["id"], provider="leadmagic", answered_by="inline")
    await job(pool, "awaiting", lookup_id=row["id"], place=1)

    jobs = (await client.get(f"/v1/lookups/{row['id']}")).json()["jobs"]

    assert [(one["provider"], one["state"], one["answered_by"]) for one in jobs] == [
        ("leadmagic", "answered", "inline"), ("nyne", "awaiting", None),
    ]  # fmt: skip


async def test_the_open_status_is_read_off_the_job(client: Client, pool: Pool) -> None:
    """queued until it was first asked, held while it waits for budget or provider, running otherwise."""
    expected: list[tuple[str, dict[str, Any], str]] = [
        ("queued", {}, "queued"),
        ("queued", {"attempt": 1, "tries": 1}, "running"),
        ("queued", {"place": 1}, "running"),
        ("queued", {"held": "budget"}, "held"),
        ("queued", {"held": "paused", "place": 1}, "held"),
        ("submitting", {}, "running"),
        ("awaiting", {}, "running"),
    ]
    rows = [await job(pool, state, **overrides) for state, overrides, _ in expected]

    statuses = [await status_of(client, row["lookup_id"]) for row in rows]

    assert statuses == [status for _, _, status in expected]


async def test_an_unknown_lookup_is_a_404(client: Client) -> None:
    """An unknown id, and a text that is no id, is a 404."""
    for method, suffix in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
        for id in (str(uuid7()), "42", "x" * 300, "%00"):
            answer = await client.send(method, f"/v1/lookups/{id}{suffix}", b"")

            assert answer.status == 404
            assert answer.headers["content-type"] == "application/problem+json"


# Lists


async def test_pages_hold_every_lookup_once_newest_first(client: Client, pool: Pool) -> None:
    """Following next_cursor shows every lookup once, even while new ones come in."""
    made = [(await lookup(pool))["id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = f"?limit=3&cursor={cursor}" if cursor else "?limit=3"
        page = (await client.get(f"/v1/lookups{query}")).json()
        assert len(page["lookups"]) <= 3
        seen += [one["id"] for one in page["lookups"]]
        cursor = page["next_cursor"]
        await lookup(pool)

    assert seen == [str(id) for id in reversed(made)]


async def test_the_last_page_says_so(client: Client, pool: Pool) -> None:
    """A page that holds the rest, even exactly, has no next one."""
    for _ in range(2):
        await lookup(pool)

    assert (await client.get("/v1/lookups?limit=2")).json()["next_cursor"] is None
    assert (await client.get("/v1/lookups?limit=1")).json()["next_cursor"] is not None


async def test_an_empty_list_is_a_list(client: Client) -> None:
    """Nothing there is an empty page."""
    answer = await client.get("/v1/lookups")

    assert answer.json() == {"lookups": [], "next_cursor": None}


async def test_lists_can_be_narrowed_to_a_status(client: Client, pool: Pool) -> None:
    """Only lookups of the wanted status are listed, the open ones included."""
    for final in ("found", "not_found", "failed", "unresolved", "suppressed", "cancelled"):
        await lookup(pool, final_status=final)
    await job(pool)
    await job(pool, "awaiting")
    await job(pool, held="budget")

    pages = {status: (await client.get(f"/v1/lookups?status={status}")).json() for status in STATUSES}

    assert {status: [one["status"] for one in page["lookups"]] for status, page in pages.items()} == {
        status: [status] for status in STATUSES
    }


async def test_lists_can_be_narrowed_to_a_record(client: Client, pool: Pool) -> None:
    """All lookups for one record of the CRM, whatever their status."""
    wanted = [await lookup(pool, record_id="crm-1"), await lookup(pool, record_id="crm-1", final_status="failed")]
    await lookup(pool, record_id="crm-2")

    page = (await client.get("/v1/lookups?record_id=crm-1")).json()
    both = (await client.get("/v1/lookups?record_id=crm-1&status=failed")).json()

    assert [one["id"] for one in page["lookups"]] == [str(row["id"]) for row in reversed(wanted)]
    assert [one["id"] for one in both["lookups"]] == [str(wanted[1]["id"])]


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("status=lost", ["status"]),
        ("status=", ["status"]),
        ("limit=0", ["limit"]),
        ("limit=201", ["limit"]),
        ("limit=ten", ["limit"]),
        ("limit=%D9%A3", ["limit"]),
        ("limit=" + "9" * 5000, ["limit"]),
        ("cursor=nonsense", ["cursor"]),
        ("cursor=%FF%00", ["cursor"]),
        ("record_id=a%00b", ["record_id"]),
        ("status=x&limit=x&cursor=x", ["status", "cursor", "limit"]),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(offline: Client, query: str, paths: list[str]) -> None:
    """Each bad parameter is a 422 with its name."""
    assert wrong_paths(await offline.get(f"/v1/lookups?{query}")) == paths


# Usage


async def test_usage_sums_credits_by_provider_and_day(client: Client, pool: Pool) -> None:
    """Reserved, charged and possibly charged credits, newest day first."""
    today = datetime.now(UTC).date()
    await job(pool, "awaiting")
    await finished_job(pool, credits=Decimal(3))
    await finished_job(pool, "unknown")
    await finished_job(pool, provider="leadmagic", credits=Decimal("5.00"), reserved_on=today - timedelta(days=1))

    usage = (await client.get("/v1/usage")).json()

    assert usage["days"] == [
        {
            "provider": "nyne", "source": "generic", "day": today.isoformat(),
            "reserved": 3, "charged": 3, "possibly_charged": 3,
        },
        {
            "provider": "leadmagic", "source": "generic", "day": (today - timedelta(days=1)).isoformat(),
            "reserved": 0, "charged": 5, "possibly_charged": 0,
        },
    ]  # fmt: skip
    assert usage["budgets"] == []


async def test_days_says_how_far_back(client: Client, pool: Pool) -> None:
    """days=1 is today."""
    today = datetime.now(UTC).date()
    for back in (0, 1, 2):
        await finished_job(pool, credits=Decimal(3), reserved_on=today - timedelta(days=back))

    days = {n: len((await client.get(f"/v1/usage?days={n}")).json()["days"]) for n in (1, 2, 3)}

    assert days == {1: 1, 2: 2, 3: 3}


async def test_every_budget_shows_what_is_left(client_with: ClientWith, pool: Pool) -> None:
    """Day and month, all together and per provider; overdrawn is nothing left, not less than nothing."""
    client = await client_with(
        budget_credits_per_day=10, budget_credits_per_month=100, nyne_budget_credits_per_day="4.5",
        leadmagic_budget_credits_per_month=50,
    )  # fmt: skip
    today = datetime.now(UTC).date()
    await finished_job(pool, credits=Decimal(3))
    await finished_job(pool, "unknown")
    await job(pool, "submitting", provider="leadmagic")
    await finished_job(pool, credits=Decimal(3), reserved_on=today.replace(day=1) - timedelta(days=1))

    budgets = (await client.get("/v1/usage?days=1")).json()["budgets"]

    assert budgets == [
        {"provider": None, "source": None, "period": "day", "credits": 10, "used": 11, "left": 0},
        {"provider": None, "source": None, "period": "month", "credits": 100, "used": 11, "left": 89},
        {"provider": "leadmagic", "source": None, "period": "month", "credits": 50, "used": 5, "left": 45},
        {"provider": "nyne", "source": None, "period": "day", "credits": 4.5, "used": 6, "left": 0},
    ]


@pytest.mark.parametrize("days", ["0", "367", "x", "-1", "1.5", ""])
async def test_days_out_of_range_are_a_422(offline: Client, days: str) -> None:
    """days is a whole number from 1 to 366."""
    assert wrong_paths(await offline.get(f"/v1/usage?days={days}")) == ["days"]
