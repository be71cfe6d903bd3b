"""The endpoints that read contacts: one, many, all, and search."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from sandbox.hubspot.answers import failure, not_found_among, ok
from sandbox.hubspot.calls import Call, Refusal
from sandbox.hubspot.conduct import Conduct
from sandbox.hubspot.people_at_work import PeopleAtWork
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.records import ALWAYS, DEFAULT, Contact
from sandbox.hubspot.search import MOST_RESULTS, Index, InvalidSearch, read
from sandbox.hubspot.times import iso, now
from sandbox.wire import Answer

MOST_INPUTS, MOST_WITH_HISTORY = 100, 50
MOST_LISTED = 100


class Reading:
    """The reading endpoints of one account."""

    def __init__(self, portal: Portal, index: Index, conduct: Conduct, people: PeopleAtWork) -> None:
        """Read from this portal and this index."""
        self._portal = portal
        self._index = index
        self._conduct = conduct
        self._people = people

    def one(self, call: Call) -> Answer:
        """Show one contact; the id of a merged contact shows the one that it was merged into."""
        contact = found(self._portal, call)

        def show() -> Answer:
            return ok(self._shown(contact, call.names("properties"), call.names("propertiesWithHistory")))

        answer = self._conduct.perform("read", [contact], show)
        self._people.saw_read(contact)
        return answer

    def many(self, call: Call) -> Answer:
        """Show up to 100 contacts by id or e-mail; ids of merged contacts are not found."""
        document = call.document()
        wanted, names, with_history = self._batch(document)
        archived = call.text("archived") == "true"
        contacts: dict[int, Contact] = {}
        missing = []
        for key in dict.fromkeys(wanted):
            contact = self._of_batch(key, document.get("idProperty"), archived=archived)
            if contact is None or self._conduct.due(contact, "batch"):
                missing.append(key)
            else:
                contacts[contact.id] = contact

        def show() -> Answer:
            results = [self._shown(contact, names, with_history) for contact in contacts.values()]
            return ok(*batch(results, [not_found_among(missing)] if missing else [], len(missing)))

        answer = self._conduct.perform("read", contacts.values(), show)
        for contact in contacts.values():
            self._people.saw_read(contact)
        return answer

    def all(self, call: Call) -> Answer:
        """List contacts by id, a page at a time; they do not come from the index, so nothing lags."""
        limit, after = call.whole("limit", 10), call.whole("after", 0)
        with_history = call.names("propertiesWithHistory")
        if not 0 < limit <= (MOST_WITH_HISTORY if with_history else MOST_LISTED):
            raise Refusal(failure(400, "limit is too large"))
        listed = self._portal.listed(archived=call.text("archived") == "true", after=after)
        page = list(islice(listed, limit))
        document: dict[str, Any] = {
            "results": [self._shown(contact, call.names("properties"), with_history) for contact in page]
        }
        if next(listed, None) is not None:
            document["paging"] = {"next": {"after": str(page[-1].id), "link": ""}}
        return ok(document)

    def search(self, call: Call) -> Answer:
        """Answer a search from the index."""
        try:
            definitions = self._portal.definitions
            question = read(call.document(), len(call.asked.body.decode(errors="replace")), definitions)
        except InvalidSearch as exc:
            return failure(400, str(exc))
        chaos = self._conduct.chaos
        matches = question.found(self._index.visible(), definitions)
        if chaos.faults.search_omits:
            matches = [values for values in matches if not chaos.strikes(chaos.faults.search_omits)]
        end = question.after + question.limit
        page = matches[question.after : end]
        document: dict[str, Any] = {
            "total": len(matches),
            "results": [_of_index(values, self._known(question.names)) for values in page],
        }
        if end < min(len(matches), MOST_RESULTS):
            document["paging"] = {"next": {"after": str(end), "link": ""}}
        return ok(document)

    def _batch(self, document: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
        names = [str(name) for name in document.get("properties") or []]
        with_history = [str(name) for name in document.get("propertiesWithHistory") or []]
        wanted = [str(each["id"]) for each in inputs(document, MOST_WITH_HISTORY if with_history else MOST_INPUTS)]
        return wanted, names, with_history

    def _of_batch(self, key: str, id_property: object, *, archived: bool) -> Contact | None:
        if id_property == "email":
            return self._portal.find_by_email(key)
        return self._portal.find(int(key), follow=False, archived=archived) if key.isdecimal() else None

    def _shown(self, contact: Contact, names: list[str], with_history: list[str]) -> dict[str, Any]:
        as_of = self._conduct.as_of(contact)
        return contact.as_json(self._known(names, with_history), self._existing(with_history), as_of=as_of)

    def _known(self, names: list[str], with_history: Iterable[str] = ()) -> list[str]:
        """Return the properties to show: HubSpot's default ones, or those asked for; unknown ones are left out."""
        wanted = [*names, *with_history]
        return sorted({*ALWAYS, *self._existing(wanted)}) if wanted else list(DEFAULT)

    def _existing(self, names: Iterable[str]) -> list[str]:
        return [name for name in dict.fromkeys(names) if self._portal.definitions.known(name)]


def found(portal: Portal, call: Call, *, follow: bool = True) -> Contact:
    """Return the contact that the path names. Raise Refusal when there is none."""
    archived = call.text("archived") == "true"
    if call.text("idProperty") == "email":
        contact = portal.find_by_email(call.name)
    else:
        contact = portal.find(int(call.name), follow=follow, archived=archived) if call.name.isdecimal() else None
    if contact is None:
        raise Refusal(failure(404))
    return contact


def inputs(document: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Return the inputs of a batch. Raise Refusal."""
    listed = document.get("inputs")
    if not isinstance(listed, list) or not all(isinstance(each, dict) and each.get("id") for each in listed):
        raise Refusal(failure(400, "inputs is a list of objects with an id"))
    if not 0 < len(listed) <= most:
        raise Refusal(failure(400, f"The maximum number of inputs supported in a batch request is {most}"))
    return listed


def batch(results: list[Any], errors: list[Any], failed: int) -> tuple[dict[str, Any], int]:
    """Return the document and the status of a batch."""
    at = iso(now())
    document: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}
    return (document | {"numErrors": failed, "errors": errors}, 207) if errors else (document, 200)


def _of_index(values: dict[str, str], names: Iterable[str]) -> dict[str, Any]:
    return {
        "id": values["hs_object_id"],
        "properties": {name: values.get(name) for name in names},
        "createdAt": values["createdate"],
        "updatedAt": values["lastmodifieddate"],
        "archived": False,
    }
