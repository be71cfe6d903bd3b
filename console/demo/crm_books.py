"""The demo's HTTP requests about contacts: to the pretend HubSpot as a person, and to our API."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from console.demo.books import Books, Json
from console.demo.crm_cast import Contact

# Contacts a second: together with the events a little fewer than LeadMagic lets us ask.
PER_SECOND = 8
MOBILE = "mobilephone"
OPEN = {"queued", "sending"}  # states of a delivery


@dataclass(slots=True)
class Story:
    """One contact from its creation to its end; *writes* are our writes of mobile numbers, from HubSpot's own books."""

    contact: Contact
    id: str
    record: Json = field(default_factory=dict)  # the contact in HubSpot
    reading: Json | None = None
    lookups: list[Json] = field(default_factory=list)
    writes: list[Json] = field(default_factory=list)

    @property
    def lookup(self) -> Json | None:
        return self.lookups[0] if self.lookups else None

    @property
    def number(self) -> str | None:
        """Return the contact's mobile number."""
        number: str | None = self.record["properties"].get(MOBILE)
        return number

    @property
    def has_ended(self) -> bool:
        """Tell whether the contact was skipped, or its lookup and the write of its number have ended."""
        if self.reading is None or self.reading["status"] not in {"done", "skipped"}:
            return False
        if not self.lookups:
            return bool(self.reading["status"] == "skipped")
        return all(
            lookup["finished_at"] and not any(one["status"] in OPEN for one in lookup["deliveries"])
            for lookup in self.lookups
        )

    @property
    def seconds(self) -> float | None:
        """Return the seconds from the contact's creation to its number; None if we wrote none."""
        if not self.writes:
            return None
        written, created = (datetime.fromisoformat(at) for at in (self.writes[0]["at"], self.record["createdAt"]))
        return (written - created).total_seconds()


class CrmBooks:
    """A client of the pretend HubSpot's admin, and of what our API says about its contacts."""

    def __init__(self, books: Books, crm: str) -> None:
        self._books = books
        self._crm = crm

    async def create(self, contacts: Sequence[Contact]) -> list[Story]:
        """Create the contacts one after the other, as a person does."""
        stories = []
        for contact in contacts:
            answer = await self._books.post(f"{self._crm}/sandbox/contacts", {"properties": dict(contact.properties)})
            stories.append(Story(contact, answer["contacts"][0]["id"]))
            await asyncio.sleep(1 / PER_SECOND)
        return stories

    async def follow(self, stories: Sequence[Story], lookups: Sequence[Json]) -> None:
        """Update the stories; *lookups* are what the API listed before."""
        records, ledger, readings = await asyncio.gather(
            self._books.get(f"{self._crm}/sandbox/contacts"),
            self._books.get(f"{self._crm}/sandbox/ledger"),
            self._books.listed("readings"),
        )
        by_id = {record["id"]: record for record in records["entries"]}
        read = {reading["record_id"]: reading for reading in readings}
        of: dict[str, list[Json]] = defaultdict(list)
        for lookup in lookups:
            of[lookup["record_id"]].append(lookup)
        for story in stories:
            story.record, story.reading, story.lookups = by_id[story.id], read.get(story.id), of[story.id]
            story.writes = [one for one in ledger["entries"] if _is_ours(one, story.id)]

    async def stats(self) -> Json:
        """Return HubSpot's counts."""
        return await self._books.get(f"{self._crm}/sandbox/stats")


def _is_ours(write: Json, record_id: str) -> bool:
    of_mobile = write["contact"] == record_id and write["property"] == MOBILE
    return of_mobile and bool(write["source_type"] == "INTEGRATION")
