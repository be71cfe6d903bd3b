"""Events in: what is taken, what is refused and why, and that a 202 means stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from enrichment.database import connect
from enrichment.notify import CHANNEL
from receiver import bodies
from tests.asgi import Answer, Client
from tests.conftest import TOKEN
from tests.factories import lookup, speak

EVENT = {
    "event_id": "evt-1",
    "record_id": "crm-42",
    "work_email": "jane@acme.co",
    "name": "Jane Doe",
    "company": "Acme",
}
if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

ClientWith = Callable[..., Awaitable[Client]]


async def stored(pool: Pool) -> tuple[int, int, int]:
    """How many events, lookups and jobs there are."""
    row = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM lookups), (SELECT count(*) FROM jobs)"
    )
    assert row is not None
    return tuple(row.values())


async def waiting_for_a_lock(watcher: asyncpg.Connection[Any]) -> list[int]:
    """The backends of this database that wait for a lock, once there is one."""
    while True:
        rows = await watcher.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        if rows:
            return [row["pid"] for row in rows]


def lookups(answer: Answer) -> list[dict[str, Any]]:
    """The lookups in a 202."""
    assert answer.status == 202, answer
    listed: list[dict[str, Any]] = answer.json()["lookups"]
    return listed


def wrong_paths(answer: Answer) -> list[str]:
    """The paths of the wrong fields in a 422."""
    assert answer.status == 422, answer
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["path"] for error in answer.json()["errors"]]


# Taken


async def test_an_event_becomes_a_lookup_and_its_first_job(client: Client, pool: Pool) -> None:
    """One contact is one event, one lookup, and one job for the first provider that can use it."""
    (made,) = lookups(await client.post("/events/generic", EVENT))

    assert made == {"id": made["id"], "status": "queued", "duplicate": False}
    assert await stored(pool) == (1, 1, 1)
    row = await pool.fetchrow("SELECT provider, todo, state::text FROM jobs")
    assert tuple(row or ()) == ("leadmagic", ["nyne"], "queued")


async def test_the_body_is_kept_verbatim(client: Client, pool: Pool) -> None:
    """Every byte of an event is there to be replayed."""
    body = b'{ "name": "Jane\\u0020Doe",\n"unknown": [1.50] }'

    await client.post("/events/generic", body)

    assert await pool.fetchval("SELECT body FROM events") == body


async def test_several_contacts_are_answered_in_their_order(client: Client) -> None:
    """The lookups stand in the order of the contacts."""
    contacts = [{"record_id": f"r{n}", "name": f"Person {n}"} for n in range(5)]

    made = lookups(await client.post("/events/generic", {"contacts": contacts}))

    records = [(await client.get(f"/v1/lookups/{one['id']}")).json()["record_id"] for one in made]
    assert records == ["r0", "r1", "r2", "r3", "r4"]


async def test_a_hundred_contacts_are_taken(client: Client, pool: Pool) -> None:
    """A hundred contacts are one event."""
    made = lookups(await client.post("/events/generic", {"contacts": [{"name": f"P {n}"} for n in range(100)]}))

    assert len({one["id"] for one in made}) == 100
    assert await stored(pool) == (1, 100, 100)


async def test_the_api_takes_the_same_body(client: Client, pool: Pool) -> None:
    """POST /v1/lookups is an event of the source api."""
    (made,) = lookups(await client.post("/v1/lookups", EVENT))

    assert (await client.get(f"/v1/lookups/{made['id']}")).json()["source"] == "api"
    assert await pool.fetchval("SELECT source FROM events") == "api"


async def test_ids_may_be_integers(client: Client) -> None:
    """CRMs number their records: an integer is as good as its digits."""
    (made,) = lookups(await client.post("/events/generic", {"event_id": 7, "record_id": 42, "name": "Jane Doe"}))
    (met,) = lookups(await client.post("/events/generic", {"event_id": "7", "record_id": "42", "name": "Jane Doe"}))

    assert met == made | {"duplicate": True}
    assert (await client.get(f"/v1/lookups/{made['id']}")).json()["record_id"] == "42"


async def test_any_kind_of_json_is_json(client: Client) -> None:
    """application/json and every +json is read."""
    kinds = ("application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", "text/x+json;v=1")

    answers = [await client.post("/events/generic", EVENT, {"content-type": kind}) for kind in kinds]

    assert {answer.status for answer in answers} == {202}


async def test_a_byte_order_mark_is_no_mistake(client: Client) -> None:
    """Some CRMs begin UTF-8 with a mark."""
    answer = await client.post("/events/generic", b"\xef\xbb\xbf" + json.dumps(EVENT).encode())

    assert answer.status == 202


async def test_only_providers_that_can_use_the_contact_are_asked(client: Client, pool: Pool) -> None:
    """LeadMagic takes no names, so a name alone goes to Nyne only."""
    await client.post("/events/generic", {"name": "Jane Doe", "company": "Acme"})

    row = await pool.fetchrow("SELECT provider, todo FROM jobs")
    assert tuple(row or ()) == ("nyne", [])


async def test_the_event_may_choose_the_providers_and_their_order(client: Client, pool: Pool) -> None:
    """`providers` says who is asked, and in which order; a repetition counts once."""
    await client.post("/events/generic", EVENT | {"providers": ["nyne", "leadmagic", "nyne"]})

    row = await pool.fetchrow("SELECT provider, todo FROM jobs")
    assert tuple(row or ()) == ("nyne", ["leadmagic"])


async def test_contacts_take_providers_and_region_from_their_event(client: Client, pool: Pool) -> None:
    """What is said once above the contacts holds for each that says nothing else."""
    contacts = [{"work_email": "a@acme.co"}, {"work_email": "b@acme.co", "providers": ["leadmagic"], "region": "FR"}]

    await client.post("/events/generic", {"providers": ["nyne"], "region": "de", "contacts": contacts})

    rows = await pool.fetch("SELECT region_hint, providers FROM lookups ORDER BY work_email")
    assert [tuple(row) for row in rows] == [("DE", ["nyne"]), ("FR", ["leadmagic"])]


async def test_the_submitter_hears_of_new_jobs(client: Client, database_url: str) -> None:
    """After the commit there is a hint on the channel; a duplicate gives none."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    listener = await connect(database_url, name="tests")
    await listener.add_listener(CHANNEL, lambda *_: heard.put_nowait(None))

    await client.post("/events/generic", EVENT)

    async with asyncio.timeout(5):
        await heard.get()
    await listener.close()


# Refused. The database cannot be reached here: nothing can have been stored.


@pytest.mark.parametrize("body", [b"", b"{", b"name=Jane", b'{"name": "J}', b"\xff\xfe", b'{"name": "\\ud800"}'])
async def test_what_is_not_json_is_a_400(offline: Client, body: bytes) -> None:
    """What cannot be read as JSON is a 400."""
    answer = await offline.post("/events/generic", body)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
async def test_another_content_type_is_a_415(offline: Client, content_type: str) -> None:
    """Forms and texts are a 415 that says what to choose."""
    answer = await offline.post("/events/generic", EVENT, {"content-type": content_type})

    assert answer.status == 415
    assert "application/json" in answer.json()["detail"]
    assert "Zapier" in answer.json()["detail"]


async def test_more_than_a_mebibyte_is_a_413(offline: Client) -> None:
    """A body over 1 MiB is a 413, and nothing is stored."""
    body = json.dumps(EVENT | {"note": "x" * 1024 * 1024}).encode()

    answer = await offline.post("/events/generic", body)

    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_of_undeclared_length_is_limited_as_well(offline: Client) -> None:
    """Without Content-Length, reading stops at the limit."""
    pieces: list[Any] = [{"type": "http.request", "body": b"x" * 300_000, "more_body": True} for _ in range(9)]

    answer = await offline.exchange("POST", "/events/generic", pieces, {"content-type": "application/json"})

    assert answer.status == 413
    assert len(pieces) == 5


async def test_a_slow_body_is_a_408(offline: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not arrive in time is a 408, and nothing is stored."""
    monkeypatch.setattr(bodies, "SLOWEST", 0.01)
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": "/events/generic", "query_string": b"",
        "headers": [(b"x-api-key", TOKEN.encode()), (b"content-type", b"application/json")],
    }  # fmt: skip

    async def never() -> Any:
        await asyncio.Event().wait()

    async def sending(message: Any) -> None:
        sent.append(message)

    await offline.app(scope, never, sending)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_who_hangs_up_has_sent_nothing(offline: Client) -> None:
    """A body that breaks off is not stored, however much of it looks whole."""
    broken_off: list[Any] = [
        {"type": "http.request", "body": json.dumps(EVENT).encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    answer = await offline.exchange("POST", "/events/generic", broken_off, {"content-type": "application/json"})

    assert answer.status == 0


@pytest.mark.parametrize("source", ["hubspott", "api", "GENERIC", "%00"])
async def test_an_unknown_source_is_a_404_that_names_the_known_ones(offline: Client, source: str) -> None:
    """A source that does not exist is a 404 with the names of those that do."""
    answer = await offline.post(f"/events/{source}", EVENT)

    assert answer.status == 404
    assert "generic" in answer.json()["detail"]


@pytest.mark.parametrize("count", [0, 101])
async def test_a_hundred_contacts_are_the_most(offline: Client, count: int) -> None:
    """No contacts, or more than a hundred, are a 422."""
    answer = await offline.post("/events/generic", {"contacts": [{"name": f"P {n}"} for n in range(count)]})

    assert wrong_paths(answer) == ["contacts"]


@pytest.mark.parametrize(
    ("contact", "paths"),
    [
        ({}, [""]),
        ({"company": "Acme"}, [""]),
        ({"name": "  ", "work_email": ""}, [""]),
        ({"name": 7}, ["name"]),
        ({"name": None, "work_email": ["jane@acme.co"]}, ["work_email"]),
        ({"name": "Jane", "record_id": 1.5}, ["record_id"]),
        ({"name": "Jane", "record_id": True}, ["record_id"]),
        ({"name": "Jane", "record_id": "x" * 256}, ["record_id"]),
        ({"name": "Jane", "record_id": "a\0b"}, ["record_id"]),
        ({"name": "Jane", "event_id": "a\0b"}, ["event_id"]),
        ({"name": "Ja\0ne"}, ["name"]),
        ({"name": "Jane", "region": "Germany"}, ["region"]),
        ({"name": "Jane", "providers": []}, ["providers"]),
        ({"name": "Jane", "providers": "nyne"}, ["providers"]),
        ({"name": "Jane", "providers": ["nyne", "apollo"]}, ["providers[1]"]),
        ({"name": "Jane", "providers": [7]}, ["providers[0]"]),
        ({"name": "Jane", "providers": ["leadmagic"]}, [""]),
        ({"work_email": "jane@example.com"}, ["work_email"]),
        ({"work_email": "jane"}, ["work_email"]),
        ({"profile_url": "https://www.linkedin.com/company/acme"}, ["profile_url"]),
        ({"profile_url": "linkedin.com/school/mit", "personal_email": "x"}, ["profile_url", "personal_email"]),
    ],
)  # fmt: skip
async def test_each_wrong_field_is_named(offline: Client, contact: Any, paths: list[str]) -> None:
    """A 422 names every wrong field by its path, alone and within contacts, and nothing is stored."""
    alone = await offline.post("/events/generic", contact)
    second = await offline.post("/events/generic", {"contacts": [{"name": "Ann Lee"}, contact]})

    assert wrong_paths(alone) == paths
    assert wrong_paths(second) == [".".join(filter(None, ("contacts[1]", path))) for path in paths]


@pytest.mark.parametrize("body", ["[]", '"Jane"', "7", "null", "[{}]"])
async def test_json_that_is_no_object_is_a_422(offline: Client, body: str) -> None:
    """The body as a whole is wrong when it is no object."""
    assert wrong_paths(await offline.post("/events/generic", body.encode())) == [""]


async def test_all_wrong_fields_of_all_contacts_are_named_at_once(offline: Client) -> None:
    """Nobody has to send a hundred contacts a hundred times to hear of every mistake."""
    contacts = [
        {"work_email": "x"},
        {"name": "Ann Lee"},
        {"profile_url": "linkedin.com/company/a", "region": "Nowhere"},
    ]

    answer = await offline.post("/events/generic", {"contacts": contacts})

    assert wrong_paths(answer) == ["contacts[0].work_email", "contacts[2].profile_url", "contacts[2].region"]


async def test_nothing_usable_says_what_would_be(offline: Client) -> None:
    """The message names the identifiers that would do."""
    message = (await offline.post("/events/generic", {"company": "Acme"})).json()["errors"][0]["message"]

    assert "profile_url" in message
    assert "work_email" in message
    assert "name" in message


async def test_a_name_is_not_enough_where_nobody_takes_names(client_with: ClientWith) -> None:
    """With LeadMagic alone, a name is a 422 that says what is missing."""
    client = await client_with(providers="leadmagic")

    answer = await client.post("/events/generic", {"name": "Jane Doe", "company": "Acme"})

    assert wrong_paths(answer) == [""]
    assert "profile_url or an e-mail" in answer.json()["errors"][0]["message"]


async def test_a_provider_that_is_not_set_up_cannot_be_chosen(client_with: ClientWith) -> None:
    """`providers` may name those in PROVIDERS only."""
    client = await client_with(providers="nyne")

    assert wrong_paths(await client.post("/events/generic", EVENT | {"providers": ["leadmagic"]})) == ["providers[0]"]


async def test_problems_do_not_repeat_what_was_sent(offline: Client) -> None:
    """Errors end up in logs: they hold nothing of the person."""
    for contact in ({"work_email": "jane.secret@"}, {"work_email": {"jane.secret": 1}}, {"providers": ["jane.secret"]}):
        answer = await offline.post("/events/generic", contact)

        assert answer.status == 422
        assert b"jane.secret" not in answer.body


# Again


async def test_the_same_event_again_is_a_duplicate(client: Client, pool: Pool) -> None:
    """The same source and event_id is the same lookup, whatever else the body says now."""
    (made,) = lookups(await client.post("/events/generic", EVENT))
    (met,) = lookups(await client.post("/events/generic", EVENT | {"name": "Somebody Else", "record_id": "x"}))

    assert met == made | {"duplicate": True}
    assert await stored(pool) == (1, 1, 1)


async def test_without_event_id_the_content_decides(client: Client, pool: Pool) -> None:
    """The same record with the same content, however it is written, is the same lookup."""
    first = {"record_id": "crm-1", "work_email": "Jane@Acme.co", "profile_url": "https://www.linkedin.com/in/JaneDoe/"}
    again = {"profile_url": "linkedin.com/in/janedoe", "work_email": "jane@acme.co ", "record_id": "crm-1", "x": 1}

    (made,) = lookups(await client.post("/events/generic", first))
    (met,) = lookups(await client.post("/events/generic", again))

    assert met == made | {"duplicate": True}
    assert await stored(pool) == (1, 1, 1)


@pytest.mark.parametrize(
    "change",
    [{"record_id": "crm-2"}, {"name": "Jane D."}, {"region": "DE"}, {"providers": ["nyne"]}, {"event_id": "evt-2"}],
)
async def test_another_record_or_content_is_another_lookup(client: Client, pool: Pool, change: dict[str, Any]) -> None:
    """What differs in record, content or id is a lookup of its own, which follows the first."""
    event = {"record_id": "crm-1", "work_email": "jane@acme.co", "name": "Jane Doe"}

    (first,) = lookups(await client.post("/events/generic", event))
    (second,) = lookups(await client.post("/events/generic", event | change))

    assert not second["duplicate"]
    assert second["id"] != first["id"]
    assert await pool.fetchval("SELECT reused_from::text FROM lookups WHERE id = $1", second["id"]) == first["id"]
    assert await stored(pool) == (2, 2, 1)


async def test_sources_do_not_share_event_ids(client: Client) -> None:
    """evt-1 of the API is not evt-1 of a CRM."""
    await client.post("/events/generic", EVENT)
    (other,) = lookups(await client.post("/v1/lookups", EVENT))

    assert not other["duplicate"]


async def test_a_duplicate_in_the_same_body(client: Client, pool: Pool) -> None:
    """The second of two equal contacts in one event is a duplicate of the first."""
    made, met, other = lookups(await client.post("/events/generic", {"contacts": [EVENT, EVENT, {"name": "Bob Lee"}]}))

    assert met == made | {"duplicate": True}
    assert not other["duplicate"]
    assert await stored(pool) == (1, 2, 2)


async def test_the_same_event_at_the_same_instant(client: Client, pool: Pool) -> None:
    """Twenty deliveries of one event at once are one lookup, and every one is told which."""
    answers = await asyncio.gather(*(client.post("/events/generic", EVENT) for _ in range(20)))

    made = [lookups(answer)[0] for answer in answers]
    assert len({one["id"] for one in made}) == 1
    assert [one["duplicate"] for one in made].count(False) == 1
    assert await stored(pool) == (1, 1, 1)


async def test_the_same_event_at_two_receivers_at_once(client_with: ClientWith, pool: Pool) -> None:
    """Two processes that get one event at the same instant make one lookup of it."""
    one, other = await client_with(), await client_with()
    answers = await asyncio.gather(*((one, other)[n % 2].post("/events/generic", EVENT) for n in range(20)))

    assert len({lookups(answer)[0]["id"] for answer in answers}) == 1
    assert await stored(pool) == (1, 1, 1)


async def test_one_person_at_two_receivers_at_once_is_asked_for_once(client_with: ClientWith, pool: Pool) -> None:
    """Different events for one person, at two processes at the same instant, cost one question."""
    one, other = await client_with(), await client_with()
    events = [{"event_id": f"e{n}", "record_id": f"r{n}", "work_email": "jane@acme.co"} for n in range(20)]
    answers = await asyncio.gather(*((one, other)[n % 2].post("/events/generic", e) for n, e in enumerate(events)))

    assert len({lookups(answer)[0]["id"] for answer in answers}) == 20
    assert await stored(pool) == (20, 20, 1)


# One person, one charge


async def test_a_number_found_lately_is_taken_again_for_free(client: Client, pool: Pool) -> None:
    """Within REUSE_FOUND_DAYS, another event for the person ends at once with the number, for no credits."""
    leader = await lookup(pool, work_email="jane@acme.co", final_status="found", credits=5)
    await speak(pool, leader)

    (made,) = lookups(await client.post("/events/generic", {"work_email": "Jane@Acme.co", "record_id": "crm-9"}))

    assert made["status"] == "found"
    shown = (await client.get(f"/v1/lookups/{made['id']}")).json()
    assert shown["mobile"] == "+15551234567"
    assert shown["credits"] == 0
    assert shown["reused_from"] == str(leader["id"])
    assert shown["record_id"] == "crm-9"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_an_old_number_is_looked_up_anew(client: Client, pool: Pool) -> None:
    """After REUSE_FOUND_DAYS the person is asked for again."""
    leader = await lookup(pool, work_email="jane@acme.co", final_status="found")
    await speak(pool, leader)
    await pool.execute("UPDATE lookups SET finished_at = now() - interval '91 days'")

    (made,) = lookups(await client.post("/events/generic", {"work_email": "jane@acme.co"}))

    assert made["status"] == "queued"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


@pytest.mark.parametrize(("days", "status"), [(29, "not_found"), (31, "queued")])
async def test_no_number_is_an_answer_for_a_month(client: Client, pool: Pool, days: int, status: str) -> None:
    """Within REUSE_NOT_FOUND_DAYS "no number" is taken again; afterwards the person is asked for again."""
    leader = await lookup(pool, work_email="jane@acme.co", final_status="not_found")
    await speak(pool, leader)
    await pool.execute("UPDATE lookups SET finished_at = now() - make_interval(days => $1)", days)

    (made,) = lookups(await client.post("/events/generic", {"work_email": "jane@acme.co"}))

    assert made["status"] == status


async def test_a_new_identifier_is_worth_another_question(client: Client, pool: Pool) -> None:
    """ "No number" is not taken by an event that knows more about the person."""
    leader = await lookup(pool, work_email="jane@acme.co", final_status="not_found")
    await speak(pool, leader)

    contact = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}
    (made,) = lookups(await client.post("/events/generic", contact))

    assert made["status"] == "queued"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


# A 202 means stored


async def test_a_202_comes_after_the_commit(client: Client, pool: Pool, database_url: str) -> None:
    """While the rows cannot be committed there is no answer; when they can, there is."""
    watcher, blocker = [await connect(database_url, name="tests") for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE lookups IN SHARE MODE")

    posting = asyncio.create_task(client.post("/events/generic", EVENT))
    await waiting_for_a_lock(watcher)
    unanswered = not posting.done()
    await transaction.rollback()
    answer = await posting

    assert unanswered
    assert answer.status == 202
    assert await stored(pool) == (1, 1, 1)
    await watcher.close()
    await blocker.close()


async def test_a_server_that_dies_before_the_commit_is_a_503(client: Client, pool: Pool, database_url: str) -> None:
    """When PostgreSQL drops us before the commit, nothing is acknowledged and nothing is there."""
    watcher, blocker = [await connect(database_url, name="tests") for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE lookups IN SHARE MODE")

    posting = asyncio.create_task(client.post("/events/generic", EVENT))
    for pid in await waiting_for_a_lock(watcher):
        await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    answer = await posting
    await transaction.rollback()

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert await stored(pool) == (0, 0, 0)
    assert (await client.post("/events/generic", EVENT)).status == 202
    await watcher.close()
    await blocker.close()


async def test_without_a_database_nothing_is_acknowledged(offline: Client) -> None:
    """PostgreSQL unreachable is a 503 with Retry-After, as a problem."""
    answer = await offline.post("/events/generic", EVENT)

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"


async def test_one_bad_row_does_not_fail_its_neighbours(client: Client, pool: Pool) -> None:
    """Events that share a commit with one that the database refuses are stored all the same."""
    await pool.execute("ALTER TABLE lookups ADD CONSTRAINT nobody_is_called_bad CHECK (name <> 'Bad Row')")
    names = [f"Good Row {n}" for n in range(30)]
    names[17] = "Bad Row"

    answers = await asyncio.gather(*(client.post("/events/generic", {"name": name}) for name in names))

    assert [answer.status for answer in answers] == [500 if name == "Bad Row" else 202 for name in names]
    assert await stored(pool) == (29, 29, 29)


async def test_all_contacts_of_an_event_are_stored_or_none(client: Client, pool: Pool) -> None:
    """An event whose third contact the database refuses leaves no trace."""
    await pool.execute("ALTER TABLE lookups ADD CONSTRAINT nobody_is_called_bad CHECK (name <> 'Bad Row')")
    contacts = [{"name": "Good Row"}, {"name": "Other Row"}, {"name": "Bad Row"}]

    answer = await client.post("/events/generic", {"contacts": contacts})

    assert answer.status == 500
    assert b"Bad Row" not in answer.body
    assert await stored(pool) == (0, 0, 0)
    assert await pool.fetchval("SELECT count(*) FROM keys") == 0


async def test_many_at_once_share_commits(client: Client, pool: Pool) -> None:
    """A hundred events at once take a few commits, as /metrics tells."""
    answers = await asyncio.gather(*(client.post("/events/generic", {"name": f"Person {n}"}) for n in range(100)))

    assert {answer.status for answer in answers} == {202}
    text = (await client.get("/metrics")).body.decode()
    (commits,) = (
        float(line.split()[1]) for line in text.splitlines()
        if line.startswith('ringback_group_commit_items_count{what="events"}')
    )  # fmt: skip
    assert commits < 20
    assert await stored(pool) == (100, 100, 100)
