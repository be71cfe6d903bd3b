"""Events: which are accepted, and that a 202 means stored."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from store.database import connect
from store.notify import CHANNEL
from tests.asgi import Client
from tests.order import waiting_for_a_lock
from tests.receiving import EVENT, lookups, stored

if TYPE_CHECKING:
    from tests.wishes import Pool

# Receipt


async def test_an_event_becomes_a_lookup_and_its_first_job(client: Client, pool: Pool) -> None:
    """One contact is one event, one lookup, and one job for the first provider that can use it."""
    (made,) = lookups(await client.post("/events/generic", EVENT))

    assert made == {"id": made["id"], "status": "queued", "duplicate": False, "problems": []}
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
    """`providers` says which providers to ask, in which order; a repetition counts once."""
    await client.post("/events/generic", EVENT | {"providers": ["nyne", "leadmagic", "nyne"]})

    row = await pool.fetchrow("SELECT provider, todo FROM jobs")
    assert tuple(row or ()) == ("nyne", ["leadmagic"])


async def test_contacts_take_providers_and_region_from_their_event(client: Client, pool: Pool) -> None:
    """Fields beside the contacts apply to each contact without its own."""
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
