"""People's decisions about lookups: retry or cancel, and when that is a conflict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from store.database import connect
from store.notify import CHANNEL
from tests.asgi import Client
from tests.factories import finished_job, job, lookup
from tests.receiving import status_of, wrong_paths

if TYPE_CHECKING:
    from tests.wishes import Pool

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
    """A retry wakes the submitter, instead of waiting for its next poll."""
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


async def test_a_retry_warns_of_the_doubt_of_another_lookup_s_search(client: Client, pool: Pool) -> None:
    """A lookup that took a doubtful end may pay for the same question again."""
    asked = await finished_job(pool, "unknown")
    taker = await lookup(
        pool, search_id=asked["search_id"], reused_from=asked["lookup_id"], final_status="unresolved"
    )  # fmt: skip

    answer = await client.post(f"/v1/lookups/{taker['id']}/retry")

    assert answer.json()["warning"] == "may charge again: nyne was perhaps charged already"


async def test_what_ended_well_is_not_tried_again(client: Client, pool: Pool) -> None:
    """A retry of a lookup that has its answer, or was cancelled, is a 409 that says so."""
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

    answers = await asyncio.gather(*(client.post(f"/v1/lookups/{row['lookup_id']}/retry") for _ in range(6)))

    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409, 409, 409]
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_wrong_number_can_be_reported(client: Client, pool: Pool) -> None:
    """When a found lookup's number is reported wrong, the other providers are asked."""
    row = await lookup(pool, final_status="found", provider="leadmagic")
    await finished_job(pool, lookup_id=row["id"], provider="leadmagic", answered_by="inline")

    refused = await client.post(f"/v1/lookups/{row['id']}/retry")
    answer = await client.post(f"/v1/lookups/{row['id']}/retry", {"wrong_number": True})

    assert (refused.status, answer.status, answer.json()["status"]) == (409, 202, "queued")
    assert "wrong_number" in refused.json()["detail"]
    shown = (await client.get(f"/v1/lookups/{row['id']}")).json()
    assert (shown["mobile"], shown["provider"]) == (None, None)
    assert await pool.fetchval("SELECT provider FROM jobs") == "nyne"


@pytest.mark.parametrize(
    "body",
    [{"wrong_number": "perhaps"}, {"wrong_number": "yes"}, {"wrong_number": 1}, {"wrong_number": None}, [], "yes"],
)
async def test_a_decision_that_cannot_be_read_is_refused(client: Client, pool: Pool, body: object) -> None:
    """Only {"wrong_number": true or false}, or nothing, is a retry."""
    row = await lookup(pool, final_status="found")

    answer = await client.post(f"/v1/lookups/{row['id']}/retry", body)

    assert wrong_paths(answer) == ["wrong_number"]
    assert await status_of(client, row["id"]) == "found"


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


async def test_a_search_goes_on_for_those_who_still_wait(client: Client, pool: Pool) -> None:
    """Cancelling the lookup that a search began for leaves its question to the others."""
    first, second = [
        (await client.post("/events/generic", {"work_email": "jane@acme.co", "record_id": record})).json()["lookups"][0]
        for record in ("a", "b")
    ]

    await client.post(f"/v1/lookups/{first['id']}/cancel")

    assert await status_of(client, first["id"]) == "cancelled"
    assert await status_of(client, second["id"]) == "queued"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_search_that_nobody_waits_for_is_not_asked(client: Client, pool: Pool) -> None:
    """When the last lookup of a search is cancelled, its question is dropped."""
    made = [
        (await client.post("/events/generic", {"work_email": "jane@acme.co", "record_id": record})).json()["lookups"][0]
        for record in ("a", "b")
    ]

    for one in made:
        await client.post(f"/v1/lookups/{one['id']}/cancel")

    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0
    assert await pool.fetchval("SELECT status::text FROM searches") == "dropped"
