"""Decide whether to write a result onto its contact, and judge what became of the write. Pure.

People own the field: a number goes only into an empty one that no person cleared, or, with WRITE_BACK=own, over
a number that we wrote. The contact is read again after the write, because no CRM that we know can write on the
condition that a field has not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from enrichment.contact import Contact
from enrichment.crms.base import CrmContact, Edit, Writing
from enrichment.facts import names_agree
from enrichment.phone import read_phone
from enrichment.roles import is_role_address

Mode = Literal["if_empty", "own"]

THERE_ALREADY = "the number stood there already"
NO_NUMBER = "no number"
FILLED = "a person wrote another number"
FILLED_BY_US = "another number of ours stands there, and WRITE_BACK=own is not set"
CLEARED = "a person cleared the field"
PHONE_FILLED = "a fixed line belongs into the phone field, and that holds another number"
SOMEBODY_ELSE = "the contact is about somebody else by now"
OVERTAKEN = "a person wrote at the same time; left to people"


@dataclass(frozen=True, slots=True)
class Result:
    """The part of a lookup's result that a CRM gets. *region*: of numbers on the contact without a country code."""

    status: str
    number: str | None = field(default=None, repr=False)  # in E.164
    line_type: str | None = None
    provider: str | None = None
    at: datetime | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Write this onto the contact."""

    writing: Writing


@dataclass(frozen=True, slots=True)
class Leave:
    """Write nothing: end the delivery in this state, for this reason."""

    state: Literal["delivered", "skipped"]
    reason: str


@dataclass(frozen=True, slots=True)
class Landed:
    """The contact has the values that were written."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A person wrote between our read and our write, or right after it. *is_ours*: the field has our number now."""

    reason: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """The contact looks as it did before the write: the write was lost, or is not visible yet."""


def is_same_person(asked: Contact, shown: Contact | None, emails: Collection[str] = ()) -> bool:
    """Tell whether the contact that is *shown* now, with further *emails*, is the person who was *asked* about.

    One shared identifier proves it. Without one, different identifiers of the same kind, or names that do not agree,
    mean another person. Shared mailboxes do not count.
    """
    if shown is None:
        return True  # a contact without identifiers contradicts nothing
    theirs = _personal(asked.work_email, asked.personal_email)
    now = _personal(shown.work_email, shown.personal_email, *emails)
    if theirs & now or (asked.profile_url and asked.profile_url == shown.profile_url):
        return True
    if (theirs and now) or (asked.profile_url and shown.profile_url):
        return False
    return not asked.name or not shown.name or names_agree(asked.name, shown.name)


def _personal(*emails: str | None) -> set[str]:
    return {email for email in emails if email and not is_role_address(email)}


def decide_write(
    contact: CrmContact,
    result: Result,
    mode: Mode,
    *,
    is_ours: Callable[[str], bool],
    has_own_properties: bool,
) -> Write | Leave:
    """Decide whether to write *result* onto *contact*.

    *is_ours* tells whether a number in E.164 was written onto this contact by us before.
    """
    if result.number is None:
        if not has_own_properties:
            return Leave("skipped", NO_NUMBER)
        return Write(Writing(result.status, provider=result.provider, at=result.at))
    if result.line_type == "fixed_line":
        refusal = _refuse_phone(contact, result)
    else:
        refusal = _refuse_mobile(contact, result, mode, is_ours)
    if refusal is not None:
        return refusal
    number_in: Literal["mobile", "phone"] = "phone" if result.line_type == "fixed_line" else "mobile"
    return Write(Writing(result.status, result.number, number_in, result.provider, result.at))


def _refuse_phone(contact: CrmContact, result: Result) -> Leave | None:
    """Return why not to write a fixed line; None if it may be written. The phone field's history is not read."""
    if result.number in (_number(contact.phone, result.region), _number(contact.mobile, result.region)):
        return Leave("delivered", THERE_ALREADY)
    return Leave("skipped", PHONE_FILLED) if _is_filled(contact.phone) else None


def _refuse_mobile(contact: CrmContact, result: Result, mode: Mode, is_ours: Callable[[str], bool]) -> Leave | None:
    """Return why not to write a number into the mobile field; None if it may be written."""
    if not _is_filled(contact.mobile):
        had_one = any(_is_filled(edit.value) for edit in contact.edits)
        return Leave("skipped", CLEARED) if had_one else None
    standing = _number(contact.mobile, result.region)
    if standing == result.number:
        return Leave("delivered", THERE_ALREADY)
    if standing is None or not is_ours(standing):
        return Leave("skipped", FILLED)
    return None if mode == "own" else Leave("skipped", FILLED_BY_US)


def was_overtaken(contact: CrmContact, number: str, region: str | None, is_ours: Callable[[str], bool]) -> bool:
    """Tell whether our *number* overwrote a value that a person wrote, whatever the mobile field holds by now.

    For the try after a write whose answer was lost: that write found the field empty, or with a number of ours.
    """
    edits = contact.edits  # the newest first
    if _number(contact.mobile, region) != number:
        ours = [at for at, edit in enumerate(edits) if _number(edit.value, region) == number and not edit.is_typed]
        edits = edits[ours[-1] + 1 :] if ours else ()
    before = (_number(edit.value, region) for edit in edits if _is_filled(edit.value))
    return any(one != number and (one is None or not is_ours(one)) for one in before)


def was_typed(contact: CrmContact) -> bool:
    """Tell whether a person typed what stands in the mobile field, as far as the CRM says who did."""
    return bool(contact.edits) and contact.edits[0].is_typed


def judge_reread(
    before: CrmContact, wrote: Writing, after: CrmContact, region: str | None = None
) -> Landed | Overtaken | Missing:
    """Judge a write by the contact *before* and *after* it; *region* is that of numbers without a country code."""
    if wrote.number is None:
        return Landed()
    in_phone = wrote.number_in == "phone"
    stands = after.phone if in_phone else after.mobile
    stood = before.phone if in_phone else before.mobile
    is_ours = _number(stands, region) == wrote.number
    # After a merge, the history of the other contact says nothing about our write; the phone field has no history.
    new = () if in_phone or after.record_id != before.record_id else _new_edits(before, after)
    if any(_number(edit.value, region) != wrote.number for edit in new):
        return Overtaken(OVERTAKEN, is_ours)
    if is_ours:
        return Landed()
    if after.record_id != before.record_id or (not new and (stands or "").strip() == (stood or "").strip()):
        return Missing()
    return Overtaken(OVERTAKEN, is_ours=False)


def _new_edits(before: CrmContact, after: CrmContact) -> tuple[Edit, ...]:
    """Return the edits that *before* does not have."""
    return tuple(edit for edit in after.edits if edit not in before.edits)


def _is_filled(text: str | None) -> bool:
    """Tell whether the field has any text, also "n/a": a person wrote that."""
    return bool(text and text.strip())


def _number(text: str | None, region: str | None) -> str | None:
    """Read a field's text into E.164."""
    phone = read_phone(text, region) if text else None
    return phone.e164 if phone else None
