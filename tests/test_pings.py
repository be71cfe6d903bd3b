"""Verification pings: a challenge goes back to a sender with a token only.

The kinds are those of Meta, Microsoft Graph, Slack, monday.com, Azure Event Grid, Amazon SNS and Zoom:
https://github.com/camunda/connectors/issues/516, https://github.com/aspnet/WebHooks/issues/102
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.asgi import Client
from tests.receiving import EVENT

ADDRESS = "/events/generic"


@pytest.mark.parametrize("name", ["challenge", "hub.challenge", "validationToken"])
@pytest.mark.parametrize("challenge", ["1158201444", "Validation: Testing client <b>reachability</b>"])
async def test_a_challenge_in_the_query_is_echoed_as_text(offline: Client, name: str, challenge: str) -> None:
    """By GET, and by a POST without a body; as plain text that no browser takes for anything else."""
    path = f"{ADDRESS}?hub.mode=subscribe&{name}={quote(challenge)}"

    for answer in (await offline.get(path), await offline.post(path, b"", {"content-type": "text/plain"})):
        assert (answer.status, answer.body.decode()) == (200, challenge)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        ({"type": "url_verification", "token": "t", "challenge": "3eZbrw1a"}, {"challenge": "3eZbrw1a"}),
        ({"challenge": "3eZbrw1a"}, {"challenge": "3eZbrw1a"}),
        (
            [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}],
            {"validationResponse": "512d38b6"},
        ),
    ],
)
async def test_a_challenge_in_the_body_is_echoed_as_json(offline: Client, body: Any, answered: Any) -> None:
    """As its sender expects it, and without any database."""
    answer = await offline.post(ADDRESS, body)

    assert (answer.status, answer.json()) == (200, answered)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "body",
    [
        {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.test/?Token=x"},
        {"event": "endpoint.url_validation", "payload": {"plainToken": "x"}},
    ],
)
async def test_a_ping_that_cannot_be_answered_says_so(offline: Client, body: Any) -> None:
    """Where an echo is not enough, the answer is a 422 that says that it is a verification."""
    answer = await offline.post(ADDRESS, body)

    assert answer.status == 422
    assert "verification" in answer.json()["detail"]


async def test_without_a_token_nothing_is_echoed(offline: Client) -> None:
    """Without a token the address echoes nothing; the answer names the missing token."""
    stranger = Client(offline.app)
    answers = [
        await stranger.get(f"{ADDRESS}?challenge=reflected"),
        await stranger.get(f"{ADDRESS}?hub.challenge=reflected"),
        await stranger.post(f"{ADDRESS}?validationToken=reflected", b"", {"content-type": "text/plain"}),
        await stranger.post(ADDRESS, {"type": "url_verification", "challenge": "reflected"}),
    ]

    for answer in answers:
        assert answer.status == 401
        assert b"reflected" not in answer.body
        assert b"verification" in answer.body


@pytest.mark.parametrize("challenge", ["", "a" * 1025, "a\nb", "\u00e9", "a\0b"])
async def test_a_challenge_that_is_no_short_line_is_a_422(offline: Client, challenge: str) -> None:
    """An echo is short and printable, from the query and from the body."""
    in_query = await offline.get(f"{ADDRESS}?challenge={quote(challenge)}")
    in_body = await offline.post(ADDRESS, {"type": "url_verification", "challenge": challenge})

    assert (in_query.status, in_body.status) == (422, 422)


@pytest.mark.parametrize("challenge", [None, 7, ["a"], {"a": 1}])
async def test_a_challenge_that_is_no_text_is_a_422(offline: Client, challenge: Any) -> None:
    """It is a ping all the same, and no event."""
    assert (await offline.post(ADDRESS, {"challenge": challenge})).status == 422


async def test_an_event_with_a_challenge_beside_it_is_an_event(client: Client) -> None:
    """Neither a field nor a parameter of that name keeps a lead from being stored."""
    path = f"{ADDRESS}?challenge=x&validationToken=y"

    assert (await client.post(path, EVENT)).status == 202
    assert (await client.post(ADDRESS, EVENT | {"challenge": "x", "event_id": "evt-2"})).status == 202


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_sender_that_looks_first_is_told_what_the_address_is_for(offline: Client, method: str) -> None:
    """Some CRMs check that an address exists before they use it."""
    answer = await Client(offline.app).send(method, ADDRESS, b"")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert method == "HEAD" or b"POST" in answer.body


@pytest.mark.parametrize("path", ["/events/hubspott", "/events/hubspott?challenge=x"])
async def test_an_unknown_source_is_a_404_here_too(offline: Client, path: str) -> None:
    """A wrong address must not look like a right one."""
    assert (await offline.get(path)).status == 404
