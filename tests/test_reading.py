"""Whether a contact that was read from a CRM becomes a lookup."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from enrichment.crms.base import CrmContact
from enrichment.providers import build_providers
from enrichment.reading import Skip, read_contact
from enrichment.wish import Wish
from tests.conftest import MakeSettings
from tests.crm_contacts import CONNECTED_AT, contact

BEFORE = CONNECTED_AT - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("shown", "named_by", "reason"),
    [
        (contact(mobile="ask her"), "event", "has a mobile"),
        (contact(mobile="+15551234567"), "backfill", "has a mobile"),
        (contact(is_wanted=False), "event", "not worth asking"),
        (contact(is_wanted=False), "backfill", "not worth asking"),
        (contact(news_at=BEFORE), "event", "older than the connection"),
        (contact(news_at=BEFORE), "sweep", "older than the connection"),
        (contact(news_at=None), "sweep", "older than the connection"),
        (contact(fields={}), "event", "nothing usable: "),
        (contact(fields={"work_email": "jane at acme"}), "event", "nothing usable: work_email: "),
    ],
)
def test_a_contact_is_skipped_for_a_reason(
    make_settings: MakeSettings, shown: CrmContact, named_by: str, reason: str
) -> None:
    """A contact that needs no number, or that cannot be asked about, is skipped and the reason is recorded."""
    providers = build_providers(make_settings())

    read = read_contact(shown, connected_at=CONNECTED_AT, named_by=named_by, providers=providers)

    assert isinstance(read, Skip)
    assert read.reason.startswith(reason)


def test_the_reason_repeats_no_personal_data(make_settings: MakeSettings) -> None:
    """A reason names fields and what would be usable, never what stands in them."""
    shown = contact(fields={"work_email": "jane at acme", "profile_url": "linkedin.com/company/secret-name"})

    read = read_contact(shown, connected_at=None, named_by="event", providers=build_providers(make_settings()))

    assert isinstance(read, Skip)
    assert "jane" not in read.reason
    assert "secret" not in read.reason


def test_a_contact_becomes_a_wish(make_settings: MakeSettings) -> None:
    """Fields are read as an event's, all available providers are asked, and the record is the one in the answer."""
    fields = {"hs_linkedin_url": "https://www.linkedin.com/in/JaneDoe/", "email": " Jane@Acme.co", "record_id": "9"}

    read = read_contact(
        contact("202", fields=fields), connected_at=CONNECTED_AT, named_by="event",
        providers=build_providers(make_settings()),
    )  # fmt: skip

    assert isinstance(read, Wish)
    assert read.contact.work_email == "jane@acme.co"
    assert read.contact.slug == "janedoe"
    assert read.providers == ("leadmagic", "nyne")
    assert (read.record_id, read.event_id) == ("202", None)


def test_a_backfill_buys_for_old_contacts(make_settings: MakeSettings) -> None:
    """Changes from before the connection are history: only a backfill buys for them."""
    read = read_contact(
        contact(news_at=BEFORE), connected_at=CONNECTED_AT, named_by="backfill",
        providers=build_providers(make_settings()),
    )  # fmt: skip

    assert isinstance(read, Wish)


def test_the_same_content_has_the_same_fingerprint(make_settings: MakeSettings) -> None:
    """A contact that is read again unchanged, however it is written, is the same wish."""
    providers = build_providers(make_settings())
    one, again = (
        read_contact(contact(fields={"work_email": email}), connected_at=None, named_by="event", providers=providers)
        for email in ("jane@acme.co", "JANE@acme.co ")
    )

    assert isinstance(one, Wish)
    assert isinstance(again, Wish)
    assert one.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    ("news_at", "named_by"), [(BEFORE, "backfill"), (BEFORE, "request"), (None, "event"), (None, "request")]
)
def test_what_was_asked_for_may_be_old(make_settings: MakeSettings, news_at: datetime | None, named_by: str) -> None:
    """A backfill and a workflow name contacts of any age; without a date from the CRM, an event is enough."""
    read = read_contact(
        contact(news_at=news_at), connected_at=CONNECTED_AT, named_by=named_by,
        providers=build_providers(make_settings()),
    )  # fmt: skip

    assert isinstance(read, Wish)
