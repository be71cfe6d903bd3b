"""One contact with the history of every property."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.hubspot.times import iso
from sandbox.people import Person, mobile_e164, person

ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
DEFAULT = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")


class Author(NamedTuple):
    """The author of a value, as the history names it."""

    source_type: str
    source_id: str


HUMAN = Author("CRM_UI", "userId:2602")
MERGE = Author("MERGE_OBJECTS", "userId:2602")


class Edit(NamedTuple):
    """A value that a property got; empty if it was cleared."""

    value: str
    at: int
    author: Author

    def as_json(self) -> dict[str, Any]:
        """Return the edit as HubSpot shows it."""
        source_type, source_id = self.author
        shown = {"value": self.value, "timestamp": iso(self.at), "sourceType": source_type, "sourceId": source_id}
        if source_id.startswith("userId:"):
            shown["updatedByUserId"] = int(source_id.partition(":")[2])  # type: ignore[assignment]
        return shown


@dataclass(slots=True)
class Contact:
    """A contact; *edits* of each property, the newest last; *absorbed* are the ids merged into it."""

    id: int
    created_at: int
    modified_at: int
    edits: dict[str, list[Edit]] = field(default_factory=dict)
    archived_at: int | None = None
    absorbed: tuple[int, ...] = ()

    def value(self, name: str, as_of: int | None = None) -> str | None:
        """Return the value now, or at a time; None if there was none."""
        match name:
            case "hs_object_id":
                return str(self.id)
            case "createdate":
                return iso(self.created_at)
            case "lastmodifieddate":
                return iso(self.modified_at)
            case "hs_merged_object_ids":
                return ";".join(map(str, self.absorbed)) or None
        edits = self.edits.get(name, [])
        if as_of is not None:
            edits = [edit for edit in edits if edit.at <= as_of]
        return edits[-1].value or None if edits else None

    def values(self) -> dict[str, str]:
        """Return every value that is set."""
        named = ((name, self.value(name)) for name in {*self.edits, *ALWAYS, "hs_merged_object_ids"})
        return {name: value for name, value in named if value is not None}

    def history(self, name: str, as_of: int | None = None) -> list[dict[str, Any]]:
        """Return the edits of a property, the newest first."""
        edits = self.edits.get(name, [])
        return [edit.as_json() for edit in reversed(edits) if as_of is None or edit.at <= as_of]

    def set(self, name: str, edit: Edit) -> str | None:
        """Set a value; return the old one."""
        old = self.value(name)
        self.modified_at = edit.at
        self.edits.setdefault(name, []).append(edit)
        return old

    def person(self) -> Person | None:
        """Return the pretend person whom LeadMagic and Nyne know by these identifiers."""
        name = " ".join(filter(None, (self.value("firstname"), self.value("lastname"))))
        return person(
            profile_url=self.value("hs_linkedin_url"),
            work_email=self.value("email"),
            name=name,
            company=self.value("company"),
        )

    def number(self) -> str | None:
        """Return the person's one true number, whether or not a vendor knows it."""
        subject = self.person()
        return mobile_e164(subject.key) if subject else None

    def as_json(
        self, names: Iterable[str], with_history: Sequence[str] = (), *, as_of: int | None = None
    ) -> dict[str, Any]:
        """Return the contact as HubSpot shows it, with the properties of these *names*."""
        shown: dict[str, Any] = {
            "id": str(self.id),
            "properties": {name: self.value(name, as_of) for name in names},
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.modified_at),
            "archived": self.archived_at is not None,
        }
        if with_history:
            shown["propertiesWithHistory"] = {name: self.history(name, as_of) for name in with_history}
        if self.archived_at is not None:
            shown["archivedAt"] = iso(self.archived_at)
        return shown
