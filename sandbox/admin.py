"""The admin of a vendor, under /sandbox, without credentials: testers read and steer truth, faults, ledger and log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Protocol

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.behaviours import PREFIXES, Behaviour, UnknownWordError, VendorName, rows
from sandbox.faults import Chaos, Faults
from sandbox.ledger import Ledger
from sandbox.pages import document, page
from sandbox.people import Person, person

MANUAL = {
    "GET /sandbox/behaviours": "the words that identifiers may carry, and what happens",
    "GET /sandbox/truth": "?profile_url= &work_email= &personal_email= &name= &company=: known, at what price",
    "GET /sandbox/faults": "the faults in force",
    "POST /sandbox/faults": "the faults from now on: the document replaces the one in force",
    "DELETE /sandbox/faults": "no faults",
    "GET /sandbox/ledger": "?after= &limit=: what was charged, with totals",
    "GET /sandbox/requests": "?after= &limit=: every paid POST and its outcome",
    "GET /sandbox/callbacks": "?after= &limit=: every callback and the status it got",
    "GET /sandbox/stats": "the counts",
    "POST /sandbox/reset": "as if just started",
}


class Account(Protocol):
    """The part of a vendor that the admin uses."""

    name: ClassVar[VendorName]
    chaos: Chaos
    ledger: Ledger

    def truth(self, subject: Person) -> dict[str, Any]:
        """Return what the vendor knows about *subject*."""

    def stats(self) -> dict[str, Any]:
        """Return the counts."""

    def reset(self) -> None:
        """Go back to the state at the start."""

    def open(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold the vendor at work inside the block."""


def create_app(account: Account) -> Starlette:
    """Create the admin of one vendor; its lifespan is the vendor's."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.account = account
        async with account.open():
            yield

    routes = [
        Route("/sandbox", show_manual),
        Route("/sandbox/behaviours", show_behaviours),
        Route("/sandbox/truth", show_truth),
        Route("/sandbox/faults", show_faults, methods=["GET"]),
        Route("/sandbox/faults", set_faults, methods=["POST"]),
        Route("/sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/sandbox/ledger", show_ledger),
        Route("/sandbox/requests", show_requests),
        Route("/sandbox/callbacks", show_callbacks),
        Route("/sandbox/stats", show_stats),
        Route("/sandbox/reset", reset, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def show_manual(request: Request) -> Response:
    """List the admin's endpoints."""
    return document({"vendor": _account(request).name, "endpoints": MANUAL})


async def show_behaviours(request: Request) -> Response:
    """List the vendor's rows of the table."""
    vendor = _account(request).name
    return document({"vendor": vendor, "behaviours": [_row(row) for row in rows(vendor)]})


async def show_truth(request: Request) -> Response:
    """Show what the vendor knows about the person of the query, and what it charges for the number."""
    query = request.query_params
    subject = person(
        profile_url=query.get("profile_url") or query.get("social_media_url"),
        work_email=query.get("work_email") or query.get("email"),
        personal_email=query.get("personal_email"),
        name=query.get("name"),
        company=query.get("company"),
    )
    if subject is None:
        return document({"detail": "give profile_url, work_email, personal_email or name"}, 400)
    try:
        return document(_account(request).truth(subject))
    except UnknownWordError as exc:
        return document({"detail": str(exc)}, 400)


async def show_faults(request: Request) -> Response:
    """Show the faults in force."""
    return document(_account(request).chaos.faults.model_dump(mode="json"))


async def set_faults(request: Request) -> Response:
    """Replace the faults in force by those of the document."""
    try:
        _account(request).chaos.faults = Faults.model_validate_json(await request.body())
    except ValidationError as exc:
        return document({"detail": exc.errors(include_url=False, include_context=False, include_input=False)}, 422)
    return await show_faults(request)


async def clear_faults(request: Request) -> Response:
    """End all faults."""
    _account(request).chaos.faults = Faults()
    return await show_faults(request)


async def show_ledger(request: Request) -> Response:
    """Show totals and a page of charges."""
    ledger = _account(request).ledger
    totals = {"charges": len(ledger.charges), "credits": ledger.charged, "balance": ledger.balance}
    return page(request, ledger.charges, {"totals": totals})


async def show_requests(request: Request) -> Response:
    """Show a page of paid POSTs, and how many polls came between them."""
    ledger = _account(request).ledger
    totals = {name: ledger.counts[name] for name in ("posts", "polls", "limited", "answers_429")}
    return page(request, ledger.questions, {"totals": totals})


async def show_callbacks(request: Request) -> Response:
    """Show a page of callbacks."""
    return page(request, _account(request).ledger.callbacks, {})


async def show_stats(request: Request) -> Response:
    """Show the counts."""
    return document(_account(request).stats())


async def reset(request: Request) -> Response:
    """Set the vendor back to the state at its start; show the counts."""
    _account(request).reset()
    return await show_stats(request)


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account


def _row(row: Behaviour) -> dict[str, Any]:
    return {
        "word": PREFIXES[row.vendor] + row.word,
        "happens": row.happens,
        "charged": row.finds,
        "number_readable": row.finds and row.tells,
    }
