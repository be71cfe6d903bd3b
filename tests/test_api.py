"""Reading lookups, deciding about them, and what was spent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.database import connect
from enrichment.notify import CHANNEL
from receiver.api import STATUSES
from tests.asgi import Client
from tests.factories import finished_job, job, lookup, speak
from tests.test_events import ClientWith, wrong_paths

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]


async def status_of(client: Client, id: UUID) -> str:
    """The lookup's status as the API shows it."""
    status: str = (await client.get(f"/v1/lookups/{id}")).json()["status"]
    return status


# One lookup


async def test_a_lookup_is_shown_as_designed(client: Client, pool: Pool) -> None:
    """Every field of DESIGN.md is there, with credits as numbers and times in UTC."""
    at = datetime(2026, 11, 22, 9, 30, 15, 123456, UTC)
    row = await lookup(
        pool, final_status="found", record_id="crm-42", credits=Decimal("3.00"), region="US", line_type="unknown",
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
        "record_id": "crm-42", "reused_from": None, "reason": None,
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
    }  # fmt: skip


async def test_credits_are_integers_where_they_are_whole(client: Client, pool: Pool) -> None:
    """3.00 is 3, and 0.25 is 0.25."""
    row = await lookup(pool, final_status="found", credits=Decimal("0.25"))
    await finished_job(pool, lookup_id=row["id"], credits=Decimal("0.25"))

    body = (await client.get(f"/v1/lookups/{row['id']}")).body

    assert b'"credits":0.25' in body
    assert b'"possibly_charged":0,' in body


async def test_a_strange_answer_can_be_read(client: Client, pool: Pool) -> None:
    """What a vendor said and nobody understood is there, verbatim."""
    row = await finished_job(pool, "failed", error="a status never seen", raw='{"status": "galloping"}')

    shown = (await client.get(f"/v1/lookups/{row['lookup_id']}")).json()["jobs"][0]

    assert (shown["error"], shown["raw"]) == ("a status never seen", '{"status": "galloping"}')


async def test_the_open_job_stands_last(client: Client, pool: Pool) -> None:
    """A lookup shows its chain in order, the question in flight last and not answered by anyone."""
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
    """An id that nobody has, or that is none, is a 404."""
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


# Retry


@pytest.mark.parametrize(("state", "status"), [("failed", "failed"), ("unknown", "unresolved"), ("lost", "unresolved")])
async def test_what_ended_badly_can_be_tried_again(client: Client, pool: Pool, state: str, status: str) -> None:
    """failed and unresolved lookups are queued again, and a person is warned when it may cost twice."""
    row = await finished_job(pool, state)
    assert await status_of(client, row["lookup_id"]) == status

    answer = await client.post(f"/v1/lookups/{row['lookup_id']}/retry")

    assert answer.status == 202
    warning = None if state == "failed" else "may charge again: nyne was perhaps charged already"
    assert answer.json() == {"id": str(row["lookup_id"]), "status": "queued", "warning": warning}
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE lookup_id = $1", row["lookup_id"]) == 1


async def test_a_retry_asks_only_who_has_not_answered(client: Client, pool: Pool) -> None:
    """A provider that said "no number" is not paid to say so again."""
    row = await lookup(pool, final_status="unresolved")
    await finished_job(pool, lookup_id=row["id"], provider="leadmagic", answered_by="inline")
    await finished_job(pool, "unknown", lookup_id=row["id"], provider="nyne")

    await client.post(f"/v1/lookups/{row['id']}/retry")

    asked = await pool.fetchrow("SELECT provider, todo FROM jobs")
    assert tuple(asked or ()) == ("nyne", [])


async def test_a_retry_wakes_the_submitter(client: Client, pool: Pool, database_url: str) -> None:
    """Whoever asks for another try need not wait for the next poll."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    row = await finished_job(pool, "failed")
    listener = await connect(database_url, name="tests")
    await listener.add_listener(CHANNEL, lambda *_: heard.put_nowait(None))

    await client.post(f"/v1/lookups/{row['lookup_id']}/retry")

    async with asyncio.timeout(5):
        await heard.get()
    await listener.close()


async def test_a_held_lookup_goes_on_at_once(client: Client, pool: Pool) -> None:
    """A retry of a held lookup takes the hold away."""
    row = await job(pool, held="paused")

    answer = await client.post(f"/v1/lookups/{row['lookup_id']}/retry")

    assert answer.status == 202
    assert answer.json()["status"] == "queued"
    assert await pool.fetchval("SELECT held FROM jobs") is None


async def test_a_follower_s_retry_warns_of_its_leader_s_doubt(client: Client, pool: Pool) -> None:
    """Who followed a doubtful lookup may be paying for the same question again."""
    led = await finished_job(pool, "unknown")
    follower = await lookup(pool, reused_from=led["lookup_id"], final_status="unresolved")

    answer = await client.post(f"/v1/lookups/{follower['id']}/retry")

    assert answer.json()["warning"] == "may charge again: nyne was perhaps charged already"


async def test_what_ended_well_is_not_tried_again(client: Client, pool: Pool) -> None:
    """A lookup with an answer, or that nobody wants, is a 409 that says so."""
    for status in ("found", "not_found", "suppressed", "cancelled"):
        row = await lookup(pool, final_status=status)

        answer = await client.post(f"/v1/lookups/{row['id']}/retry")

        assert answer.status == 409
        assert status in answer.json()["detail"]
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_what_is_under_way_is_not_tried_again(client: Client, pool: Pool) -> None:
    """A lookup that is being asked for is a 409: one question at a time."""
    rows = [await job(pool, state) for state in ("queued", "submitting", "awaiting")]

    answers = [await client.post(f"/v1/lookups/{row['lookup_id']}/retry") for row in rows]

    assert {answer.status for answer in answers} == {409}


async def test_two_people_who_retry_at_once_ask_once(client: Client, pool: Pool) -> None:
    """The same button pressed by two people at the same instant makes one job."""
    row = await finished_job(pool, "failed")
    await speak(pool, (await pool.fetch("SELECT * FROM lookups WHERE id = $1", row["lookup_id"]))[0])

    answers = await asyncio.gather(*(client.post(f"/v1/lookups/{row['lookup_id']}/retry") for _ in range(6)))

    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409, 409, 409]
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


# Cancel


async def test_what_is_not_asked_yet_can_be_cancelled(client: Client, pool: Pool) -> None:
    """A queued or held lookup ends as cancelled, and is never asked for."""
    for overrides in ({}, {"held": "budget"}):
        row = await job(pool, **overrides)

        answer = await client.post(f"/v1/lookups/{row['lookup_id']}/cancel")

        assert (answer.status, answer.json()["status"]) == (200, "cancelled")
        assert await status_of(client, row["lookup_id"]) == "cancelled"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_what_ended_badly_can_be_cancelled(client: Client, pool: Pool) -> None:
    """A person may close what needs a decision."""
    for status in ("failed", "unresolved"):
        row = await lookup(pool, final_status=status)

        assert (await client.post(f"/v1/lookups/{row['id']}/cancel")).status == 200
        assert await status_of(client, row["id"]) == "cancelled"


async def test_what_is_on_its_way_is_not_cancelled(client: Client, pool: Pool) -> None:
    """A question that may be on the wire will be paid for, so its answer is waited for."""
    for state in ("submitting", "awaiting"):
        row = await job(pool, state)

        answer = await client.post(f"/v1/lookups/{row['lookup_id']}/cancel")

        assert answer.status == 409
        assert "running" in answer.json()["detail"]
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 2


async def test_what_has_an_answer_is_not_cancelled(client: Client, pool: Pool) -> None:
    """An answer is not taken back."""
    rows = [await lookup(pool, final_status=status) for status in ("found", "not_found", "cancelled")]

    answers = [await client.post(f"/v1/lookups/{row['id']}/cancel") for row in rows]

    assert {answer.status for answer in answers} == {409}


async def test_followers_go_on_without_a_cancelled_leader(client: Client, pool: Pool) -> None:
    """Who followed a cancelled lookup takes its own turn."""
    first, second = [
        (await client.post("/events/generic", {"work_email": "jane@acme.co", "record_id": record})).json()["lookups"][0]
        for record in ("a", "b")
    ]

    await client.post(f"/v1/lookups/{first['id']}/cancel")

    async with asyncio.timeout(5):
        while await pool.fetchval("SELECT count(*) FROM jobs") == 0:
            await asyncio.sleep(0)
    assert str(await pool.fetchval("SELECT lookup_id FROM jobs")) == second["id"]


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
        {"provider": "nyne", "day": today.isoformat(), "reserved": 3, "charged": 3, "possibly_charged": 3},
        {
            "provider": "leadmagic", "day": (today - timedelta(days=1)).isoformat(),
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
        {"provider": None, "period": "day", "credits": 10, "used": 11, "left": 0},
        {"provider": None, "period": "month", "credits": 100, "used": 11, "left": 89},
        {"provider": "leadmagic", "period": "month", "credits": 50, "used": 5, "left": 45},
        {"provider": "nyne", "period": "day", "credits": 4.5, "used": 6, "left": 0},
    ]


@pytest.mark.parametrize("days", ["0", "367", "x", "-1", "1.5", ""])
async def test_days_out_of_range_are_a_422(offline: Client, days: str) -> None:
    """days is a whole number from 1 to 366."""
    assert wrong_paths(await offline.get(f"/v1/usage?days={days}")) == ["days"]
