"""/audit: who did what."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import given, written
from receiver.dashboard.rendering import as_page
from receiver.pages import read_place
from receiver.problems import wrong_fields
from store import audit

FILTERS = ("action", "who")


class AuditPage:
    """The handler of the page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Show a page of entries, newest first, those about a lookup with a link to it."""
        query = given(request)
        action, who = query.get("action"), query.get("who")
        if action not in (None, *audit.ACTIONS):
            raise wrong_fields([("action", f"one of {', '.join(audit.ACTIONS)}")])
        if who is not None and "\0" in who:
            raise wrong_fields([("who", "a name without NUL")])
        place = read_place(query)
        found = await audit.page(self._desk.pool, place.before, place.one_more, action=action, who=who)
        rows, cursor = place.cut(found, lambda row: row["id"])
        lookups = await audit.lookups_of(self._desk.pool, [id for row in rows if (id := _id(row["subject"]))])
        return as_page(
            request,
            "audit.html",
            rows=[row | {"lookup": lookups.get(row["subject"]), "detail": _readable(row["detail"])} for row in rows],
            query=query,
            actions=audit.ACTIONS,
            chosen=written(query, *FILTERS),
            cursor=cursor,
        )


def _id(subject: str | None) -> UUID | None:
    """Return the id that *subject* is; None if it is a name."""
    try:
        return UUID(subject) if subject else None
    except ValueError:
        return None


def _readable(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names and values of *detail* in words."""
    return [(name.replace("_", " "), _word(value)) for name, value in detail.items()]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_word(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_word(one)}" for name, one in value.items())
    return "none" if value is None else str(value)
