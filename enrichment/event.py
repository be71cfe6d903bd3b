"""Read the body of an event: one contact, a list of contacts, or {"contacts": [...]}.

Usable fields are used; each unusable field is named. Only an unknown provider makes its contact refused, because the
question would go to other providers than the event names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from enrichment.contact import Contact, Problem, read_texts
from enrichment.event_fields import (
    FIELDS,
    IGNORED,
    MOST_FIELDS,
    TEXT_FIELDS,
    comes_first,
    field_of,
    fold_field,
    id_of,
    looks_identifying,
    shown,
    texts_of,
)
from enrichment.event_json import NotJson, parse_json
from enrichment.providers.base import Provider

MOST_CONTACTS = 100
LONGEST_ID = 255  # characters; they are indexed
SHARED = ("event_id", "providers", "region")  # contacts without these take them from their event

_NOT_UNDERSTOOD = "not understood, though it looks like an identifier; rename it, or name it in GENERIC_FIELDS"
_BESIDE_CONTACTS = "not used beside `contacts`; put it into the contact that it belongs to"


class NotAnEvent(ValueError):
    """The body is JSON without contacts; *path* says where, and the message says what would be right."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ContactRead:
    """One contact of an event: *contact* is None if nothing in it can be used; *problems* say why."""

    path: str  # where it stands in the body: "", "contacts[2]" or "[2]"
    contact: Contact | None
    record_id: str | None
    event_id: str | None
    named: tuple[str, ...]  # the providers that the event names; () for all
    providers: tuple[str, ...]  # those to ask, in order
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Fields:
    """The fields of one object, grouped by our field: (path, value), our own names first."""

    known: dict[str, list[tuple[str, Any]]]
    problems: list[Problem]


def read_event(
    body: bytes | str, *, providers: Mapping[str, Provider], fields: Mapping[str, str] | None = None
) -> tuple[ContactRead, ...]:
    """Return every contact in *body*, in order. Raise NotJson or NotAnEvent.

    *providers* are those that can be asked; *fields* maps other systems' field names to ours (GENERIC_FIELDS).
    """
    value = parse_json(body)
    mapped = {fold_field(name): field for name, field in (fields or {}).items()}
    shared: _Fields | None = None
    prefix, contacts = "", value
    if isinstance(value, dict):
        key = _contacts_key(value)
        if key is None or value[key] is None:
            _refuse_thin_events([value])
            return (_read_one("", value, None, mapped, providers),)
        shared = _sort({name: one for name, one in value.items() if name != key}, mapped)
        prefix, contacts = "contacts", value[key]
    if not isinstance(contacts, list):
        raise _not_contacts(prefix, contacts)
    if not 1 <= len(contacts) <= MOST_CONTACTS:
        raise NotAnEvent(prefix, f"1 to {MOST_CONTACTS} contacts; here are {len(contacts)}")
    _refuse_thin_events(contacts)
    return tuple(
        _read_one(f"{prefix}[{index}]", contact, shared, mapped, providers) for index, contact in enumerate(contacts)
    )


def count_contacts(body: bytes) -> int:
    """Return how many contacts are in the *body* of an event that was taken; 1 for what is no list of any."""
    try:
        value = parse_json(body.decode(json.detect_encoding(body), "replace"))
    except NotJson:
        return 1
    if isinstance(value, dict) and (key := _contacts_key(value)) is not None:
        value = value[key]
    return len(value) if isinstance(value, list) else 1


def read_fields(value: Mapping[str, Any], *, providers: Mapping[str, Provider]) -> ContactRead:
    """Read the fields of one contact, as `read_event` reads those of a contact in an event."""
    return _read_one("", dict(value), None, {}, providers)


def _contacts_key(value: Mapping[str, Any]) -> str | None:
    return next((key for key in islice(value, MOST_FIELDS) if fold_field(key) == "contacts"), None)


def _not_contacts(path: str, value: Any) -> NotAnEvent:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return NotAnEvent(path, "JSON within a string: send the object itself, without quotes around it")
    if path:
        return NotAnEvent(path, "a list of contacts")
    return NotAnEvent("", 'a contact as an object, a list of contacts, or {"contacts": [...]}')


def _refuse_thin_events(contacts: Sequence[Any]) -> None:
    """Raise NotAnEvent for HubSpot's webhooks, which name a record but have none of its fields."""
    first = contacts[0]
    if isinstance(first, dict) and "subscriptionType" in first and "objectId" in first:
        raise NotAnEvent(
            "", "these are HubSpot's webhooks, without the contacts themselves: send them to /events/hubspot"
        )


def _read_one(
    path: str, value: Any, shared: _Fields | None, mapped: Mapping[str, str], providers: Mapping[str, Provider]
) -> ContactRead:
    if not isinstance(value, dict):
        return ContactRead(path, None, None, None, (), (), (("", "a contact as an object"),))
    given = _sort(value, mapped)
    if shared is not None:
        _inherit(given, shared)
    problems = given.problems
    record_id = _read_id(given, "record_id", problems)
    event_id = _read_id(given, "event_id", problems)
    refused, named = _read_providers(given.known.get("providers", ()), providers, problems)
    texts = {
        field: [text for at, one in given.known.get(field, ()) for text in texts_of(at, one, problems)]
        for field in TEXT_FIELDS
    }
    contact, unread = read_texts(texts)
    # A field of a wrong type has been named: then "nothing to look up by" adds nothing.
    known = [problem for problem in problems if problem[0].partition("[")[0] in _identifying_paths(given)]
    problems.extend(problem for problem in unread if problem[0] or not known)
    able: tuple[str, ...] = ()
    if contact and not refused:
        chosen = named or tuple(providers)
        able = tuple(name for name in chosen if providers[name].can_ask(contact))
        if not able:
            problems.append(
                ("", f"{' and '.join(chosen)} cannot look up by a name alone; give a profile_url or an e-mail")
            )
    return ContactRead(path, contact if able else None, record_id, event_id, named, able, tuple(problems))


def _identifying_paths(given: _Fields) -> set[str]:
    return {path for field in TEXT_FIELDS[:6] for path, _ in given.known.get(field, ())}


def _sort(value: Mapping[str, Any], mapped: Mapping[str, str]) -> _Fields:
    """Group the fields of one object by our fields; add a problem for unknown fields that look like identifiers."""
    known: dict[str, list[tuple[str, Any]]] = {}
    problems: list[Problem] = []
    if len(value) > MOST_FIELDS:
        problems.append(("", f"at most {MOST_FIELDS} fields; the others are not read"))
    for index, (name, one) in enumerate(islice(value.items(), MOST_FIELDS)):
        field = field_of(name, mapped)
        if field is None:
            if looks_identifying(name, one):
                problems.append((shown(name, index), _NOT_UNDERSTOOD))
        elif field != IGNORED:
            entries = known.setdefault(field, [])
            entries.insert(0 if comes_first(name, field, mapped) else len(entries), (shown(name, index), one))
    return _Fields(known, problems)


def _inherit(given: _Fields, shared: _Fields) -> None:
    """Give a contact the fields that its event sets for all; add a problem for the event's other fields."""
    for field in FIELDS:
        if field in SHARED:
            given.known.setdefault(field, []).extend(shared.known.get(field, ()))
        else:
            given.problems.extend((path, _BESIDE_CONTACTS) for path, value in shared.known.get(field, ()) if value)
    given.problems.extend(shared.problems)


def _read_id(given: _Fields, field: str, problems: list[Problem]) -> str | None:
    found = (id_of(path, value, LONGEST_ID, problems) for path, value in given.known.get(field, ()))
    return next(filter(None, found), None)


def _read_providers(
    entries: Sequence[tuple[str, Any]], providers: Mapping[str, Provider], problems: list[Problem]
) -> tuple[bool, tuple[str, ...]]:
    """Return whether the contact must be refused, and the providers it names, each once."""
    path, value = next(((path, value) for path, value in entries if value not in (None, False, "")), ("", None))
    if value is None:
        return False, ()
    who = f"who can be asked here: {', '.join(providers)}"
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list) or not value:
        problems.append((path, f"a list of those to ask; {who}"))
        return True, ()
    named = [one.strip().casefold() if isinstance(one, str) else "" for one in value]
    unknown = next((index for index, name in enumerate(named) if name not in providers), None)
    if unknown is not None:
        problems.append((f"{path}[{unknown}]", who))
        return True, ()
    return False, tuple(dict.fromkeys(named))
