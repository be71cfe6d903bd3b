"""People's rights: POST, GET and DELETE /v1/suppressions, and DELETE /v1/people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.event_json import NotJson, parse_json
from enrichment.suppression import KINDS, LONGEST_NOTE, Identifier, Kind, read_identifier
from enrichment.texts import Unusable, tidy
from receiver.api import as_json
from receiver.auth import who
from receiver.bodies import read_body
from receiver.encodings import json_text
from receiver.messages_rights import ErasedAnswer, SuppressionPage, SuppressionShown, SuppressionsMade
from receiver.pages import read_place
from receiver.people import ERASABLE, People
from receiver.problems import Problem, id_of, not_found, wrong_fields
from store import suppressions
from store.database import Db
from store.installation import Installation
from store.notify import Notifier
from store.suppressions import Suppression

MOST_OF_A_LIST = 256 * 1024  # bytes
MOST_AT_ONCE = 1000  # suppressions of one request
FIELDS = (*KINDS, "note")


class Rights:
    """The handlers of suppressions and of erasure."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, notifier: Notifier) -> None:
        self._pool = pool
        self._people = People(pool, installation, notifier)

    async def suppress(self, request: Request) -> Response:
        """Suppress one person or number, or a list of them, and end the waiting lookups."""
        made, ended = await self._people.suppress(await _read_wanted(request), who=who(request))
        id = made[0].id if len(made) == 1 else None
        return as_json(SuppressionsMade(id=id, suppressions=[_shown(one) for one in made], ended=ended), 201)

    async def page(self, request: Request) -> Response:
        """Answer with a page of suppressions, newest first."""
        found, after = await read_page(self._pool, request.query_params)
        return as_json(SuppressionPage(suppressions=[_shown(one) for one in found], next_cursor=after))

    async def unsuppress(self, request: Request) -> Response:
        """Remove a suppression: the next event of that person is asked about again."""
        if not await self._people.unsuppress(id_of(request, "suppression"), who=who(request)):
            raise not_found("suppression")
        return Response(status_code=204)

    async def erase(self, request: Request) -> Response:
        """Erase a person everywhere, and suppress each given identifier if the request says so."""
        identifiers, suppressing = _read_person(request)
        counts = await self._people.erase(identifiers, suppressing=suppressing, who=who(request))
        return as_json(ErasedAnswer(**counts))


async def read_page(db: Db, query: Mapping[str, str]) -> tuple[Sequence[Suppression], str | None]:
    """Return the page of suppressions that *query* asks for, and the cursor of the next one. Raise Problem (422)."""
    place = read_place(query)
    found = await suppressions.list_suppressions(db, before=place.before, limit=place.one_more)
    return place.cut(found, lambda one: one.id)


def _shown(suppression: Suppression) -> SuppressionShown:
    return SuppressionShown(
        id=suppression.id, kind=suppression.kind, note=suppression.note, created_at=suppression.created_at
    )


async def _read_wanted(request: Request) -> list[tuple[Identifier, str | None]]:
    """Read one suppression or a list of them, each with its note. Raise Problem (400, 413, 415, 422)."""
    body = json_text(request.headers, await read_body(request, MOST_OF_A_LIST), MOST_OF_A_LIST)
    try:
        value = parse_json(body)
    except NotJson as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= MOST_AT_ONCE:
        raise wrong_fields([("", f"1 to {MOST_AT_ONCE} suppressions")])
    wanted: list[tuple[Identifier, str | None]] = []
    wrong: list[tuple[str, str]] = []
    for place, entry in enumerate(entries):
        path = f"[{place}]" if isinstance(value, list) else ""
        try:
            wanted.append(_read_one(entry))
        except Wrong as error:
            wrong.append((".".join(filter(None, (path, error.field))), str(error)))
    if wrong:
        raise wrong_fields(wrong)
    return wanted


class Wrong(ValueError):
    """A suppression that cannot be made; *field* names the wrong field."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def _read_one(entry: Any) -> tuple[Identifier, str | None]:
    """Read one suppression. Raise Wrong."""
    if not isinstance(entry, dict):
        raise Wrong("", 'an object, like {"email": "name@company.tld"}')
    if set(entry) - set(FIELDS):
        raise Wrong("", f"only these fields: {', '.join(FIELDS)}")
    given = [kind for kind in KINDS if entry.get(kind) is not None]
    if len(given) != 1:
        raise Wrong("", f"exactly one of {', '.join(KINDS)}")
    note = entry.get("note")
    if note is not None and (not isinstance(note, str) or len(note) > LONGEST_NOTE):
        raise Wrong("note", f"a text of at most {LONGEST_NOTE} characters")
    try:
        tidied = tidy(note) if note else None
    except Unusable as error:
        raise Wrong("note", str(error)) from None
    return _identifier(given[0], entry[given[0]]), tidied or None


def _identifier(kind: Kind, value: Any) -> Identifier:
    try:
        return read_identifier(kind, str(value) if isinstance(value, str | int) else "")
    except Unusable as error:
        raise Wrong(kind, str(error)) from None


def _read_person(request: Request) -> tuple[list[Identifier], bool]:
    """Read the values of the person to erase, and whether to suppress them. Raise Problem (422)."""
    query = request.query_params
    found: list[Identifier] = []
    wrong: list[tuple[str, str]] = []
    for kind in ERASABLE:
        for value in query.getlist(kind):
            try:
                found.append(_identifier(kind, value))
            except Wrong as error:
                wrong.append((kind, str(error)))
    if not found and not wrong:
        wrong.append(("", f"one or more of {', '.join(ERASABLE)}"))
    suppressing = query.get("suppress", "false").strip().lower()
    if suppressing not in ("true", "1", "false", "0"):
        wrong.append(("suppress", "true or false"))
    if set(query) - {*ERASABLE, "suppress"}:  # a misspelled parameter would silently leave its value out
        wrong.append(("", f"only these parameters: {', '.join((*ERASABLE, 'suppress'))}"))
    if wrong:
        raise wrong_fields(wrong)
    return found, suppressing in ("true", "1")
