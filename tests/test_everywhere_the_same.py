"""What holds for every address: bodies may be gzip, methods are named, and no answer is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from receiver.bodies import MOST_OF_A_CALLBACK, MOST_OF_AN_EVENT
from receiver.routes import OPERATIONS
from tests.asgi import Answer, Client
from tests.called_back import found, path_for
from tests.conftest import TOKEN, ClientWith
from tests.crm_posts import PATH as HUBSPOT
from tests.crm_posts import SECRET as HUBSPOT_SECRET
from tests.crm_posts import event as hubspot_event
from tests.crm_posts import signed
from tests.factories import finished_job, job
from tests.receiving import EVENT
from tests.test_addresses import ID
from tests.test_auth import SECRET, sign_bytes
from tests.test_health import receiving

if TYPE_CHECKING:
    from tests.wishes import Pool

packed = partial(gzip.compress, mtime=0)
PATIENCE = 10.0  # seconds for an answer
ALL = f"all:events+read+operate+admin:{TOKEN}"
BODIES: dict[str, Any] = {
    "/events/generic": EVENT,
    HUBSPOT: {"record_id": "123"},
    "/v1/lookups": EVENT,
    f"/v1/lookups/{ID}/retry": {"wrong_number": True},
    "/v1/selections": {"action": "retry"},
    "/v1/pauses": {"provider": "nyne", "reason": "audit"},
    "/v1/suppressions": {"email": "jane@acme.co"},
}
PATHS = sorted({operation.path for operation in OPERATIONS})


@pytest.fixture
async def client(client_with: ClientWith) -> Client:
    """A client whose token may do anything."""
    return await client_with(api_tokens=ALL, events_signing_secret=SECRET, hubspot_client_secret=HUBSPOT_SECRET)


async def post(client: Client, path: str, body: bytes, coding: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer to a body in this coding."""
    return await client.post(path, body, {"content-encoding": coding} | dict(headers or {}))


def test_every_address_that_takes_json_is_tried() -> None:
    """A new one has to be added to BODIES."""
    taking = {one.path for one in OPERATIONS if one.body is not None or one.any_body is not None}
    written = {path.replace("/generic", "/{source}").replace(str(ID), "{id}") for path in BODIES}

    assert taking - {"/callbacks/{provider}/{job_id}/{token}"} == written


@pytest.mark.parametrize("path", BODIES)
async def test_gzip_is_read_at_every_address(client: Client, path: str) -> None:
    """The same answer as to the plain body; what explodes is a 413; another coding is a 415 that names gzip."""
    body = json.dumps(BODIES[path]).encode()
    bomb = packed(b" " * (MOST_OF_AN_EVENT + 1))

    plain = await client.post(path, body)
    undone = await client.delete(f"{path}/{plain.json()['id']}") if path == "/v1/pauses" else None
    zipped = await post(client, path, packed(body), "gzip")
    exploding = await post(client, path, bomb, "gzip")
    other = await post(client, path, body, "br")
    broken = await post(client, path, body, "gzip")

    assert plain.status in ({404} if path.endswith("retry") else {200, 201, 202})
    assert undone is None or undone.status == 200
    assert zipped.status == plain.status
    assert (exploding.status, other.status, broken.status) == (413, 415, 400)
    assert other.headers["accept-encoding"] == "gzip"
    for answer in (exploding, other, broken):
        assert answer.headers["content-type"] == "application/problem+json"


async def test_gzip_is_read_where_a_signature_is_the_credential(client: Client) -> None:
    """Signed before or after it was compressed."""
    strange = Client(client.app)
    generic, hubspot = json.dumps(EVENT).encode(), json.dumps([hubspot_event()]).encode()

    answers = [
        await post(strange, path, packed(body), "gzip", headers)
        for path, body, sign in (("/events/generic", generic, sign_bytes), (HUBSPOT, hubspot, signed))
        for headers in (sign(body), sign(packed(body)))
    ]

    assert [answer.status for answer in answers] == [202] * 4


async def test_a_callback_is_read_from_gzip_and_kept_whatever_it_is(client: Client, pool: Pool) -> None:
    """A paid answer is never refused for its form; what cannot be decompressed is kept as it came."""
    rows = [await job(pool, "awaiting") for _ in range(3)]
    body = json.dumps(found(rows[0]["request_id"])).encode()
    bomb = packed(b" " * (MOST_OF_A_CALLBACK + 1))

    answers = [
        await post(client, path_for(row["id"]), sent, coding)
        for row, sent, coding in zip(rows, (packed(body), bomb, body), ("gzip", "gzip", "br"), strict=True)
    ]

    assert [answer.status for answer in answers] == [200] * 3
    kept = {row["job_id"]: row["body"] for row in await pool.fetch("SELECT job_id, body FROM callbacks")}
    assert kept[rows[0]["id"]] == body
    assert kept[rows[1]["id"]] == bomb


@pytest.mark.parametrize("path", PATHS)
async def test_every_address_names_its_methods(client: Client, path: str) -> None:
    """In the Allow of a 405 and of OPTIONS; HEAD is answered like GET."""
    named = {"{source}": "generic", "{provider}": "nyne", "{job_id}": str(ID), "{token}": "x", "{id}": str(ID)}
    there = path
    for name, value in named.items():
        there = there.replace(name, value)
    methods = {operation.method.upper() for operation in OPERATIONS if operation.path == path}
    allowed = methods | ({"HEAD"} if "GET" in methods else set())

    wrong, asked = await client.send("PATCH", there, b""), await client.send("OPTIONS", there, b"")

    assert (wrong.status, asked.status, asked.body) == (405, 204, b"")
    for answer in (wrong, asked):
        assert set(answer.headers["allow"].split(", ")) == allowed
        assert answer.headers["x-content-type-options"] == "nosniff"
    if "GET" in methods:
        got, head = await client.get(there), await client.send("HEAD", there, b"")
        assert head.status == got.status
        assert head.headers["content-type"] == got.headers["content-type"]


async def test_every_answer_about_people_is_kept_by_no_cache(client: Client, pool: Pool) -> None:
    """Found, refused, unknown, unavailable or wrong: all say no-store and nosniff."""
    finished = await finished_job(pool)
    lookup = f"/v1/lookups/{finished['lookup_id']}"
    answers = [await client.get(lookup), await client.get("/v1/lookups"), await client.get("/v1/lookups?limit=0")]
    answers += [await Client(client.app).get(lookup), await client.get(f"/v1/lookups/{ID}"), await client.get("/v1/x")]
    answers += [await client.post("/events/generic", b"{", headers) for headers in ({}, {"content-type": "text/csv"})]
    answers += [await client.send("PATCH", lookup, b""), await client.post("/events/generic", EVENT)]

    assert {answer.status for answer in answers} == {200, 202, 400, 401, 404, 405, 415, 422}
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_the_server_answers_by_itself_is_kept_by_no_cache(database_url: str) -> None:
    """Bytes that are no HTTP never reach the app; their answer has the same headers, once each."""
    async with receiving(database_url) as receiver:
        nonsense = await head_of(receiver.url, b"\x16\x03\x01 no HTTP\r\n\r\n")
        usual = await head_of(receiver.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    assert nonsense.startswith(b"HTTP/1.1 400")
    for head in (nonsense, usual):
        lines = head.lower().split(b"\r\n")
        assert lines.count(b"cache-control: no-store") == 1
        assert lines.count(b"x-content-type-options: nosniff") == 1


async def head_of(url: str, sent: bytes) -> bytes:
    """The head of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(sent)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head
