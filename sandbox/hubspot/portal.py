"""The contacts of an account, everything that can happen to one, and a record of every value written."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.hubspot.definitions import Definitions, Fault
from sandbox.hubspot.records import HUMAN, MERGE, Author, Contact, Edit
from sandbox.hubspot.times import iso, now

FIRST_ID = 101_000_000_001  # ids of contacts are larger than 32 bits


class Happening(NamedTuple):
    """Something that happened to a contact; happenings of subscribed kinds become webhook events."""

    kind: str
    contact: Contact
    author: Author
    extra: Mapping[str, Any]


class Write(NamedTuple):
    """One value that was written."""

    at: int
    contact: int
    name: str
    old: str | None
    new: str
    author: Author

    def as_json(self) -> dict[str, Any]:
        """Return the write as the admin shows it."""
        return {
            "at": iso(self.at),
            "contact": str(self.contact),
            "property": self.name,
            "old": self.old,
            "new": self.new or None,
            "source_type": self.author.source_type,
            "source_id": self.author.source_id,
        }


class AlreadyThere(Exception):
    """Another contact has this e-mail address."""

    def __init__(self, contact: Contact) -> None:
        """Keep the other contact."""
        super().__init__(contact.id)
        self.contact = contact


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An admin's rule: *require* must be set, where *when* has one of *values*; without *when*, to create a contact."""

    require: tuple[str, ...]
    when: str | None = None
    values: tuple[str, ...] = ()

    def fault_of(self, after: Mapping[str, str], *, creating: bool) -> Fault | None:
        """Return the fault of a contact with the values *after*; None if it obeys the rule."""
        missing = tuple(name for name in self.require if not after.get(name))
        if not missing or (self.when is None and not creating):
            return None
        if self.when is not None and after.get(self.when) not in self.values:
            return None
        code = "MISSING_REQUIRED_PROPERTY" if self.when is None else "MISSING_CONDITIONAL_REQUIRED_PROPERTY"
        return Fault(code, f"Required properties are missing: {', '.join(missing)}", missing)


@dataclass(slots=True)
class Portal:
    """The account's contacts. It calls *tell* with everything that happens to one, and *index* with every change."""

    tell: Callable[[Happening], None]
    index: Callable[[Contact], None]
    dice: random.Random
    definitions: Definitions = field(default_factory=Definitions)
    contacts: dict[int, Contact] = field(default_factory=dict)  # archived ones too
    merged: dict[int, int] = field(default_factory=dict)  # the old id -> the new one
    rules: list[Rule] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    _emails: dict[str, int] = field(default_factory=dict)
    _next: int = FIRST_ID

    def find(self, id: int, *, follow: bool = True, archived: bool = False) -> Contact | None:
        """Return the contact, or if *follow* the one that it was merged into; None if there is none."""
        while follow and id in self.merged:
            id = self.merged[id]
        contact = self.contacts.get(id)
        return contact if contact and (contact.archived_at is not None) == archived else None

    def find_by_email(self, address: str) -> Contact | None:
        """Return the contact that has this e-mail address, also as an additional one."""
        return self.contacts.get(self._emails.get(address.strip().lower(), 0))

    def listed(self, *, archived: bool = False, after: int = 0) -> Iterator[Contact]:
        """Return the contacts with ids greater than *after*, the smallest first."""
        # Ids are given in ascending order, so the dictionary is sorted by them.
        return (one for one in self.contacts.values() if one.id > after and (one.archived_at is not None) == archived)

    def faults_of(self, contact: Contact | None, values: Mapping[str, str]) -> list[Fault]:
        """Return everything that is wrong with a write: with its values, or else by the admin's rules."""
        if faults := self.definitions.faults_of(dict(values)):
            return faults
        after = (contact.values() if contact else {}) | dict(values)
        broken = (rule.fault_of(after, creating=contact is None) for rule in self.rules)
        return [fault for fault in broken if fault]

    def create(self, values: Mapping[str, str], author: Author) -> Contact:
        """Create a contact. Raise AlreadyThere."""
        self._check_email(values, None)
        at = now()
        contact = Contact(self._next, at, at)
        self._next += self.dice.randint(1, 50)
        self.contacts[contact.id] = contact
        told = [Happening("creation", contact, author, {"changeFlag": "CREATED"})]
        told += self._set(contact, {name: value for name, value in values.items() if value}, author)
        for happening in told:  # once all values are set: they may decide what happens to the events
            self.tell(happening)
        return contact

    def edit(self, contact: Contact, values: Mapping[str, str], author: Author) -> None:
        """Set values; an unchanged one makes no edit. Raise AlreadyThere."""
        self._check_email(values, contact)
        for happening in self._set(contact, values, author):
            self.tell(happening)

    def _set(self, contact: Contact, values: Mapping[str, str], author: Author) -> list[Happening]:
        """Set values; return what happened."""
        told = []
        # One write has one time, and no two writes share one.
        at = max(now(), contact.modified_at + bool(contact.edits))
        for name, value in values.items():
            if (contact.value(name) or "") == value:
                continue
            old = contact.set(name, Edit(value, at, author))
            self.writes.append(Write(at, contact.id, name, old, value, author))
            if name == "email":
                self._emails.pop((old or "").lower(), None)
                if value:
                    self._emails[value.lower()] = contact.id
            told.append(Happening("propertyChange", contact, author, {"propertyName": name, "propertyValue": value}))
        self.index(contact)
        return told

    def archive(self, contact: Contact, author: Author) -> None:
        """Delete a contact: it can be restored for 90 days."""
        contact.archived_at = now()
        self._forget_emails(contact)
        self.index(contact)
        self.tell(Happening("deletion", contact, author, {"changeFlag": "DELETED"}))

    def restore(self, contact: Contact, author: Author = HUMAN) -> None:
        """Restore a deleted contact. Raise AlreadyThere."""
        self._check_email({"email": contact.value("email") or ""}, contact)
        contact.archived_at = None
        contact.modified_at = now()
        self._remember_emails(contact)
        self.index(contact)
        self.tell(Happening("restore", contact, author, {"changeFlag": "RESTORED"}))

    def erase(self, contact: Contact, author: Author) -> None:
        """Remove a contact for good. Two events report it, in any order."""
        self._forget_emails(contact)
        del self.contacts[contact.id]
        contact.archived_at = now()
        self.index(contact)
        told = [
            Happening("deletion", contact, author, {"changeFlag": "DELETED"}),
            Happening("privacyDeletion", contact, author, {}),
        ]
        self.dice.shuffle(told)
        for happening in told:
            self.tell(happening)

    def merge(self, primary: Contact, other: Contact, author: Author) -> Contact:
        """Merge two contacts into a third with a new id; the primary's values win where it has them."""
        at = now()
        absorbed = (*primary.absorbed, primary.id, *other.absorbed, other.id)
        contact = Contact(self._next, min(primary.created_at, other.created_at), at, absorbed=absorbed)
        self._next += self.dice.randint(1, 50)
        moved = 0
        for name in {*primary.edits, *other.edits}:
            mine, theirs = primary.edits.get(name, []), other.edits.get(name, [])
            contact.edits[name] = sorted([*mine, *theirs], key=lambda edit: edit.at)
            value = primary.value(name) or other.value(name) or ""
            moved += primary.value(name) is None and bool(value)
            if value != (contact.value(name) or ""):
                contact.edits[name].append(Edit(value, at, MERGE))
        if (first := primary.value("email")) and (second := other.value("email")) and first != second:
            further = ";".join(filter(None, (contact.value("hs_additional_emails"), second)))
            contact.set("hs_additional_emails", Edit(further, at, MERGE))
        self.contacts[contact.id] = contact
        for old in (primary, other):
            del self.contacts[old.id]
            self.merged[old.id] = contact.id
            old.archived_at = at
            self.index(old)
        self._remember_emails(contact)
        self.index(contact)
        extra = {
            "primaryObjectId": primary.id,
            "mergedObjectIds": [other.id],
            "newObjectId": contact.id,
            "numberOfPropertiesMoved": moved,
        }
        self.tell(Happening("merge", contact, author, extra))
        return contact

    def _check_email(self, values: Mapping[str, str], contact: Contact | None) -> None:
        address = values.get("email")
        other = self.find_by_email(address) if address else None
        if other is not None and other is not contact:
            raise AlreadyThere(other)

    def _remember_emails(self, contact: Contact) -> None:
        for address in _emails(contact):
            self._emails[address] = contact.id

    def _forget_emails(self, contact: Contact) -> None:
        for address in _emails(contact):
            self._emails.pop(address, None)


def _emails(contact: Contact) -> list[str]:
    written = f"{contact.value('email') or ''};{contact.value('hs_additional_emails') or ''}"
    return [address.strip().lower() for address in written.split(";") if address.strip()]
