"""/login and /logout."""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.responses import Response

from receiver.auth import digest
from receiver.dashboard.desk import Desk, as_error, from_elsewhere
from receiver.dashboard.forms import read_form_of_a_stranger
from receiver.dashboard.rendering import as_page, back_to
from receiver.dashboard.session import end, is_ours
from receiver.problems import Problem

log = structlog.get_logger()

WRONG = "None of API_TOKENS is this token. It is the part after the last colon of an entry."


class Login:
    """The handlers that begin and end a session."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Show the form; who has a session already goes on."""
        if self._desk.sessions.holder(request):
            return back_to(_next(request.query_params.get("next", "")))
        return as_page(request, "login.html", next=_next(request.query_params.get("next", "")), wrong=None)

    async def enter(self, request: Request) -> Response:
        """Begin a session for the holder of the token in the form."""
        try:
            if not is_ours(request):
                raise from_elsewhere()
            form = await read_form_of_a_stranger(request)
            given = digest(form.get("token", "").strip().encode())
            holder = self._desk.tokens.holder_of(given)
            if holder is None:
                raise self._desk.tokens.refusal(request)
        except Problem as problem:
            if problem.status != 401:
                return as_error(request, problem)
            return as_page(request, "login.html", 401, next=_next(form.get("next", "")), wrong=WRONG)
        response = back_to(_next(form.get("next", "")))
        secure = request.headers.get("origin", "").startswith("https://")
        self._desk.sessions.begin(response, given, secure=secure)
        log.info("logged_in", who=holder.name)
        return response

    async def leave(self, request: Request) -> Response:
        """End the session."""
        if not is_ours(request):
            return as_error(request, from_elsewhere())
        response = back_to("/login", "ended")
        end(response)
        return response


def _next(address: str) -> str:
    """Return *address* if it is a page of ours, else the first page: no link may lead through the login elsewhere.

    Browsers read a backslash as a slash, two slashes as another host, and skip tabs and line ends:
    https://url.spec.whatwg.org/#url-parsing
    """
    ours = address.startswith("/") and address[1:2] not in ("/", "\\")
    return address if ours and address.isprintable() and address.isascii() else "/"
