"""Read HubSpot's webhooks: which contacts they name.

https://developers.hubspot.com/docs/api-reference/latest/webhooks/guide

contact.creation, object.creation of type 0-1     named
...restore, ...propertyChange, ...deletion        named: reading the contact tells what became of it
...merge                                          the new contact and those that were merged, each named
contact.privacyDeletion                           named, to be erased
a change of a property that we write              ignored: our own write must not start another round
anything else                                     ignored
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from enrichment.crms.base import Heard, Named
from enrichment.event import NotAnEvent
from enrichment.event_json import parse_json

MOST_EVENTS = 100  # in one body
MOST_MERGED = 500  # contacts of one merge that are named; HubSpot merges at most 250 into one
CONTACT = "0-1"  # objectTypeId

_RECORD_ID = re.compile(r"[1-9][0-9]{0,18}")
_KINDS = frozenset({"creation", "restore", "propertychange", "deletion", "merge", "privacydeletion"})
# The number, our own properties, and those that HubSpot calculates from a number.
_WRITTEN_BY_US = re.compile(r"mobilephone|phone|ringback_\w+|hs_(?:searchable_)?calculated_\w+")


def read_event(body: bytes) -> Heard:
    """Read a body of webhooks: one object, or a list of up to 100. Raise NotJson or NotAnEvent."""
    value = parse_json(body)
    events = [value] if isinstance(value, dict) else value
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise NotAnEvent("", f"a list of HubSpot's events, {MOST_EVENTS} at most")
    named: dict[tuple[str | None, str], Named] = {}
    ignored = 0
    for event in events:
        ids = list(dict.fromkeys(_ids_named(event))) if isinstance(event, dict) else []
        ignored += not ids
        account, erases = (read_id(event.get("portalId")), _kind(event) == "privacydeletion") if ids else (None, False)
        for index, record_id in enumerate(ids):
            known = named.get((account, record_id), Named(record_id, account, events=0))
            counted = known.events + (index == 0)
            named[account, record_id] = Named(record_id, account, known.erases or erases, counted)
    return Heard(tuple(named.values()), ignored)


def read_id(value: object) -> str | None:
    """Read an id of HubSpot's from a number or a text; None for anything else."""
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() and abs(value) < 10**19 else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value) if isinstance(value, int) else value.strip()
    return text if is_record_id(text) else None


def is_record_id(text: str) -> bool:
    """Tell whether *text* is an id of HubSpot's: a whole number above zero."""
    return _RECORD_ID.fullmatch(text) is not None and text.isascii()


def _ids_named(event: dict[str, Any]) -> Iterator[str]:
    """Yield the ids of the contacts that an event names; none if the event is ignored."""
    kind = _kind(event)
    if kind not in _KINDS:
        return
    if kind == "propertychange":
        changed = event.get("propertyName")
        if isinstance(changed, str) and _WRITTEN_BY_US.fullmatch(changed.strip().lower()):
            return
    values: Iterable[object] = [event.get("objectId")]
    if kind == "merge":
        merged = event.get("mergedObjectIds")
        others = merged if isinstance(merged, list) else [merged]
        values = [event.get("newObjectId"), event.get("primaryObjectId"), *values, *islice(others, MOST_MERGED)]
    yield from (found for value in values if (found := read_id(value)))


def _kind(event: dict[str, Any]) -> str:
    """Return what happened to a contact, in lower case; "" if the event is about something else.

    HubSpot's samples have the key subscriptionType, its table of fields eventType.
    """
    for key in ("subscriptionType", "eventType"):
        named = event.get(key)
        if isinstance(named, str):
            of, _, kind = named.strip().lower().partition(".")
            is_contact = of == "contact" or (of == "object" and event.get("objectTypeId") == CONTACT)
            return kind if is_contact else ""
    return ""
