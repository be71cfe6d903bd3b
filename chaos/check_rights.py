"""Check 12: people who asked not to be looked up, or to be forgotten."""

from __future__ import annotations

import json
from typing import Any

from chaos.evidence import Evidence, made_at, of_identifiers
from chaos.verdict import Verdict

ON_THE_WIRE = 1.0  # seconds


def people_are_left_alone(evidence: Evidence) -> Verdict:
    """Check 12: no provider is asked about a suppressed person after the confirmation; erased people are forgotten."""
    verdict = Verdict(12, "suppressed people are never asked about, and erased ones are forgotten")
    confirmed = [one for one in evidence.contacts if one.suppressed_at is not None]
    verdict.count("people suppressed", len(confirmed))
    for asked in evidence.asked:
        at = evidence.suppressed_at(asked.identifiers)
        if at is not None:
            verdict.count("questions about them before that", asked.at <= at + ON_THE_WIRE)
            late = asked.at - at
            verdict.demand(late <= ON_THE_WIRE, f"{asked.provider} was asked about {asked.key} {late:.2f} s too late")
    for id, lookup in evidence.lookups.items():
        at = evidence.suppressed_at(lookup["person"])
        if at is not None and made_at(id) > at + ON_THE_WIRE:
            verdict.count("lookups of them after that")
            verdict.demand(
                lookup["status"] == "suppressed", f"lookup {id} of a suppressed person is {lookup['status']}"
            )
    _forgotten(evidence, verdict)
    return verdict


def _forgotten(evidence: Evidence, verdict: Verdict) -> None:
    """Check that nothing is left of people whose erasure HubSpot reported and we confirmed."""
    told = {str(event["objectId"]) for event in _events(evidence) if event.get("subscriptionType") == ERASES}
    gone = {of_identifiers(one.identifiers).key: one for one in evidence.contacts if one.id in told}
    verdict.count("people erased", len(gone))
    for id, lookup in evidence.lookups.items():
        key = evidence.person_of(lookup).key
        verdict.demand(key not in gone, f"lookup {id} is left of {key}, who was erased")


ERASES = "contact.privacyDeletion"


def _events(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the events that we accepted."""
    taken = (one for one in evidence.hubspot.webhooks if not one["forged"] and 200 <= (one["status"] or 0) < 300)
    return [event for one in taken for event in json.loads(one["body"])]
