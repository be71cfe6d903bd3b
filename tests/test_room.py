"""The bytes of bodies that a process holds: bounded, and given back in every way that a request may end."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from receiver import bodies
from receiver.problems import Problem
from receiver.room import Hold, Room
from tests.asgi import Client
from tests.receiving import EVENT, stored

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

SECRET = "whsec_" + "a2V5LW9mLXRoZS10ZXN0cy1rZXktb2YtdGhlLXRlc3Q="
UNSIGNED = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA", "authorization": "none"}
PART = {"type": "http.request", "body": b"x" * 600, "more_body": True}


@pytest.fixture
async def signing(client_with: ClientWith) -> Client:
    """Provide a receiver that also takes signed events."""
    return await client_with(events_signing_secret=SECRET)


def room_of(client: Client) -> Room:
    """Return the room of this client's receiver."""
    assert isinstance(client.app, Starlette)
    room = client.app.user_middleware[0].kwargs["room"]
    assert isinstance(room, Room)
    return room


def in_use(room: Room) -> tuple[int, int, int]:
    """Return the bytes held, those of strangers, and how many bodies are arriving."""
    return room.all.held, room.unverified.held, len(room.all.arriving | room.unverified.arriving)


class Arriving:
    """A body of which *size* bytes are there, and whose rest is waited for."""

    def __init__(self, room: Room, size: int) -> None:
        self.hold = Hold(room)
        self.hold.take(size)
        self.waiting = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        async with asyncio.timeout(10) as timeout:
            self.hold.begin(timeout)
            await asyncio.Event().wait()


async def arriving(room: Room, *sizes: int) -> list[Arriving]:
    """Return bodies of these sizes, the first of which has been waited for the longest."""
    begun = []
    for size in sizes:
        begun.append(Arriving(room, size))
        await asyncio.sleep(0)
    return begun


async def test_the_costliest_strangers_make_room() -> None:
    """A full room takes a further body; the one that was held the longest, with the most bytes, is given up for it."""
    room = Room(1000, 100)
    slow, quick = await arriving(room, 60, 30)

    Hold(room).take(40)

    assert (slow.hold.evicted, quick.hold.evicted) == (True, False)
    assert in_use(room) == (70, 70, 1)
    with pytest.raises(TimeoutError):
        await slow.waiting
    assert not quick.waiting.done()


async def test_a_body_that_costs_most_itself_is_refused() -> None:
    """A stranger that holds nearly all of the room does not push the others out for the rest."""
    room = Room(1000, 100)
    large, small = await arriving(room, 80, 10)

    with pytest.raises(Problem) as refused:
        large.hold.take(20)

    assert refused.value.status == 503
    assert not small.hold.evicted
    assert in_use(room) == (10, 10, 1)


async def test_strangers_do_not_take_the_room_of_known_senders() -> None:
    """A sender with a token has the rest of the whole room, however many strangers there are."""
    room = Room(1000, 100)
    (stranger,) = await arriving(room, 100)
    known = Hold(room)
    known.verify()

    known.take(900)

    assert not stranger.hold.evicted
    assert in_use(room) == (1000, 100, 1)


async def test_bodies_that_have_arrived_are_not_given_up() -> None:
    """When bodies that are being stored take all of the room, a further one is refused; afterwards there is room."""
    room = Room(1000, 100)
    storing = Hold(room)
    storing.verify()
    storing.take(1000)

    with pytest.raises(Problem):
        Hold(room).take(1)
    storing.release()
    Hold(room).take(1)


async def test_a_verified_body_leaves_the_strangers_share() -> None:
    """Its bytes count until the request ends, but other strangers have their room again."""
    room = Room(1000, 100)
    hold = Hold(room)
    hold.take(80)

    hold.verify()

    assert in_use(room) == (80, 0, 0)
    hold.release()
    assert in_use(room) == (0, 0, 0)


@pytest.mark.parametrize(
    ("incoming", "headers", "length", "status"),
    [
        ([PART], UNSIGNED, None, 0),
        ([PART], {}, None, 0),
        ([PART, {"type": "http.request", "body": b"x" * (1 << 20)}], UNSIGNED, None, 413),
        ([PART, {"type": "http.request", "body": b"x" * (1 << 20)}], {}, None, 413),
        ([PART, {"type": "http.request", "body": b"x"}], UNSIGNED, 601, 401),
        ([PART, {"type": "http.request", "body": b"x"}], {}, 5, 400),
        ([{"type": "http.request", "body": json.dumps(EVENT).encode()}], {}, None, 202),
    ],
    ids=[
        "gone, unsigned",
        "gone",
        "too large, unsigned",
        "too large",
        "unsigned",
        "not JSON, of another length",
        "stored",
    ],
)
async def test_all_is_given_back(
    signing: Client, incoming: list[Message], headers: dict[str, str], length: int | None, status: int
) -> None:
    """However a request ends, it holds nothing afterwards."""
    sent = {"content-type": "application/json"} | headers

    answer = await signing.exchange("POST", "/events/generic", list(incoming), sent, content_length=length)

    assert answer.status == status
    assert in_use(room_of(signing)) == (0, 0, 0)


@pytest.mark.parametrize("headers", [UNSIGNED, {}], ids=["unsigned", "with a token"])
async def test_a_slow_body_gives_its_room_back(
    signing: Client, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that does not arrive in time is a 408, and one whose process ends is let go of."""
    room, begun = room_of(signing), asyncio.Event()

    async def slow(timeout: float) -> int:
        monkeypatch.setattr(bodies, "SLOWEST", timeout)
        status = 0
        parts: list[Message] = [dict(PART)]

        async def receive() -> Message:
            if parts:
                return parts.pop()
            begun.set()
            return await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        await signing.app(post({"content-type": "application/json"} | signing.headers | headers), receive, send)
        return status

    assert await slow(0.02) == 408
    assert in_use(room) == (0, 0, 0)
    begun.clear()
    ending = asyncio.create_task(slow(10))
    await begun.wait()
    assert in_use(room) == (600, 600 if headers else 0, 1)
    ending.cancel()
    await asyncio.wait([ending])
    assert in_use(room) == (0, 0, 0)


def post(headers: dict[str, str]) -> dict[str, Any]:
    """Return the scope of a POST to the address of generic events."""
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/events/generic", "raw_path": b"/events/generic", "root_path": "", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "state": {},
    }  # fmt: skip


@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_without_room_nothing_is_stored(client: Client, pool: Pool, coding: str | None) -> None:
    """A body that finds no room, as it came or decompressed, is a 503 that says when to come again, and closes."""
    room = room_of(client)
    room.all.most = 5_000
    body = json.dumps(EVENT | {"note": "x" * 10_000}).encode()
    headers = {"content-encoding": coding} if coding else {}

    answer = await client.post("/events/generic", gzip.compress(body) if coding else body, headers)

    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert await stored(pool) == (0, 0, 0)
    assert in_use(room) == (0, 0, 0)
