"""Checks 3 and 4: nothing is paid for twice, and the books agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from chaos.evidence import IDENTIFIERS, Asked, Evidence, made_at, times
from chaos.journal import FELT
from chaos.vendors import Json
from chaos.verdict import Verdict

DOUBTFUL = frozenset({"unknown", "lost"})
# The vendor says that nothing was done: asking again is safe. (The pretend LeadMagic's 502 is its gateway's, in HTML.)
DEFINITE = {
    "leadmagic": frozenset({401, 402, 403, 408, 429, 500, 503}),
    "nyne": frozenset({401, 402, 403, 408, 429, 503}),
}
LISTED = "people charged twice, listed as possibly charged"
MORE = "people charged twice, the second time with one more identifier"
MOST = 5  # credits that a question costs
UNSTORED = "its process died or slept, or the database was away"


def no_question_is_repeated(evidence: Evidence) -> Verdict:
    """Check 3: no job was POSTed again in doubt; no person was charged twice, unless a charge is listed as possible."""
    verdict = Verdict(3, "no job was POSTed again while its outcome was unknown; no person was charged twice")
    _by_job(evidence, verdict)
    _by_person(evidence, verdict)
    _charges(evidence, verdict)
    _doubts(evidence, verdict)
    return verdict


def _is_definite(asked: Asked) -> bool:
    return asked.status in DEFINITE[asked.provider]


def _by_job(evidence: Evidence, verdict: Verdict) -> None:
    """Check, for jobs that the proxy can identify, that no question follows one that may have had an outcome."""
    over: dict[str, Asked] = {}
    for asked in evidence.asked:
        verdict.count(f"questions to {asked.provider}")
        verdict.count(f"answers from {asked.provider} that never came", asked.status is None)
        if asked.job_id is None:
            continue
        before = over.get(asked.job_id)
        said = before and ("nothing" if before.status is None else before.status)
        verdict.demand(before is None, f"job {asked.job_id} was POSTed again though {said} had been answered")
        if not _is_definite(asked):
            over[asked.job_id] = asked


def _by_person(evidence: Evidence, verdict: Verdict) -> None:
    """Check, for jobs that it cannot, that no person has more questions with a possible outcome than jobs."""
    jobs: Counter[tuple[str, str]] = Counter()
    for lookup, job in evidence.jobs():
        if job["submitted_at"]:
            jobs[job["provider"], evidence.person_of(lookup).key] += 1
    questions = Counter((asked.provider, asked.key) for asked in evidence.asked if not _is_definite(asked))
    for (provider, key), often in questions.items():
        if key in evidence.erased:  # with their jobs
            continue
        offence = f"{provider} was asked {often} times about {key}, for {jobs[provider, key]} jobs"
        verdict.demand(often <= jobs[provider, key], offence)


def _charges(evidence: Evidence, verdict: Verdict) -> None:
    """Check that no provider charged twice for a person, unless one charge is listed as possible."""
    charged = Counter(
        (provider, evidence.people[charge["person"]])
        for provider, books in evidence.books.items()
        for charge in books.charges
        if charge["person"] not in evidence.erased
    )
    paid: dict[tuple[str, int], list[tuple[Json, Json]]] = defaultdict(list)  # jobs that cost something, by person
    doubtful: Counter[tuple[str, int]] = Counter()
    for lookup, job in evidence.jobs():
        about = job["provider"], evidence.people[evidence.person_of(lookup).key]
        doubtful[about] += job["possibly_charged"] > 0 or job["state"] in DOUBTFUL
        if job["credits"] > 0:
            paid[about].append((lookup, job))
    verdict.count("charges", charged.total())
    verdict.count(LISTED, 0)
    for about, often in charged.items():
        provider, who = about
        offence = (
            f"person {who}: {provider} charged {often} times; we list {len(paid[about])}, and {doubtful[about]} doubts"
        )
        verdict.demand(often <= len(paid[about]) + doubtful[about], offence)
        verdict.count(LISTED, often > len(paid[about]) > 0)
        turns = sorted(paid[about], key=lambda turn: made_at(turn[1]["id"]))
        for (earlier, first), (later, second) in pairwise(turns):
            verdict.count(MORE)
            offence = f"person {who}: {provider} was paid for job {first['id']}, then asked and paid for {second['id']}"
            verdict.demand(bool(_identifiers(later) - _identifiers(earlier)), offence)


def _identifiers(lookup: Json) -> set[str]:
    """Return the identifiers that providers are asked about for this lookup."""
    return {name for name in IDENTIFIERS if lookup["person"][name]}


def _doubts(evidence: Evidence, verdict: Verdict) -> None:
    """Check that every job that may have been charged was in flight when something broke."""
    about: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for asked in evidence.asked:
        about[asked.provider, asked.job_id or asked.key].append(asked)
    unstored = 0
    verdict.count("jobs possibly charged", 0)
    for lookup, job in evidence.jobs():
        if job["possibly_charged"] <= 0:
            continue
        verdict.count("jobs possibly charged")
        name = job["id"] if job["provider"] == "nyne" else evidence.person_of(lookup).key
        cause = _cause(evidence, job, about[job["provider"], name])
        verdict.count(f"in doubt because {cause or 'of nothing'}")
        verdict.demand(
            cause is not None, f"job {job['id']} ({job['provider']}) is in doubt for no reason: {job['error']}"
        )
        unstored += cause == UNSTORED
    bound = sum(
        evidence.most_submitting(one.began, one.ended + FELT)
        for one in evidence.happened
        if one.kept_from_storing(one.began, one.ended)
    )
    verdict.demand(unstored <= bound, f"{unstored} answers were not stored, {bound} questions were in flight")


def _cause(evidence: Evidence, job: Json, asked: list[Asked]) -> str | None:
    """Return why the outcome is unknown; None when there is no cause."""
    begun, ended = times(job)
    last = next((one for one in reversed(asked) if begun - 1 <= one.at <= ended + 1), None)
    if job["request_id"] in evidence.polls_404:
        return "the vendor forgot it"
    if "deadline" in (job["error"] or ""):
        return "no answer came before the deadline"
    if last is not None and last.status is None:
        return "its answer never came"
    if last is not None and (last.status or 0) >= 500 and not _is_definite(last):
        return "the vendor broke while it may have worked"
    if any(one.kept_from_storing(begun, ended) for one in evidence.happened):
        return UNSTORED
    return None


def the_books_agree(evidence: Evidence) -> Verdict:
    """Check 4: each vendor's ledger lies between our charged, and our charged plus possibly charged credits."""
    verdict = Verdict(4, "our ledger = the vendor's ledger (charged + possibly charged brackets it)")
    for provider, books in evidence.books.items():
        ours = evidence.usage.get(provider, {"reserved": 0, "charged": 0, "possibly_charged": 0})
        theirs = sum(charge["credits"] for charge in books.charges)
        verdict.count(f"{provider}: credits charged by its own ledger", int(theirs))
        verdict.count(f"{provider}: credits charged by ours", int(ours["charged"]))
        verdict.count(f"{provider}: credits possibly charged", int(ours["possibly_charged"]))
        fits = ours["charged"] <= theirs <= ours["charged"] + ours["possibly_charged"]
        verdict.demand(fits, f"{provider} charged {theirs:g}, and we say {ours}")
        verdict.demand(ours["reserved"] == 0, f"{provider}: {ours['reserved']:g} credits are reserved for nothing")
        erased = MOST * sum(asked.provider == provider and asked.key in evidence.erased for asked in evidence.asked)
        verdict.count(f"{provider}: credits of erased people's jobs, at most", erased)
        for name, of_job in (("charged", "credits"), ("possibly_charged", "possibly_charged")):
            total = sum(job[of_job] for _, job in evidence.jobs() if job["provider"] == provider)
            offence = f"{provider}: jobs say {total:g} {name}, /v1/usage {ours[name]:g}"
            verdict.demand(total <= ours[name] <= total + erased, offence)
    return verdict
