"""The admin of a vendor, under /sandbox, without credentials: testers read and steer truth, faults, ledger and log."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import steering
from sandbox.behaviours import PREFIXES, Behaviour, UnknownWordError, VendorName, rows
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


class Account(steering.Account, Protocol):
    """The part of a vendor that the admin uses."""

    name: ClassVar[VendorName]
    ledger: Ledger

    def truth(self, subject: Person) -> dict[str, Any]:
        """Return what the vendor knows about *subject*."""


def create_app(account: Account) -> Starlette:
    """Create the admin of one vendor."""
    routes = [
        Route("/sandbox", show_manual),
        Route("/sandbox/behaviours", show_behaviours),
        Route("/sandbox/truth", show_truth),
        Route("/sandbox/ledger", show_ledger),
        Route("/sandbox/requests", show_requests),
        Route("/sandbox/callbacks", show_callbacks),
    ]
    return steering.create_app(account, routes)


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
