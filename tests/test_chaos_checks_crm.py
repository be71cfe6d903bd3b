"""The checks of the chaos about CRMs, results and people's rights: on a small run all hold, and each can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.check_crm import (
    contacts_have_their_numbers,
    hubspot_is_not_flooded,
    no_value_of_people_is_lost,
    nothing_goes_round,
)
from chaos.check_kept import callbacks_are_kept
from chaos.check_paid import no_question_is_repeated, the_books_agree
from chaos.check_results import results_are_delivered
from chaos.check_rights import people_are_left_alone
from chaos.check_truth import everything_is_true
from chaos.crm_calls import HUMAN, OURS
from chaos.evidence import Evidence
from chaos.journal import Happened
from chaos.overheard import Exchange
from chaos.plan import KINDS, Fault
from chaos.results import Got
from chaos.vendors import Books
from chaos.verdict import Verdict
from tests.crm_evidence import (
    ANN,
    AT,
    BOB,
    EVE,
    NUMBER,
    OTHER,
    asked,
    contact,
    evidence,
    first,
    id_at,
    lookup,
    patch,
    read,
    second,
    slug,
    write,
)

CHECKS = {
    2: callbacks_are_kept,
    3: no_question_is_repeated,
    4: the_books_agree,
    5: everything_is_true,
    8: contacts_have_their_numbers,
    9: no_value_of_people_is_lost,
    10: results_are_delivered,
    11: nothing_goes_round,
    12: people_are_left_alone,
    13: hubspot_is_not_flooded,
}
Change = Callable[[Evidence], None]


def judged(number: int, seen: Evidence) -> Verdict:
    """Return the verdict of one check."""
    return CHECKS[number](seen)


@pytest.mark.parametrize("number", range(8, 14))
def test_a_run_without_fault_is_found_without_fault(number: int) -> None:
    """Where everything is as it should be, no check finds anything."""
    verdict = judged(number, evidence())

    assert verdict.number == number
    assert verdict.offences == []
    assert verdict.counts.total() > 0


def it_never_got_the_number(seen: Evidence) -> None:
    """The number was found, and the contact does not have it."""
    seen.hubspot.contacts[0]["properties"]["mobilephone"] = None


def it_got_another(seen: Evidence) -> None:
    """The contact has a number that we did not find."""
    seen.hubspot.contacts[0]["properties"]["mobilephone"] = OTHER


def it_was_missed(seen: Evidence) -> None:
    """A contact became no lookup."""
    seen.hubspot.contacts.append(contact("104"))


def it_was_written_twice(seen: Evidence) -> None:
    """The account's books have two numbers of ours."""
    seen.hubspot.writes.append(write(AT + 5, ANN, OURS, OTHER, NUMBER))


def it_was_written_again(seen: Evidence) -> None:
    """A second write left after a read that had shown the number."""
    seen.overheard["hubspot"] += [read(AT + 20, ANN), patch(AT + 20.1, ANN)]


def it_does_not_say_how_it_ended(seen: Evidence) -> None:
    """There are properties of our own, and Ann's contact has another status than her lookup."""
    seen.has_own_properties = True
    seen.hubspot.contacts[0]["properties"]["ringback_status"] = "not_found"


def it_never_got_its_status(seen: Evidence) -> None:
    """Nothing was found for Ann, HubSpot answered our write with a 200, and her contact says nothing."""
    seen.has_own_properties = True
    seen.hubspot.contacts[1]["properties"]["ringback_status"] = "found"
    seen.hubspot.contacts[0]["properties"]["mobilephone"] = None
    seen.hubspot.writes.pop(0)
    first(seen).update(status="not_found", mobile=None)
    seen.overheard["hubspot"][2] = patch(AT + 3, ANN, None)


def it_was_written_over_a_person(seen: Evidence) -> None:
    """A person's number stood there before we read."""
    seen.hubspot.writes.insert(0, write(AT - 20, ANN, HUMAN, OTHER))


def what_was_cleared_was_written(seen: Evidence) -> None:
    """A person cleared the field long before our write."""
    seen.hubspot.writes.insert(0, write(AT - 15, ANN, HUMAN, OTHER))
    seen.hubspot.writes.insert(1, write(AT - 14, ANN, HUMAN, None, OTHER))


def it_was_read_long_before(seen: Evidence) -> None:
    """The only read that missed the person's edit was longer ago than any process holds one."""
    seen.overheard["hubspot"] = [read(AT - 20, BOB), read(AT + 3.2, BOB), patch(AT + 4, BOB)]


def the_overtaking_is_not_named(seen: Evidence) -> None:
    """We wrote over a person's edit, and say nothing."""
    second(seen)["deliveries"][1]["reason"] = None


def nobody_was_told(seen: Evidence) -> None:
    """A result was never delivered."""
    seen.results.pop(0)


def it_is_still_to_be_told(seen: Evidence) -> None:
    """A result still waits to be sent."""
    first(seen)["deliveries"][0]["status"] = "queued"


def it_was_told_after_it_was_stored(seen: Evidence) -> None:
    """The same result came after its 2xx had been stored."""
    first(seen)["deliveries"][0]["attempts"] = 2
    one = seen.results[0]
    seen.results.append(Got(one.id, one.lookup, AT + 30, 200, AT + 30))


def it_was_told_again_for_nothing(seen: Evidence) -> None:
    """A result came again right after a 2xx, and no fault had kept us from storing it."""
    first(seen)["deliveries"][0]["attempts"] = 2
    seen.results.insert(0, Got(seen.results[0].id, seen.results[0].lookup, AT + 1.9, 200, AT + 1.9))


def it_was_kept_back_for_nobody(seen: Evidence) -> None:
    """A result did not leave, and nobody had suppressed the person."""
    keep_back(seen)
    seen.contacts[1].deed = seen.contacts[1].suppressed_at = None


def keep_back(seen: Evidence) -> None:
    """Bob was suppressed before his result left."""
    del suppressed(seen).results[1:]
    second(seen)["deliveries"][0] |= {"status": "skipped", "reason": "suppressed"}


def it_was_told_more_often_than_tried(seen: Evidence) -> None:
    """There are more POSTs than tries."""
    second(seen)["deliveries"][0]["attempts"] = 1


def it_came_under_another_id(seen: Evidence) -> None:
    """The second try had an id of its own."""
    seen.results[2].id = id_at(AT + 2, 9)


def one_id_told_of_two(seen: Evidence) -> None:
    """One id was used for two lookups."""
    seen.results[2].lookup = first(seen)["id"]


def it_was_looked_up_again(seen: Evidence) -> None:
    """Our write became another lookup."""
    again = lookup(9, ANN, at=AT + 4)
    seen.lookups[again["id"]] = again


def suppressed(seen: Evidence) -> Evidence:
    """Bob was suppressed right after he was asked about."""
    seen.contacts[1].deed, seen.contacts[1].suppressed_at = "suppress", AT + 1.5
    return seen


def they_were_asked_about(seen: Evidence) -> None:
    """A question about a suppressed person left later."""
    suppressed(seen).overheard["leadmagic"].append(asked(BOB, AT + 3))


def they_were_looked_up(seen: Evidence) -> None:
    """A lookup of a suppressed person was made later, and found something."""
    later = lookup(9, BOB, at=AT + 3)
    suppressed(seen).lookups[later["id"]] = later


def they_were_not_forgotten(seen: Evidence) -> None:
    """A lookup of an erased person is left."""
    left = lookup(9, EVE)
    seen.lookups[left["id"]] = left


def hubspot_was_flooded(seen: Evidence) -> None:
    """HubSpot's own limit was exceeded."""
    seen.hubspot.stats["limited"] = 1


def the_forger_was_believed(seen: Evidence) -> None:
    """An event with a wrong signature got a 2xx."""
    seen.hubspot.stats["forged_accepted"] = 1


CHANGES: list[tuple[int, Change]] = [
    *((8, change) for change in (it_never_got_the_number, it_got_another, it_was_missed)),
    *((8, change) for change in (it_was_written_twice, it_was_written_again)),
    *((8, change) for change in (it_does_not_say_how_it_ended, it_never_got_its_status)),
    *((9, change) for change in (it_was_written_over_a_person, what_was_cleared_was_written)),
    *((9, change) for change in (it_was_read_long_before, the_overtaking_is_not_named)),
    *((10, change) for change in (nobody_was_told, it_is_still_to_be_told, it_was_told_after_it_was_stored)),
    *((10, change) for change in (it_was_told_again_for_nothing, it_was_told_more_often_than_tried)),
    *((10, change) for change in (it_came_under_another_id, one_id_told_of_two, it_was_kept_back_for_nobody)),
    (11, it_was_looked_up_again),
    *((12, change) for change in (they_were_asked_about, they_were_looked_up, they_were_not_forgotten)),
    *((13, change) for change in (hubspot_was_flooded, the_forger_was_believed)),
]


def test_a_result_is_kept_back_for_a_suppressed_person() -> None:
    """It was written before, and does not leave any more."""
    seen = evidence()
    keep_back(seen)

    assert judged(10, seen).offences == []


@pytest.mark.parametrize(("number", "change"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_promise_is_found(number: int, change: Change) -> None:
    """A check that cannot fail is worth nothing: each of these makes one fail."""
    seen = evidence()

    change(seen)

    assert judged(number, seen).offences


def they_were_merged(seen: Evidence) -> None:
    """Bob's contact became Ann's, so both their lookups are hers, and so are both writes."""
    seen.hubspot.contacts[:] = [contact(ANN, NUMBER, absorbed=BOB)]
    second(seen)["record_id"] = ANN


def the_answer_was_lost(seen: Evidence) -> None:
    """The write was not done, and the next one left after another read."""
    seen.overheard["hubspot"].insert(2, patch(AT + 2.95, ANN, status=None))


def it_was_asked_about_before(seen: Evidence) -> None:
    """The question was on the wire when the suppression was confirmed."""
    suppressed(seen).overheard["leadmagic"].append(asked(BOB, AT + 2.4))


def the_sender_died(seen: Evidence) -> None:
    """A result came again after a 2xx that the killed sender did not store."""
    it_was_told_again_for_nothing(seen)
    kind = next(kind for kind in KINDS if kind.name == "kill a submitter")
    seen.happened.append(Happened(Fault(kind, 0, 0, 0, 0.5), AT + 1.95, AT + 1.95))


def hubspot_lied(seen: Evidence) -> None:
    """Nothing was found for Ann, and HubSpot said that it had written so."""
    it_never_got_its_status(seen)
    kind = next(kind for kind in KINDS if kind.name == "hubspot lies")
    seen.happened.append(Happened(Fault(kind, 0, 0, 0, 0.5), AT + 2, AT + 4))


@pytest.mark.parametrize(
    ("number", "change"),
    [
        *((number, they_were_merged) for number in (8, 9, 11)),
        *((number, the_answer_was_lost) for number in (8, 9)),
        (12, it_was_asked_about_before),
        (10, the_sender_died),
        (8, hubspot_lied),
    ],
)
def test_what_may_happen_is_no_offence(number: int, change: Change) -> None:
    """A merge, a lost answer, a lie, a question on the wire, and a death between a 2xx and its commit."""
    seen = evidence()

    change(seen)

    assert judged(number, seen).offences == []


def they_were_stopped(seen: Evidence) -> None:
    """Ann's lookup was suppressed, and Bob's cancelled."""
    first(seen).update(status="suppressed", mobile=None)
    second(seen).update(status="cancelled", mobile=None)


def test_stopped_lookups_have_a_reason() -> None:
    """A lookup is suppressed or cancelled only if its person or its contact is."""
    seen, with_reasons = evidence(), evidence()
    they_were_stopped(seen)
    they_were_stopped(with_reasons)
    with_reasons.contacts[0].deed = "suppress"
    with_reasons.hubspot.contacts.pop()

    assert len(judged(5, seen).offences) == 2
    assert judged(5, with_reasons).offences == []


@pytest.mark.parametrize(("deed", "is_well"), [("erase", True), (None, False)])
def test_of_erased_people_the_sums_stay(deed: str | None, is_well: bool) -> None:
    """The jobs of erased people may be missing, and their credits stay in the sums; no other job may be missing."""
    seen = evidence()
    charge = {"person": f"slug:{slug(EVE)}", "credits": 5, "request_id": None}
    stats = {"limited": 0, "forged_sent": 0, "forged_accepted": 0}
    seen.contacts[2].deed = deed
    seen.lookups.clear()
    seen.overheard["leadmagic"] = [asked(EVE, AT + 1)]
    seen.books = {"leadmagic": Books(charges=[charge], stats=stats)}
    seen.usage = {"leadmagic": {"reserved": 0, "charged": 5, "possibly_charged": 0}}

    assert [judged(number, seen).holds for number in (3, 4)] == [is_well, is_well]


def test_events_of_the_crm_are_no_callbacks() -> None:
    """HubSpot's events come by the same way as callbacks, and are not looked for among them."""
    seen = evidence()
    seen.overheard["callbacks"] = [Exchange(AT, "POST", "/events/hubspot", b"[]", written=True, status=202)]

    assert judged(2, seen).offences == []
