"""Lists of lookups by source, and what an e-mail, a profile or a number finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.asgi import Client
from tests.factories import job, lookup
from tests.wishes import MOBILE, end, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool


async def listed(client: Client, **query: Any) -> list[str]:
    """The ids of all pages, each of two."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(f"/v1/lookups?{urlencode({**query, **cursor, 'limit': 2})}")
        assert answer.status == 200, answer.body
        ids += [one["id"] for one in answer.json()["lookups"]]
        if answer.json()["next_cursor"] is None:
            return ids
        cursor = {"cursor": answer.json()["next_cursor"]}


async def test_a_source_has_its_own_list(client: Client, pool: Pool) -> None:
    """Of every status, newest first, and narrowed by status and record."""
    made = {}
    for final in ("found", "not_found", "failed", "found"):
        made[final] = (await lookup(pool, final_status=final, source="hubspot", record_id="crm-1"))["id"]
        await lookup(pool, final_status=final)
    open_one = await lookup(pool, source="hubspot")
    await job(pool, lookup_id=open_one["id"])
    await job(pool)

    assert len(await listed(client, source="hubspot")) == 5
    assert (await listed(client, source="hubspot"))[0] == str(open_one["id"])
    assert await listed(client, source="hubspot", status="failed") == [str(made["failed"])]
    assert await listed(client, source="hubspot", status="queued") == [str(open_one["id"])]
    assert len(await listed(client, source="hubspot", record_id="crm-1")) == 4
    assert await listed(client, source="api") == []


@pytest.mark.parametrize(
    ("contact", "written"),
    [
        ({"work_email": "jane@acme.co"}, ["jane@acme.co", " JANE@acme.co ", "mailto:jane@acme.co"]),
        ({"personal_email": "jane@home.co", "work_email": "jane@acme.co"}, ["jane@home.co", "jane@acme.co"]),
        (
            {"profile_url": "linkedin.com/in/janedoe"},
            ["linkedin.com/in/janedoe", "https://de.linkedin.com/in/JaneDoe/?trk=x"],
        ),
    ],
)
async def test_a_contact_is_found_however_it_is_written(
    client: Client, pool: Pool, contact: dict[str, str], written: list[str]
) -> None:
    """Each of its identifiers finds the first lookup, one that waits, and one that took the answer."""
    waiting = [await take_one(pool, providers=("leadmagic",), **contact) for _ in range(2)]
    await end(pool, waiting[0].id, mobile=MOBILE)
    took = await take_one(pool, providers=("leadmagic",), **contact)
    await take_one(pool, work_email="joe@acme.co")

    for text in written:
        found = await listed(client, q=text)
        assert found == [str(one.id) for one in (took, *reversed(waiting))], text
    assert await listed(client, q=written[0], status="found", source="generic") == found
    assert await listed(client, q=written[0], status="failed") == []
    assert await listed(client, q=written[0], source="hubspot") == []


async def test_only_lookups_that_hold_the_identifier_are_found(client: Client, pool: Pool) -> None:
    """Lookups of another contact that shares the search by another key are not found."""
    both = await take_one(pool, work_email="jane@acme.co", personal_email="jane@home.co")
    await take_one(pool, personal_email="jane@home.co")

    assert await listed(client, q="jane@acme.co") == [str(both.id)]


@pytest.mark.parametrize("text", [MOBILE, "+1 (555) 123-4567", "15551234567"])
async def test_a_number_is_found_however_it_is_written(client: Client, pool: Pool, text: str) -> None:
    """With its country code."""
    ids = [str((await lookup(pool, final_status="found"))["id"]) for _ in range(3)]
    await lookup(pool, final_status="found", mobile="+442079460000")

    assert await listed(client, q=text) == ids[::-1]


@pytest.mark.parametrize("text", ["", "jane doe", "jane@", "a@b.co c@d.co", "0170", "12", "+", "acme.co", "\0"])
async def test_what_cannot_be_searched_for_is_refused(client: Client, text: str) -> None:
    """A 422 that says what can, and does not repeat it."""
    answer = await client.get(f"/v1/lookups?{urlencode({'q': text})}")

    assert answer.status == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == "q"
    assert error["message"].startswith("one e-mail address, one LinkedIn profile")


async def test_a_shared_mailbox_finds_everybody_who_has_it(client: Client, pool: Pool) -> None:
    """A shared mailbox is no key, so lookups are walked; a full page says where to go on."""
    three = [await take_one(pool, name=f"{name} Doe", work_email="info@acme.co") for name in ("Jane", "John", "Joan")]
    await take_one(pool, work_email="jane@acme.co")

    assert await listed(client, q="Info@Acme.co") == [str(one.id) for one in reversed(three)]
    assert await listed(client, q="info@acme.co", status="failed") == []


async def test_an_address_of_two_people_finds_both(client: Client, pool: Pool) -> None:
    """An address of two people is no longer a key, and still finds both."""
    ids = [
        str((await take_one(pool, profile_url=f"linkedin.com/in/{slug}", personal_email="we@home.co")).id)
        for slug in ("jane-doe", "john-roe")
    ]
    assert await pool.fetchval("SELECT count(*) FROM keys WHERE shared") == 1

    assert await listed(client, q="we@home.co") == ids[::-1]


async def test_a_long_walk_goes_on_in_the_next_request(
    client: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request reads for a second; its cursor leads to the rest."""
    monkeypatch.setattr("store.find.PAGE", 2)
    monkeypatch.setattr("store.find.WALKED_FOR", 0.0)
    oldest = await take_one(pool, name="Jane Doe", work_email="info@acme.co")
    for number in range(4):
        await take_one(pool, work_email=f"{number}@acme.co")

    first = (await client.get("/v1/lookups?q=info@acme.co")).json()

    assert (first["lookups"], bool(first["next_cursor"])) == ([], True)
    assert await listed(client, q="info@acme.co") == [str(oldest.id)]
