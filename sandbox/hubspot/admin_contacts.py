"""The admin's contacts: actions of the account's people, and everything that is true about a contact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.behaviours import UnknownWordError
from sandbox.hubspot.behaviours import chosen, row
from sandbox.hubspot.cast import Wanted
from sandbox.hubspot.conduct import Conduct
from sandbox.hubspot.portal import AlreadyThere, Portal
from sandbox.hubspot.records import HUMAN, Contact
from sandbox.hubspot.search import Index
from sandbox.pages import PAGE, document


class Account(Protocol):
    """The part of the account that these endpoints use."""

    portal: Portal
    index: Index
    conduct: Conduct


class Edited(BaseModel):
    """The values that a person sets."""

    model_config = ConfigDict(extra="forbid")

    properties: dict[str, str] = Field(min_length=1)


class Merged(BaseModel):
    """The other contact of a merge."""

    model_config = ConfigDict(extra="forbid")

    other: str


class Words(BaseModel):
    """The behaviours to give to a contact."""

    model_config = ConfigDict(extra="forbid")

    words: tuple[str, ...]


async def create(request: Request) -> Response:
    """Create one contact or many, as a person."""
    wanted = Wanted.model_validate_json(await request.body())
    portal = _account(request).portal
    created = []
    for values in wanted.invent(portal.dice):
        _check(portal, values)
        with _refusing():
            contact = portal.create(values, HUMAN)
            chosen(contact.person())  # a misspelt word must not silently do nothing
        created.append(contact)
    return document({"contacts": [_shown(contact) for contact in created]})


async def listed(request: Request) -> Response:
    """List contacts by id."""
    query = request.query_params
    try:
        after, limit = int(query.get("after", 0)), int(query.get("limit", PAGE))
    except ValueError:
        raise HTTPException(400, "after and limit are whole numbers") from None
    everyone = _account(request).portal.listed(archived=query.get("archived") == "true", after=after)
    page = list(islice(everyone, limit))
    more = next(everyone, None) is not None
    return document({"entries": [_shown(contact) for contact in page], "next": page[-1].id if more else None})


async def show(request: Request) -> Response:
    """Show one contact, an archived one too."""
    return document(_shown(_found(request)))


async def edit(request: Request) -> Response:
    """Set values as a person."""
    contact, portal = _found(request), _account(request).portal
    values = Edited.model_validate_json(await request.body()).properties
    _check(portal, values)
    with _refusing():
        portal.edit(contact, values, HUMAN)
    return document(_shown(contact))


async def delete(request: Request) -> Response:
    """Delete a contact as a person."""
    contact = _found(request)
    if contact.archived_at is None:
        _account(request).portal.archive(contact, HUMAN)
    return document(_shown(contact))


async def restore(request: Request) -> Response:
    """Bring a deleted contact back."""
    contact = _found(request)
    if contact.archived_at is not None:
        with _refusing():
            _account(request).portal.restore(contact)
    return document(_shown(contact))


async def erase(request: Request) -> Response:
    """Erase a contact for good."""
    contact = _found(request)
    _account(request).portal.erase(contact, HUMAN)
    return document({"erased": str(contact.id)})


async def merge(request: Request) -> Response:
    """Merge a contact with another."""
    contact, portal = _found(request), _account(request).portal
    key = Merged.model_validate_json(await request.body()).other
    other = portal.find(int(key)) if key.isdecimal() else None
    if other is None or other is contact:
        raise HTTPException(400, f"no other contact has the id {key}")
    return document(_shown(portal.merge(contact, other, HUMAN)))


async def choose_words(request: Request) -> Response:
    """Choose the behaviours of a contact."""
    contact = _found(request)
    words = Words.model_validate_json(await request.body()).words
    with _refusing():
        rows = tuple(map(row, words))
    _account(request).conduct.words[contact.id] = rows
    return document({"id": str(contact.id), "words": [each.word for each in rows]})


async def catch_up(request: Request) -> Response:
    """Let searches see every change now."""
    _account(request).index.catch_up()
    return document({})


ROUTES = [
    Route("/sandbox/contacts", listed, methods=["GET"]),
    Route("/sandbox/contacts", create, methods=["POST"]),
    Route("/sandbox/contacts/{id}", show, methods=["GET"]),
    Route("/sandbox/contacts/{id}", edit, methods=["PATCH"]),
    Route("/sandbox/contacts/{id}", delete, methods=["DELETE"]),
    Route("/sandbox/contacts/{id}/restore", restore, methods=["POST"]),
    Route("/sandbox/contacts/{id}/erase", erase, methods=["POST"]),
    Route("/sandbox/contacts/{id}/merge", merge, methods=["POST"]),
    Route("/sandbox/contacts/{id}/words", choose_words, methods=["POST"]),
    Route("/sandbox/index", catch_up, methods=["POST"]),
]


def _found(request: Request) -> Contact:
    key: str = request.path_params["id"]
    portal = _account(request).portal
    contact = None
    if key.isdecimal():
        contact = portal.find(int(key)) or portal.find(int(key), archived=True)
    if contact is None:
        raise HTTPException(404, f"no contact has the id {key}")
    return contact


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn an impossible action into a 400 or a 409."""
    try:
        yield
    except AlreadyThere as exc:
        raise HTTPException(409, f"contact {exc.contact.id} has this e-mail address") from None
    except UnknownWordError as exc:
        raise HTTPException(400, str(exc)) from None


def _check(portal: Portal, values: dict[str, str]) -> None:
    """Refuse what HubSpot's form would refuse; the admin's rules hold for the API only."""
    if faults := portal.definitions.faults_of(values):
        raise HTTPException(400, "; ".join(fault.message for fault in faults))


def _shown(contact: Contact) -> dict[str, Any]:
    """Return everything about a contact, and what the vendors know about its person."""
    subject = contact.person()
    shown = contact.as_json(sorted(contact.values()), sorted(contact.edits))
    return shown | {"person": subject.key if subject else None, "true_number": contact.number()}


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account
