"""Scopes: each token does what its scopes allow, and nothing else."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from enrichment.setting_types import SCOPES
from receiver.openapi import document
from receiver.operations import Operation
from receiver.routes import OPERATIONS
from tests.asgi import Client
from tests.conftest import TOKEN, ClientWith
from tests.test_auth import SECRET, sign

ID = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"
EVENT = {"work_email": "jane@acme.co"}
GUARDED = [operation for operation in OPERATIONS if operation.scope]
ONE_EACH = ",".join(f"{scope}er:{scope}:of-{scope}" for scope in sorted(SCOPES))


def address(operation: Operation) -> tuple[str, str]:
    """The method and path, with values in place of parameters."""
    names = {parameter.name: parameter.example or "x" for parameter in operation.parameters}
    return operation.method.upper(), operation.path.format(**names)


def with_token(client: Client, token: str) -> Client:
    """A client of the same receiver with this token."""
    return Client(client.app, {"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("operation", GUARDED, ids=lambda one: f"{one.method} {one.path}")
async def test_an_operation_is_for_tokens_with_its_scope(client_with: ClientWith, operation: Operation) -> None:
    """Every other scope gets a 403 that names the missing one; its own gets past the check."""
    client = await client_with(api_tokens=ONE_EACH)
    method, path = address(operation)

    answers = {
        scope: await with_token(client, f"of-{scope}").send(method, path, b"", {"content-type": "application/json"})
        for scope in SCOPES
    }

    assert {scope for scope, answer in answers.items() if answer.status != 403} == {operation.scope}
    for scope, answer in answers.items():
        if scope != operation.scope:
            assert answer.headers["content-type"] == "application/problem+json"
            assert f"needs the scope `{operation.scope}`" in answer.json()["detail"]
            assert f"the token '{scope}er' has: {scope}" in answer.json()["detail"]
            assert f'scope="{operation.scope}"' in answer.headers["www-authenticate"]


async def test_a_bare_token_has_all_scopes_but_admin(client: Client) -> None:
    """It goes on doing what tokens did before there were scopes, and no more."""
    statuses = {operation.scope: (await client.send(*address(operation), b"")).status for operation in GUARDED}

    assert statuses["admin"] == 403
    assert 403 not in [statuses["events"], statuses["read"], statuses["operate"]]


async def test_a_token_without_its_scope_stores_nothing(client_with: ClientWith, pool: asyncpg.Pool[Any]) -> None:
    """A 403 is answered before anything is done."""
    client = await client_with(api_tokens=f"reader:read:{TOKEN}")

    answers = [await client.post(path, EVENT) for path in ("/events/generic", "/v1/lookups")]

    assert [answer.status for answer in answers] == [403, 403]
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_second_token_may_have_the_scope_that_the_first_lacks(client_with: ClientWith) -> None:
    """A proxy may add a token of its own: any token in the request is enough."""
    client = await client_with(api_tokens=ONE_EACH)

    answer = await Client(client.app).get("/v1/usage", {"authorization": "Bearer of-events", "x-api-key": "of-read"})

    assert answer.status == 200


async def test_a_signature_needs_no_scope(client_with: ClientWith) -> None:
    """A genuine signature is for events, and no token is looked at."""
    client = await client_with(api_tokens=ONE_EACH, events_signing_secret=SECRET)
    body = b'{"work_email": "jane@acme.co"}'

    answer = await Client(client.app).post("/events/generic", body, sign(body))

    assert answer.status == 202


async def test_a_challenge_is_for_tokens_that_may_send_events(client_with: ClientWith) -> None:
    """A sender whose events would be refused learns it from the answer to its challenge."""
    client = await client_with(api_tokens=ONE_EACH)

    answers = [
        await with_token(client, f"of-{scope}").get("/events/generic?challenge=abc") for scope in ("read", "events")
    ]

    assert [answer.status for answer in answers] == [403, 200]


def test_the_description_says_which_scope_an_operation_needs() -> None:
    """In its security requirement for programs, and in words for people; and that it may answer 403."""
    for operation in OPERATIONS:
        described = document()["paths"][operation.path][operation.method]
        needed = {scope for one in described["security"] for scopes in one.values() for scope in scopes}
        assert needed == ({operation.scope} if operation.scope else set())
        assert ("403" in described["responses"]) == bool(operation.scope)
        assert not operation.scope or f"Needs the scope `{operation.scope}`." in described["description"]


def test_an_operation_for_tokens_without_a_scope_cannot_be_written() -> None:
    """It would be open to every token, or to everybody."""
    with pytest.raises(ValueError, match="its scope"):
        Operation(method="get", path="/", handler=lambda h: h.api.page, group="", summary="", answer="object")
