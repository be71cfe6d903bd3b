"""The account's people, who edit a contact at the worst moment: between our read and our write, or right after it."""

from __future__ import annotations

from sandbox.hubspot.conduct import Conduct
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.records import HUMAN, Contact
from sandbox.people import mobile_e164


class PeopleAtWork:
    """The people; they act once on each contact that a word or the dice choose."""

    def __init__(self, portal: Portal, conduct: Conduct) -> None:
        """Start before any read."""
        self._portal = portal
        self._conduct = conduct
        self._read: set[int] = set()  # ids of contacts that our API calls have read

    def saw_read(self, contact: Contact) -> None:
        """Note that one of our calls has read the contact."""
        self._read.add(contact.id)

    def before_write(self, contact: Contact) -> None:
        """Act before the write that arrives now, if we have read the contact."""
        if contact.id not in self._read:
            return
        chaos = self._conduct.chaos
        if chaos.strikes(chaos.faults.human_edits):
            self._write(contact)
        for row in self._conduct.meddling(contact):
            if row.meddling != "writes_after" and self._conduct.first_time(row.word, contact):
                self._meddle(row.meddling, contact)

    def after_write(self, contact: Contact) -> None:
        """Act right after the write."""
        for row in self._conduct.meddling(contact):
            if row.meddling == "writes_after" and self._conduct.first_time(row.word, contact):
                self._write(contact)

    def _meddle(self, how: str, contact: Contact) -> None:
        match how:
            case "writes":
                self._write(contact)
            case "clears":
                self._write(contact)
                self._portal.edit(contact, {"mobilephone": ""}, HUMAN)
            case "deletes":
                self._portal.archive(contact, HUMAN)
            case "merges":
                other = self._portal.create({"lastname": contact.value("lastname") or "Double"}, HUMAN)
                self._portal.merge(other, contact, HUMAN)

    def _write(self, contact: Contact) -> None:
        self._portal.edit(contact, {"mobilephone": human_number(contact)}, HUMAN)


def human_number(contact: Contact) -> str:
    """Return the number that a person writes: valid, and never the true one."""
    return mobile_e164(f"human:{contact.id}")
