"""Credentials: which are accepted, and that a request without them leaves no trace."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook
from starlette.requests import Request

from enrichment.setting_types import ApiToken
from enrichment.signatures import verify_webhook, webhook_key
from receiver.auth import Tokens
from receiver.routes import OPERATIONS
from tests.asgi import Client
from tests.conftest import TOKEN

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = webhook_key(SecretStr(SECRET))
# https://docs.svix.com: the vector of its libraries' tests
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
EVENT = {"work_email": "jane@acme.co"}
GUARDED = [
    (
        operation.method.upper(),
        operation.path.format(id="019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b", source="generic"),
    )
    for operation in OPERATIONS
    if operation.who != "anybody"
]
STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": "Bearer "},
    {"authorization": f"Bearer{TOKEN}"},
    {"authorization": f"Token {TOKEN}"},
    {"authorization": f'Bearer "{TOKEN}"'},
    {"authorization": f"Bearer {TOKEN}, Bearer x"},
    {"x-api-key": f"Bearer {TOKEN}"},
    {"x-api-key": " "},
    {"x-api-key": "wrong"},
    {"x-api-key": "t\xf6ken"},
)


def signature_headers(prefix: str = "webhook", **overrides: str) -> dict[str, str]:
    """The vector's headers."""
    given = {"id": ID, "timestamp": str(AT), "signature": SIGNATURE} | overrides
    return {f"{prefix}-{name}": value for name, value in given.items()}


def sign(body: bytes, message_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """Headers by the reference implementation."""
    at = at or datetime.now(UTC)
    signature = Webhook(SECRET).sign(message_id, at, body.decode())
    return signature_headers(id=message_id, timestamp=str(int(at.timestamp())), signature=signature)


def sign_bytes(body: bytes) -> dict[str, str]:
    """Headers for a body that is no text: the reference implementation signs text only."""
    message_id, at = "msg_1", str(int(datetime.now(UTC).timestamp()))
    signature = base64.b64encode(hmac.digest(KEY, f"{message_id}.{at}.".encode() + body, "sha256")).decode()
    return signature_headers(id=message_id, timestamp=at, signature=f"v1,{signature}")


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_valid_token_there_is_a_401(offline: Client, method: str, path: str) -> None:
    """No token, or a wrong one, is answered with 401 and WWW-Authenticate, as a problem, and without a database."""
    answers = [await Client(offline.app).send(method, path, b"", headers) for headers in STRANGERS]

    for answer in answers:
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 401


async def test_a_stranger_stores_nothing(app: Any, pool: asyncpg.Pool[Any]) -> None:
    """What comes without a valid token is not stored."""
    await Client(app).post("/events/generic", EVENT, {"authorization": "Bearer wrong"})

    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_stranger_is_answered_before_the_body_is_read(offline: Client) -> None:
    """A 401 needs no body: it is answered while the body is still on its way."""
    unread: list[Any] = [{"type": "http.request", "body": b"x" * 10, "more_body": True}]

    answer = await Client(offline.app).exchange("POST", "/events/generic", unread, {"content-type": "application/json"})

    assert answer.status == 401
    assert len(unread) == 1


async def test_several_tokens_are_valid_at_once(client_with: Any) -> None:
    """Any of API_TOKENS is enough, in either header."""
    app = (await client_with(api_tokens="first,second,schlüssel,voilà")).app
    given: list[dict[str, str]] = [
        {"authorization": "Bearer first"},
        {"authorization": "bearer second"},
        {"x-api-key": "second"},
        {"x-api-key": "first", "authorization": "Bearer wrong"},
        {"x-api-key": "schl\xc3\xbcssel"},  # what UTF-8 looks like in a header
        {"authorization": "Bearer voil\xc3\xa0"},  # its last byte is a space in Latin-1, and none here
    ]

    answers = [await Client(app).post("/events/generic", EVENT, headers) for headers in given]

    assert {answer.status for answer in answers} == {202}


@pytest.mark.parametrize(
    "headers",
    [
        [("x-api-key", f"{TOKEN} ")],
        [("x-api-key", f"\t{TOKEN}\t ")],
        [("authorization", f"Bearer {TOKEN} ")],
        [("authorization", f" BEARER   {TOKEN}\t")],
        [("authorization", f"bearer\t{TOKEN}")],
        [("authorization", "Basic cHJveHk6cHJveHk="), ("authorization", f"Bearer {TOKEN}")],
        [("x-api-key", "of-the-proxy"), ("x-api-key", TOKEN)],
        [("x-api-key", ""), ("authorization", f"Bearer {TOKEN}")],
    ],
)
def test_a_token_is_found_in_every_header_that_may_hold_it(headers: list[tuple[str, str]]) -> None:
    """White space around a value is no part of it (RFC 9110, 5.5), and a proxy may have added headers of its own.

    https://github.com/withceleste/celeste-python/issues/116
    """
    request = Request(
        {"type": "http", "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}
    )

    assert Tokens([ApiToken(TOKEN)]).holders(request)


def test_the_published_vector_verifies() -> None:
    """The vector of Standard Webhooks' libraries is genuine, and gives its id."""
    assert verify_webhook(signature_headers(), BODY, keys=[KEY], now=AT) == ID


def test_svix_names_are_accepted() -> None:
    """svix-id, svix-timestamp and svix-signature are the same under their older names."""
    assert verify_webhook(signature_headers("svix"), BODY, keys=[KEY], now=AT) == ID


def test_white_space_around_a_header_s_value_is_no_part_of_it() -> None:
    """As with tokens: proxies and clients leave it there (RFC 9110, 5.5)."""
    padded = {name: f" {value}\t" for name, value in signature_headers().items()}

    assert verify_webhook(padded, BODY, keys=[KEY], now=AT) == ID


def test_one_of_several_signatures_is_enough() -> None:
    """While secrets are rotated, a message carries several signatures; one of ours is enough."""
    several = f"v1,AAAA v1a,{SIGNATURE[3:]} garbage {SIGNATURE}"

    assert verify_webhook(signature_headers(signature=several), BODY, keys=[KEY], now=AT) == ID


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_five_minutes_are_tolerated_both_ways(seconds: int) -> None:
    """Clocks may differ by five minutes in either direction."""
    assert verify_webhook(signature_headers(), BODY, keys=[KEY], now=AT + seconds) == ID


@pytest.mark.parametrize("seconds", [-301, 301, 10**9])
def test_more_than_five_minutes_are_a_replay(seconds: int) -> None:
    """A message from another time is refused, genuine or not."""
    assert verify_webhook(signature_headers(), BODY, keys=[KEY], now=AT + seconds) is None


@pytest.mark.parametrize(
    "overrides",
    [
        {"signature": ""},
        {"signature": SIGNATURE[3:]},
        {"signature": f"v1a,{SIGNATURE[3:]}"},
        {"signature": "v1"},
        {"signature": ",,, , v1,"},
        {"signature": "v1,\xff\xfe"},
        {"signature": f"v2,{SIGNATURE[3:]}"},
        {"timestamp": ""},
        {"timestamp": "nan"},
        {"timestamp": "1e400"},
        {"timestamp": "-1614265330"},
        {"timestamp": "1614265330.0"},
        {"timestamp": "٣"},
        {"timestamp": "9" * 5000},
        {"id": ""},
        {"id": "msg_other"},
    ],
)
def test_what_does_not_fit_is_refused(overrides: dict[str, str]) -> None:
    """Odd header values are refused, and break nothing."""
    assert verify_webhook(signature_headers(**overrides), BODY, keys=[KEY], now=AT) is None


@given(st.binary(), st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_bytes_break_the_verification(body: bytes, timestamp: str, signature: str) -> None:
    """Any bytes at all are refused quietly."""
    headers = signature_headers(timestamp=timestamp, signature=signature)

    assert verify_webhook(headers, body, keys=[KEY], now=AT) is None


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
def test_what_the_reference_signs_we_verify(text: str, message_id: str) -> None:
    """Messages signed by the reference implementation are genuine."""
    at = datetime.fromtimestamp(AT, UTC)
    signature = Webhook(SECRET).sign(message_id, at, text)

    headers = signature_headers(id=message_id, signature=signature)

    assert verify_webhook(headers, text.encode(), keys=[KEY], now=AT) == message_id


async def test_a_signed_event_needs_no_token(client_with: Any) -> None:
    """With EVENTS_SIGNING_SECRET, a genuine signature is as good as a token."""
    app = (await client_with(events_signing_secret=SECRET)).app
    body = json.dumps(EVENT).encode()

    answer = await Client(app).post("/events/generic", body, sign(body))

    assert answer.status == 202


async def test_a_token_is_enough_where_signatures_are_expected(client_with: Any) -> None:
    """With EVENTS_SIGNING_SECRET, a valid token goes on being enough."""
    client = await client_with(events_signing_secret=SECRET)

    answer = await client.post("/events/generic", EVENT, signature_headers())

    assert answer.status == 202


async def test_a_changed_body_is_not_genuine(client_with: Any, pool: asyncpg.Pool[Any]) -> None:
    """A signature is for one body: with another it is a 401, and nothing is stored."""
    app = (await client_with(events_signing_secret=SECRET)).app

    answer = await Client(app).post("/events/generic", b'{"work_email": "eve@acme.co"}', sign(b"{}"))

    assert answer.status == 401
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_without_the_secret_a_signature_is_no_credential(offline: Client) -> None:
    """Without EVENTS_SIGNING_SECRET nothing can be signed, so a signature alone is a 401."""
    body = json.dumps(EVENT).encode()

    answer = await Client(offline.app).post("/events/generic", body, sign(body))

    assert answer.status == 401


async def test_a_signature_opens_events_only(client_with: Any) -> None:
    """The API accepts tokens only, never a signature."""
    app = (await client_with(events_signing_secret=SECRET)).app
    body = json.dumps(EVENT).encode()

    answer = await Client(app).post("/v1/lookups", body, sign(body))

    assert answer.status == 401


async def test_the_message_id_is_the_event_id_of_a_signed_event(client_with: Any) -> None:
    """The same message with the same contact is a duplicate, even if its body was written differently."""
    app = (await client_with(events_signing_secret=SECRET)).app
    first, again = b'{"work_email": "jane@acme.co"}', b'{"workEmail":"JANE@acme.co", "note": "x"}'

    made = (await Client(app).post("/events/generic", first, sign(first, "msg_7"))).json()["lookups"][0]
    met = (await Client(app).post("/events/generic", again, sign(again, "msg_7"))).json()["lookups"][0]

    assert not made["duplicate"]
    assert met["duplicate"]
    assert met["id"] == made["id"]


async def test_each_contact_of_a_signed_event_has_an_event_id_of_its_own(client_with: Any) -> None:
    """Several contacts in one message are several events; sent again, each is a duplicate of its own."""
    app = (await client_with(events_signing_secret=SECRET)).app
    body = json.dumps({"contacts": [{"name": "Ann Lee"}, {"name": "Bob Lee"}]}).encode()

    made = (await Client(app).post("/events/generic", body, sign(body))).json()["lookups"]
    met = (await Client(app).post("/events/generic", body, sign(body))).json()["lookups"]

    assert [one["duplicate"] for one in made] == [False, False]
    assert [one["duplicate"] for one in met] == [True, True]
    assert [one["id"] for one in met] == [one["id"] for one in made]


async def test_the_body_s_own_event_id_comes_first(client_with: Any) -> None:
    """A CRM that names its events is believed over the message that carries them."""
    app = (await client_with(events_signing_secret=SECRET)).app
    body = json.dumps(EVENT | {"event_id": "evt-1"}).encode()

    await Client(app).post("/events/generic", body, sign(body, "msg_1"))
    met = (await Client(app).post("/events/generic", body, sign(body, "msg_2"))).json()["lookups"][0]

    assert met["duplicate"]


async def test_metrics_may_ask_for_a_token(client_with: Any) -> None:
    """With METRICS_TOKEN, /metrics accepts that token only, and none of API_TOKENS."""
    client = await client_with(metrics_token="of-prometheus")

    answers = [await client.get("/metrics", {"authorization": f"Bearer {token}"}) for token in (TOKEN, "of-prometheus")]

    assert [answer.status for answer in answers] == [401, 200]
    assert answers[0].headers["www-authenticate"].startswith("Bearer")
