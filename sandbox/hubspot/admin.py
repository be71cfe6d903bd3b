"""The admin of the account, under /sandbox, without credentials: faults, tokens, rules, subscription and the log."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import steering
from sandbox.hubspot import admin_contacts
from sandbox.hubspot.behaviours import manual
from sandbox.hubspot.calls import SCOPES, Token
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.journal import Journal
from sandbox.hubspot.portal import Rule
from sandbox.pages import document, page

MANUAL = {
    "GET /sandbox/behaviours": "the words that contacts may carry, and what happens",
    "POST /sandbox/contacts": "as a person: {properties}, or {n, words, with_linkedin, with_email, with_mobile}",
    "GET /sandbox/contacts": "?after= &limit= &archived=: contacts with history, and the true number of each",
    "GET /sandbox/contacts/ID": "one of them, by an id that was merged away as well",
    "PATCH /sandbox/contacts/ID": "edit as a person: {properties}; an empty string clears",
    "DELETE /sandbox/contacts/ID": "delete as a person",
    "POST /sandbox/contacts/ID/restore": "bring it back",
    "POST /sandbox/contacts/ID/erase": "erase for good: a privacy deletion",
    "POST /sandbox/contacts/ID/merge": "{other}: merge with another into one with a new id; this one's values win",
    "POST /sandbox/contacts/ID/words": "{words: [...]}: what happens to it, on top of what its identifiers say",
    "POST /sandbox/index": "let searches see every change now",
    "GET /sandbox/faults": "the faults in force",
    "POST /sandbox/faults": "the faults from now on: the document replaces the one in force",
    "DELETE /sandbox/faults": "no faults",
    "GET /sandbox/tokens": "the tokens, by name, with their scopes",
    "POST /sandbox/tokens": "{token, name, app, scopes, revoked}: grant one, or change it",
    "GET /sandbox/rules": "the admin's rules on writes",
    "POST /sandbox/rules": "[{require: [...], when, values: [...]}]: replace them",
    "GET /sandbox/subscription": "where webhooks go, and which",
    "POST /sandbox/subscription": "change what the document names",
    "GET /sandbox/ledger": "?after= &limit=: every value that was written: by whom, when, old and new",
    "GET /sandbox/requests": "?after= &limit=: every request with its answer; the last 10,000, of each body 16 KiB",
    "GET /sandbox/webhooks": "?after= &limit=: every POST of events with the answer it got; the last 10,000",
    "GET /sandbox/stats": "the counts; `limited` are the 429s that no fault gave",
    "POST /sandbox/reset": "as if just started",
}


class Account(admin_contacts.Account, steering.Account, Protocol):
    """The part of the account that the admin uses."""

    journal: Journal
    tokens: dict[str, Token]
    subscription: Subscription


class Grant(BaseModel):
    """A token as the admin grants it."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1)
    name: str | None = None
    app: str | None = None
    scopes: tuple[str, ...] | None = None
    revoked: bool | None = None


def create_app(account: Account) -> Starlette:
    """Create the admin of one account."""
    routes = [
        Route("/sandbox", show_manual),
        Route("/sandbox/behaviours", show_behaviours),
        *admin_contacts.ROUTES,
        Route("/sandbox/tokens", show_tokens, methods=["GET"]),
        Route("/sandbox/tokens", grant, methods=["POST"]),
        Route("/sandbox/rules", show_rules, methods=["GET"]),
        Route("/sandbox/rules", set_rules, methods=["POST"]),
        Route("/sandbox/subscription", show_subscription, methods=["GET"]),
        Route("/sandbox/subscription", subscribe, methods=["POST"]),
        Route("/sandbox/ledger", show_ledger),
        Route("/sandbox/requests", show_requests),
        Route("/sandbox/webhooks", show_webhooks),
    ]
    return steering.create_app(account, routes)


async def show_manual(_: Request) -> Response:
    """List the admin's endpoints."""
    return document({"vendor": "hubspot", "endpoints": MANUAL})


async def show_behaviours(_: Request) -> Response:
    """List the words."""
    rows = [{"word": word, "happens": happens} for word, happens in manual().items()]
    return document({"vendor": "hubspot", "behaviours": rows})


async def show_tokens(request: Request) -> Response:
    """List the tokens."""
    tokens = _account(request).tokens.values()
    return document(
        {
            "tokens": [
                {"name": one.name, "app": one.app, "scopes": sorted(one.scopes), "revoked": one.revoked}
                for one in tokens
            ]
        }
    )


async def grant(request: Request) -> Response:
    """Grant a token, or change what the document names of one that exists."""
    wanted = Grant.model_validate_json(await request.body())
    tokens = _account(request).tokens
    first = next(iter(tokens.values()))
    token = tokens.setdefault(wanted.token, Token(f"token {len(tokens) + 1}", first.app, frozenset(SCOPES)))
    if wanted.name is not None:
        token.name = wanted.name
    if wanted.app is not None:
        token.app = wanted.app
    if wanted.scopes is not None:
        token.scopes = frozenset(wanted.scopes)
    if wanted.revoked is not None:
        token.revoked = wanted.revoked
    return await show_tokens(request)


async def show_rules(request: Request) -> Response:
    """Show the admin's rules."""
    rules = _account(request).portal.rules
    return document([{"require": rule.require, "when": rule.when, "values": rule.values} for rule in rules])


async def set_rules(request: Request) -> Response:
    """Replace the admin's rules."""
    _account(request).portal.rules[:] = TypeAdapter(list[Rule]).validate_json(await request.body())
    return await show_rules(request)


async def show_subscription(request: Request) -> Response:
    """Show where webhooks go."""
    return document(_account(request).subscription.model_dump(mode="json"))


async def subscribe(request: Request) -> Response:
    """Change what the document names of the subscription."""
    account = _account(request)
    changed = TypeAdapter(dict[str, Any]).validate_json(await request.body())
    account.subscription = Subscription.model_validate(account.subscription.model_dump() | changed)
    return await show_subscription(request)


async def show_ledger(request: Request) -> Response:
    """Show a page of written values."""
    return page(request, _account(request).portal.writes, {})


async def show_requests(request: Request) -> Response:
    """Show a page of requests; old ones are dropped."""
    journal = _account(request).journal
    return page(request, journal.received, {}, dropped=journal.counts["requests"] - len(journal.received))


async def show_webhooks(request: Request) -> Response:
    """Show a page of POSTs of events; old ones are dropped."""
    journal = _account(request).journal
    sent = journal.counts["webhooks_sent"] + journal.counts["forged_sent"]
    return page(request, journal.sent, {}, dropped=sent - len(journal.sent))


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account
