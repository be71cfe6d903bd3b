"""The checks of the chaos: on a small run without a fault in it all of them hold, and each can fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from chaos.check_kept import callbacks_are_kept, events_are_kept, work_is_taken_over
from chaos.check_paid import no_question_is_repeated, the_books_agree
from chaos.check_truth import everything_is_true, no_forgery_is_believed
from chaos.crm import Sent
from chaos.crowd import Event, Wish
from chaos.evidence import Evidence
from chaos.journal import Happened
from chaos.overheard import Exchange
from chaos.plan import KINDS, Fault
from chaos.vendors import Books, Json
from chaos.verdict import Verdict
from chaos.watch import Takeover
from sandbox.callbacks import false_number
from sandbox.leadmagic import LeadMagic
from sandbox.nyne import Nyne
from sandbox.people import mobile_e164

ANN, BOB = "ann--lm-found", "bob--lm-none--ny-found"
STARTED, ENDED = "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:01.000Z"
AT = 1795341600.5  # between the two
LOOKUPS = {name: f"01a202b3-0000-7000-8000-00000000000{n}" for n, name in enumerate(("ann", "again", "bob"))}
JOBS = {name: f"01a202b3-1111-7000-8000-00000000000{n}" for n, name in enumerate(("ann", "bob lm", "bob ny"))}
BODY = b'{"data": {"request_id": "req-1"}}'
CHECKS = {
    1: events_are_kept,
    2: callbacks_are_kept,
    3: no_question_is_repeated,
    4: the_books_agree,
    5: everything_is_true,
    6: no_forgery_is_believed,
    7: work_is_taken_over,
}


def job(name: str, provider: str, credits: int, answered_by: str, **more: Any) -> Json:
    """One answered job."""
    answered = {"id": JOBS[name], "provider": provider, "state": "answered", "answered_by": answered_by}
    costs = {"credits": credits, "possibly_charged": 0, "submitted_at": STARTED, "finished_at": ENDED}
    return answered | costs | {"request_id": None, "error": None} | more


def lookup(name: str, slug: str, jobs: list[Json], **more: Any) -> Json:
    """One lookup that found the number."""
    person = {"profile_url": f"linkedin.com/in/{slug}", "work_email": None, "personal_email": None}
    return {
        "id": LOOKUPS[name], "status": "found", "mobile": mobile_e164(f"slug:{slug}"), "reused_from": None,
        "credits": sum(job["credits"] for job in jobs), "person": person | {"name": None, "company": None},
        "record_id": f"e-{name}:0", "finished_at": ENDED, "jobs": jobs,
    } | more  # fmt: skip


def sent(name: str, person: int, slug: str) -> Sent:
    """An event that was taken at once."""
    wish = Wish(person, f"e-{name}:0", {"profile_url": f"https://www.linkedin.com/in/{slug}"})
    return Sent(Event(f"e-{name}", 0, (wish,)), answers=[(LOOKUPS[name],)], taken_at=AT, tries=1)


def asked(slug: str, status: int | None = 200, job_name: str | None = None) -> Exchange:
    """A paid question, overheard: LeadMagic's, or Nyne's when it names a job."""
    question: Json = {"profile_url": f"linkedin.com/in/{slug}"}
    if job_name:
        question = {
            "social_media_url": question["profile_url"],
            "callback_url": f"http://us/nyne/{JOBS[job_name]}/token",
        }
    path = "/person/phone" if job_name else "/v1/people/mobile-finder"
    return Exchange(AT, "POST", path, json.dumps(question).encode(), written=True, status=status)


def charge(slug: str, credits: int) -> Json:
    """A line in a vendor's ledger."""
    return {"person": f"slug:{slug}", "credits": credits, "request_id": "req-1"}


def evidence() -> Evidence:
    """Ann was found by LeadMagic, and came again; Bob was unknown to LeadMagic, and Nyne called back."""
    stats = {"limited": 0, "forged_sent": 1, "forged_accepted": 0}
    vendors = {"leadmagic": LeadMagic(), "nyne": Nyne()}
    bobs = [job("bob lm", "leadmagic", 0, "inline"), job("bob ny", "nyne", 3, "callback", request_id="req-1")]
    found = [
        lookup("ann", ANN, [job("ann", "leadmagic", 5, "inline")]),
        lookup("again", ANN, [], reused_from=LOOKUPS["ann"]),
        lookup("bob", BOB, bobs),
    ]
    return Evidence(
        sent=[sent("ann", 1, ANN), sent("again", 1, ANN), sent("bob", 2, BOB)],
        lookups={one["id"]: one for one in found},
        usage={
            "leadmagic": {"reserved": 0, "charged": 5, "possibly_charged": 0},
            "nyne": {"reserved": 0, "charged": 3, "possibly_charged": 0},
        },
        books={
            "leadmagic": Books(charges=[charge(ANN, 5)], stats=dict(stats)),
            "nyne": Books(
                charges=[charge(BOB, 3)], requests=[{"person": f"slug:{BOB}", "request_id": "req-1"}], stats=dict(stats)
            ),
        },
        overheard={
            "leadmagic": [asked(ANN), asked(BOB)],
            "nyne": [asked(BOB, 202, "bob ny")],
            "callbacks": [Exchange(AT, "POST", f"/callbacks/nyne/{JOBS['bob ny']}/t", BODY, written=True, status=200)],
        },
        stored={(JOBS["bob ny"], hashlib.blake2b(BODY, digest_size=16).digest()): "applied"},
        takeovers=[Takeover(AT, "submitter-0", jobs=2, seconds=[1.0, 6.0])],
        truth=lambda provider, subject: vendors[provider].truth(subject),
    )


def judged(number: int, changed: Evidence) -> Verdict:
    """Return the verdict of one check."""
    return CHECKS[number](changed)


@pytest.mark.parametrize("number", CHECKS)
def test_a_run_without_fault_is_found_without_fault(number: int) -> None:
    """Where everything is as it should be, no check finds anything."""
    verdict = judged(number, evidence())

    assert verdict.number == number
    assert verdict.offences == []
    assert verdict.counts.total() > 0


def of(name: str, seen: Evidence) -> Json:
    """One lookup."""
    found: Json = seen.lookups[LOOKUPS[name]]
    return found


def the_event_made_nothing(seen: Evidence) -> None:
    """The lookup that was promised is gone."""
    del seen.lookups[LOOKUPS["bob"]]


def the_event_made_two(seen: Evidence) -> None:
    """The same event was answered with another lookup the second time."""
    seen.sent[0].answers.append((LOOKUPS["again"],))


def nobody_asked_for_it(seen: Evidence) -> None:
    """There is a lookup that no event's answer named."""
    seen.sent.pop()


def it_waits_for_ever(seen: Evidence) -> None:
    """A lookup never ended."""
    of("bob", seen)["status"] = "running"


def it_was_never_taken(seen: Evidence) -> None:
    """An event never got its 2xx."""
    seen.sent[0].answers.clear()


def a_search_is_not_swept(seen: Evidence) -> None:
    """Every lookup is final, and a search still waits for some to follow."""
    seen.unfinished["searches that are not swept"] = 1


def the_callback_is_not_stored(seen: Evidence) -> None:
    """A callback was acknowledged, and is not in the table."""
    seen.stored.clear()


def the_job_was_asked_again(seen: Evidence) -> None:
    """A question whose answer never came was sent again."""
    seen.overheard["nyne"] = [asked(BOB, None, "bob ny"), asked(BOB, 202, "bob ny")]


def the_person_was_asked_again(seen: Evidence) -> None:
    """LeadMagic was asked twice about a person, for one job."""
    seen.overheard["leadmagic"].append(asked(ANN, None))


def the_person_was_charged_again(seen: Evidence) -> None:
    """A vendor charged twice, and no job is listed as possibly charged."""
    seen.books["leadmagic"].charges.append(charge(ANN, 5))


def it_is_in_doubt_for_nothing(seen: Evidence) -> None:
    """A job may have been charged, though it was answered and nothing had broken."""
    of("bob", seen)["jobs"][1] |= {"state": "unknown", "credits": 0, "possibly_charged": 3}


def we_say_more(seen: Evidence) -> None:
    """Our ledger says more than the vendor's."""
    seen.usage["nyne"]["charged"] = 6


def we_say_less(seen: Evidence) -> None:
    """The vendor's ledger says more than ours, possible charges included."""
    seen.books["nyne"].charges.append(charge("eve", 3))


def it_is_reserved_for_ever(seen: Evidence) -> None:
    """Credits are reserved for a question that is over."""
    seen.usage["nyne"]["reserved"] = 3


def the_number_is_wrong(seen: Evidence) -> None:
    """A lookup has another person's number."""
    of("ann", seen)["mobile"] = mobile_e164("slug:somebody-else")


def the_status_is_wrong(seen: Evidence) -> None:
    """A lookup says that there is no number, and the provider gave one."""
    of("bob", seen).update(status="not_found", mobile=None)


def the_credits_are_wrong(seen: Evidence) -> None:
    """A job says that it was free, and was not."""
    of("ann", seen)["jobs"][0]["credits"] = 0


def a_provider_was_left_out(seen: Evidence) -> None:
    """A lookup without a number ended before all its providers were asked."""
    of("bob", seen).update(status="not_found", mobile=None, jobs=of("bob", seen)["jobs"][:1], credits=0)


def the_shared_answer_is_another(seen: Evidence) -> None:
    """A lookup does not end as the search whose answer it took."""
    of("again", seen).update(status="not_found", mobile=None)


def the_shared_answer_cost_something(seen: Evidence) -> None:
    """A lookup that took another's answer cost something."""
    of("again", seen)["credits"] = 5


def another_persons_answer_is_shared(seen: Evidence) -> None:
    """A lookup took the answer of a search that began for another person."""
    of("again", seen).update(reused_from=LOOKUPS["bob"], mobile=mobile_e164(f"slug:{BOB}"))


def it_was_paid_twice_for_the_same(seen: Evidence) -> None:
    """A second search asked the same provider about the same identifiers, and both were charged and listed."""
    of("again", seen).update(reused_from=None, credits=5, jobs=[job("ann", "leadmagic", 5, "inline")])
    seen.books["leadmagic"].charges.append(charge(ANN, 5))


def the_sandbox_disagrees(seen: Evidence) -> None:
    """The truth that the checks hold differs from the running sandbox's."""
    seen.lies.append("leadmagic says otherwise")


def it_was_too_fast(seen: Evidence) -> None:
    """A vendor's limit was exceeded."""
    seen.books["leadmagic"].stats["limited"] = 1


def the_forger_was_believed(seen: Evidence) -> None:
    """A callback with a wrong token got a 2xx."""
    seen.books["nyne"].stats["forged_accepted"] = 1


def the_lie_is_shown(seen: Evidence) -> None:
    """A lookup has the number with which callbacks lie, though its 202 was there to contradict it."""
    of("bob", seen)["mobile"] = false_number(f"slug:{BOB}")


def nobody_took_over(seen: Evidence) -> None:
    """No process took over a killed submitter's question."""
    seen.takeovers[0].left = 1


def it_was_taken_over_late(seen: Evidence) -> None:
    """A killed submitter's question was taken over after half a minute."""
    seen.takeovers[0].seconds.append(31.0)


Change = Callable[[Evidence], None]
CHANGES: list[tuple[int, Change]] = [
    *((1, change) for change in (the_event_made_nothing, the_event_made_two, nobody_asked_for_it)),
    *((1, change) for change in (it_waits_for_ever, it_was_never_taken, a_search_is_not_swept)),
    (2, the_callback_is_not_stored),
    *((3, change) for change in (the_job_was_asked_again, the_person_was_asked_again)),
    *((3, change) for change in (the_person_was_charged_again, it_is_in_doubt_for_nothing)),
    (3, it_was_paid_twice_for_the_same),
    (5, another_persons_answer_is_shared),
    *((4, change) for change in (we_say_more, we_say_less, it_is_reserved_for_ever)),
    *((5, change) for change in (the_number_is_wrong, the_status_is_wrong, the_credits_are_wrong)),
    *(
        (5, change)
        for change in (a_provider_was_left_out, the_shared_answer_is_another, the_shared_answer_cost_something)
    ),
    (5, the_sandbox_disagrees),
    *((6, change) for change in (it_was_too_fast, the_forger_was_believed, the_lie_is_shown)),
    *((7, change) for change in (nobody_took_over, it_was_taken_over_late)),
]


def the_first_is_in_doubt(seen: Evidence) -> None:
    """Ann's first question was lost; the next search leaves that provider out, and asks the other."""
    of("ann", seen).update(status="unresolved", mobile=None, credits=0)
    of("ann", seen)["jobs"] = [job("ann", "leadmagic", 0, "inline", state="unknown", possibly_charged=5)]
    of("ann", seen)["jobs"] += [job("ann", "nyne", 0, "inline", state="failed", error="given up after 8 attempts")]
    of("again", seen).update(status="unresolved", mobile=None, reused_from=None)
    of("again", seen)["jobs"] = [job("ann", "nyne", 0, "inline", state="failed", error="given up after 8 attempts")]


def the_late_number_came_from_another_search(seen: Evidence) -> None:
    """The second lookup had a search of its own, without a number; then the first one's came late."""
    of("again", seen)["jobs"] = [job("ann", "nyne", 0, "inline", state="failed", error="given up after 8 attempts")]


def it_was_never_sent(seen: Evidence) -> None:
    """A submitter that slept wakes after its question was given up: nothing was sent, and nothing charged."""
    the_first_is_in_doubt(seen)
    of("ann", seen).update(status="failed")
    of("ann", seen)["jobs"][0].update(state="failed", possibly_charged=0, error="it was never sent")


@pytest.mark.parametrize("change", [the_first_is_in_doubt, the_late_number_came_from_another_search, it_was_never_sent])
def test_what_searches_may_do_is_no_offence(change: Change) -> None:
    """A provider in doubt is not asked again; a late number reaches the lookups that share a key."""
    seen = evidence()

    change(seen)

    assert judged(5, seen).offences == []


def test_nothing_can_be_taken_over_while_nothing_can_connect() -> None:
    """A takeover has half a minute in which PostgreSQL lets processes in."""
    seen = evidence()
    seen.takeovers[0].seconds.append(31.0)
    kind = next(kind for kind in KINDS if kind.name == "pool exhaustion")
    seen.happened.append(Happened(Fault(kind, 0, 2, 0, 0.5), AT + 3, AT + 5))

    assert judged(7, seen).offences == []


@pytest.mark.parametrize(("number", "change"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_promise_is_found(number: int, change: Change) -> None:
    """A check that cannot fail is worth nothing: each of these makes one fail."""
    seen = evidence()

    change(seen)

    assert judged(number, seen).offences
