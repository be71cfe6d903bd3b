"""The audit records each action with its author, and only an admin reads it."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from starlette.requests import Request

from enrichment.setting_types import ApiToken
from receiver.auth import Tokens, who
from store import audit
from tests.asgi import Client
from tests.conftest import TOKEN, ClientWith
from tests.factories import finished_job, job, lookup
from tests.order import Order


async def admin(client_with: ClientWith) -> Client:
    """A client that may do everything, called ann."""
    return await client_with(api_tokens=f"ann:read+operate+admin:{TOKEN}")


async def test_entries_are_listed_newest_first_and_by_page(client_with: ClientWith, pool: asyncpg.Pool[Any]) -> None:
    """Each page goes on where the one before ended, and the last has no cursor."""
    client = await admin(client_with)
    for number in range(3):
        await audit.record(pool, who="ann", action="pause", subject=f"pause-{number}", detail={"n": number})

    first = (await client.get("/v1/audit?limit=2")).json()
    second = (await client.get(f"/v1/audit?limit=2&cursor={first['next_cursor']}")).json()

    entries = [*first["entries"], *second["entries"]]
    assert [(one["who"], one["action"], one["subject"], one["detail"]) for one in entries] == [
        ("ann", "pause", f"pause-{number}", {"n": number}) for number in (2, 1, 0)
    ]
    assert all(one["at"].endswith("Z") for one in entries)
    assert second["next_cursor"] is None


async def test_a_wrong_cursor_is_named(client_with: ClientWith) -> None:
    """It is a 422 that says which parameter is wrong."""
    answer = await (await admin(client_with)).get("/v1/audit?cursor=x")

    assert answer.status == 422
    assert answer.json()["errors"] == [{"path": "cursor", "message": "a next_cursor from the page before"}]


def test_a_token_is_known_by_its_name_or_its_place() -> None:
    """The audit names the token, never the secret."""
    tokens = Tokens([ApiToken("first"), ApiToken("second", frozenset({"read"}), "ann"), ApiToken("third")])

    names = []
    for secret in (b"first", b"second", b"third"):
        request = Request({"type": "http", "headers": [(b"x-api-key", secret)]})
        tokens.admit(request, "read")
        names.append(who(request))

    assert names == ["token-1", "ann", "token-3"]


@pytest.mark.parametrize(
    ("action", "state", "detail"),
    [("retry", "failed", {}), ("cancel", "failed", {}), ("retry", "held", {}), ("release", "held", {})],
)
async def test_what_a_person_does_to_a_lookup_is_recorded(
    client_with: ClientWith, pool: asyncpg.Pool[Any], action: str, state: str, detail: dict[str, Any]
) -> None:
    """Who, what, and to which lookup."""
    client = await admin(client_with)
    row = await (job(pool, held="flood") if state == "held" else finished_job(pool, state))

    answer = await client.post(f"/v1/lookups/{row['lookup_id']}/{action}")

    assert answer.status in (200, 202)
    (entry,) = (await client.get("/v1/audit")).json()["entries"]
    assert (entry["who"], entry["action"], entry["subject"]) == ("ann", action, str(row["lookup_id"]))
    assert entry["detail"] == detail


async def test_a_wrong_number_is_recorded_as_such(client_with: ClientWith, pool: asyncpg.Pool[Any]) -> None:
    """The number itself is not."""
    client = await admin(client_with)
    row = await lookup(pool, final_status="found")

    await client.post(f"/v1/lookups/{row['id']}/retry", {"wrong_number": True})

    (entry,) = (await client.get("/v1/audit")).json()["entries"]
    assert (entry["action"], entry["detail"]) == ("retry", {"wrong_number": True})


@pytest.mark.parametrize("action", ["retry", "cancel", "release"])
async def test_what_was_refused_is_not_recorded(client_with: ClientWith, pool: asyncpg.Pool[Any], action: str) -> None:
    """A 409 changes nothing and leaves no entry."""
    client = await admin(client_with)
    row = await lookup(pool, final_status="not_found")

    answer = await client.post(f"/v1/lookups/{row['id']}/{action}")

    assert answer.status == 409
    assert (await client.get("/v1/audit")).json()["entries"] == []


async def test_the_entry_and_the_action_are_one_commit(client: Client, pool: asyncpg.Pool[Any], order: Order) -> None:
    """While the entry cannot be written, the lookup stays as it is."""
    row = await finished_job(pool, "failed")
    async with order.first() as first:
        await first.execute("LOCK TABLE audit IN EXCLUSIVE MODE")
        answer = await order.waiting(client.post(f"/v1/lookups/{row['lookup_id']}/cancel"))
        status = await pool.fetchval("SELECT final_status::text FROM lookups WHERE id = $1", row["lookup_id"])

    assert status == "failed"
    assert (await answer).status == 200
    assert await pool.fetchval("SELECT count(*) FROM audit") == 1


@pytest.mark.parametrize("held", ["budget", "paused", "flood", "brake"])
async def test_a_lookup_is_released_whatever_it_is_held_for(client: Client, pool: asyncpg.Pool[Any], held: str) -> None:
    """Its question is asked next, unless the reason for holding it is still there."""
    row = await job(pool, held=held)

    answer = await client.post(f"/v1/lookups/{row['lookup_id']}/release")

    assert (answer.status, answer.json()) == (200, {"id": str(row["lookup_id"]), "status": "queued"})
    assert await pool.fetchval("SELECT held FROM jobs") is None
