"""Callbacks that come again, or after the job is final: recorded once, and a late number is welcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from tests.asgi import Client
from tests.called_back import call_back, found, lookup_of, not_found, path_for, verdicts
from tests.factories import finished_job, job, lookup

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

# Again


async def test_the_same_callback_again_is_recorded_once(client: Client, pool: Pool) -> None:
    """Delivered three times, a callback is applied once, charged once, and acknowledged every time."""
    row = await job(pool, "awaiting")
    body = found(row["request_id"])

    answers = [await call_back(client, row, body) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert await verdicts(pool) == ["applied"]
    assert await pool.fetchval("SELECT count(*) FROM ledger WHERE kind = 'charged'") == 1


async def test_the_same_callback_at_the_same_instant(client_with: ClientWith, pool: Pool) -> None:
    """Twenty deliveries at once, at two processes, end the job once."""
    one, other = await client_with(), await client_with()
    row = await job(pool, "awaiting")
    body = found(row["request_id"])

    answers = await asyncio.gather(*(call_back((one, other)[n % 2], row, body) for n in range(20)))

    assert {answer.status for answer in answers} == {200}
    assert await pool.fetchval("SELECT count(*) FROM callbacks") == 1
    assert await pool.fetchval("SELECT sum(credits) FROM ledger") == 3
    assert (await lookup_of(pool, row))["credits"] == 3


async def test_a_second_different_callback_changes_nothing(client: Client, pool: Pool) -> None:
    """The first answer wins; another one is recorded."""
    row = await job(pool, "awaiting")

    await call_back(client, row, found(row["request_id"]))
    await call_back(client, row, found(row["request_id"], "+15559999999"))

    assert await verdicts(pool) == ["applied", "ignored"]
    assert (await lookup_of(pool, row))["mobile"] == "+15551234567"


async def test_two_callbacks_for_one_job_in_one_commit(client: Client, pool: Pool, database_url: str) -> None:
    """Even within one batch the first answer wins, and each sender is answered."""
    row = await job(pool, "awaiting")
    bodies = [found(row["request_id"], f"+1555123456{n}") for n in range(5)]

    answers = await asyncio.gather(*(call_back(client, row, body) for body in bodies))

    assert {answer.status for answer in answers} == {200}
    assert sorted(await verdicts(pool)) == ["applied", "ignored", "ignored", "ignored", "ignored"]
    assert await pool.fetchval("SELECT count(*) FROM ledger WHERE kind = 'charged'") == 1


async def test_a_callback_for_a_job_nobody_knows_is_kept(client: Client, pool: Pool) -> None:
    """A genuine callback about an unknown job is acknowledged and kept."""
    answer = await client.post(path_for(uuid7()), found("req-1"))

    assert answer.status == 200
    assert await verdicts(pool) == ["ignored"]


# Late


@pytest.mark.parametrize("state", ["unknown", "lost", "failed"])
async def test_a_late_answer_is_welcome(client: Client, pool: Pool, state: str) -> None:
    """A number for a job that was given up turns its lookup into found, and the possible charge into a real one."""
    row = await finished_job(pool, state)

    answer = await call_back(client, row, found("req-1"))

    assert answer.status == 200
    assert await verdicts(pool) == ["late"]
    ended = await lookup_of(pool, row)
    assert (ended["final_status"], ended["mobile"], ended["credits"]) == ("found", "+15551234567", 3)
    usage = await pool.fetchrow("SELECT sum(charged), sum(possible) FROM usage")
    assert tuple(usage or ()) == (3, 0)


async def test_a_late_no_takes_the_doubt_away(client: Client, pool: Pool) -> None:
    """A late "no number" settles the possible charge, and the lookup ends as if it had come in time."""
    row = await finished_job(pool, "unknown")

    await call_back(client, row, not_found("req-1"))

    assert (await lookup_of(pool, row))["final_status"] == "not_found"
    assert await pool.fetchval("SELECT sum(possible) FROM usage") == 0


async def test_a_late_number_reaches_every_lookup_of_the_search(client: Client, pool: Pool) -> None:
    """A lookup that took the doubtful end gets the late number as well."""
    first = await lookup(pool, work_email="jane@acme.co", providers=["nyne"], final_status="unresolved")
    row = await finished_job(pool, "lost", lookup_id=first["id"])
    taker = await lookup(
        pool, work_email="jane@acme.co", providers=["nyne"], search_id=first["search_id"], reused_from=first["id"],
        final_status="unresolved",
    )  # fmt: skip

    await call_back(client, row, found("req-1"))

    assert await final_status_of(pool, taker["id"], until="found") == "found"


async def final_status_of(pool: Pool, id: UUID, *, until: str) -> str | None:
    """Return the lookup's final status, once it is *until*: it may follow after the callback was answered."""
    async with asyncio.timeout(5):
        while (status := await pool.fetchval("SELECT final_status::text FROM lookups WHERE id = $1", id)) != until:
            await asyncio.sleep(0)
    assert status is None or isinstance(status, str)
    return status


# Lookups of one search


async def test_lookups_of_one_search_end_together(client: Client, pool: Pool) -> None:
    """Two events for one person: the callback for the first ends both, and the second is free."""
    events = [{"name": "Jane Doe", "company": "Acme", "record_id": record} for record in ("a", "b")]
    first, second = [(await client.post("/events/generic", event)).json()["lookups"][0]["id"] for event in events]
    row = await pool.fetchrow("SELECT * FROM jobs")
    assert row is not None

    await call_back(client, row, found("req-1"))

    assert str(row["lookup_id"]) == first
    assert await final_status_of(pool, UUID(second), until="found") == "found"
    shown = (await client.get(f"/v1/lookups/{second}")).json()
    assert (shown["mobile"], shown["credits"], shown["reused_from"]) == ("+15551234567", 0, first)


async def test_a_lookup_that_knows_more_has_a_search_of_its_own(client: Client, pool: Pool) -> None:
    """When the search ends without a number, only a lookup with a new identifier begins one of its own."""
    contacts = [
        {"work_email": "jane@acme.co", "providers": ["nyne"], "record_id": "a"},
        {"work_email": "jane@acme.co", "providers": ["nyne"], "record_id": "b"},
        {"work_email": "jane@acme.co", "providers": ["nyne"], "profile_url": "linkedin.com/in/janedoe"},
    ]
    _, same, more = [(await client.post("/events/generic", contact)).json()["lookups"][0]["id"] for contact in contacts]
    row = await pool.fetchrow("SELECT * FROM jobs")
    assert row is not None

    await call_back(client, row, not_found("req-1"))

    assert await final_status_of(pool, UUID(same), until="not_found") == "not_found"
    async with asyncio.timeout(5):
        while await pool.fetchval("SELECT count(*) FROM jobs") == 0:
            await asyncio.sleep(0)
    assert str(await pool.fetchval("SELECT lookup_id FROM jobs")) == more
