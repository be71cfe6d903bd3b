"""Our calls to HubSpot as the proxy overheard them: the contacts that each read, and the numbers that each wrote."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from chaos.overheard import Exchange
from chaos.vendors import Json

MOBILE = "mobilephone"
OURS, HUMAN = "INTEGRATION", "CRM_UI"
CLOCK = 0.01  # seconds; HubSpot rounds to milliseconds


@dataclass(frozen=True, slots=True)
class Call:
    """One read or write of a contact; *answered_at* is None unless a complete 2xx came."""

    at: float
    answered_at: float | None
    number: str | None = None  # the number written
    contact: str = ""  # the id in a write's path


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a contact's number, from the account's books."""

    at: float
    contact: str
    by: str
    number: str | None


@dataclass(slots=True)
class Calls:
    """All reads, all writes of numbers, and all other writes, by contact."""

    reads: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    writes: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def overheard(cls, exchanges: Iterable[Exchange]) -> Calls:
        """Sort the exchanges."""
        calls = cls()
        for one in exchanges:
            if not one.written:
                continue
            is_good = one.status is not None and one.status < 300
            answered_at = one.answered_at if is_good else None
            path, _, _ = one.path.partition("?")
            last = path.rpartition("/")[2]
            if path.endswith("/contacts/batch/read"):
                for each in json.loads(one.body)["inputs"]:
                    calls.reads[each["id"]].append(Call(one.at, answered_at))
            elif one.method == "GET" and last.isdecimal():
                calls.reads[last].append(Call(one.at, answered_at))
            elif one.method == "PATCH":
                number = json.loads(one.body)["properties"].get(MOBILE)
                kept = calls.writes if number else calls.statuses
                kept[last].append(Call(one.at, answered_at, number, last))
        return calls

    def cannot_have_seen(self, ids: Collection[str], change: Change, write: Call, holds: float) -> bool:
        """Tell whether a read from before *change*, at most *holds* seconds old, explains *write*."""
        return any(
            read.answered_at is not None
            and read.at <= change.at + CLOCK
            and write.at - holds <= read.answered_at <= write.at + CLOCK
            for id in ids
            for read in self.reads[id]
        )


def changes_of(writes: Iterable[Json]) -> dict[str, list[Change]]:
    """Return the changes of numbers by contact, the first one first."""
    found: dict[str, list[Change]] = defaultdict(list)
    for one in writes:
        if one["property"] == MOBILE:
            at = datetime.fromisoformat(one["at"]).timestamp()
            found[one["contact"]].append(Change(at, one["contact"], one["source_type"], one["new"]))
    return found


def ids_of(contact: Json) -> list[str]:
    """Return the contact's id and those of contacts merged into it."""
    absorbed = contact["properties"].get("hs_merged_object_ids") or ""
    return [contact["id"], *filter(None, absorbed.split(";"))]
