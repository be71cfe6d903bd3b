"""What we say is what is true, and nobody could make us say otherwise."""

from __future__ import annotations

from chaos.evidence import Evidence, times
from chaos.vendors import Json
from chaos.verdict import Verdict
from sandbox.callbacks import false_number
from sandbox.people import Person

GIVEN_UP = "given up after"  # MAX_ATTEMPTS definite failures
SAYS_FAILED = "ny-failed"  # the word that makes Nyne say so
NEVER_CAME = "a callback for another job, and no 202 that contradicts it"
OVERTOOK = "a callback for another job that overtook the 202"
NO_EXCUSE = "without excuse"


def everything_is_true(evidence: Evidence) -> Verdict:
    """5: statuses, numbers and credits equal what the sandbox says is true, as far as the jobs got their answers."""
    verdict = Verdict(5, "statuses, numbers and credits equal what the sandbox says is true")
    verdict.offences += evidence.lies
    for id, lookup in evidence.lookups.items():
        if lookup["reused_from"] is None:
            for offence in _leader(evidence, lookup, verdict):
                verdict.offences.append(f"lookup {id} ({evidence.whom(lookup).key}): {offence}")
        else:
            for offence in _follower(evidence, lookup, verdict):
                verdict.offences.append(f"lookup {id}, which follows {lookup['reused_from']}: {offence}")
    return verdict


def _leader(evidence: Evidence, lookup: Json, verdict: Verdict) -> list[str]:
    """What is wrong with a lookup that was asked for itself."""
    someone = evidence.whom(lookup)
    truths = {provider: evidence.truth(provider, someone) for provider in _who_can_be_asked(lookup)}
    jobs = {job["provider"]: job for job in lookup["jobs"]}
    wrong = [fault for job in lookup["jobs"] for fault in _job(job, truths.get(job["provider"]), someone)]
    if len(jobs) != len(lookup["jobs"]):
        wrong.append(f"one provider was asked twice: {[job['provider'] for job in lookup['jobs']]}")
    states = {job["state"] for job in lookup["jobs"]}
    told = [name for name, job in jobs.items() if job["state"] == "answered" and truths[name]["found"]]
    if told:
        should, number = "found", truths[told[0]]["mobile_e164"]
    else:
        should, number = "not_found", None
        if states & {"unknown", "lost"}:
            should = "unresolved"
        elif "failed" in states:
            should = "failed"
        wrong += [f"{name} was never asked" for name in truths.keys() - jobs.keys()]
    is_ = (lookup["status"], lookup["mobile"])
    if is_ == (should, number):
        verdict.count(f"asked for themselves: {should}")
    elif misled := why_misled(evidence, lookup):
        verdict.count(f"asked for themselves: found, a false number: {misled}")
    else:
        wrong.append(f"should be {should} {number}; is {is_[0]} {is_[1]}")
    if lookup["credits"] != sum(job["credits"] for job in lookup["jobs"]):
        wrong.append(f"costs {lookup['credits']:g}, its jobs cost {[job['credits'] for job in lookup['jobs']]}")
    if states & {"unknown", "lost"}:
        verdict.count("of them with a job in doubt")
    return wrong


def why_misled(evidence: Evidence, lookup: Json) -> str | None:
    """How it came by a false number though nobody forged anything; None when there is no excuse.

    The vendor mixed its jobs up: another job's answer came under the right URL. A job knows its own request_id from
    the 202; as long as that is not stored, nothing contradicts the callback.
    """
    key = evidence.whom(lookup).key
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


def _job(job: Json, truth: Json | None, someone: Person) -> list[str]:
    """What is wrong with one job."""
    name, state = job["provider"], job["state"]
    if truth is None:
        return [f"{name} was asked, and cannot answer this"]
    if state == "answered":
        should = (truth["credits"], 0)
    elif state == "failed":
        allowed = (job["error"] or "").startswith(GIVEN_UP) or (
            name == "nyne" and any(SAYS_FAILED in text for text in someone.texts)
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


def _follower(evidence: Evidence, lookup: Json, verdict: Verdict) -> list[str]:
    """What is wrong with a lookup that took another's answer."""
    verdict.count("took another's answer")
    leader = evidence.lookups.get(lookup["reused_from"])
    if leader is None:
        return ["that is not there"]
    wrong = []
    if lookup["credits"] or lookup["jobs"]:
        wrong.append(f"costs {lookup['credits']:g} for {len(lookup['jobs'])} jobs of its own")
    if (lookup["status"], lookup["mobile"]) != (leader["status"], leader["mobile"]):
        wrong.append(f"is {lookup['status']} {lookup['mobile']}, that is {leader['status']} {leader['mobile']}")
    theirs, ours = (evidence.people[evidence.whom(one).key] for one in (leader, lookup))
    if theirs != ours:
        wrong.append(f"is person {ours}, that is person {theirs}")
    return wrong


def _who_can_be_asked(lookup: Json) -> list[str]:
    strong = any(lookup["person"][name] for name in ("profile_url", "work_email", "personal_email"))
    return ["leadmagic", "nyne"] if strong else ["nyne"]


def nobody_fooled_us(evidence: Evidence) -> Verdict:
    """6: no 429 was our own fault, and no forged callback was believed."""
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
        if lookup["mobile"] != false_number(evidence.whom(whose).key):
            continue
        verdict.count("lookups with a false number")
        misled = why_misled(evidence, whose)
        verdict.count(f"of them: {misled or NO_EXCUSE}")
        verdict.demand(misled is not None, f"lookup {id} has the false number {lookup['mobile']}")
    return verdict
