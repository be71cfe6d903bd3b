"""Render pages: Jinja2 with autoescape, the words for times and amounts, and the headers that every page has."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from receiver.auth import Holder
from receiver.dashboard.assets import address_of
from receiver.dashboard.navigation import PAGES
from receiver.dashboard.said import SAID

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
AT_ONCE = 0.001  # seconds that a page is made without a pause: an event takes a dozen turns of the event loop
CODE = re.compile(r"`([^`]+)`")
UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def as_page(request: Request, template: str, status: int = 200, **content: Any) -> Response:
    """Render *template* with *content* for the holder of the request's session, or without one."""
    holder: Holder | None = getattr(request.state, "holder", None)
    pieces = _TEMPLATES.get_template(template).generate(
        holder=holder,
        scopes=holder.scopes if holder else frozenset(),
        pages=[page for page in PAGES if holder and page.scope in holder.scopes],
        path=request.url.path,
        said=SAID.get(request.query_params.get("said", "")),
        **content,
    )
    return Page(pieces, status)


class Page(Response):
    """A page that is made piece by piece: a long one, of thousands of rows, holds up no event."""

    def __init__(self, pieces: Iterator[str], status: int) -> None:
        super().__init__(b"", status, HEADERS, "text/html")
        self._pieces: Iterator[str] | None = pieces

    async def make(self) -> None:
        """Make it, unless it is made."""
        if self._pieces is None:
            return
        made, until = [], time.perf_counter() + AT_ONCE
        for piece in self._pieces:
            made.append(piece)
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + AT_ONCE
        self._pieces = None
        self.body = "".join(made).encode()
        self.headers["content-length"] = str(len(self.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.make()
        await super().__call__(scope, receive, send)


def render(template: str, **content: Any) -> str:
    """Render a part of a page, which needs no layout."""
    return _TEMPLATES.get_template(template).render(**content)


def back_to(path: str, said: str | None = None) -> Response:
    """Send the browser to a page after a form; *said* names the sentence that it then shows."""
    separator = "&" if "?" in path else "?"
    return RedirectResponse(f"{path}{separator}said={said}" if said else path, 303, HEADERS)


def as_time(moment: datetime | None) -> str:
    """Write a moment in UTC to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def as_amount(amount: Decimal | float | None) -> str:
    """Write an amount with thousands' separators, and without decimals that say nothing."""
    if amount is None:
        return ""
    number = Decimal(str(amount))
    return f"{number:,.0f}" if number == number.to_integral_value() else f"{number:,.2f}"


def as_share(share: float | None) -> str:
    """Write a share as a percentage; of a small one, a decimal."""
    if share is None:
        return ""
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def as_duration(duration: timedelta | float | None) -> str:
    """Write a duration, or seconds, in the two largest units that matter."""
    if duration is None:
        return ""
    seconds = max(0.0, duration.total_seconds() if isinstance(duration, timedelta) else float(duration))
    whole = round(seconds)
    for size, unit, smaller, small_unit in UNITS:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def masked(number: str | None) -> str:
    """Hide a number but for its country and its last two digits: enough to recognize it, too little to dial it."""
    return f"{number[:3]}{'•' * max(0, len(number) - 5)}{number[-2:]}" if number else ""


def as_code(text: str) -> Markup:
    """Escape *text*, and set what stands in backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped before


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: Mapping[str, Any] = {
        "time": as_time, "amount": as_amount, "share": as_share, "duration": as_duration, "masked": masked,
        "asset": address_of, "code": as_code,
    }  # fmt: skip
    environment.filters.update(filters)
    return environment


_TEMPLATES = _environment()
