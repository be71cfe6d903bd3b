"""The audit: who did what, and that only an admin reads it."""

from __future__ import annotations

from typing import Any

import asyncpg
from starlette.requests import Request

from enrichment.setting_types import ApiToken
from receiver.auth import Tokens, who
from store import audit
from tests.asgi import Client
from tests.conftest import TOKEN, ClientWith


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
