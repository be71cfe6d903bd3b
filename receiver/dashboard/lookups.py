"""The page "Lookups": a filtered list, and the search for a person, which is a form: no address may hold a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from enrichment.query import read_query
from enrichment.settings import SOURCE_NAMES
from enrichment.texts import Unusable
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import written
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import as_page
from receiver.lookup_lists import FILTERS, list_lookups, read_wanted_list
from store import reports

STATUSES = {
    "Open": ("queued", "running", "held"),
    "Ended": ("found", "not_found", "failed", "unresolved", "suppressed", "cancelled"),
}


class LookupList:
    """The handlers of the list and of the search."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Answer GET /lookups."""
        given = _given(request.query_params, (*FILTERS, "cursor"))
        return _as_page(request, given, *await self._find(given))

    async def search(self, request: Request) -> Response:
        """Answer POST /lookups: find by e-mail, profile, number or record; the result is in no address."""
        given = _given(read_form(request), (*FILTERS, "cursor", "q"))
        text = given.get("q", "")
        may_be_record = text != "" and "@" not in text and "/" not in text
        try:
            read_query(text)
        except Unusable as error:
            if not may_be_record:
                return _as_page(request, given, [], None, status=422, wrong=f"Give {error}, or the id of a record.")
            given = _as_record(given)
        rows, after = await self._find(given)
        if not rows and may_be_record and given.keys() & {"q", "cursor"} == {"q"}:
            given = _as_record(given)  # it looked like a number, or like the end of a profile's address
            rows, after = await self._find(given)
        return _as_page(request, given, rows, after)

    async def _find(self, given: Mapping[str, str]) -> tuple[list[dict[str, Any]], str | None]:
        """Return the lookups of a page, and the cursor of the next. Raise Problem (422)."""
        pool = self._desk.pool
        ids, after = await list_lookups(pool, self._desk.installation, read_wanted_list(given))
        return await reports.read_lookups(pool, ids), after


def _given(fields: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return those fields that are filled in: a form sends the others as well."""
    return {name: value for name in names if (value := fields.get(name, "").strip())}


def _as_record(given: Mapping[str, str]) -> dict[str, str]:
    """Return the search as a filter by the record."""
    return {name: value for name, value in given.items() if name != "q"} | {"record_id": given["q"]}


def _as_page(
    request: Request,
    given: Mapping[str, str],
    rows: list[dict[str, Any]],
    after: str | None,
    *,
    status: int = 200,
    wrong: str | None = None,
) -> Response:
    filters = {name: given[name] for name in FILTERS if name in given}
    sources = [*SOURCE_NAMES, *({given["source"]} - set(SOURCE_NAMES) if "source" in given else ())]
    return as_page(
        request, "lookups.html", status, rows=rows, after=after, filters=filters,
        given={name: given.get(name, "") for name in FILTERS}, query=written(filters, *FILTERS),
        q=given.get("q", ""), is_first="cursor" not in given, wrong=wrong, statuses=STATUSES, sources=sources,
    )  # fmt: skip
