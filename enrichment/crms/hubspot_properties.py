"""The definitions of contacts' properties: HubSpot's, and our own.

https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from enrichment.crms.base import Property

STATUS, PROVIDER, FOUND_AT = "ringback_status", "ringback_source", "ringback_found_at"
STATUSES = {"found": "Found", "not_found": "No number", "failed": "Failed", "unresolved": "Unresolved"}
GROUP = {"name": "ringback", "label": "Ringback"}


def own_properties() -> Iterator[Mapping[str, Any]]:
    """Yield the definitions of our properties."""
    options = [
        {"label": label, "value": status, "displayOrder": place, "hidden": False}
        for place, (status, label) in enumerate(STATUSES.items())
    ]
    group = {"groupName": GROUP["name"]}
    yield {
        **group, "name": STATUS, "label": "Ringback status", "type": "enumeration", "fieldType": "select",
        "options": options,
    }  # fmt: skip
    yield {**group, "name": PROVIDER, "label": "Ringback source", "type": "string", "fieldType": "text"}
    yield {**group, "name": FOUND_AT, "label": "Ringback found at", "type": "datetime", "fieldType": "date"}


def read_properties(results: Sequence[Any]) -> Iterator[Property]:
    """Yield the definitions in an answer, without archived ones. Never raise."""
    for one in results:
        if not isinstance(one, dict) or one.get("archived") is True:
            continue
        name, label, kind = (one.get(key) for key in ("name", "label", "type"))
        if _is_shown(name) and _is_shown(kind):
            yield Property(name, label if _is_shown(label) else name, kind)


def _is_shown(text: object) -> TypeGuard[str]:
    """Tell whether *text* can be shown on a terminal and stored."""
    return isinstance(text, str) and text.isprintable()
