"""Checks 1, 2 and 7: nothing that was accepted is lost, and nothing waits for ever."""

from __future__ import annotations

import hashlib
from collections import Counter

from chaos.evidence import Evidence
from chaos.verdict import Verdict
from chaos.watch import Takeover

FINAL = frozenset({"found", "not_found", "failed", "unresolved", "suppressed", "cancelled"})
TAKEN_OVER_WITHIN = 30.0  # seconds
# For a new process, or no commit; our observer keeps its own connection, and only reads.
NO_CONNECTION = ("connections refused", "pool exhaustion", "standby dies")


def events_are_kept(evidence: Evidence) -> Verdict:
    """Check 1: every event that got a 2xx has its lookup, the same in every answer, and every lookup is final."""
    verdict = Verdict(1, "every event that got a 2xx has its lookup, and every lookup is final")
    promised: set[str] = set()
    for sent in evidence.sent:
        verdict.count("events")
        verdict.count("2xx", len(sent.answers))
        verdict.demand(bool(sent.answers), f"event {sent.event.id} was never taken, after {sent.tries} tries")
        verdict.demand(len(set(sent.answers)) <= 1, f"event {sent.event.id} made different lookups: {sent.answers}")
        for ids in sent.answers[:1]:
            promised.update(ids)
            for wish, id in zip(sent.event.wishes, ids, strict=True):
                lookup = evidence.lookups.get(id)
                is_its = lookup is not None and lookup["record_id"] == wish.record_id
                verdict.demand(is_its, f"lookup {id} was promised for {wish.record_id}, but does not exist")
    statuses = Counter(lookup["status"] for lookup in evidence.lookups.values())
    for status, count in statuses.most_common():
        verdict.count(f"lookups {status}", count)
    for id, lookup in evidence.lookups.items():
        verdict.demand(lookup["status"] in FINAL, f"lookup {id} waits for ever: {lookup['status']}")
        is_asked_for = id in promised or lookup.get("source") == "hubspot"  # a CRM's events name no lookups
        verdict.demand(is_asked_for, f"lookup {id} was in no answer to the CRM: an event was stored twice")
    for what, count in evidence.unfinished.items():
        verdict.demand(count == 0, f"{count} {what} are left, though every lookup is final")
    return verdict


def callbacks_are_kept(evidence: Evidence) -> Verdict:
    """Check 2: every callback that got a 2xx is stored, verbatim."""
    verdict = Verdict(2, "every callback that got a 2xx is stored")
    verdict.notes.append("the proxy overheard the 2xx; the stored callbacks were read with SQL, as no API lists them")
    for exchange in evidence.overheard.get("callbacks", []):
        if not exchange.path.startswith("/callbacks/"):  # HubSpot's events pass through the same proxy
            continue
        answer = "nothing" if exchange.status is None else str(exchange.status)
        verdict.count(f"answered with {answer}")
        if exchange.status is not None and 200 <= exchange.status < 300:
            job = exchange.path.split("/")[-2]
            if job in evidence.erased_jobs:
                verdict.count("about erased people, of whom nothing is stored")
                continue
            stored = (job, hashlib.blake2b(exchange.body, digest_size=16).digest()) in evidence.stored
            verdict.demand(stored, f"a callback for job {job} got {exchange.status}, and is not stored")
    return verdict


def work_is_taken_over(evidence: Evidence) -> Verdict:
    """Check 7: other processes take over the jobs of a killed submitter within 30 s."""
    verdict = Verdict(7, f"work of a killed process was taken over within {TAKEN_OVER_WITHIN:.0f} s")
    times: list[float] = []
    for takeover in evidence.takeovers:
        verdict.count("submitters killed")
        verdict.count("questions that were out", takeover.jobs)
        late = [s for s in takeover.seconds if s - _without_database(evidence, takeover, s) > TAKEN_OVER_WITHIN]
        times += takeover.seconds
        offence = f"{takeover.process}: {len(late) + takeover.left} questions were not taken over in time: {late}"
        verdict.demand(not late and not takeover.left, offence)
    if times:
        times.sort()
        middle, most = times[len(times) // 2], times[int(len(times) * 0.9)]
        verdict.notes.append(
            f"half of them within {middle:.1f} s, 90 % within {most:.1f} s, all within {times[-1]:.1f} s"
        )
    return verdict


def _without_database(evidence: Evidence, takeover: Takeover, seconds: float) -> float:
    """Return for how many of these *seconds* no process could connect to PostgreSQL."""
    begun, ended = takeover.at, takeover.at + seconds
    refused = (
        max(0.0, min(one.ended, ended) - max(one.began, begun))
        for one in evidence.happened
        if one.name in NO_CONNECTION
    )
    return takeover.away + sum(refused)
