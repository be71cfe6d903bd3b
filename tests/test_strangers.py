"""Requests of strangers and of broken programs never cause a defect of ours."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message
from uuid_utils.compat import uuid7

from receiver import bodies
from tests.asgi import Client
from tests.called_back import path_for
from tests.conftest import TOKEN
from tests.receiving import EVENT

REFUSALS = {400, 401, 404, 405, 408, 413, 415, 422, 503}
NAMES = (
    "authorization", "x-api-key", "content-type", "content-encoding", "content-length", "webhook-id",
    "webhook-timestamp", "webhook-signature", "svix-id", "transfer-encoding", "accept-encoding", "expect",
)  # fmt: skip
latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
values = st.one_of(
    latin,
    st.sampled_from(
        [
            f"Bearer {TOKEN}",
            "gzip",
            "gzip,gzip,",
            "application/json",
            "application/json; charset=utf-16",
            "9" * 5000,
            "²",
        ]
    ),
)
bodies_sent = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 100_000, b'"\\ud800"', b"\xff\xfe[", b'{"challenge":1e999}']
    ),
)
segments = st.lists(
    st.one_of(
        latin,
        st.sampled_from(
            [
                "events",
                "generic",
                "callbacks",
                "nyne",
                "v1",
                "lookups",
                "docs",
                "viewer",
                "files",
                "login",
                str(uuid7()),
            ]
        ),
    ),
    max_size=5,
)


@given(
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PATCH", "x" * 300]),
    segments,
    st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
    bodies_sent,
    st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_request_is_a_defect(
    offline: Client, method: str, path: list[str], headers: dict[str, str], body: bytes, known: bool
) -> None:
    """Any method, path, headers and body get an answer, and never a 500."""
    sender = offline if known else Client(offline.app)

    answer = await sender.send(method, "/" + "/".join(path), body, headers)

    # 403: the form of the login, which no page of ours sent.
    assert answer.status in REFUSALS | {200, 204, 403} or answer.headers.get("location", "").startswith("/login")
    assert TOKEN.encode() not in answer.body


@given(bodies_sent, st.text(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_query_and_no_genuine_callback_is_a_defect(offline: Client, body: bytes, text: str) -> None:
    """Any query parameter, and any message to the right callback URL."""
    for path in ("/v1/lookups", "/v1/usage", "/events/generic"):
        for name in ("limit", "cursor", "status", "record_id", "days", "challenge"):
            answer = await offline.get(f"{path}?{name}={quote(text)}")
            assert answer.status in REFUSALS | {200}

    assert (await offline.post(path_for(uuid7()), body)).status == 503  # it is the database that is missing


# Bodies that come in pieces


async def arriving(client: Client, *pieces: tuple[bytes, bool], path: str = "/events/generic") -> int:
    """The status when each piece arrives on its own, after something else had its turn; b"" hangs up."""
    left = list(pieces)
    sent: list[Message] = []
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"",
        "headers": [(b"x-api-key", TOKEN.encode()), (b"content-type", b"application/json")],
    }  # fmt: skip

    async def receive() -> Message:
        await asyncio.sleep(0)
        if not left:
            await asyncio.Event().wait()
        body, more = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": more} if body else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await client.app(scope, receive, send)
    return int(sent[0]["status"]) if sent else 0


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([(b"{", True), (b'"name"', True), (b":7}", False)], 422),
        ([(b"{}", False)], 422),
        ([(b"x" * 600_000, True), (b"x" * 600_000, True)], 413),
        ([(b"{", True), (b"", False)], 0),
        ([(b"", False)], 0),
        ([(b"{", True)], 408),
        ([], 408),
    ],
)
async def test_a_body_in_pieces_is_read_whole_or_not_at_all(
    offline: Client, pieces: list[tuple[bytes, bool]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it arrives it is one body; what never ends is a 408, what breaks off is nothing."""
    monkeypatch.setattr(bodies, "SLOWEST", 0.05)

    assert await arriving(offline, *pieces) == status


async def test_a_body_that_is_there_needs_no_time(offline: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that came with its headers needs no timer; one that is over at once does not matter."""
    monkeypatch.setattr(bodies, "SLOWEST", -1.0)

    assert (await offline.post("/events/generic", EVENT)).status == 503  # it is the database that is missing
    assert await arriving(offline, (b"{}", False)) == 408


async def test_a_reader_that_is_cancelled_lets_go(offline: Client) -> None:
    """A server that stops cancels its handlers: one that waits for a body ends, and answers nothing."""
    reading = asyncio.create_task(arriving(offline, (b"{", True)))
    for _ in range(5):
        await asyncio.sleep(0)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
