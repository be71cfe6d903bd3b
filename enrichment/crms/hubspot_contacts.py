"""Read a contact as HubSpot shows it: properties are texts or null, and unknown properties are absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from enrichment.crms.base import CrmContact, Edit
from enrichment.crms.hubspot_events import is_record_id, read_id
from enrichment.names import join_names
from enrichment.setting_types import Condition

MOBILE, PHONE = "mobilephone", "phone"
PLAIN = (
    "email", "hs_additional_emails", "firstname", "lastname", "company", "country", "hs_country_region_code",
    MOBILE, PHONE, "createdate", "lastmodifieddate", "hs_merged_object_ids",
)  # fmt: skip
SEPARATOR = ";"  # between several values of one property
BY_HAND = ("CRM_UI", "MOBILE_")  # beginnings of sourceType; that of our own writes is INTEGRATION
LONG_AGO = datetime.fromtimestamp(0, UTC)  # the time of values that HubSpot does not date: never news


def properties_of(linkedin_field: str, only_if: Sequence[Condition]) -> list[str]:
    """List the properties to read."""
    return list(dict.fromkeys([*PLAIN, linkedin_field, *(condition.name for condition in only_if)]))


def history_of(linkedin_field: str, only_if: Sequence[Condition]) -> list[str]:
    """List the properties whose history to read: was the number cleared, and when was an identifier set?"""
    return list(dict.fromkeys([MOBILE, "email", linkedin_field, *(condition.name for condition in only_if)]))


def read_contact(answer: Any, linkedin_field: str, only_if: Sequence[Condition]) -> CrmContact | None:
    """Read one contact of an answer; None if it is no contact, or is archived. Never raise."""
    if not isinstance(answer, dict) or answer.get("archived") is True:
        return None
    record_id, properties = read_id(answer.get("id")), answer.get("properties")
    if record_id is None or not isinstance(properties, dict):
        return None
    history = answer.get("propertiesWithHistory")
    history = history if isinstance(history, dict) else {}
    telling = history_of(linkedin_field, only_if)[1:]
    created = _read_time(_text(properties, "createdate") or answer.get("createdAt"))
    # A cleared identifier is nothing to look up by, so only set values count as news.
    set_at = [edit.at for name in telling for edit in _read_edits(history.get(name)) if edit.value]
    modified = _read_time(_text(properties, "lastmodifieddate") or answer.get("updatedAt"))
    return CrmContact(
        record_id=record_id,
        fields=dict(_read_fields(properties, linkedin_field)),
        mobile=_text(properties, MOBILE),
        phone=_text(properties, PHONE),
        # A number without a readable date did exist, and a person may have cleared it.
        edits=tuple(sorted(_read_edits(history.get(MOBILE), LONG_AGO), key=lambda edit: edit.at, reverse=True)),
        modified_at=modified or LONG_AGO,
        news_at=max(filter(None, [created, *set_at]), default=None),
        is_wanted=all(_meets(properties, condition) for condition in only_if),
        absorbed=read_absorbed(properties),
        emails=_read_additional(properties),
        body=_verbatim(answer),
    )


def read_absorbed(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the ids of the contacts that were merged into this one."""
    listed = (_text(properties, "hs_merged_object_ids") or "").split(SEPARATOR)
    return tuple(dict.fromkeys(text for one in listed if is_record_id(text := one.strip())))


def read_modified(answer: Mapping[str, Any], properties: Mapping[str, Any]) -> datetime | None:
    """Read when a contact of a list was last modified, or archived."""
    times = (answer.get("archivedAt"), _text(properties, "lastmodifieddate"), answer.get("updatedAt"))
    return next(filter(None, map(_read_time, times)), None)


def _read_fields(properties: Mapping[str, Any], linkedin_field: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of the contact under the names that an event has."""
    fields = {
        "profile_url": _text(properties, linkedin_field),
        "work_email": _text(properties, "email"),
        # HubSpot does not say what an additional address is for: use the first one as the personal address.
        "personal_email": next(iter(_read_additional(properties)), None),
        "name": join_names(_text(properties, "firstname"), _text(properties, "lastname")),
        "company": _text(properties, "company"),
        "region": _text(properties, "hs_country_region_code") or _text(properties, "country"),
    }
    yield from ((name, value) for name, value in fields.items() if value)


def _read_additional(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the additional addresses."""
    return tuple(_parts((_text(properties, "hs_additional_emails") or "").lower()))


def _text(properties: Mapping[str, Any], name: str) -> str | None:
    """Return a property's value; None if it is not set, or is no text."""
    value = properties.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**40 else None
    return value.strip() or None if isinstance(value, str) else None


def _read_edits(entries: Any, undated: datetime | None = None) -> Iterator[Edit]:
    """Yield the values that a property had. One without a readable time gets *undated*, or is left out if None."""
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and (at := _read_time(entry.get("timestamp")) or undated):
            yield Edit(_text(entry, "value") or "", at, str(entry.get("sourceType")).startswith(BY_HAND))


def _read_time(value: object) -> datetime | None:
    """Read a time, from ISO 8601 or milliseconds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip() if isinstance(value, str) or abs(value) < 10**15 else ""
    try:
        if text.isascii() and text.isdecimal() and len(text) < 16:
            return LONG_AGO + timedelta(milliseconds=int(text))
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _meets(properties: Mapping[str, Any], condition: Condition) -> bool:
    """Tell whether a property has one of the values, or, if it holds several, at least one of them."""
    value = (_text(properties, condition.name) or "").casefold()
    return value in condition.values or not condition.values.isdisjoint(_parts(value))


def _parts(value: str) -> Iterable[str]:
    return filter(None, map(str.strip, value.split(SEPARATOR)))


def _verbatim(answer: dict[str, Any]) -> bytes:
    """Write the contact as HubSpot sent it, alone."""
    try:
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return b"{}"
