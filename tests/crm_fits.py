"""What every reading of a CRM's answer has to be: fit for PostgreSQL, for an address and for a line of a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from enrichment.crms.base import Crm, CrmContact, Gone, Heard
from enrichment.event import LONGEST_ID
from enrichment.outcome import Pause, Refused, Retry, Unclear

FAILURES = (Retry, Pause, Refused, Unclear)


def assert_heard_fits(crm: Crm, heard: Heard) -> None:
    """Assert that the id of every named contact can be stored and put into an address."""
    assert heard.ignored >= 0
    assert len({(one.account, one.record_id) for one in heard.named}) == len(heard.named)
    for one in heard.named:
        assert crm.is_record_id(one.record_id)
        assert len(one.record_id) <= LONGEST_ID
        assert "\0" not in one.record_id
        assert one.account is None or 0 < len(one.account) <= LONGEST_ID
        assert isinstance(one.erases, bool)
        assert one.events >= 0


def assert_fits(read: Any) -> None:
    """Assert that a result is one of ours, whose reason fits into PostgreSQL and into a line of a log."""
    if isinstance(read, FAILURES):
        assert read.reason.encode().decode().isprintable()
        assert 0 < len(read.reason) <= 200
        after = getattr(read, "after", None)
        assert after is None or 0 <= after <= 3600
    for one in read.values() if isinstance(read, Mapping) else [read]:
        if isinstance(one, CrmContact):
            assert 0 < len(one.record_id) <= LONGEST_ID
            assert all(isinstance(value, str) and value for value in one.fields.values())
            assert one.modified_at.tzinfo
            assert one.news_at is None or one.news_at.tzinfo
            assert one.body.decode()
            assert list(one.edits) == sorted(one.edits, key=lambda edit: edit.at, reverse=True)
        elif not isinstance(one, FAILURES):
            assert isinstance(one, Gone) or dataclasses.is_dataclass(one) or isinstance(one, tuple)
