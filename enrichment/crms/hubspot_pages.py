"""Read a page of HubSpot's contacts: of a search, whose answer has a total, or of the list, whose answer has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from enrichment.crms.base import Change, Page
from enrichment.crms.hubspot_contacts import read_absorbed, read_modified
from enrichment.crms.hubspot_events import read_id

SEARCHED, WALKED = 200, 100  # contacts of a page
LISTED = ("lastmodifieddate", "hs_merged_object_ids")  # the properties to list
ARCHIVED = "archived:"  # begins a walk's cursor among deleted contacts
LONGEST_CURSOR = 1000  # characters


def read_page(answer: Mapping[str, Any], results: Sequence[Any]) -> Page:
    """Read a page and where the next one begins. Never raise."""
    objects = [one for one in results if isinstance(one, dict)]
    changes = tuple(change for one in objects if (change := _read_change(one)))
    after = _next_of(answer)
    total = answer.get("total")
    if isinstance(total, int) and not isinstance(total, bool):
        # The next search begins after the last id, so that HubSpot's own cursor never reaches 10,000.
        last = max((int(change.record_id) for change in changes), default=None)
        goes_on = last is not None and (after is not None or len(results) >= SEARCHED)
        return Page(changes, str(last) if goes_on else None, max(total, 0))
    # Only the contacts tell which kind a page lists. An empty page ends the walk; the next night makes up for it.
    is_archived = any(one.get("archived") is True for one in objects)
    if after is not None:
        return Page(changes, f"{ARCHIVED}{after}" if is_archived else after)
    return Page(changes, ARCHIVED if objects and not is_archived else None)


def _read_change(one: dict[str, Any]) -> Change | None:
    record_id, properties = read_id(one.get("id")), one.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if record_id is None:
        return None
    return Change(
        record_id, read_modified(one, properties), read_absorbed(properties), is_gone=one.get("archived") is True
    )


def _next_of(answer: Mapping[str, Any]) -> str | None:
    """Return HubSpot's cursor of the next page."""
    paging = answer.get("paging")
    following = paging.get("next") if isinstance(paging, dict) else None
    after = following.get("after") if isinstance(following, dict) else None
    if isinstance(after, int) and not isinstance(after, bool):
        after = str(after) if 0 <= after < 10**40 else None
    # PostgreSQL stores it and a URL carries it: neither takes every character.
    return after if isinstance(after, str) and after.isprintable() and 0 < len(after) <= LONGEST_CURSOR else None
