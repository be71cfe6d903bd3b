"""Checks 5 and 6: our answers are true, and no forged callback could make them false."""

from __future__ import annotations

from chaos.evidence import Evidence, times
from chaos.vendors import Json
from chaos.verdict import Verdict
from sandbox.callbacks import false_number
from sandbox.people import Person

GIVEN_UP = "given up after"  # MAX_ATTEMPTS definite failures
NEVER_SENT = "it was never sent"  # given up as unknown while its submitter was frozen, which reported it later
DOUBTFUL = frozenset({"unknown", "lost"})
SAYS_FAILED = "ny-failed"  # the word that makes Nyne answer so
NEVER_CAME = "a callback for another job, and no 202 that contradicts it"
OVERTOOK = "a callback for another job that overtook the 202"
NO_EXCUSE = "without excuse"
STOPPED = frozenset({"suppressed", "cancelled"})


def everything_is_true(evidence: Evidence) -> Verdict:
    """Check 5: statuses, numbers and credits equal the sandbox's truth, as far as the jobs got their answers."""
    verdict = Verdict(5, "statuses, numbers and credits equal what the sandbox says is true")
    verdict.offences += evidence.lies
    for id, lookup in evidence.lookups.items():
        wrong = _costs(lookup)
        if lookup["status"] in STOPPED:
            wrong += _stopped(evidence, lookup, verdict)
        elif lookup["reused_from"] is None:
            wrong += _own_answer(evidence, lookup, verdict)
        else:
            wrong += _shared_answer(evidence, lookup, verdict)
        about = f"lookup {id} ({evidence.person_of(lookup).key}, reused from {lookup['reused_from']})"
        verdict.offences += [f"{about}: {offence}" for offence in wrong]
    return verdict


def _stopped(evidence: Evidence, lookup: Json, verdict: Verdict) -> list[str]:
    """Check a lookup that was stopped before all its providers were asked."""
    verdict.count(f"{lookup['status']}, so no further provider was asked")
    if lookup["mobile"]:
        wrong = ["has a number nevertheless"]
    elif lookup["status"] == "suppressed":
        wrong = [] if evidence.suppressed_at(lookup["person"]) else ["this person was never suppressed"]
    else:
        there = {contact["id"] for contact in evidence.hubspot.contacts}
        wrong = ["its contact is still there"] if lookup["record_id"] in there else []
    return [f"was {lookup['status']}, and {what}" for what in wrong]


def _costs(lookup: Json) -> list[str]:
    """Check that a lookup shows the credits of the jobs that were asked for it, and of no others."""
    costs = sum(job["credits"] for job in lookup["jobs"])
    return [] if lookup["credits"] == costs else [f"costs {lookup['credits']:g}, its jobs cost {costs:g}"]


def _own_answer(evidence: Evidence, lookup: Json, verdict: Verdict) -> list[str]:
    """Check a lookup whose own search gave the answer."""
    subject = evidence.person_of(lookup)
    truths = {provider: evidence.truth(provider, subject) for provider in _who_can_be_asked(lookup)}
    wrong = _jobs(lookup, truths, subject)
    states = {job["state"] for job in lookup["jobs"]}
    numbers = _numbers(lookup, truths)
    should, status = ({"found"}, "found") if numbers else ({"not_found"}, "not_found")
    if not numbers:
        if states & DOUBTFUL:
            should, status = {"unresolved"}, "unresolved"
        elif "failed" in states:
            should, status = {"failed"}, "failed"
        asked = {str(job["provider"]) for job in lookup["jobs"]}
        for name in set(truths) - asked:
            # Covered: an earlier search of this person asked that provider, and perhaps it was in doubt then.
            should = should | {"unresolved"}
            if not _asked_before(evidence, lookup, name):
                wrong.append(f"{name} was never asked")
    if lookup["status"] in should and lookup["mobile"] in (numbers or (None,)):
        verdict.count(f"answered by their own search: {status}")
    elif misled := why_misled(evidence, lookup):
        verdict.count(f"answered by their own search: found, a false number: {misled}")
    else:
        wrong.append(f"should be {sorted(should)} {numbers or ''}; is {lookup['status']} {lookup['mobile']}")
    if states & DOUBTFUL:
        verdict.count("of them with a job in doubt")
    return wrong


def _numbers(lookup: Json, truths: dict[str, Json]) -> set[str]:
    """Return the numbers that the answered jobs of a lookup brought, if the providers told the truth."""
    told = (truths.get(job["provider"]) for job in lookup["jobs"] if job["state"] == "answered")
    return {truth["mobile_e164"] for truth in told if truth and truth["found"]}


def _asked_before(evidence: Evidence, lookup: Json, provider: str) -> bool:
    """Tell whether another lookup of the same person has a job at *provider*."""
    return any(
        job["provider"] == provider
        for other in evidence.of_person(lookup)
        if other["id"] != lookup["id"]
        for job in other["jobs"]
    )


def _jobs(lookup: Json, truths: dict[str, Json], subject: Person) -> list[str]:
    """Check each job that was asked for a lookup; its search asks a provider once."""
    wrong = [fault for job in lookup["jobs"] for fault in _job(job, truths.get(job["provider"]), subject)]
    providers = [job["provider"] for job in lookup["jobs"]]
    if len(set(providers)) != len(providers):
        wrong.append(f"one provider was asked twice: {providers}")
    return wrong


def why_misled(evidence: Evidence, lookup: Json) -> str | None:
    """Return how the lookup got a false number without a forgery; None when there is no excuse.

    The vendor mixed its jobs up: another job's answer came to the right URL. A job gets its own request_id from
    the 202; until that is stored, nothing contradicts the callback.
    """
    key = evidence.person_of(lookup).key
    if lookup["mobile"] != false_number(key):
        return None
    for job in lookup["jobs"]:
        if job["answered_by"] != "callback" or (key, job["request_id"]) in evidence.nyne_requests:
            continue
        if job["id"] in evidence.flagged:
            return OVERTOOK
        if job["id"] not in evidence.accepted or any(one.kept_from_storing(*times(job)) for one in evidence.happened):
            return NEVER_CAME
    return None


def _job(job: Json, truth: Json | None, subject: Person) -> list[str]:
    """Check one job; return what is wrong."""
    name, state = job["provider"], job["state"]
    if truth is None:
        return [f"{name} was asked, and cannot answer this"]
    if state == "answered":
        should = (truth["credits"], 0)
    elif state == "failed":
        allowed = (job["error"] or "").startswith((GIVEN_UP, NEVER_SENT)) or (
            name == "nyne" and any(SAYS_FAILED in text for text in subject.texts)
        )
        if not allowed:
            return [f"{name} failed, and should not have: {job['error']}"]
        should = (0, 0)
    elif state in {"unknown", "lost"}:
        should = (0, job["possibly_charged"])
    else:
        return [f"its job with {name} is still {state}"]
    is_ = (job["credits"], job["possibly_charged"])
    return [] if is_ == should else [f"{name} ({state}) cost {is_}, should have cost {should}"]


def _shared_answer(evidence: Evidence, lookup: Json, verdict: Verdict) -> list[str]:
    """Check a lookup that shows the answer of a search which began for another lookup of the same person."""
    verdict.count("took the answer of another's search")
    other = evidence.lookups.get(lookup["reused_from"])
    if other is None:
        return ["the lookup that its search began for does not exist"]
    subject = evidence.person_of(other)
    truths = {provider: evidence.truth(provider, subject) for provider in _who_can_be_asked(other)}
    own = {provider: evidence.truth(provider, evidence.person_of(lookup)) for provider in _who_can_be_asked(lookup)}
    wrong = _jobs(lookup, own, evidence.person_of(lookup))
    if lookup["jobs"] and lookup["status"] != "found":
        wrong.append("has jobs of its own search, and shows another's without a number")
    theirs, ours = (evidence.people[evidence.person_of(one).key] for one in (other, lookup))
    if theirs != ours:
        wrong.append(f"is person {ours}, that is person {theirs}")
    numbers = _numbers(other, truths)
    if lookup["status"] == "found":
        if lookup["mobile"] not in numbers and why_misled(evidence, other) is None:
            wrong.append(f"has {lookup['mobile']}, the search brought {numbers or 'nothing'}")
    elif numbers:
        wrong.append(f"is {lookup['status']}, and the search brought {numbers}")
    elif other["status"] in STOPPED:  # its search went on for this one
        if lookup["status"] == "found":
            wrong.append(f"is found, that is {other['status']}")
    elif lookup["status"] not in {other["status"], *_LESS_SURE.get(other["status"], ())}:
        wrong.append(f"is {lookup['status']}, that is {other['status']}")
    return wrong


# A lookup that came while the search was in doubt ended unresolved, and brought more than was asked about. A late "no
# number" does not apply to it.
_LESS_SURE = {"not_found": ("unresolved",), "failed": ("unresolved",)}


def _who_can_be_asked(lookup: Json) -> list[str]:
    strong = any(lookup["person"][name] for name in ("profile_url", "work_email", "personal_email"))
    return ["leadmagic", "nyne"] if strong else ["nyne"]


def no_forgery_is_believed(evidence: Evidence) -> Verdict:
    """Check 6: no 429 was our own fault, and no forged callback was believed."""
    verdict = Verdict(6, "no 429 provoked by us; no forged callback accepted")
    for provider, books in evidence.books.items():
        verdict.count(f"429s by {provider}'s own limit", books.stats["limited"])
        verdict.demand(books.stats["limited"] == 0, f"{provider} said 429 {books.stats['limited']} times on its own")
        verdict.count("forged callbacks sent", books.stats["forged_sent"])
        verdict.count("forged callbacks accepted", books.stats["forged_accepted"])
        accepted = books.stats["forged_accepted"]
        verdict.demand(accepted == 0, f"{accepted} forged callbacks were accepted")
    verdict.count("lookups with a false number", 0)
    for id, lookup in evidence.lookups.items():
        whose = evidence.lookups.get(lookup["reused_from"], lookup)
        if lookup["mobile"] != false_number(evidence.person_of(whose).key):
            continue
        verdict.count("lookups with a false number")
        misled = why_misled(evidence, whose)
        verdict.count(f"of them: {misled or NO_EXCUSE}")
        verdict.demand(misled is not None, f"lookup {id} has the false number {lookup['mobile']}")
    return verdict
