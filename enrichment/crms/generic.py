"""Read a generic body sent to a CRM's address: each contact in it is named by the CRM's own id.

A workflow of the CRM, or another tool, sends it with a token. Only the id is read: Ringback reads the contact from the
CRM before it spends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from enrichment.contact import Problem
from enrichment.crms.base import Crm, Heard, Named
from enrichment.event import LONGEST_ID, MOST_CONTACTS, NotAnEvent
from enrichment.event_fields import MOST_FIELDS, comes_first, field_of, fold_field, id_of, shown
from enrichment.event_json import parse_json

RECORD_ID = "record_id"
_ALSO = frozenset({"objectid", "id"})  # names of the id at a CRM's address; elsewhere they may mean anything
_OF_AN_EVENT = frozenset({"subscriptionType", "eventType"})  # in such an object, objectId may be a company's


def read_named(body: bytes, crm: Crm, fields: Mapping[str, str]) -> tuple[Heard, tuple[Problem, ...]]:
    """Return the contacts that *body* names, and why others are ignored. Raise NotJson or NotAnEvent.

    The CRM's own events are accepted too. *fields* maps other systems' names to ours (GENERIC_FIELDS).
    """
    value = parse_json(body)
    if _holds_events(value):
        heard = crm.read_event(body)
        # Only the CRM's signature may order an erasure: a token with the scope `events` may not.
        return replace(heard, named=tuple(replace(one, erases=False) for one in heard.named)), ()
    mapped = {fold_field(name): field for name, field in fields.items()}
    named: dict[str, Named] = {}
    problems: list[Problem] = []
    ignored = 0
    for path, contact in _contacts(value):
        record_id = _read_id(path, contact, crm, mapped, problems)
        if record_id is None:
            ignored += 1
        else:
            known = named.get(record_id)
            events = known.events + 1 if known else 1
            named[record_id] = Named(record_id, events=events, is_request=True)
    return Heard(tuple(named.values()), ignored), tuple(problems)


def _holds_events(value: Any) -> bool:
    events = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) and not _OF_AN_EVENT.isdisjoint(one) and "objectId" in one for one in events)


def _contacts(value: Any) -> list[tuple[str, Any]]:
    """Return (path, contact) of one contact, a list, or {"contacts": [...]}. Raise NotAnEvent."""
    prefix = ""
    if isinstance(value, dict):
        if value.get("contacts") is None:
            return [("", value)]
        prefix, value = "contacts", value["contacts"]
    if not isinstance(value, list):
        raise NotAnEvent(prefix, 'a contact as an object, a list of contacts, or {"contacts": [...]}')
    if not 1 <= len(value) <= MOST_CONTACTS:
        raise NotAnEvent(prefix, f"1 to {MOST_CONTACTS} contacts; here are {len(value)}")
    return [(f"{prefix}[{index}]", contact) for index, contact in enumerate(value)]


def _read_id(path: str, contact: Any, crm: Crm, mapped: Mapping[str, str], problems: list[Problem]) -> str | None:
    """Return the contact's id; add a problem if there is none."""
    if not isinstance(contact, dict):
        problems.append((path, "a contact as an object"))
        return None
    wrong: list[Problem] = []
    for at, value in _candidates(contact, mapped):
        text = id_of(".".join(filter(None, (path, at))), value, LONGEST_ID, wrong)
        if text and crm.is_record_id(text):
            return text
        if text:
            wrong.append((".".join(filter(None, (path, at))), f"no id of a contact in {crm.label}"))
    problems.extend(wrong[:1] or [(path, f"ignored: `{RECORD_ID}` must be the contact's id in {crm.label}")])
    return None


def _candidates(contact: dict[str, Any], mapped: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Yield (path, value) of the fields that may hold the id: our own name for it first, `id` last."""
    found: list[tuple[int, str, Any]] = []
    for index, (name, value) in enumerate(list(contact.items())[:MOST_FIELDS]):
        field = field_of(name, mapped)
        if field == RECORD_ID:
            found.append((0 if comes_first(name, RECORD_ID, mapped) else 1, shown(name, index), value))
        elif field is None and fold_field(name) in _ALSO:
            found.append((2 if fold_field(name) == "objectid" else 3, shown(name, index), value))
    return [(at, value) for _, at, value in sorted(found, key=lambda one: one[0])]
