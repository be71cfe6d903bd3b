"""Which writes onto a contact are allowed, and how each is judged: tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from enrichment.crms.base import CrmContact, Writing
from enrichment.write_back import (
    CLEARED,
    FILLED,
    FILLED_BY_US,
    NO_NUMBER,
    OVERTAKEN,
    PHONE_FILLED,
    THERE_ALREADY,
    Landed,
    Leave,
    Missing,
    Mode,
    Overtaken,
    Result,
    Write,
    decide_write,
    judge_reread,
    was_overtaken,
)
from tests.crm_contacts import NEWS_AT, contact, edits

NUMBER = "+447700900123"
OURS = "+447700900999"  # what we wrote before
THEIRS = "+447700900555"
FOUND = Result("found", NUMBER, "mobile", "nyne", NEWS_AT, "GB")
FIXED = Result("found", "+442079460000", "fixed_line", "nyne", NEWS_AT, "GB")
NONE = Result("not_found", at=NEWS_AT)

SKIPPED_FILLED = Leave("skipped", FILLED)
THERE = Leave("delivered", THERE_ALREADY)


def decided(
    shown: CrmContact, result: Result = FOUND, mode: Mode = "if_empty", *, own_properties: bool = False
) -> Write | Leave:
    """Decide about a contact on which OURS is a number of ours."""
    return decide_write(shown, result, mode, is_ours={OURS}.__contains__, has_own_properties=own_properties)


WRITTEN = Write(Writing("found", NUMBER, "mobile", "nyne", NEWS_AT))


@pytest.mark.parametrize(
    ("case", "shown", "mode", "expected"),
    [
        ("empty", contact(), "if_empty", WRITTEN),
        ("blank", contact(mobile=" "), "if_empty", WRITTEN),
        ("empty since it was created", contact(edits=edits("")), "if_empty", WRITTEN),
        ("empty, own", contact(), "own", WRITTEN),
        ("filled by a person", contact(mobile=THEIRS), "if_empty", SKIPPED_FILLED),
        ("filled by a person, own", contact(mobile=THEIRS, edits=edits(THEIRS, OURS)), "own", SKIPPED_FILLED),
        ("filled with a word", contact(mobile="n/a"), "own", SKIPPED_FILLED),
        ("filled with our number", contact(mobile=OURS), "if_empty", Leave("skipped", FILLED_BY_US)),
        ("filled with our number, own", contact(mobile=OURS), "own", WRITTEN),
        ("our number in other words, own", contact(mobile="07700 900999"), "own", WRITTEN),
        ("cleared by a person", contact(edits=edits("", THEIRS)), "if_empty", Leave("skipped", CLEARED)),
        ("cleared after ours", contact(edits=edits("", OURS)), "if_empty", Leave("skipped", CLEARED)),
        ("cleared after ours, own", contact(mobile="", edits=edits("", OURS)), "own", Leave("skipped", CLEARED)),
        ("the same number", contact(mobile=NUMBER), "if_empty", THERE),
        ("the same number, written at home", contact(mobile="07700 900123"), "if_empty", THERE),
        ("the same number, in groups", contact(mobile="+44 7700 900-123"), "own", THERE),
        ("another number in the phone field", contact(phone=THEIRS), "if_empty", WRITTEN),
    ],
)
def test_a_number_goes_where_people_left_room(
    case: str, shown: CrmContact, mode: Mode, expected: Write | Leave
) -> None:
    """A number is written into a field that is empty and always was, and with `own` over numbers of ours."""
    assert decided(shown, mode=mode) == expected, case


@pytest.mark.parametrize(
    ("case", "shown", "expected"),
    [
        ("empty", contact(), Write(Writing("found", FIXED.number, "phone", "nyne", NEWS_AT))),
        ("a mobile beside it", contact(mobile=THEIRS), Write(Writing("found", FIXED.number, "phone", "nyne", NEWS_AT))),
        ("the same", contact(phone="020 7946 0000"), THERE),
        ("the same, as the mobile", contact(mobile=FIXED.number), THERE),
        ("another", contact(phone=THEIRS), Leave("skipped", PHONE_FILLED)),
        ("another of ours", contact(phone=OURS), Leave("skipped", PHONE_FILLED)),
    ],
)
def test_a_fixed_line_goes_into_the_phone_field(case: str, shown: CrmContact, expected: Write | Leave) -> None:
    """A fixed line is no mobile: it is written into the phone field, and only if that is empty."""
    assert decided(shown, FIXED, "own") == expected, case


def test_no_number_goes_only_into_our_own_properties() -> None:
    """Without a number, the status is written where our own properties exist, and nothing where they do not."""
    assert decided(contact(), NONE) == Leave("skipped", NO_NUMBER)
    assert decided(contact(), NONE, own_properties=True) == Write(Writing("not_found", at=NEWS_AT))


PUT = Writing("found", NUMBER, "mobile", "nyne", NEWS_AT)
BEFORE = contact(edits=edits(""))


def after(*history: str, **given: Any) -> CrmContact:
    """Return the contact as it is after these later edits, the newest first."""
    later = tuple(edits(*history, *(edit.value for edit in BEFORE.edits)))
    return contact(**({"mobile": history[0] if history else None, "edits": later} | given))


@pytest.mark.parametrize(
    ("case", "shown", "expected"),
    [
        ("ours alone", after(NUMBER), Landed()),
        ("ours, as the CRM formats it", after("07700 900123"), Landed()),
        ("ours twice", after(NUMBER, NUMBER), Landed()),
        ("ours over a person's", after(NUMBER, THEIRS), Overtaken(OVERTAKEN, is_ours=True)),
        ("ours over a person's clearing", after(NUMBER, "", THEIRS), Overtaken(OVERTAKEN, is_ours=True)),
        ("a person's over ours", after(THEIRS, NUMBER), Overtaken(OVERTAKEN, is_ours=False)),
        ("cleared after ours", after("", NUMBER), Overtaken(OVERTAKEN, is_ours=False)),
        ("a person's alone", after(THEIRS), Overtaken(OVERTAKEN, is_ours=False)),
        ("as before", after(), Missing()),
        ("ours, without a history", contact(mobile=NUMBER), Landed()),
        ("as before, without a history", contact(), Missing()),
        ("another, without a history", contact(mobile=THEIRS), Overtaken(OVERTAKEN, is_ours=False)),
        ("ours, after a merge", contact("202", mobile=NUMBER, edits=edits(NUMBER, THEIRS)), Landed()),
        ("the winner's, after a merge", contact("202", mobile=THEIRS, edits=edits(THEIRS)), Missing()),
    ],
)
def test_the_contact_is_judged_after_the_write(
    case: str, shown: CrmContact, expected: Landed | Overtaken | Missing
) -> None:
    """An edit between our read and our write shows in the history, and is left to people."""
    assert judge_reread(BEFORE, PUT, shown, "GB") == expected, case


def test_the_phone_field_is_judged_by_its_value() -> None:
    """Edits of the mobile field do not tell about a number in the phone field, which has no history."""
    put = Writing("found", FIXED.number, "phone")

    assert judge_reread(BEFORE, put, after(THEIRS, phone=FIXED.number), "GB") == Landed()
    assert judge_reread(BEFORE, put, contact(phone=THEIRS), "GB") == Overtaken(OVERTAKEN, is_ours=False)
    assert judge_reread(BEFORE, put, contact(), "GB") == Missing()


def test_a_status_without_a_number_needs_no_judgement() -> None:
    """People do not edit our own properties, so the answer to a write of them is believed."""
    assert judge_reread(BEFORE, Writing("not_found"), after(THEIRS)) == Landed()


ANOTHER = "+447700900777"


@pytest.mark.parametrize(
    ("case", "shown", "expected"),
    [
        ("ours stands, over theirs", contact(mobile=NUMBER, edits=edits(NUMBER, THEIRS, "")), True),
        ("ours stands, over ours", contact(mobile=NUMBER, edits=edits(NUMBER, OURS)), False),
        ("they wrote again", contact(mobile=ANOTHER, edits=edits(ANOTHER, NUMBER, THEIRS, "")), True),
        ("they cleared it afterwards", contact(edits=edits("", NUMBER, THEIRS, "")), True),
        ("they wrote only afterwards", contact(mobile=THEIRS, edits=edits(THEIRS, NUMBER, "")), False),
        ("ours never came", contact(mobile=THEIRS, edits=edits(THEIRS, "")), False),
    ],
)
def test_a_write_whose_answer_was_lost_is_judged_by_the_history(case: str, shown: CrmContact, expected: bool) -> None:
    """The next try finds out whether the lost one overwrote a person's value, also when that person wrote again."""
    assert was_overtaken(shown, NUMBER, "GB", {OURS}.__contains__) is expected, case
