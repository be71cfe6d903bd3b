"""The JSON of an event, read without a receiver: not JSON, odd JSON, and any JSON at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment.contact import Contact
from enrichment.event import NotAnEvent
from enrichment.event_json import NotJson
from tests.test_event_fields import JANE, paths, read, read_one

quick = settings(max_examples=200, deadline=None, database=None)
names = st.sampled_from(
    ["work_email", "email", "linkedin", "name", "providers", "event_id", "contacts", "region", "x mail"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["jane@acme.co", "linkedin.com/in/jane", "nyne", "undefined", "{{x}}", "\ud800", "a\0b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{", b"name=Jane", b"\xff\xfe{}", b"[" * 1_000_000, b'{"a":' * 200_000, b"'x'"])
def test_what_is_no_json_is_named_as_such(body: bytes) -> None:
    """Broken, foreign and bottomless bodies are refused without an exception of another kind."""
    with pytest.raises(NotJson):
        read(body)


def test_byte_order_marks_are_no_mistake() -> None:
    """Some CRMs begin UTF-8 with a mark, some proxies with two. TracecatHQ/tracecat#1289."""
    assert read_one(b"\xef\xbb\xbf\xef\xbb\xbf" + b'{"email": "jane@acme.co"}').contact == JANE


@pytest.mark.parametrize(
    ("body", "contact", "named"),
    [
        (b'{"email": "jane@acme.co", "email": "j@mail.co"}',
         Contact(work_email="jane@acme.co", personal_email="j@mail.co"), []),
        (b'{"email": "jane@acme.co", "email": ""}', JANE, []),
        (b'{"email": "jane@acme.co", "amount": NaN, "other": -Infinity}', JANE, []),
        (b'{"email": "jane@acme.co", "name": NaN, "record_id": NaN}', JANE, []),
        (b'{"email": "jane@acme.co", "n": 1e999999999, "m": ' + b"9" * 100_000 + b"}", JANE, []),
        (b'{"email": "jane@acme.co", "note": "\\ud800"}', JANE, []),
        (b'{"email": "jane@acme.co", "company": "\\ud800"}', JANE, ["company"]),
        (b'{"email": "jane@acme.co", "deep": ' + b"[" * 500 + b"]" * 500 + b"}", JANE, []),
    ],
    ids=["repeated", "repeated, empty", "NaN", "NaN as text", "huge", "surrogate in a note", "surrogate", "deep"],
)  # fmt: skip
def test_odd_json_costs_no_lead(body: bytes, contact: Contact, named: list[str]) -> None:
    """Repeated keys, NaN, endless numbers, half a surrogate and depth are read around."""
    one = read_one(body)

    assert one.contact == contact
    assert paths(one) == named


@quick
@given(body=anything)
def test_no_json_raises_anything_else(body: Any) -> None:
    """Any JSON reads to contacts with their problems, or to a named reason why there are none."""
    try:
        contacts = read(json.dumps(body))
    except NotAnEvent:
        return

    assert all(one.problems for one in contacts if one.contact is None)
    assert all(one.providers for one in contacts if one.contact is not None)
