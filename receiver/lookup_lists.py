"""Lists of lookups, for the API and the dashboard: read what is asked for, and find a page of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

import asyncpg

from enrichment.query import Query, read_query
from enrichment.roles import is_role_address
from enrichment.states import LookupStatus
from enrichment.texts import Unusable
from receiver.pages import Place, read_place, write_cursor, wrong_id
from store import reports
from store.find import find_by_key, find_by_number, find_by_walking, is_shared
from store.installation import Installation
from store.partitions import NEWEST

STATUSES: tuple[str, ...] = get_args(LookupStatus)
FILTERS = ("status", "source", "record_id")


@dataclass(frozen=True, slots=True)
class WantedList:
    """Whom to search for, if anybody; the filter by its names; and the page."""

    query: Query | None = field(repr=False)
    filter: dict[str, str | None]
    place: Place


def read_wanted_list(given: Mapping[str, str]) -> WantedList:
    """Read the search `q`, the filter and the place. Raise Problem (422), which names every unusable parameter."""
    wrong = [*wrong_id(given, "source"), *wrong_id(given, "record_id")]
    if (status := given.get("status")) is not None and status not in STATUSES:
        wrong.append(("status", f"one of {', '.join(STATUSES)}"))
    query = None
    if (text := given.get("q")) is not None:
        try:
            query = read_query(text)
        except Unusable as error:
            wrong.append(("q", str(error)))
    return WantedList(query, {name: given.get(name) for name in FILTERS}, read_place(given, wrong))


async def list_lookups(
    pool: asyncpg.Pool[Any], installation: Installation, wanted: WantedList
) -> tuple[Sequence[UUID], str | None]:
    """Return the ids of a page, newest first, and the cursor of the next."""
    query, place = wanted.query, wanted.place
    more: dict[str, Any] = {"limit": place.one_more} | wanted.filter
    if query is None:
        return _page(await reports.list_lookups(pool, before=place.before, **more), place)
    before = place.before or NEWEST
    if query.mobile is not None:
        return _page(await find_by_number(pool, query.mobile, before=before, **more), place)
    keys = query.keys((await installation.policy()).hash)
    if query.email and (is_role_address(query.email) or await is_shared(pool, keys)):
        ids, after = await find_by_walking(pool, query.email, before=before, limit=place.limit, **wanted.filter)
        return ids, write_cursor(after) if after else None
    return _page(await find_by_key(pool, keys, before=before, **more), place)


def _page(ids: Sequence[UUID], place: Place) -> tuple[Sequence[UUID], str | None]:
    return place.cut(ids, lambda one: one)
