"""Check 10: the result webhook."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from chaos.evidence import Evidence
from chaos.results import Got
from chaos.vendors import Json
from chaos.verdict import Verdict
from enrichment.reading import SUPPRESSED

CLOCK = 0.05  # seconds
WAKES = 1.0  # seconds that a thawed process may go on sending what it began before it was frozen


def results_are_delivered(evidence: Evidence) -> Verdict:
    """Check 10: every result is delivered, under one id, and not again after its 2xx was stored."""
    verdict = Verdict(10, "every result is delivered, and never again once its 2xx was stored")
    tries: dict[str, list[Got]] = defaultdict(list)
    for one in evidence.results:
        tries[one.id].append(one)
    verdict.count("POSTs", len(evidence.results))
    for id, these in tries.items():
        lookups = {one.lookup for one in these}
        verdict.demand(len(lookups) == 1, f"delivery {id} told of different lookups: {sorted(lookups)}")
        _repeats(evidence, id, these, verdict)
    known: set[str] = set()
    for id, lookup in evidence.lookups.items():
        webhooks = [delivery for delivery in lookup.get("deliveries", []) if delivery["channel"] == "webhook"]
        known |= {delivery["id"] for delivery in webhooks}
        taken = any(one.status == 200 for delivery in webhooks for one in tries[delivery["id"]])
        kept_back = {delivery["id"] for delivery in webhooks if _is_kept_back(evidence, lookup, delivery)}
        verdict.count("results", len(webhooks))
        verdict.count("of them kept back, because their person was suppressed meanwhile", len(kept_back))
        verdict.demand(taken or bool(kept_back), f"lookup {id} ended, and its result was not delivered: {webhooks}")
        for delivery in webhooks:
            done = delivery["status"] == "delivered" or delivery["id"] in kept_back
            verdict.demand(done, f"delivery {delivery['id']} is {delivery['status']}: {delivery['last_error']}")
            posts = len(tries[delivery["id"]])
            often = posts <= delivery["attempts"]
            verdict.demand(often, f"delivery {delivery['id']} was sent {posts} times in {delivery['attempts']} tries")
    strangers = {one.lookup for id, these in tries.items() if id not in known for one in these}
    strangers -= _erased(evidence, strangers)
    for stranger in sorted(strangers):
        verdict.demand(False, f"a result of lookup {stranger} came under an id that no delivery has")
    return verdict


def _is_kept_back(evidence: Evidence, lookup: Json, delivery: Json) -> bool:
    if (delivery["status"], delivery["reason"]) != ("skipped", SUPPRESSED):
        return False
    return evidence.suppressed_at(lookup["person"]) is not None


def _repeats(evidence: Evidence, id: str, these: list[Got], verdict: Verdict) -> None:
    stored = evidence.delivered.get(id)
    for before, after in pairwise(sorted(these, key=lambda one: one.at)):
        if stored is not None and after.at > stored + CLOCK and not _slept(evidence, after.at):
            verdict.demand(False, f"delivery {id} was sent {after.at - stored:.2f} s after it was stored as delivered")
        if before.status != 200:
            verdict.count("sent again after anything but a 2xx")
            continue
        verdict.count("sent again after a 2xx that was not stored")
        cause = any(one.kept_from_storing(before.at, after.at) for one in evidence.happened) or before.is_unsure
        verdict.demand(cause, f"delivery {id} was sent again {after.at - before.at:.2f} s after a 2xx, without a cause")


def _slept(evidence: Evidence, at: float) -> bool:
    """Tell whether a frozen sender woke up at about that time."""
    return any(one.name == "freeze a submitter" and one.began <= at <= one.ended + WAKES for one in evidence.happened)


def _erased(evidence: Evidence, lookups: set[str]) -> set[str]:
    """Return the lookups that are gone because people were erased."""
    return {lookup for lookup in lookups if lookup not in evidence.lookups} if evidence.erased else set()
