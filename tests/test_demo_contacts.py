"""The contacts of `ringback demo`, and what its verdict notices about them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from console.demo import crm_show
from console.demo.crm_books import Story
from console.demo.crm_cast import BESIDE, CONTACTS, HAD, HAD_NUMBER, UNUSUAL, Contact, invent_contacts
from console.demo.crm_verdict import LEFT_TO_PEOPLE, judge_contacts
from console.demo.verdict import Verdict
from sandbox.behaviours import TABLE, choose
from sandbox.hubspot.behaviours import chosen
from sandbox.people import person

NUMBER = "+14155550100"


def a_story(remark: str = "", **changes: Any) -> Story:
    """Jane, whose number LeadMagic knew, as it should be."""
    deliveries = [{"status": "delivered", "reason": LEFT_TO_PEOPLE if remark == UNUSUAL[BESIDE] else None}]
    lookup = {
        "status": "found", "mobile": NUMBER, "provider": "leadmagic", "finished_at": "2026-01-01T00:00:01Z",
        "deliveries": deliveries, "reused_from": None, "jobs": [{"provider": "leadmagic", "answered_by": "inline"}],
    }  # fmt: skip
    story = Story(Contact({"firstname": "Jane", "lastname": "Doe"}, remark), "7")
    story.record = {"createdAt": "2026-01-01T00:00:00Z", "properties": {"mobilephone": NUMBER}}
    story.reading = {"status": "done", "reason": None}
    story.lookups = [lookup]
    story.writes = [{"new": NUMBER, "at": "2026-01-01T00:00:01.500Z"}]
    for name, value in changes.items():
        setattr(story, name, value)
    return story


def judged(*stories: Story, limited: int = 0) -> list[str]:
    """Return the differences about these contacts."""
    verdict = Verdict()
    judge_contacts(verdict, stories, {"limited": limited, "limited_by": {}})
    return verdict.differences


def test_the_contacts_are_the_same_for_the_same_seed() -> None:
    """A demo that failed can be played again."""
    assert invent_contacts(3) == invent_contacts(3)
    assert invent_contacts(3) != invent_contacts(4)


@pytest.mark.parametrize("seed", range(5))
def test_everything_unusual_happens_to_a_contact(seed: int) -> None:
    """Nothing that the demo promises depends on luck, and no two contacts have one name."""
    contacts = invent_contacts(seed)
    remarks = Counter(contact.remark for contact in contacts)

    assert len(contacts) == len({contact.name for contact in contacts}) == CONTACTS
    assert remarks[HAD] == HAD_NUMBER
    assert {remark: remarks[remark] for remark in UNUSUAL.values()} == Counter(UNUSUAL.values())


def test_the_contacts_speak_the_words_of_the_sandbox() -> None:
    """A word that HubSpot or a vendor does not know would be refused by them."""
    for words in UNUSUAL:
        subject = person(work_email=f"somebody--{words}@acme.test")
        assert subject is not None
        assert chosen(subject)
        for vendor in ("leadmagic", "nyne"):
            assert choose(vendor, subject, 0.5) in TABLE.values()


def test_contacts_as_they_should_be_pass() -> None:
    """One contact got a number, one was edited by a person, one had a number, one has none."""
    nothing: dict[str, Any] = {"status": "not_found", "mobile": None, "provider": None, "deliveries": []}
    without = a_story(lookups=[nothing], writes=[], record={"properties": {}})
    had = a_story(HAD, lookups=[], writes=[], reading={"status": "skipped", "reason": "has a mobile"})

    assert judged(a_story(), a_story(UNUSUAL[BESIDE]), had, without) == []


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (a_story(writes=[]), f"{NUMBER} was found, [] written"),
        (a_story(writes=[{"new": NUMBER}] * 2), f"['{NUMBER}', '{NUMBER}'] written"),
        (a_story(record={"properties": {}}), "None stands there"),
        (a_story(lookups=a_story().lookups * 2), "became 2 lookups"),
        (a_story(HAD), "had a number: 1 lookups, 1 writes"),
        (a_story(UNUSUAL[BESIDE], lookups=a_story().lookups), "our delivery says [None]"),
    ],
)
def test_a_contact_that_ended_otherwise_is_named(story: Story, words: str) -> None:
    """The offence names the contact, and what its field holds instead."""
    (difference,) = judged(story)

    assert difference.startswith("contact 7 (Jane Doe)")
    assert words in difference


def test_a_limit_that_was_not_kept_is_noticed() -> None:
    """HubSpot counts its own 429s."""
    assert judged(limited=2) == ["hubspot answered 429 2 times: {}"]


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, True),
        ({"reading": None}, False),
        ({"reading": {"status": "queued"}}, False),
        ({"lookups": []}, False),  # read, and its lookup is to be seen at the next look
        ({"lookups": [{"finished_at": None, "deliveries": []}]}, False),
        ({"lookups": [{"finished_at": "now", "deliveries": [{"status": "sending"}]}]}, False),
        ({"lookups": [], "reading": {"status": "skipped"}}, True),
    ],
)
def test_a_story_ends_with_its_delivery(changes: dict[str, Any], ended: bool) -> None:
    """Or when the contact was left alone."""
    assert a_story(**changes).has_ended is ended


def test_the_summary_counts_numbers_of_ours() -> None:
    """From the contact to the number on it."""
    words = crm_show.summary([a_story(), a_story(writes=[])])

    assert words == "1 of 2 contacts got a number; from the contact to the number on it: p50 1.50 s, longest 1.50 s."
