"""Genuine callbacks in: what fits is applied in the same commit, what does not is kept and flagged."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from store.asked import Acceptance, accept, check_overtaken
from store.database import connect
from store.notify import CHANNEL
from tests.asgi import Client
from tests.called_back import call_back, found, lookup_of, not_found, path_for, verdicts
from tests.factories import job, lookup

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

# Readable and fitting: stored verbatim, applied, in one commit


async def test_a_callback_with_a_number_ends_the_lookup(client: Client, pool: Pool) -> None:
    """A number is stored, charged, and the lookup is found; the message is kept verbatim."""
    row = await job(pool, "awaiting")
    body = json.dumps(found(row["request_id"], "+1-555-123-4567"), indent=3).encode()

    answer = await client.post(path_for(row["id"]), body)

    assert (answer.status, answer.json()) == (200, {})
    ended = await lookup_of(pool, row)
    assert (ended["final_status"], ended["mobile"], ended["mobile_raw"]) == ("found", "+15551234567", "+1-555-123-4567")
    assert (ended["provider"], ended["credits"]) == ("nyne", 3)
    finished = await pool.fetchrow("SELECT * FROM finished_jobs WHERE id = $1", row["id"])
    assert finished is not None
    assert (finished["state"], finished["answered_by"], finished["request_id"]) == (
        "answered", "callback", row["request_id"],
    )  # fmt: skip
    stored = await pool.fetchrow("SELECT body, verdict, lookup_id, provider, flag FROM callbacks")
    assert tuple(stored or ()) == (body, "applied", row["lookup_id"], "nyne", None)
    ledger = await pool.fetch("SELECT kind, credits FROM ledger")
    assert [tuple(entry) for entry in ledger] == [("charged", 3)]


@pytest.mark.parametrize("hint", [None, "DE"])
async def test_a_national_number_is_read_in_the_contact_s_region(
    client_with: ClientWith, pool: Pool, hint: str | None
) -> None:
    """The lookup's own region comes first, then DEFAULT_REGION."""
    client = await client_with(default_region="GB")
    wish = await lookup(pool, region_hint=hint)
    row = await job(pool, "awaiting", lookup_id=wish["id"])

    await call_back(client, row, found(row["request_id"], "07400 123456" if hint is None else "0151 23456789"))

    ended = await lookup_of(pool, row)
    assert (ended["mobile"], ended["region"]) == (("+447400123456", "GB") if hint is None else ("+4915123456789", "DE"))


async def test_a_callback_without_a_number_ends_the_lookup(client: Client, pool: Pool) -> None:
    """Without a number, and without another provider, the lookup ends as not_found, and nothing was charged."""
    row = await job(pool, "awaiting")

    await call_back(client, row, not_found(row["request_id"]))

    ended = await lookup_of(pool, row)
    assert (ended["final_status"], ended["credits"]) == ("not_found", 0)


async def test_what_cannot_be_a_phone_number_is_not_found(client: Client, pool: Pool) -> None:
    """A "number" that is none is not delivered as one; the raw text is kept, and the charge is."""
    row = await job(pool, "awaiting")

    await call_back(client, row, found(row["request_id"], "12"))

    ended = await lookup_of(pool, row)
    assert (ended["final_status"], ended["mobile"], ended["credits"]) == ("not_found", None, 3)
    assert await pool.fetchval("SELECT raw FROM finished_jobs") == "12"


async def test_a_callback_that_says_failed_fails_the_job(client: Client, pool: Pool) -> None:
    """failed ends the job as failed, free of charge, and its body can be read."""
    row = await job(pool, "awaiting")
    body = {"status": "failed", "request_id": row["request_id"], "error": {"code": "internal", "message": "Oh no"}}

    await call_back(client, row, body)

    assert (await lookup_of(pool, row))["final_status"] == "failed"
    shown = (await client_json(client, row))["jobs"][0]
    assert (shown["state"], shown["credits"], json.loads(shown["raw"])) == ("failed", 0, body)


async def client_json(client: Client, row: asyncpg.Record) -> dict[str, Any]:
    """The job's lookup as the API shows it."""
    shown: dict[str, Any] = (await client.get(f"/v1/lookups/{row['lookup_id']}")).json()
    return shown


async def test_the_chain_goes_on_and_the_submitter_hears_of_it(client: Client, pool: Pool, database_url: str) -> None:
    """Without a number the next provider's job is there in the same commit, and a hint follows."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    listener = await connect(database_url, name="tests")
    await listener.add_listener(CHANNEL, lambda *_: heard.put_nowait(None))
    row = await job(pool, "awaiting", todo=["leadmagic"])

    await call_back(client, row, not_found(row["request_id"]))

    following = await pool.fetchrow("SELECT provider, state::text, place FROM jobs")
    assert tuple(following or ()) == ("leadmagic", "queued", 1)
    async with asyncio.timeout(5):
        await heard.get()
    await listener.close()


@pytest.mark.parametrize(
    ("named", "kept"), [("req-only-nyne-knows", "req-only-nyne-knows"), ("\ud800", r"'\ud800'"), ({"a": 1}, "dict")]
)
async def test_a_request_id_not_known_yet_fits(client: Client, pool: Pool, named: Any, kept: str) -> None:
    """Where the 202 was lost, the token finds the job, whatever request it names."""
    row = await job(pool, "awaiting", request_id=None)

    await call_back(client, row, found("") | {"request_id": named})

    assert (await lookup_of(pool, row))["final_status"] == "found"
    assert await pool.fetchval("SELECT request_id FROM finished_jobs") == kept


async def test_a_callback_that_says_running_changes_nothing(client: Client, pool: Pool) -> None:
    """queued, processing and pending are no answers: recorded, and waited on."""
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, {"status": "processing", "request_id": row["request_id"]})

    assert answer.status == 200
    assert await verdicts(pool) == ["ignored"]
    assert await pool.fetchval("SELECT state::text FROM jobs") == "awaiting"


# Unreadable, or another request: stored, flagged, not applied, polled now


UNREADABLE = (
    b"",
    b"{",
    b"\x00\xff",
    b"[]",
    b'"completed"',
    b"{}",
    b'{"status": "galloping"}',
    b'{"status": "completed", "result": 7}',
)


async def test_an_unreadable_callback_is_kept_and_the_job_is_polled(client: Client, pool: Pool) -> None:
    """What cannot be read is stored and flagged; the job stays, and is due to be polled now."""
    rows = {body: await job(pool, "awaiting") for body in UNREADABLE}

    answers = [await client.post(path_for(row["id"]), body) for body, row in rows.items()]

    assert {answer.status for answer in answers} == {200}
    kept = await pool.fetch("SELECT body, verdict, flag IS NOT NULL AS says_why FROM callbacks")
    assert {tuple(row) for row in kept} == {(body, "flagged", True) for body in UNREADABLE}
    states = await pool.fetch("SELECT state::text, due_at <= now() AS is_due FROM jobs")
    assert [tuple(row) for row in states] == [("awaiting", True)] * len(UNREADABLE)


@pytest.mark.parametrize("named", [None, "", " ", 0, False])
async def test_a_callback_may_name_no_request(client: Client, pool: Pool, named: Any) -> None:
    """Its token already says which job it is for."""
    row = await job(pool, "awaiting")

    await call_back(client, row, found("") | {"request_id": named})

    assert await verdicts(pool) == ["applied"]


@pytest.mark.parametrize("named", ["req-of-somebody-else", "\ud800", "a" * 129, "a\0b", 10**30, -7, 1.5, ["a"], True])
async def test_another_request_s_callback_is_flagged(client: Client, pool: Pool, named: Any) -> None:
    """A message about another request is not believed: stored, flagged, and the job is polled now."""
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, found("") | {"request_id": named})

    assert answer.status == 200
    assert await verdicts(pool) == ["flagged"]
    state = await pool.fetchrow("SELECT state::text, due_at <= now() FROM jobs")
    assert tuple(state or ()) == ("awaiting", True)


# Before the 202 was stored


async def test_a_callback_may_overtake_its_202(client: Client, pool: Pool) -> None:
    """A job that is still being submitted ends by its callback; the 202 that comes after changes nothing."""
    row = await job(pool, "submitting")

    answer = await call_back(client, row, found("req-1"))
    late = [Acceptance(row["id"], 1, "req-1", row["due_at"] - row["due_at"])]
    accepted = await accept(pool, late)
    await check_overtaken(pool, late)

    assert answer.status == 200
    assert (await lookup_of(pool, row))["final_status"] == "found"
    assert accepted == set()
    assert await verdicts(pool) == ["applied"]
    assert await pool.fetchval("SELECT check_at FROM finished_jobs") is None


async def test_a_202_that_names_another_request_is_checked(client: Client, pool: Pool) -> None:
    """When the 202 then names another request than the callback, the callback is flagged and the request polled."""
    row = await job(pool, "submitting")

    await call_back(client, row, found("req-1"))
    await check_overtaken(pool, [Acceptance(row["id"], 1, "req-2", row["due_at"] - row["due_at"])])

    assert await verdicts(pool) == ["flagged"]
    check = await pool.fetchrow("SELECT check_request_id, check_at <= now() FROM finished_jobs")
    assert tuple(check or ()) == ("req-2", True)
