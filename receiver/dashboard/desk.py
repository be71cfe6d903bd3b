"""What every page needs, and who may see it: a session in front of each, and errors as pages that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import asyncpg
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from enrichment.providers.base import Provider
from enrichment.setting_types import Scope
from enrichment.settings import Settings
from receiver import problems
from receiver.auth import Handler, Tokens
from receiver.dashboard.forms import receive_form
from receiver.dashboard.rendering import HEADERS, Page, as_page, back_to
from receiver.dashboard.session import Sessions, is_ours
from receiver.decisions import Decisions
from receiver.events import Events
from receiver.gate import Door
from receiver.problems import RETRY_AFTER, UNAVAILABLE, Problem, broken
from store.installation import Installation
from store.notify import Notifier

log = structlog.get_logger()

READING = ("GET", "HEAD")
# Pages that are made at a time, each on one connection: most of the pool is for events and callbacks.
AT_ONCE = 3
PATIENCE = 10.0  # seconds that a page waits for its turn


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages of one process share."""

    settings: Settings
    pool: asyncpg.Pool[Any]
    installation: Installation
    notifier: Notifier
    providers: Mapping[str, Provider]  # all that are known
    tokens: Tokens
    door: Door
    events: Events
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    making: asyncio.Lock = field(default_factory=asyncio.Lock)  # one page at a time: they share the event loop

    @property
    def sessions(self) -> Sessions:
        """Return what begins and checks sessions."""
        return Sessions(self.tokens, self.settings.session_key)

    @property
    def decisions(self) -> Decisions:
        """Return what carries out a person's decisions about lookups and deliveries."""
        return Decisions(self.pool, self.installation, self.notifier)

    def guard(
        self, handler: Handler, scope: Scope, stranger: Handler | None = None, *, takes_turn: bool = True
    ) -> Handler:
        """Wrap *handler* so that it needs a session of a token with *scope*, and a POST one of our own pages.

        *stranger* answers requests without a session; by default they are led to the login. Without a turn,
        *handler* bounds by itself how much it does at once.
        """

        @wraps(handler)
        async def guarded(request: Request) -> Response:
            found = self.sessions.holder(request)
            if found is None:
                return await (stranger or _to_login)(request)
            holder, request.state.until = found
            request.state.holder = holder
            try:
                self.tokens.access.count_token(holder, holder.name)
                _check(request, scope)
                if not takes_turn:
                    return await self._made(handler, request)
                if request.method not in READING:
                    await receive_form(request)  # a slow one holds up no other page
                await self._wait_for_turn()
                try:
                    return await self._made(handler, request)
                finally:
                    self.turns.release()
            except Problem as problem:
                return as_error(request, problem)
            except ClientDisconnect:
                raise
            except UNAVAILABLE as error:
                log.warning("unavailable", route=request.scope["route"].path, error=type(error).__name__)
                return as_error(request, away())
            except Exception as error:  # noqa: BLE001  it is logged, and answered
                broken(error, request.scope["route"].path)
                return as_error(request, Problem(500, "Something broke on our side; it has been logged."))

        return guarded

    async def _made(self, handler: Handler, request: Request) -> Response:
        """Return the answer of *handler*; a page is made here, where what goes wrong is answered."""
        response = await handler(request)
        if isinstance(response, Page):
            async with self.making:
                await response.make()
        return response

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.turns.acquire()
        except TimeoutError:
            raise Problem(503, "Too many pages are being made. Load this one again in a moment.") from None


def _check(request: Request, scope: Scope) -> None:
    """Raise Problem (403) for a form from elsewhere, or a token that lacks *scope*."""
    if request.method not in READING and not is_ours(request):
        raise from_elsewhere()
    demand(request, scope)


def demand(request: Request, scope: Scope) -> None:
    """Demand a scope of the token that began the session. Raise Problem (403)."""
    holder = request.state.holder
    if scope not in holder.scopes:
        raise Problem(
            403,
            f"This needs a token with the scope `{scope}`, and you came with {holder.name!r}. Log out and come with "
            "another, or give this one the scope in API_TOKENS (name:scope+scope:token).",
        )


def from_elsewhere() -> Problem:
    """Return the 403 for a form that another site sent, or a browser that does not say from where."""
    return Problem(403, "This form did not come from a page of this address. Load the page again, and send it there.")


def away() -> Problem:
    """Return the 503 for a database that does not answer."""
    detail = (
        "The database does not answer. Load the page again in a moment; `ringback doctor` on the machine says more. If "
        "you sent a form, look at its page first: what it asks for may have been done."
    )
    return Problem(503, detail, headers={"Retry-After": RETRY_AFTER})


def as_error(request: Request, problem: Problem) -> Response:
    """Show *problem* as a page."""
    response = as_page(
        request, "error.html", problem.status, title=HTTPStatus(problem.status).phrase, detail=problem.detail,
        errors=problem.errors,
    )  # fmt: skip
    response.headers.update(problem.headers or {})
    return response


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer an unknown address or method: a browser gets a page, a program the problem, a forger nothing."""
    response = await problems.on_http_exception(request, error)
    if not response.body or "text/html" not in request.headers.get("accept", ""):
        return response
    detail = (
        "This address takes only what a form sends it. Go to its page, and send the form there."
        if response.status_code == 405
        else "There is no page at this address."
    )
    page = as_error(request, Problem(response.status_code, detail))
    if "allow" in response.headers:
        page.headers["allow"] = response.headers["allow"]
    return page


async def _to_login(request: Request) -> Response:
    """Send a browser without a session to the login, and from there back to the page that it wanted."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = f"/login?next={quote(wanted, safe='')}" if request.method in READING and wanted != "/" else "/login"
    if "hx-request" in request.headers:
        return Response(status_code=200, headers=HEADERS | {"HX-Redirect": address})  # not a part, but the whole page
    return back_to(address)
