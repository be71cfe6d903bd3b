"""/suppressions: who is never asked about, and the erasure of a person.

An erasure is two forms: the first counts what there is of the person, the second erases it. What they carry is in the
bodies alone, so that no address, log or history of a browser names a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from enrichment.suppression import KINDS, LONGEST_NOTE, Identifier, Kind, read_identifier
from enrichment.texts import Unusable, tidy
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import given
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import as_page, back_to
from receiver.people import ERASABLE, People
from receiver.problems import id_of
from receiver.rights import read_page
from store.audit import who_suppressed
from store.erasure import Erased, preview_erasure

COUNTED_FOR = 10.0  # seconds that a visitor waits for the count of what there is of a person


class SuppressionsPage:
    """The handlers of the page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._people = People(desk.pool, desk.installation, desk.notifier)

    async def page(self, request: Request) -> Response:
        """Show a page of suppressions, newest first, and the forms."""
        return await self._show(request, {}, {})

    async def suppress(self, request: Request) -> Response:
        """Suppress what the form names."""
        form = read_form(request)
        wrong: dict[str, str] = {}
        kind = form.get("kind", "")
        note = _read_note(form.get("note", ""), wrong)
        identifier = None
        if kind in KINDS:
            identifier = _read(kind, form.get("value", ""), "value", wrong)
        else:
            wrong["value"] = f"One of {', '.join(KINDS)}."
        if identifier is None or wrong:
            return await self._show(request, form, wrong)
        (made,), _ = await self._people.suppress([(identifier, note)], who=who(request))
        return back_to("/suppressions", "suppressed" if made.is_new else "suppressed-already")

    async def unsuppress(self, request: Request) -> Response:
        """Remove a suppression."""
        done = await self._people.unsuppress(id_of(request, "suppression"), who=who(request))
        return back_to("/suppressions", "unsuppressed" if done else "unsuppressed-already")

    async def find(self, request: Request) -> Response:
        """Show what there is of a person, and ask whether to erase it."""
        form = read_form(request)
        identifiers, wrong = _read_person(form)
        if wrong:
            return await self._show(request, form, wrong)
        return as_page(
            request,
            "erasing.html",
            identifiers=identifiers,
            suppressing=bool(form.get("suppress")),
            found=await self._count(identifiers),
            seconds=COUNTED_FOR,
        )

    async def erase(self, request: Request) -> Response:
        """Erase a person, and show how much that was."""
        form = read_form(request)
        identifiers, wrong = _read_person(form)
        if wrong:
            return await self._show(request, form, wrong)
        counts = await self._people.erase(identifiers, suppressing=bool(form.get("suppress")), who=who(request))
        return as_page(request, "erased.html", counts=counts)

    async def _count(self, identifiers: list[Identifier]) -> Erased | None:
        """Count what there is of a person; None if it takes too long: all lookups and events are read."""
        try:
            async with asyncio.timeout(COUNTED_FOR) as timeout:
                return await preview_erasure(self._desk.pool, identifiers)
        except TimeoutError:
            if not timeout.expired():  # the database does not answer
                raise
            return None

    async def _show(self, request: Request, typed: Mapping[str, str], wrong: Mapping[str, str]) -> Response:
        """Show the page; after a form that cannot be used with what was *typed*, and what is *wrong* by field."""
        query = given(request)
        shown, cursor = await read_page(self._desk.pool, query)
        by = await who_suppressed(self._desk.pool, [(one.id, one.created_at) for one in shown])
        return as_page(
            request,
            "suppressions.html",
            422 if wrong else 200,
            rows=[(one, by.get(one.id)) for one in shown],
            cursor=cursor,
            is_first="cursor" not in query,
            typed=typed,
            wrong=wrong,
            kinds=KINDS,
            erasable=ERASABLE,
            longest_note=LONGEST_NOTE,
        )


def _read_person(form: Mapping[str, str]) -> tuple[list[Identifier], dict[str, str]]:
    """Read whom to erase, and what is wrong, by field."""
    wrong: dict[str, str] = {}
    fields = [kind for kind in ERASABLE if form.get(kind, "").strip()]
    found = [_read(kind, form[kind], kind, wrong) for kind in fields]
    if not fields:
        wrong["person"] = f"One of {', '.join(ERASABLE)} is needed."
    return [one for one in found if one is not None], wrong


def _read(kind: Kind, text: str, field: str, wrong: dict[str, str]) -> Identifier | None:
    """Read a value; if it cannot be used, say in *wrong* what could."""
    try:
        return read_identifier(kind, text)
    except Unusable as error:
        wrong[field] = _sentence(error)
        return None


def _read_note(text: str, wrong: dict[str, str]) -> str | None:
    """Read a note; if it cannot be used, say in *wrong* why."""
    try:
        note = tidy(text) if text else None
    except Unusable as error:
        wrong["note"] = _sentence(error)
        return None
    if note and len(note) > LONGEST_NOTE:
        wrong["note"] = f"At most {LONGEST_NOTE} characters."
    return note or None


def _sentence(error: Unusable) -> str:
    """Return what would be usable as a sentence."""
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}."
