"""The receiver of results: it verifies and notes every POST, and answers well, badly or not at all.

A fault strikes each result once, so the second try, five seconds later, succeeds: the third would come after five
minutes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from pydantic import SecretStr

from enrichment.signatures import verify_webhook, webhook_key
from rig.ports import HOST, free_port

SECRET = "whsec_" + base64.b64encode(b"a secret of the chaos, 32 bytes.").decode()
SLOW, ASKED = 2.0, 4  # seconds: how late an answer is, and what a Retry-After asks for
PATH = "/results"

Ill = Literal["refused", "throttled", "slow", "torn", "hung up"]


@dataclass(slots=True)
class Got:
    """One POST with a right signature, and the answer; *status* is None if none was given.

    *told* is when the answer was given: its sender cannot have known of it before.
    """

    id: str
    lookup: str
    at: float
    status: int | None = None
    told: float | None = None
    is_unsure: bool = False  # the connection broke with the answer


@dataclass(slots=True)
class Results:
    """The server, with everything that it got."""

    seed: int
    port: int = field(default_factory=free_port)
    got: list[Got] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    _ills: list[tuple[Ill, float]] = field(default_factory=list)
    _struck: set[str] = field(default_factory=set)
    _runner: web.AppRunner | None = None
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Make the dice from the seed."""
        self._dice = random.Random(f"results {self.seed}")

    @property
    def url(self) -> str:
        """Return the address of the result webhook."""
        return f"http://{HOST}:{self.port}{PATH}"

    async def open(self) -> None:
        """Serve from now on."""
        app = web.Application()
        app.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()

    async def close(self) -> None:
        """Serve no longer."""
        if self._runner is not None:
            await self._runner.cleanup()

    @contextmanager
    def suffering(self, ill: Ill, share: float) -> Iterator[None]:
        """Answer this way, inside the block, to this *share* of the results that no fault has struck yet."""
        self._ills.append((ill, share))
        try:
            yield
        finally:
            self._ills.remove((ill, share))

    async def _take(self, request: web.Request) -> web.StreamResponse:
        at, body = time.time(), await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        id = verify_webhook(headers, body, keys=[webhook_key(SecretStr(SECRET))], now=at)
        if id is None:
            self.strange.append(f"a result without a good signature: {body[:200]!r}")
            return web.Response(status=401)
        message = json.loads(body)
        one = Got(id, message["data"]["id"], at)
        self.got.append(one)
        return await self._answer(request, one, self._strike(id))

    def _strike(self, id: str) -> Ill | None:
        for ill, share in self._ills:
            if id not in self._struck and self._dice.random() < share:
                self._struck.add(id)
                return ill
        return None

    async def _answer(self, request: web.Request, one: Got, ill: Ill | None) -> web.StreamResponse:
        self.answers[ill or "taken"] += 1
        one.told = time.time()
        match ill:
            case "refused":
                one.status = 500
            case "throttled":
                one.status = 429
                return web.Response(status=429, headers={"Retry-After": str(ASKED)})
            case "slow":
                await asyncio.sleep(SLOW)
                one.status, one.told = 200, time.time()
            case "torn":
                one.status, one.is_unsure = 200, True
                torn = web.StreamResponse(headers={"Content-Length": "100"})
                await torn.prepare(request)
                await torn.write(b"half of")
                _hang_up(request)
                return torn
            case "hung up":
                _hang_up(request)
            case None:
                one.status = 200
        return web.Response(status=one.status or 200)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
