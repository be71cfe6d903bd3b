"""Contacts as a CRM shows them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from enrichment.crms.base import CrmContact, Edit

CONNECTED_AT = datetime(2026, 11, 1, tzinfo=UTC)
NEWS_AT = CONNECTED_AT + timedelta(days=1)


def contact(record_id: str = "101", **given: Any) -> CrmContact:
    """Return a contact with an e-mail and no number, news since the connection."""
    values: dict[str, Any] = {
        "fields": {"work_email": "jane@acme.co", "name": "Jane Doe", "company": "Acme"},
        "mobile": None,
        "phone": None,
        "edits": (),
        "modified_at": NEWS_AT,
        "news_at": NEWS_AT,
        "body": b'{"id": "101"}',
    }
    return CrmContact(record_id=record_id, **(values | given))


def edits(*values: str) -> tuple[Edit, ...]:
    """Return the history of a field that had these *values*, the newest first, a minute apart."""
    return tuple(Edit(value, NEWS_AT + timedelta(minutes=len(values) - place)) for place, value in enumerate(values))
