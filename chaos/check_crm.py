"""Checks 8, 9, 11 and 13: the CRM's contacts, and the calls to the CRM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaos.crm_calls import CLOCK, HUMAN, MOBILE, OURS, Call, Calls, Change, changes_of, ids_of
from chaos.evidence import Evidence
from chaos.overheard import Exchange
from chaos.vendors import Json
from chaos.verdict import Verdict
from enrichment.crms.hubspot_properties import STATUS
from enrichment.write_back import OVERTAKEN

LIES = "hubspot lies"  # the fault by which HubSpot answers 200 and writes nothing
TELLING = ("email", "hs_linkedin_url")  # a contact with neither is not looked up


@dataclass(frozen=True, slots=True)
class Record:
    """One contact of the account: its *ids* with those merged into it, its lookups, and the changes of its number."""

    ids: Sequence[str]
    contact: Json | None  # None: deleted or erased
    lookups: Sequence[Json]
    changes: Sequence[Change]
    writes: Sequence[Call]  # our writes of numbers that left our process

    @property
    def name(self) -> str:
        """Return its name in reports."""
        return f"contact {'/'.join(self.ids)}"

    @property
    def number(self) -> str | None:
        """Return the number that it has now."""
        found: str | None = self.contact["properties"].get(MOBILE) if self.contact else None
        return found

    def by(self, whom: str) -> list[Change]:
        """Return the changes by us, or by people."""
        return [change for change in self.changes if change.by == whom]

    def reasons(self) -> list[str]:
        """Return how each of its deliveries ended."""
        return [
            f"{delivery['status']} after {delivery['attempts']}: {delivery['reason'] or delivery['last_error']}"
            for lookup in self.lookups
            for delivery in lookup["deliveries"]
            if delivery["channel"] == "hubspot"
        ]


def records_of(evidence: Evidence, calls: Calls) -> Iterator[Record]:
    """Yield every contact that ever existed."""
    lookups: dict[str, list[Json]] = defaultdict(list)
    for lookup in evidence.lookups.values():
        if lookup.get("source") == "hubspot":
            lookups[lookup["record_id"]].append(lookup)
    changes = changes_of(evidence.hubspot.writes)
    there = {contact["id"]: contact for contact in evidence.hubspot.contacts}
    groups = [ids_of(contact) for contact in (*there.values(), *evidence.hubspot.archived)]
    known = {id for ids in groups for id in ids}
    groups += [[one.id] for one in evidence.contacts if one.id not in known]  # erased
    for ids in groups:
        yield Record(
            ids,
            there.get(ids[0]),
            [lookup for id in ids for lookup in lookups[id]],
            sorted((change for id in ids for change in changes[id]), key=lambda change: change.at),
            sorted((call for id in ids for call in calls.writes[id]), key=lambda call: call.at),
        )


def contacts_have_their_numbers(evidence: Evidence) -> Verdict:
    """Check 8: each contact that should have its number has it, and we wrote it once."""
    verdict = Verdict(8, "each contact of the CRM that should have its number has it, written once")
    calls = Calls.overheard(evidence.overheard.get("hubspot", []))
    for record in records_of(evidence, calls):
        verdict.count("contacts")
        written = record.by(OURS)
        verdict.count("numbers written", len(written))
        often = len(written) <= len(record.ids)
        verdict.demand(often, f"{record.name}: we wrote {len(written)} numbers")
        _written_again(evidence, calls, record, verdict)
        if record.contact is None:
            verdict.count("deleted or erased")
        elif _is_suppressed(evidence, record.contact):
            verdict.count("suppressed")
        elif record.by(HUMAN):
            verdict.count("edited by people")
        elif any(record.contact["properties"].get(name) for name in TELLING):
            _has_its_number(record, verdict)
            if evidence.has_own_properties:
                _has_its_status(evidence, calls, record, verdict)
    return verdict


def _has_its_status(evidence: Evidence, calls: Calls, record: Record, verdict: Verdict) -> None:
    """Check the property of our own: it says how one of the contact's lookups ended.

    A write without a number is not read again, so a 200 for a write that HubSpot did not do is believed.
    """
    status = record.contact["properties"].get(STATUS) if record.contact else None
    ended = {lookup["status"] for lookup in record.lookups}
    verdict.count(f"whose status says {status}")
    if status is None and _was_lied_to(evidence, calls, record):
        verdict.count("whose status HubSpot claimed to have written")
        return
    verdict.demand(status in ended, f"{record.name} says {status}, and its lookups are {ended}: {record.reasons()}")


def _was_lied_to(evidence: Evidence, calls: Calls, record: Record) -> bool:
    """Tell whether each answered write of the status was answered while HubSpot lied."""
    lies = [one for one in evidence.happened if one.name == LIES]
    answered = [call.answered_at for id in record.ids for call in calls.statuses[id] if call.answered_at is not None]
    return bool(answered) and all(any(one.began <= at <= one.ended + CLOCK for one in lies) for at in answered)


def _has_its_number(record: Record, verdict: Verdict) -> None:
    verdict.demand(bool(record.lookups), f"{record.name} was never looked up")
    found = {lookup["mobile"] for lookup in record.lookups if lookup["status"] == "found"}
    verdict.count("that should have a number", bool(found))
    says = f"{record.name} has {record.number}, and we found {found or 'nothing'}: {record.reasons()}"
    verdict.demand(record.number in (found or {None}), says)


def _written_again(evidence: Evidence, calls: Calls, record: Record, verdict: Verdict) -> None:
    """Check that no write left after a read that had shown our number."""
    verdict.count("writes tried again", max(0, len(record.writes) - 1))
    for write in record.writes:
        # A number shows on another contact only after a merge: then it is on the survivor.
        seen = [change for change in record.by(OURS) if write.contact in (change.contact, record.ids[0])]
        stood = [change for change in seen if change.at + CLOCK < write.at]
        verdict.count("of them after the number was there, which the process had not read", bool(stood))
        for change in stood:
            so = calls.cannot_have_seen(record.ids, change, write, evidence.holds)
            offence = f"{record.name}: written at {write.at:.3f} though our number stood there since {change.at:.3f}"
            verdict.demand(so, offence)


def _is_suppressed(evidence: Evidence, contact: Json) -> bool:
    properties = contact["properties"]
    identifiers = {"profile_url": properties.get("hs_linkedin_url"), "work_email": properties.get("email")}
    return evidence.suppressed_at(identifiers) is not None


def no_value_of_people_is_lost(evidence: Evidence) -> Verdict:
    """Check 9: no write of ours replaces what a person wrote or cleared before we read; edits in between are named."""
    verdict = Verdict(9, "no value that a person wrote or cleared is lost, unless within our write, and then named")
    calls = Calls.overheard(evidence.overheard.get("hubspot", []))
    for record in records_of(evidence, calls):
        people = record.by(HUMAN)
        verdict.count("values that people wrote", sum(change.number is not None for change in people))
        verdict.count("values that people cleared", sum(change.number is None for change in people))
        for write in record.writes:
            for change in people:
                if change.at + CLOCK < write.at:
                    so = calls.cannot_have_seen(record.ids, change, write, evidence.holds)
                    offence = f"{record.name}: written at {write.at:.3f} over a person's edit of {change.at:.3f}"
                    verdict.demand(so, offence)
        _overtaken_is_named(record, verdict)
    return verdict


def _overtaken_is_named(record: Record, verdict: Verdict) -> None:
    """Check that a delivery whose write overwrote a person's edit says so."""
    for id in record.ids:
        changes = [change for change in record.changes if change.contact == id]
        over = any(after.by == OURS and before.by == HUMAN for before, after in pairwise(changes))
        verdict.count("written between our read and our write, and so overwritten", over)
        if over and record.contact is not None:
            named = any(OVERTAKEN in reason for reason in record.reasons())
            verdict.demand(named, f"{record.name}: we wrote over a person's edit, and say {record.reasons()}")


def nothing_goes_round(evidence: Evidence) -> Verdict:
    """Check 11: our own writes cause no lookup."""
    verdict = Verdict(11, "no loop: what we wrote onto a contact never became another lookup")
    for record in records_of(evidence, Calls()):
        verdict.count("contacts looked up", bool(record.lookups))
        # No identifier of a contact changes, so each created contact has at most one lookup.
        most = len(record.ids)
        ids = sorted(lookup["id"] for lookup in record.lookups)
        verdict.demand(len(ids) <= most, f"{record.name} was looked up {len(ids)} times: {ids}")
    return verdict


def hubspot_is_not_flooded(evidence: Evidence) -> Verdict:
    """Check 13: none of HubSpot's 429s was our fault, and no forged event was believed."""
    verdict = Verdict(13, "no 429 of the CRM's provoked by us; no forged event accepted")
    stats = evidence.hubspot.stats
    for name in ("requests", "limited", "events", "events_dropped", "events_accepted", "forged_sent"):
        verdict.count(f"HubSpot's count: {name}", stats[name])
    pages = sum(_is_of_the_walk(one) for one in evidence.overheard.get("hubspot", []))
    verdict.count("pages of the nightly walk", pages)
    verdict.demand(stats["limited"] == 0, f"HubSpot said 429 {stats['limited_by']} on its own")
    verdict.demand(stats["forged_accepted"] == 0, f"{stats['forged_accepted']} forged events were accepted")
    return verdict


def _is_of_the_walk(one: Exchange) -> bool:
    return one.method == "GET" and one.path.partition("?")[0].endswith("/contacts")
