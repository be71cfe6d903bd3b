"""The page "Now" shows what is so, in words for people, and its brake stops what it says."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from enrichment.providers.base import Limit
from store import present
from store.pauses import Scope, add_pause, read_brake
from store.providers import pause, register_provider
from tests.asgi import Answer, Client
from tests.claims import take
from tests.conftest import TOKEN, ClientWith
from tests.factories import finished_job, job, lookup
from tests.seat import seated

if TYPE_CHECKING:
    from tests.wishes import Pool

HOSTILE = "<script>alert(1)</script>"


def text_of(answer: Answer) -> str:
    """The page as a person reads it: without tags, in one line."""
    assert answer.status == 200, answer
    return " ".join(re.sub(r"<[^>]+>", " ", answer.body.decode()).split())


async def test_an_empty_installation_says_what_to_do_first(client: Client) -> None:
    """Nothing has come in: the page leads to what comes first, and no table is empty."""
    page = text_of(await (await seated(client)).get("/"))

    assert "Nothing has come in yet" in page
    assert "Nothing is outstanding." in page
    assert "No CRM is connected." in page


async def test_outstanding_jobs_are_counted_by_provider_and_state(db: Pool, client: Client) -> None:
    """What is asked, what waits for a callback, and how long the oldest has waited."""
    for _ in range(2):
        await job(db, "awaiting", lookup_id=(await lookup(db, providers=["nyne"]))["id"], request_id="r")
    await db.execute("UPDATE jobs SET submitted_at = now() - interval '90 minutes'")

    page = text_of(await (await seated(client)).get("/"))

    assert "nyne awaiting 2 1 h 30 min" in page
    assert "2 jobs wait for one" in page


async def test_a_callback_counts_in_its_minute(db: Pool) -> None:
    """Callbacks, and all answers, by the minute in which they ended the job; older ones do not count."""
    row = await lookup(db, final_status="found")
    for by in ("callback", "callback", "poll"):
        await finished_job(db, lookup_id=row["id"], provider="nyne", answered_by=by)
    old = await finished_job(db, lookup_id=row["id"], provider="nyne", answered_by="callback")
    await db.execute("UPDATE finished_jobs SET finished_at = now() - interval '5 minutes' WHERE id = $1", old["id"])
    now = await db.fetchval("SELECT max(finished_at) FROM finished_jobs")

    minutes = await present.answers_by_minute(db, now, 3)

    assert [(row["callbacks"], row["ended"]) for row in minutes] == [(0, 0), (0, 0), (2, 3)]


async def test_a_paused_provider_is_shown_with_the_vendors_reason(db: Pool, client: Client) -> None:
    """The reason is the vendor's text: it is shown, and does nothing."""
    await pause(db, "nyne", f"402: {HOSTILE}", timedelta(minutes=1))

    answer = await (await seated(client)).get("/")

    assert "paused 402: &lt;script&gt;alert(1)&lt;/script&gt;" in text_of(answer)
    assert HOSTILE not in answer.body.decode()


@pytest.mark.parametrize(
    ("fields", "stopped"),
    [
        ({"reason": "a mistake"}, Scope()),
        ({"provider": "nyne"}, Scope(provider="nyne")),
        ({"source": "hubspot", "reason": " "}, Scope(source="hubspot")),
    ],
)
async def test_the_brake_stops_what_its_button_says(
    db: Pool, client: Client, fields: dict[str, str], stopped: Scope
) -> None:
    """All, one provider, or one source; a form without a reason has one that says where it was pulled."""
    seat = await seated(client)

    answer = await seat.form("/pause", fields)

    assert (answer.status, answer.headers["location"]) == (303, "/?said=paused")
    row = await db.fetchrow("SELECT id, provider, source, reason FROM pauses")
    assert row is not None
    assert Scope(row["provider"], row["source"]) == stopped
    assert row["reason"] == (fields.get("reason", "").strip() or "stopped in the dashboard")
    assert "Stopped." in text_of(await seat.get("/?said=paused"))

    answer = await seat.form("/resume", {"id": str(row["id"])})

    assert (answer.status, answer.headers["location"]) == (303, "/?said=resumed")
    assert not (await read_brake(db)).all


async def test_a_second_pull_and_a_second_letting_go_say_that_it_is_so(db: Pool, client: Client) -> None:
    """Two people may press at once: neither sees an error."""
    seat = await seated(client)
    await add_pause(db, Scope(), reason="first", who="somebody")
    id = await db.fetchval("DELETE FROM pauses RETURNING id")

    gone = [await seat.form("/resume", {"id": one}) for one in (str(id), "no id", "")]
    await seat.form("/pause", {})
    again = await seat.form("/pause", {})

    assert {one.headers["location"] for one in gone} == {"/?said=resumed-already"}
    assert again.headers["location"] == "/?said=paused-already"


@pytest.mark.parametrize("fields", [{"provider": "acme"}, {"source": "acme"}, {"provider": "nyne", "source": "api"}])
async def test_a_form_that_is_not_ours_stops_nothing(db: Pool, client: Client, fields: dict[str, str]) -> None:
    """Its page says which fields are wrong."""
    answer = await (await seated(client)).form("/pause", fields)

    assert answer.status == 422
    assert await db.fetchval("SELECT count(*) FROM pauses") == 0


async def test_who_may_only_look_has_no_buttons(client_with: ClientWith) -> None:
    """A page shows what its visitor may do, and the address refuses the rest."""
    seat = await seated(await client_with(api_tokens=f"eyes:read:{TOKEN}"))

    page = (await seat.get("/")).body.decode()
    answer = await seat.form("/pause", {})

    assert 'action="/pause"' not in page
    assert answer.status == 403
    assert b"<code>operate</code>" in answer.body


async def test_a_limit_that_is_counted_shows_what_is_used(pool: Pool) -> None:
    """Of an hour the requests are counted; a minute is paced, and has no such number."""
    await register_provider(pool, "nyne", [Limit(1000, 3600), Limit(100, 60)], {})
    for _ in range(3):
        await job(pool, lookup_id=(await lookup(pool, providers=["nyne"]))["id"])
    await take(pool)

    minute, hour = await present.limits_used(pool)

    assert (minute.window, minute.allowance, minute.used) == (60, 100, None)
    assert (hour.window, hour.allowance, hour.used) == (3600, 1000, 1)
