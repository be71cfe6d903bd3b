"""The endpoints that write contacts: create, update, delete, merge, erase."""

from __future__ import annotations

from typing import Any

from sandbox.hubspot.answers import exists, failure, invalid, not_found_among, nothing, ok
from sandbox.hubspot.calls import Call, values_of
from sandbox.hubspot.conduct import Conduct, as_error
from sandbox.hubspot.people_at_work import PeopleAtWork
from sandbox.hubspot.portal import AlreadyThere, Portal
from sandbox.hubspot.reading import MOST_INPUTS, batch, found, inputs
from sandbox.hubspot.records import DEFAULT, Contact
from sandbox.wire import Answer


class Writing:
    """The writing endpoints of one account."""

    def __init__(self, portal: Portal, conduct: Conduct, people: PeopleAtWork) -> None:
        """Write to this portal."""
        self._portal = portal
        self._conduct = conduct
        self._people = people

    def create(self, call: Call) -> Answer:
        """Create a contact."""
        values = values_of(call.document())
        if faults := self._portal.faults_of(None, values):
            return invalid(faults)
        try:
            contact = self._portal.create(values, call.token.author)
        except AlreadyThere as exc:
            return exists(exc.contact.id)
        return ok(contact.as_json(_names(values)), 201)

    def update(self, call: Call) -> Answer:
        """Set values of one contact; the id of a merged contact writes to the one that it was merged into."""
        values = values_of(call.document())
        follow = not self._conduct.chaos.faults.refuse_merged_writes
        self._people.before_write(found(self._portal, call, follow=follow))
        return self._update(found(self._portal, call, follow=follow), values, call)

    def update_many(self, call: Call) -> Answer:
        """Set values of up to 100 contacts, each independently; ids of merged contacts are not found."""
        results: list[Any] = []
        errors: list[Any] = []
        missing: list[str] = []
        whole = ok({})
        for each in inputs(call.document(), MOST_INPUTS):
            contact = self._find(str(each["id"]))
            if contact is not None:
                self._people.before_write(contact)
                contact = self._find(str(each["id"]))
            if contact is None:
                missing.append(str(each["id"]))
                continue
            answer = self._update(contact, values_of(each), call)
            whole.wait = max(whole.wait, answer.wait)
            if answer.ending != "whole":
                whole.ending = answer.ending
            if answer.status == 200:
                results.append(contact.as_json(_names(each["properties"])))
            elif answer.leaves and answer.status < 500:
                errors.append(as_error(answer))
            else:
                return answer
        failed = len(errors) + len(missing)
        errors += [not_found_among(missing)] if missing else []
        answer = ok(*batch(results, errors, failed))
        answer.wait, answer.ending = whole.wait, whole.ending
        return answer

    def delete(self, call: Call) -> Answer:
        """Archive a contact; an unknown id is no error."""
        contact = self._find(call.name)
        if contact is not None:
            self._portal.archive(contact, call.token.author)
        return nothing()

    def merge(self, call: Call) -> Answer:
        """Merge two contacts into one with a new id."""
        document = call.document()
        pair = [self._find(str(document.get(key))) for key in ("primaryObjectId", "objectIdToMerge")]
        if pair[0] is None or pair[1] is None:
            return failure(404)
        if pair[0] is pair[1]:
            return failure(400, "A contact cannot be merged with itself")
        merged = self._portal.merge(pair[0], pair[1], call.token.author)
        return ok(merged.as_json(DEFAULT))

    def erase(self, call: Call) -> Answer:
        """Erase a contact for good, also a deleted one."""
        document = call.document()
        key = str(document.get("objectId"))
        if document.get("idProperty") == "email":
            contact = self._portal.find_by_email(key)
        else:
            contact = self._find(key) or self._find(key, archived=True)
        if contact is None:
            return failure(404)
        self._portal.erase(contact, call.token.author)
        return nothing()

    def _update(self, contact: Contact, values: dict[str, str], call: Call) -> Answer:
        faults, strikes = self._conduct.chaos.faults, self._conduct.chaos.strikes
        if strikes(faults.locked_rate):
            return failure(423)
        pretends = self._conduct.has(contact, "ignored") or strikes(faults.ignored_writes)

        def write() -> Answer:
            if wrong := self._portal.faults_of(contact, values):
                return invalid(wrong)
            if not pretends:
                try:
                    self._portal.edit(contact, values, call.token.author)
                except AlreadyThere as exc:
                    return exists(exc.contact.id)
            shown = contact.as_json(_names(values))
            self._people.after_write(contact)
            if pretends:
                shown["properties"] |= {name: value or None for name, value in values.items()}
            return ok(shown)

        return self._conduct.perform("write", [contact], write)

    def _find(self, key: str, *, archived: bool = False) -> Contact | None:
        return self._portal.find(int(key), follow=False, archived=archived) if key.isdecimal() else None


def _names(values: dict[str, Any]) -> list[str]:
    return sorted({*DEFAULT, *values})
