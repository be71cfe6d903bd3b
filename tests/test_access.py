"""Limits of requests: by token for those that prove who they are, by address for the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver import access
from receiver.access import Rate
from tests.asgi import Answer, Client
from tests.called_back import path_for
from tests.conftest import TOKEN, ClientWith
from tests.crm_posts import PATH as HUBSPOT
from tests.crm_posts import SECRET as HUBSPOT_SECRET
from tests.crm_posts import event as hubspot_event
from tests.crm_posts import post as post_as_hubspot
from tests.receiving import EVENT
from tests.test_addresses import ID
from tests.test_auth import SECRET, sign

BODY = json.dumps(EVENT).encode()
PROXY = "127.0.0.1"  # where the client of the tests comes from


def bearer(token: str = TOKEN) -> dict[str, str]:
    """Headers with a token."""
    return {"authorization": f"Bearer {token}"}


def at(address: str) -> dict[str, str]:
    """Headers by which a trusted proxy says who its client is."""
    return {"x-forwarded-for": address}


async def limited(client_with: ClientWith, **settings: Any) -> Client:
    """A receiver with these limits, and a client without a token."""
    return Client((await client_with(**settings)).app)


async def statuses(client: Client, times: int, path: str = "/v1/lookups", **headers: str) -> list[int]:
    """The statuses of so many GETs."""
    return [(await client.get(path, headers)).status for _ in range(times)]


async def unread(client: Client, path: str, headers: dict[str, str]) -> Answer:
    """The answer to a POST whose body never comes: without one, the body was waited for."""
    return await client.exchange("POST", path, [], {"content-type": "application/json"} | headers, content_length=99)


def test_a_minute_s_requests_may_come_at_once_and_then_evenly() -> None:
    """The burst is a whole minute's; after it there is one more per interval, and the wait is told."""
    rate = Rate(6)

    first = [rate.take("a", 100.0) for _ in range(7)]
    later = [rate.take("a", 110.0), rate.take("a", 110.0), rate.take("a", 1000.0), rate.take("b", 110.0)]

    assert first == [0.0] * 6 + [10.0]
    assert later == [0.0, 10.0, 0.0, 0.0]


@pytest.mark.parametrize("per_minute", [1, 7, 6_000, 120_000])
def test_the_burst_is_exact(per_minute: int) -> None:
    """Sums of floats neither give nor take one, however long the machine runs."""
    rate = Rate(per_minute)

    passed = sum(rate.take("a", 9_999_999.9) == 0 for _ in range(per_minute + 5))

    assert passed == per_minute


def test_a_thousand_strangers_take_no_more_memory_than_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently seen is forgotten; who goes on asking is not."""
    monkeypatch.setattr(access, "MOST_KEPT", 10)
    rate = Rate(2)
    seen = []
    for number in range(1000):
        rate.take(number, 0.0)
        seen.append(rate.take("persistent", 0.0))

    assert len(rate) == 10
    assert seen[:3] == [0.0, 0.0, 30.0]
    assert 0.0 not in seen[2:]


async def test_a_token_over_its_limit_is_told_when_to_come_back(client_with: ClientWith) -> None:
    """429 with Retry-After, before the body is read; other tokens go on."""
    client = await limited(client_with, api_tokens=f"{TOKEN}, other", token_requests_per_minute=3)
    passed = [(await client.post("/events/generic", EVENT, bearer())).status for _ in range(2)]
    passed += await statuses(client, 1, **bearer())

    refused = [await unread(client, path, bearer()) for path in ("/events/generic", HUBSPOT, "/v1/lookups")]
    other = await client.get("/v1/lookups", bearer("other"))

    assert passed == [202, 202, 200]
    assert [answer.status for answer in refused] == [429, 429, 429]
    assert 1 <= int(refused[0].headers["retry-after"]) <= 20
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert refused[0].headers["cache-control"] == "no-store"
    assert TOKEN not in refused[0].body.decode()
    assert other.status == 200


async def test_two_tokens_of_one_name_have_a_limit_each(client_with: ClientWith) -> None:
    """While a token is rotated, the old one's use does not shorten the new one's."""
    client = await limited(client_with, api_tokens="crm:read:old, crm:read:new", token_requests_per_minute=1)

    answers = [await client.get("/v1/lookups", bearer(token)) for token in ("old", "new", "old", "new")]

    assert [answer.status for answer in answers] == [200, 200, 429, 429]


async def test_a_token_without_the_scope_counts_as_well(client_with: ClientWith) -> None:
    """It proved who it is."""
    client = await limited(client_with, api_tokens="crm:events:limited", token_requests_per_minute=1)

    assert await statuses(client, 2, **bearer("limited")) == [403, 429]


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), {"x-api-key": "wrong"}])
@pytest.mark.parametrize("path", ["/events/generic", HUBSPOT, "/v1/lookups"])
async def test_who_proves_nothing_is_refused_by_address(
    client_with: ClientWith, path: str, headers: dict[str, str]
) -> None:
    """The 401s of an address become 429s before any body is read; a valid token from there goes on."""
    client = await limited(client_with, address_requests_per_minute=2)

    refused = [await unread(client, path, headers) for _ in range(4)]
    valid = await client.post("/events/generic", EVENT, bearer())

    assert [answer.status for answer in refused] == [401, 401, 429, 429]
    assert 1 <= int(refused[2].headers["retry-after"]) <= 30
    assert refused[2].headers["content-type"] == "application/problem+json"
    assert valid.status == 202


async def test_a_signature_is_verified_also_over_the_limit(client_with: ClientWith) -> None:
    """An attacker behind the CRM's own address cannot shut it out; what is not genuine counts."""
    client = await limited(
        client_with, address_requests_per_minute=1, events_signing_secret=SECRET, hubspot_client_secret=HUBSPOT_SECRET
    )
    forged = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    refused = [await client.post("/events/generic", BODY, forged) for _ in range(3)]
    refused.append(await client.post(HUBSPOT, b"[]", {"x-hubspot-signature-v3": "x"}))

    genuine = [await client.post("/events/generic", BODY, sign(BODY)) for _ in range(3)]
    genuine += [await post_as_hubspot(client, hubspot_event()) for _ in range(3)]

    assert [answer.status for answer in refused] == [401, 429, 429, 429]
    assert [answer.status for answer in genuine] == [202] * 6


async def test_a_callback_is_limited_by_its_token_alone(client_with: ClientWith) -> None:
    """A guess is a 404 as ever, and no guess uses up anything."""
    client = await limited(client_with, address_requests_per_minute=1, token_requests_per_minute=1)

    answers = [await client.post(f"{path_for(ID)}x", b"{}") for _ in range(4)]

    assert {answer.status for answer in answers} == {404}


async def test_zero_is_no_limit(client_with: ClientWith) -> None:
    """Both limits can be turned off."""
    client = await limited(client_with, address_requests_per_minute=0, token_requests_per_minute=0)

    assert set(await statuses(client, 50)) == {401}
    assert set(await statuses(client, 20, **bearer())) == {200}


async def test_the_clients_of_a_trusted_proxy_are_counted_apart(client_with: ClientWith) -> None:
    """One client's guesses leave the others' answers as they are; an IPv6 client is its /64."""
    client = await limited(client_with, address_requests_per_minute=1, trusted_proxies=PROXY)

    got = [
        (await statuses(client, 1, **at(address)))[0]
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    ]

    assert got == [401, 429, 401, 401, 429, 401]


async def test_a_spoofed_address_is_nobody_s(client_with: ClientWith) -> None:
    """What the client wrote itself, left of the proxy's entry, changes nothing: not for it, and not for its victim."""
    client = await limited(client_with, address_requests_per_minute=1, trusted_proxies=PROXY)
    spoofed = [f"{victim}, 198.51.100.7" for victim in ("192.0.2.1", "10.0.0.1", "127.0.0.1", "\x00", "," * 5000)]

    attacker = [(await statuses(client, 1, **at(header)))[0] for header in spoofed]
    victim = await statuses(client, 1, **at("192.0.2.1"))

    assert attacker == [401, 429, 429, 429, 429]
    assert victim == [401]


async def test_without_trusted_proxies_nothing_is_believed(client_with: ClientWith) -> None:
    """All headers about addresses are the client's own words."""
    client = await limited(client_with, address_requests_per_minute=1)

    said = {"x-forwarded-for": "192.0.2.1", "forwarded": "for=192.0.2.2", "x-real-ip": "192.0.2.3"}

    got = [(await statuses(client, 1, **{name: value}))[0] for name, value in said.items()]

    assert got == [401, 429, 429]


async def test_refusals_are_counted_without_addresses_and_tokens(client_with: ClientWith) -> None:
    """/metrics tells which limit and whose token, by its name."""
    client = await limited(
        client_with, api_tokens=f"crm:read:{TOKEN}", address_requests_per_minute=1, token_requests_per_minute=1,
        trusted_proxies=PROXY,
    )  # fmt: skip
    await statuses(client, 3, **at("192.0.2.77"))
    await statuses(client, 2, **bearer())

    text = (await client.get("/metrics")).body.decode()

    assert 'ringback_requests_limited_total{limit="address",token=""} 2.0' in text
    assert 'ringback_requests_limited_total{limit="token",token="crm"} 1.0' in text
    assert "192.0.2.77" not in text
    assert TOKEN not in text
