"""Compare the contacts in the pretend HubSpot with their lookups, whose numbers `console.demo.verdict` judges."""

from __future__ import annotations

from collections.abc import Sequence

from console.demo.books import Json
from console.demo.crm_books import Story
from console.demo.crm_cast import BESIDE, HAD, UNUSUAL
from console.demo.verdict import Verdict

LEFT_TO_PEOPLE = "a person wrote at the same time; left to people"


def judge_contacts(verdict: Verdict, stories: Sequence[Story], stats: Json) -> None:
    """Compare every contact, and check that HubSpot refused no request because of a limit."""
    for story in stories:
        _judge_contact(verdict, story)
    verdict.hold(
        "vendors never answered 429 by their own limit",
        is_so=stats["limited"] == 0,
        else_say=f"hubspot answered 429 {stats['limited']} times: {stats['limited_by']}",
    )


def _judge_contact(verdict: Verdict, story: Story) -> None:
    who = f"contact {story.id} ({story.contact.name})"
    if story.contact.remark == HAD:
        reason = story.reading["reason"] if story.reading else "it was not read"
        verdict.hold(
            "contacts that had a number were left alone",
            is_so=not story.lookups and not story.writes and reason == "has a mobile",
            else_say=f"{who} had a number: {len(story.lookups)} lookups, {len(story.writes)} writes; {reason}",
        )
        return
    verdict.hold(
        "contacts became one lookup each, our own writes none",
        is_so=len(story.lookups) == 1,
        else_say=f"{who} became {len(story.lookups)} lookups",
    )
    found = story.lookup["mobile"] if story.lookup else None
    written = [write["new"] for write in story.writes]
    verdict.hold(
        "contacts have the number that was found, written once" if found else "contacts without a number stayed empty",
        is_so=written == ([found] if found else []) and story.number == found,
        else_say=f"{who}: {found} was found, {written} written, and {story.number} stands there",
    )
    if story.contact.remark == UNUSUAL[BESIDE]:
        reasons = [one["reason"] for one in story.lookup["deliveries"]] if story.lookup else []
        verdict.hold(
            "writes beside a person's were reported",
            is_so=LEFT_TO_PEOPLE in reasons,
            else_say=f"{who}: a person wrote at the same time, and our delivery says {reasons}",
        )
