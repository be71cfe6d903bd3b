"""A client that calls an ASGI app directly: no sockets, no server, and the lifespan around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """The answer to a request; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Client:
    """A client of *app*; *headers* go with every request."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] | None = None) -> None:
        self.app = app
        self.headers = dict(headers or {})

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET."""
        return await self.send("GET", path, b"", headers)

    async def post(self, path: str, body: Any = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a POST: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send("POST", path, content, {"content-type": "application/json"} | dict(headers or {}))

    async def delete(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a DELETE."""
        return await self.send("DELETE", path, b"", headers)

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request, its body in one piece."""
        return await self.exchange(
            method, path, [{"type": "http.request", "body": body}], headers, content_length=len(body)
        )

    async def exchange(
        self,
        method: str,
        path: str,
        incoming: list[Message],
        headers: Mapping[str, str] | None = None,
        *,
        content_length: int | None = None,
    ) -> Answer:
        """Send one request made of these *incoming* messages; status 0 when nothing was answered."""
        path, _, query = path.partition("?")
        given = self.headers | dict(headers or {})
        if content_length is not None:
            given.setdefault("content-length", str(content_length))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
        }  # fmt: skip
        outgoing: list[Message] = []

        async def receive() -> Message:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            outgoing.append(message)

        await self.app(scope, receive, send)
        if not outgoing:
            return Answer(0, {}, b"")
        return Answer(
            outgoing[0]["status"],
            {name.decode(): value.decode("latin-1") for name, value in outgoing[0]["headers"]},
            b"".join(message.get("body", b"") for message in outgoing[1:]),
        )


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[None]:
    """Hold the app started inside the block; shut it down cleanly at the end."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()

    async def live() -> None:
        await app({"type": "lifespan", "state": {}}, incoming.get, outgoing.put)

    life = asyncio.create_task(live())
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
        await life
