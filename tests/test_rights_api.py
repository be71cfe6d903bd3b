"""Suppressions and erasure over HTTP: the answers, the list, and the scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import pytest

from store.erased_rows import erase_within
from tests.conftest import TOKEN, ClientWith
from tests.everywhere import where_is
from tests.wishes import MOBILE, POLICY, answer, apply, job_of, status, take_one

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool

JANE = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}


async def admin(client_with: ClientWith) -> Client:
    """A client that may do everything, called ann."""
    return await client_with(api_tokens=f"ann:read+operate+admin:{TOKEN}")


async def test_a_person_opts_out(client_with: ClientWith, pool: Pool) -> None:
    """201; a waiting lookup ends, the list shows no value, and the audit has the author."""
    client = await admin(client_with)
    jane = await take_one(pool, **JANE)

    made = await client.post("/v1/suppressions", {"email": "Jane <jane@ACME.co>", "note": "by phone"})

    assert made.status == 201
    body = made.json()
    (one,) = body["suppressions"]
    assert (one["kind"], one["note"], body["ended"], await status(pool, jane.id)) == (
        "email", "by phone", 1, "suppressed",
    )  # fmt: skip
    listed = (await client.get("/v1/suppressions")).json()
    assert listed == {"suppressions": [one], "next_cursor": None}
    assert b"jane" not in made.body
    (entry,) = (await client.get("/v1/audit")).json()["entries"]
    assert (entry["who"], entry["action"], entry["subject"]) == ("ann", "suppress", one["id"])


async def test_a_list_is_suppressed_or_nothing_of_it(client_with: ClientWith, pool: Pool) -> None:
    """Each wrong entry is named with its place, and nothing is stored."""
    client = await admin(client_with)
    wrong = [{"email": "jane@acme.co"}, {"email": "x"}, {"number": 12, "note": 1}, {}, {"mail": "a@b.co"}, "x"]

    refused = await client.post("/v1/suppressions", wrong)

    assert refused.status == 422
    assert [error["path"] for error in refused.json()["errors"]] == ["[1].email", "[2].note", "[3]", "[4]", "[5]"]
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 0
    made = await client.post(
        "/v1/suppressions", [{"domain": "acme.co"}, {"number": "+1 555 123 4567"}, {"domain": "@acme.co"}]
    )
    assert [one["kind"] for one in made.json()["suppressions"]] == ["domain", "number", "domain"]
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 2


@pytest.mark.parametrize(("body", "code"), [(b"{", 400), (b"[]", 422), (b"1", 422), (b'{"email": null}', 422)])
async def test_a_body_that_is_none(client: Client, body: bytes, code: int) -> None:
    """A problem that says what would be right."""
    refused = await client.post("/v1/suppressions", body)

    assert refused.status == code


async def test_suppressions_are_paged(client_with: ClientWith, pool: Pool) -> None:
    """Newest first; each page goes on where the one before ended."""
    client = await admin(client_with)
    for name in ("a", "b", "c"):
        await client.post("/v1/suppressions", {"domain": f"{name}.acme.co", "note": name})

    first = (await client.get("/v1/suppressions?limit=2")).json()
    second = (await client.get(f"/v1/suppressions?limit=2&cursor={first['next_cursor']}")).json()

    assert [one["note"] for one in (*first["suppressions"], *second["suppressions"])] == ["c", "b", "a"]
    assert (await client.get("/v1/suppressions?cursor=x")).status == 422


async def test_a_suppression_is_let_go(client_with: ClientWith, pool: Pool) -> None:
    """204, then 404; the person may be asked about again."""
    client = await admin(client_with)
    id = (await client.post("/v1/suppressions", {"email": "jane@acme.co"})).json()["suppressions"][0]["id"]

    assert (await client.delete(f"/v1/suppressions/{id}")).status == 204
    assert (await client.delete(f"/v1/suppressions/{id}")).status == 404
    assert (await client.delete("/v1/suppressions/x")).status == 404
    assert (await take_one(pool, **JANE)).status == "queued"


async def test_a_person_is_erased(client_with: ClientWith, pool: Pool) -> None:
    """200 with counts, then zeros; with suppress=true, the next event ends at once. The audit has no value."""
    client = await admin(client_with)
    jane = await take_one(pool, **JANE)
    job = await job_of(pool, jane.id)
    assert job is not None
    await apply(pool, answer(job["id"], "inline", MOBILE))

    erased = await client.delete("/v1/people?email=Jane@acme.co&profile=linkedin.com/in/janedoe&suppress=true")
    again = await client.delete(f"/v1/people?number={quote(MOBILE)}")

    assert (erased.status, again.status) == (200, 200)
    counts = erased.json()
    assert (counts["lookups"], counts["numbers"], counts["jobs"], counts["suppressions"]) == (1, 1, 1, 2)
    assert set(again.json().values()) == {0}
    assert await where_is(pool, ["jane@acme.co", "janedoe", MOBILE]) == []
    assert (await take_one(pool, **JANE)).status == "suppressed"
    assert [entry["detail"] for entry in (await client.get("/v1/audit")).json()["entries"]] == [
        {"by": ["number"], "suppress": False}, {"by": ["email", "profile"], "suppress": True},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query", ["", "email=x", "email=jane@acme.co&suppress=maybe", "email=jane@acme.co&emial=joe@acme.co", "number=12"]
)
async def test_nobody_is_erased_by_a_mistake(client_with: ClientWith, pool: Pool, query: str) -> None:
    """422, and the value is not repeated."""
    client = await admin(client_with)
    jane = await take_one(pool, **JANE)

    refused = await client.delete(f"/v1/people?{query}")

    assert refused.status == 422
    assert b"joe" not in refused.body
    assert await status(pool, jane.id) == "queued"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/suppressions", "operate"),
        ("GET", "/v1/suppressions", "read"),
        ("DELETE", "/v1/suppressions/019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b", "operate"),
        ("DELETE", "/v1/people?email=jane@acme.co", "admin"),
    ],
)
async def test_each_needs_its_scope(client_with: ClientWith, method: str, path: str, scope: str) -> None:
    """A token with every other scope is refused."""
    others = "+".join(sorted({"events", "read", "operate", "admin"} - {scope}))
    client = await client_with(api_tokens=f"ann:{others}:{TOKEN}")

    assert (await client.send(method, path, b"")).status == 403


async def test_a_selection_erases_exactly_what_was_previewed(client_with: ClientWith, pool: Pool) -> None:
    """The lookups of the filter go; a later one stays."""
    client = await admin(client_with)
    await take_one(pool, work_email="a@acme.co")
    selection = (await client.post("/v1/selections", {"action": "erase", "filter": {}})).json()
    later = await take_one(pool, work_email="b@acme.co")

    applied = (await client.post(f"/v1/selections/{selection['id']}/apply")).json()

    assert (applied["state"], applied["applied"], applied["passed"]) == ("applied", 1, 0)
    assert [row["id"] for row in await pool.fetch("SELECT id FROM lookups")] == [later.id]
    assert await where_is(pool, ["a@acme.co"]) == []


async def test_erasing_nothing_within_a_transaction(pool: Pool) -> None:
    """An id that is unknown is not counted."""
    async with pool.acquire() as connection:
        chunk: Any = await erase_within(connection, [UUID(int=1)], POLICY)

    assert chunk.lookups == []
