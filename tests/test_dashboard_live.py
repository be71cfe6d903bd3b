"""The page "Now" follows what happens: whole snapshots, one at each change, until the session or the process ends."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from receiver.app import create_app
from receiver.dashboard import live, now
from receiver.gate import Door
from rig.processes import environment, python
from store.pauses import Scope, add_pause
from tests.asgi import Client, living
from tests.commands import running
from tests.conftest import TOKEN, MakeSettings
from tests.seat import OURS, Seat, seated
from tests.test_dashboard_session import cookie_of

if TYPE_CHECKING:
    from tests.wishes import Pool

DEADLINE = 10.0  # seconds, for anything
STOPPED = "All paid questions are stopped"


class Stream:
    """A browser that follows the page: what it has got so far, and a way to leave."""

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app = app
        self._cookie = cookie
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._left = asyncio.Event()
        self._rest = ""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def run(self) -> None:
        """Ask for the stream; return when it has ended."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/live", "raw_path": b"/live", "root_path": "", "query_string": b"",
            "headers": [(b"cookie", self._cookie.encode()), (b"accept", b"text/html, text/event-stream")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
        }  # fmt: skip
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b""}
            async with asyncio.timeout(DEADLINE):
                await self._left.wait()
            return {"type": "http.disconnect"}

        await self._app(scope, receive, self._sent.put)
        await self._sent.put({"type": "end"})

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def begin(self) -> None:
        """Wait for the answer's head."""
        head = await self._next()
        self.status = head["status"]
        self.headers = {name.decode(): value.decode() for name, value in head["headers"]}

    async def event(self) -> str | None:
        """Return the text of the next event; None if the stream has ended."""
        while "\n\n" not in self._rest:
            message = await self._next()
            if message["type"] == "end":
                return None
            self._rest += message.get("body", b"").decode()
        event, _, self._rest = self._rest.partition("\n\n")
        return event

    async def _next(self) -> Message:
        async with asyncio.timeout(DEADLINE):
            return await self._sent.get()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the receiver look again at once."""
    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(now, "OFTEN", 0.0)


class WatchedDoor(Door):
    """The state of the process, and how often a stream has looked since."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: asyncio.Queue[float] = asyncio.Queue()

    async def stops_within(self, seconds: float) -> bool:
        """Count the look after which the stream waits."""
        self.looks.put_nowait(seconds)
        return await super().stops_within(seconds)

    async def looked(self, times: int) -> None:
        """Wait until a stream has looked so many times."""
        async with asyncio.timeout(DEADLINE):
            for _ in range(times):
                await self.looks.get()


@pytest.fixture
def door() -> WatchedDoor:
    """The state of the process."""
    return WatchedDoor()


@pytest.fixture
async def app(
    door: WatchedDoor, make_settings: MakeSettings, pool: Pool, database_url: str
) -> AsyncIterator[Starlette]:
    """The receiver, with a door that the test holds."""
    created = create_app(make_settings(), pool, database_url, door)
    async with living(created):
        yield created


@asynccontextmanager
async def following(app: ASGIApp, cookie: str) -> AsyncIterator[Stream]:
    """Follow the page inside the block."""
    stream = Stream(app, cookie)
    running_it = asyncio.create_task(stream.run())
    try:
        await stream.begin()
        yield stream
    finally:
        stream.leave()
        async with asyncio.timeout(DEADLINE):
            await running_it


async def cookie_at(client: Client) -> str:
    """Log in; return the cookie."""
    return (await seated(client)).headers["cookie"]


async def until_it_says(stream: Stream, text: str, before: str | None = None) -> str:
    """Read events, each of which differs from the one before, until one says *text*."""
    while (event := await stream.event()) is not None:
        assert event != before
        if text in event:
            return event
        before = event
    raise AssertionError(f"the stream ended before {text!r}")


async def test_the_first_event_is_the_whole_and_the_next_comes_at_a_change(
    pool: Pool, client: Client, door: WatchedDoor
) -> None:
    """Who comes late misses nothing; while nothing changes, nothing is sent."""
    async with following(client.app, await cookie_at(client)) as stream:
        first = await stream.event()
        await door.looked(3)
        await add_pause(pool, Scope(None, None), reason="for the test", who="ann")
        second = await until_it_says(stream, STOPPED, before=first)

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-accel-buffering"] == "no"
    assert first is not None
    assert STOPPED not in first
    for event in (first, second):
        assert all(line.startswith("data: ") for line in event.splitlines())
        assert 'id="health"' in event
        assert 'id="budgets"' in event


async def test_a_stream_ends_at_once_when_the_process_stops(
    client: Client, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the next look; the page connects to another receiver."""
    monkeypatch.setattr(live, "EVERY", 10 * DEADLINE)
    async with following(client.app, await cookie_at(client)) as stream:
        assert await stream.event() is not None
        door.announce()

        assert await stream.event() is None


async def test_a_stream_ends_before_a_proxy_cuts_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it ends between two events, without a farewell: the page asks for the next one."""
    monkeypatch.setattr(live, "LONGEST", 0.0)
    async with following(client.app, await cookie_at(client)) as stream:
        events = [event async for event in _all(stream)]

    assert len(events) == 1
    assert 'id="health"' in events[0]


async def test_a_stream_ends_with_its_session(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last events say so, and tell the page not to ask again; here the session has two seconds left at most."""
    monkeypatch.setattr(live, "EVERY", 10 * DEADLINE)
    async with following(client.app, f"ringback={cookie_of(lasts=2.1)}") as stream:
        events = [event async for event in _all(stream)]

    assert "Your session has ended" not in events[0]
    assert "Your session has ended" in events[-2]
    assert events[-1] == "event: ended\ndata:"


async def test_without_a_session_the_page_is_told_so_and_stops_asking(client: Client) -> None:
    """A page that was asleep when its session ended gets no part of what happens, and does not ask for ever."""
    page = await (await seated(client)).page("/")
    async with following(client.app, f"ringback={cookie_of(lasts=-1)}") as stream:
        events = [event async for event in _all(stream)]

    assert len(events) == 2
    assert "Your session has ended" in events[0]
    assert events[1] == "event: ended\ndata:"
    assert 'data-hx-sse:close="ended"' in page


async def test_only_so_many_streams_are_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond them the answer is a 503, which the page does not show in its place; who leaves makes room."""
    monkeypatch.setattr(live, "MOST_STREAMS", 1)
    cookie = await cookie_at(client)
    async with following(client.app, cookie) as first:
        await first.event()
        async with following(client.app, cookie) as second:
            assert second.status == 503
    async with following(client.app, cookie) as third:
        assert third.status == 200
        assert await third.event() is not None

    assert 'data-hx-status:5xx="swap:none"' in await Seat(client.app, {"cookie": cookie}).page("/")


async def test_while_the_database_is_away_the_stream_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    """The page does not show what is not known any more, and goes on by itself."""
    cookie = await cookie_at(client)
    async with following(client.app, cookie) as stream:
        await stream.event()
        await pool.execute("ALTER TABLE providers RENAME TO elsewhere")
        await until_it_says(stream, "The database does not answer")
        await pool.execute("ALTER TABLE elsewhere RENAME TO providers")

        await until_it_says(stream, 'id="health"')


async def test_a_receiver_with_an_open_stream_stops_as_soon_as_one_without(database_url: str) -> None:
    """After SIGTERM the stream ends, and the process, within the second of notice and a bit."""
    settings = {"DATABASE_URL": database_url, "API_TOKENS": TOKEN, "HOST": "127.0.0.1", "PORT": "0",
                "PROVIDERS": "leadmagic"}  # fmt: skip
    async with running(python("receiver"), environment(**settings)) as process:
        port = json.loads(await process.says('"event": "listening"'))["port"]
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as browser:
            async with browser.post("/login", data={"token": TOKEN}, headers=OURS, allow_redirects=False) as entered:
                assert entered.status == 303
            async with browser.get("/live") as stream:
                assert (await stream.content.readline()).startswith(b"data: ")
                told = time.monotonic()
                code = await process.ends(signal.SIGTERM)
                took = time.monotonic() - told
                rest = await stream.content.read()

    assert code == 0
    assert rest.endswith(b"\n\n")
    assert took < 10  # uvicorn alone would wait twenty seconds for the stream


async def _all(stream: Stream) -> AsyncIterator[str]:
    """Yield every event until the stream ends."""
    while (event := await stream.event()) is not None:
        yield event
