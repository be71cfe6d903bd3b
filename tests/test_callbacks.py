"""Callbacks in: the table of DESIGN.md, row by row."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from enrichment.database import connect
from enrichment.notify import CHANNEL
from enrichment.store.asked import Acceptance, accept, check_overtaken
from enrichment.tokens import callback_url
from tests.asgi import Answer, Client
from tests.conftest import SANE
from tests.factories import finished_job, job, lookup
from tests.test_events import ClientWith, waiting_for_a_lock

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

KEY = SecretStr(SANE["callback_keys"])


def path_for(job_id: UUID, provider: str = "nyne", key: SecretStr = KEY) -> str:
    """Where the provider calls back for this job."""
    return callback_url("", [key], provider, job_id)


def found(request_id: str | None, mobile: str = "+15551234567") -> dict[str, Any]:
    """Nyne's callback with a number."""
    return {"status": "completed", "request_id": request_id, "result": {"mobile": mobile}}


def not_found(request_id: str | None) -> dict[str, Any]:
    """Nyne's callback without a number."""
    return {"status": "completed", "request_id": request_id, "result": {}}


async def call_back(client: Client, row: asyncpg.Record, body: Any) -> Answer:
    """Nyne's message for this job."""
    return await client.post(path_for(row["id"]), body)


async def lookup_of(pool: Pool, row: asyncpg.Record) -> asyncpg.Record:
    """The job's lookup as it is now."""
    (row,) = await pool.fetch("SELECT * FROM lookups WHERE id = $1", row["lookup_id"])
    return row


async def verdicts(pool: Pool) -> list[str]:
    """What became of each stored callback, oldest first."""
    rows = await pool.fetch("SELECT verdict FROM callbacks ORDER BY received_at, verdict")
    return [row["verdict"] for row in rows]


# Wrong token, unknown provider: 404, empty, nothing stored, no database access


def strange_paths(job_id: UUID) -> list[str]:
    """Addresses that we never gave to anybody."""
    good = path_for(job_id)
    token = good.rpartition("/")[2]
    return [
        path_for(job_id, key=SecretStr("another key")),
        path_for(uuid7()).rpartition("/")[0] + "/" + token,
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good + "0",
        good + "/",
        f"/callbacks/nyne/{job_id}/",
        f"/callbacks/nyne/{job_id}",
        f"/callbacks/nyne/{job_id}/schl\u00fcssel",
        f"/callbacks/nyne/not-a-uuid/{token}",
        f"/callbacks/nyne/{'9' * 4000}/{token}",
        path_for(job_id, "leadmagic"),  # it never calls back
        path_for(job_id, "apollo"),
        f"/callbacks/leadmagic/{job_id}/{token}",
        "/callbacks/nyne",
        "/callbacks/",
    ]


async def test_strangers_get_an_empty_404_without_any_database(offline: Client) -> None:
    """A wrong token, provider or id is a 404 without a body, and no database is needed to say so."""
    job_id = uuid7()

    answers = [await offline.post(path, found(None)) for path in strange_paths(job_id)]
    genuine = await offline.post(path_for(job_id), found(None))

    assert {(answer.status, answer.body) for answer in answers} == {(404, b"")}
    assert genuine.status == 503  # it is the database that is missing
    assert int(genuine.headers["retry-after"]) > 0


async def test_without_keys_every_callback_is_a_404(client_with: ClientWith, pool: Pool) -> None:
    """Without CALLBACK_KEYS there are no callback URLs, so none is genuine."""
    client = await client_with(callback_keys="", public_url=None)
    row = await job(pool, "awaiting")

    answers = [
        await client.post(path_for(row["id"], key=SecretStr(key)), found(None)) for key in ("", "key-of-the-tests")
    ]

    assert {(answer.status, answer.body) for answer in answers} == {(404, b"")}


async def test_every_key_verifies(client_with: ClientWith, pool: Pool) -> None:
    """While keys are rotated, URLs signed by the older one are still good."""
    client = await client_with(callback_keys="new,key-of-the-tests")
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, found(row["request_id"]))

    assert answer.status == 200
    assert await verdicts(pool) == ["applied"]


async def test_the_urls_of_a_provider_no_longer_asked_stay_good(client_with: ClientWith, pool: Pool) -> None:
    """Whoever takes nyne out of PROVIDERS still gets what was asked before."""
    client = await client_with(providers="leadmagic")
    row = await job(pool, "awaiting")

    await call_back(client, row, found(row["request_id"]))

    assert (await lookup_of(pool, row))["final_status"] == "found"


# Too large, too slow


@pytest.mark.parametrize("declared", [True, False])
async def test_more_than_256_kib_is_a_413(offline: Client, declared: bool) -> None:
    """A larger body is a 413, whether its length was declared or not; nothing can have been stored."""
    body = json.dumps(found("req-1") | {"padding": "x" * 256 * 1024}).encode()

    answer = await offline.exchange(
        "POST",
        path_for(uuid7()),
        [{"type": "http.request", "body": body}],
        content_length=len(body) if declared else None,
    )

    assert answer.status == 413


async def test_a_stranger_is_not_told_that_it_was_too_much(offline: Client) -> None:
    """The token comes first: a large body at a wrong address is a 404."""
    answer = await offline.post(path_for(uuid7())[:-1], b"x" * 300_000)

    assert (answer.status, answer.body) == (404, b"")


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
    """No number, and nobody left to ask: not_found, and nothing was charged."""
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


async def test_a_request_id_not_known_yet_fits(client: Client, pool: Pool) -> None:
    """Where the 202 was lost, the token finds the job, whatever request it names."""
    row = await job(pool, "awaiting", request_id=None)

    await call_back(client, row, found("req-only-nyne-knows"))

    assert (await lookup_of(pool, row))["final_status"] == "found"
    assert await pool.fetchval("SELECT request_id FROM finished_jobs") == "req-only-nyne-knows"


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


async def test_another_request_s_callback_is_flagged(client: Client, pool: Pool) -> None:
    """A message about another request is not believed: stored, flagged, and the job is polled now."""
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, found("req-of-somebody-else"))

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


# Again, or after the job is final


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


async def test_a_late_no_changes_the_doubt_only(client: Client, pool: Pool) -> None:
    """A late "no number" settles the possible charge, and no lookup becomes found."""
    row = await finished_job(pool, "unknown")

    await call_back(client, row, not_found("req-1"))

    assert (await lookup_of(pool, row))["final_status"] == "unresolved"
    assert await pool.fetchval("SELECT sum(possible) FROM usage") == 0


async def test_a_late_number_reaches_the_followers(client: Client, pool: Pool) -> None:
    """Who followed a lookup that was given up gets the late number as well."""
    row = await finished_job(pool, "lost")
    await pool.execute("UPDATE lookups SET followers = 1 WHERE id = $1", row["lookup_id"])
    follower = await lookup(pool, reused_from=row["lookup_id"], final_status="unresolved")

    await call_back(client, row, found("req-1"))

    assert await final_status_of(pool, follower["id"], until="found") == "found"


async def final_status_of(pool: Pool, id: UUID, *, until: str) -> str | None:
    """The lookup's final status, once it is *until*: followers are looked after behind the answer."""
    async with asyncio.timeout(5):
        while (status := await pool.fetchval("SELECT final_status::text FROM lookups WHERE id = $1", id)) != until:
            await asyncio.sleep(0)
    assert status is None or isinstance(status, str)
    return status


async def test_followers_end_as_the_first_ends(client: Client, pool: Pool) -> None:
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


async def test_a_follower_that_knows_more_takes_its_own_turn(client: Client, pool: Pool) -> None:
    """When the first ends without a number, only who brings a new identifier is asked for."""
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


async def test_a_callback_for_a_job_nobody_knows_is_kept(client: Client, pool: Pool) -> None:
    """A genuine message about a job that is gone is acknowledged and kept."""
    answer = await client.post(path_for(uuid7()), found("req-1"))

    assert answer.status == 200
    assert await verdicts(pool) == ["ignored"]


# PostgreSQL unreachable


async def test_a_callback_is_acknowledged_after_the_commit_only(client: Client, pool: Pool, database_url: str) -> None:
    """When PostgreSQL drops us before the commit it is a 503; sent again, it is applied."""
    row = await job(pool, "awaiting")
    watcher, blocker = [await connect(database_url, name="tests") for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE callbacks IN SHARE MODE")

    calling = asyncio.create_task(call_back(client, row, found(row["request_id"])))
    for pid in await waiting_for_a_lock(watcher):
        await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    refused = await calling
    await transaction.rollback()
    untouched = await pool.fetchval("SELECT state::text FROM jobs")
    again = await call_back(client, row, found(row["request_id"]))

    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert untouched == "awaiting"
    assert again.status == 200
    assert await verdicts(pool) == ["applied"]
    await watcher.close()
    await blocker.close()


async def test_one_bad_callback_does_not_fail_its_neighbours(client: Client, pool: Pool) -> None:
    """Callbacks that share a commit with one that the database refuses are applied all the same."""
    await pool.execute("ALTER TABLE callbacks ADD CONSTRAINT no_long_bodies CHECK (octet_length(body) < 1000)")
    rows = [await job(pool, "awaiting") for _ in range(10)]
    messages = [found(row["request_id"]) for row in rows]
    messages[4]["padding"] = "x" * 1000

    answers = await asyncio.gather(*(call_back(client, r, m) for r, m in zip(rows, messages, strict=True)))

    assert [answer.status for answer in answers] == [500 if n == 4 else 200 for n in range(10)]
    assert await pool.fetchval("SELECT count(*) FROM finished_jobs") == 9
