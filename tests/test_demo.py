"""`ringback demo` plays, judges, notices what is wrong, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from console.demo import show
from console.demo.books import Books
from console.demo.cast import FEWEST, UNUSUAL, invent
from console.demo.crm_cast import CONTACTS, invent_contacts
from console.demo.verdict import Verdict, judge
from rig.postgres import PREFIX
from rig.processes import environment
from sandbox.behaviours import TABLE, choose
from sandbox.people import person
from tests.commands import RINGBACK, running
from tests.forked import run

Json = dict[str, Any]

TEMPORARY = Path("/tmp")  # noqa: S108  where the demo puts its database


def leftovers(pid: int) -> list[str]:
    """Processes and files of the demo that ran as *pid*."""
    mark = f"{PREFIX}{pid}-"
    found = [str(path) for path in TEMPORARY.glob(f"{mark}*")]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in (line := command.read_bytes().decode(errors="replace")):
                found.append(line)
        except OSError:
            continue  # it ended while we looked
    return found


async def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    """Every lookup ends as the vendors' books say, and no process and no file remains."""
    async with running([*RINGBACK, "demo", "--events", str(FEWEST)], environment(), tmp_path) as demo:
        code = await demo.ends(within=60)

    said = "\n".join(demo.lines)
    assert code == 0, said
    assert "All is as the vendors' own books say" in said
    assert re.search(r"From the event to the number: p50 [\d.]+ s, p99 [\d.]+ s", said)
    assert re.search(
        rf"\d+ of {CONTACTS} contacts got a number; from the contact to the number on it: p50 [\d.]+", said
    )
    assert re.search(r"\d+ contacts have the number that was found, written once", said)
    assert leftovers(demo.process.pid) == []


async def test_the_demo_of_a_crm_shows_every_contact_with_its_number(tmp_path: Path) -> None:
    """Without events: each contact, its number and where it came from; and the same verdict."""
    command = ("demo", "--crm", "hubspot", "--seed", "3")
    demo = await run("console", *command, cwd=tmp_path, env=environment(COLUMNS="140"), within=60, starts_forks=True)

    said = demo.out
    assert (demo.code, demo.err) == (0, ""), said
    assert [one.name for one in invent_contacts(3) if not re.search(rf"{one.name} +│ (\+1\d{{10}} | +)", said)] == []
    assert "leadmagic, inline" in said
    assert "nyne, callback" in said
    assert "All is as the vendors' own books say" in said
    assert "200 events" not in said
    assert leftovers(demo.pid) == []


async def test_the_demo_tidies_up_when_it_is_called_off(tmp_path: Path) -> None:
    """Ctrl-C in the middle stops everything that was started, and says so."""
    async with running([*RINGBACK, "demo"], environment(), tmp_path) as demo:

        async def plays() -> bool | None:
            return any("submitter" in line for line in children(demo.process.pid)) or None

        await demo.until(plays)
        started = children(demo.process.pid)
        code = await demo.ends(signal.SIGINT)

    assert len(started) >= 4
    assert code == 1
    assert "tidied up" in demo.lines[-1]
    assert leftovers(demo.process.pid) == []


def children(pid: int) -> list[str]:
    """The command lines of the processes that *pid* started."""
    found = []
    for of_a_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in of_a_thread.read_text().split():
            with suppress(OSError):  # it has ended
                found.append(Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_the_cast_is_the_same_for_the_same_seed() -> None:
    """A demo that failed can be played again."""
    assert invent(200, 3) == invent(200, 3)
    assert invent(200, 3) != invent(200, 4)


@pytest.mark.parametrize("events", [FEWEST, 200, 1000])
def test_the_cast_has_as_many_events_as_asked_for(events: int) -> None:
    """Repetitions are among them."""
    cast = invent(events, 7)

    ids = Counter(event["event_id"] for event in (*cast.first, *cast.later))
    assert len(cast) == events
    assert sum(times - 1 for times in ids.values()) == cast.repeated


def test_everything_unusual_happens_even_in_the_smallest_demo() -> None:
    """Nothing that the demo promises depends on luck."""
    cast = invent(FEWEST, 7)
    identifiers = " ".join(str(value) for event in cast.first for value in event.values())

    assert [word for word in UNUSUAL if word not in identifiers] == []


def test_the_cast_speaks_the_words_of_the_sandbox() -> None:
    """A word that the vendors do not know would be refused by them."""
    for words in UNUSUAL:
        subject = person(profile_url=f"somebody--{words}")
        assert subject is not None
        for vendor in ("leadmagic", "nyne"):
            assert choose(vendor, subject, 0.5) in TABLE.values()


class FakeBooks:
    """One person, whom LeadMagic does not know and Nyne does: consistent, until a test changes something."""

    def __init__(self) -> None:
        self.number: Json = {"found": True, "mobile_e164": "+14155550100", "credits": 3}
        self.none: Json = {"found": False, "mobile_e164": None, "credits": 0}
        self.used: Json = {"reserved": 0, "charged": 3, "possibly_charged": 0}
        self.charged: list[Json] = [{"person": "slug:jane", "credits": 3}]
        self.counts: Json = {"limited": 0, "forged_sent": 1, "forged_accepted": 0}

    async def truth(self, vendor: str, person: Json) -> Json:
        return self.number if vendor == "nyne" else self.none

    async def usage(self, vendor: str) -> Json:
        return self.used if vendor == "nyne" else {"reserved": 0, "charged": 0, "possibly_charged": 0}

    async def charges(self, vendor: str) -> Json:
        entries = self.charged if vendor == "nyne" else []
        return {"totals": {"credits": sum(entry["credits"] for entry in entries)}, "entries": entries}

    async def stats(self, vendor: str) -> Json:
        return self.counts


def a_lookup(**changes: Any) -> Json:
    """Jane's lookup, as it should be."""
    jobs = [
        {"provider": "leadmagic", "answered_by": "inline", "possibly_charged": 0},
        {"provider": "nyne", "answered_by": "callback", "possibly_charged": 0},
    ]
    person = {"profile_url": "linkedin.com/in/jane", "work_email": None, "name": "Jane"}
    found = {"status": "found", "mobile": "+14155550100", "provider": "nyne", "credits": 3, "reason": None}
    times = {"created_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:02Z"}
    ids = {"id": "1", "record_id": "crm-1", "reused_from": None}
    return {**ids, **found, **times, "person": person, "jobs": jobs, **changes}


JOINED = a_lookup(id="2", record_id="crm-2", reused_from="1", credits=0, jobs=[])
ANSWERS = [{"id": "1", "event_id": "a", "duplicate": False}, {"id": "2", "event_id": "b", "duplicate": False}]


async def judged(books: FakeBooks, lookups: list[Json], answers: list[Json], forged: list[int]) -> Verdict:
    """The verdict about these."""
    return await judge(cast("Books", books), lookups, answers, forged)


async def test_what_is_as_it_should_be_passes() -> None:
    """One person was asked about once; another lookup shared the answer for free."""
    verdict = await judged(FakeBooks(), [a_lookup(), JOINED], ANSWERS, [404])

    assert verdict.differences == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mobile": "+14155550199"}, "+14155550199"),
        ({"status": "not_found", "mobile": None, "provider": None, "credits": 0}, "is not_found"),
        ({"credits": 6}, "6 credits"),
        ({"provider": "leadmagic"}, "by leadmagic"),
    ],
)
async def test_a_lookup_that_ended_otherwise_is_named(changes: Json, words: str) -> None:
    """The offence names the lookup, its right end and its real one."""
    verdict = await judged(FakeBooks(), [a_lookup(**changes), JOINED], ANSWERS, [404])

    (difference,) = [one for one in verdict.differences if "crm-1" in one]
    assert "should be found +14155550100 by nyne, 3 credits" in difference
    assert words in difference


async def test_two_charges_for_one_person_are_noticed() -> None:
    """Even where our own books agree with the vendor's."""
    books = FakeBooks()
    books.charged *= 2
    books.used["charged"] = 6

    verdict = await judged(books, [a_lookup(), JOINED], ANSWERS, [404])

    assert verdict.differences == ["nyne charged 2 times for slug:jane"]


async def test_a_lookup_that_is_lost_is_noticed() -> None:
    """It was accepted: it has to be there."""
    verdict = await judged(FakeBooks(), [a_lookup()], ANSWERS, [404])

    assert verdict.differences == ["lookup 2 was accepted, but does not exist"]


async def test_a_credit_that_is_missing_is_noticed() -> None:
    """Charged and possibly charged together are what the vendor charged, to the credit."""
    books = FakeBooks()
    books.used["charged"] = 0

    verdict = await judged(books, [a_lookup(), JOINED], ANSWERS, [404])

    assert len(verdict.differences) == 1
    assert verdict.differences[0].startswith("nyne charged 3 credits; our /v1/usage says")


async def test_a_forged_callback_that_was_taken_is_noticed() -> None:
    """Ours, or one of the sandbox's."""
    books = FakeBooks()
    books.counts["forged_accepted"] = 1

    verdict = await judged(books, [a_lookup(), JOINED], ANSWERS, [200])

    assert verdict.differences[-1] == "a forged callback was answered with 200"
    assert "1 of 1 forged callbacks were accepted" in verdict.differences


async def test_an_event_that_made_two_lookups_is_noticed() -> None:
    """The same event again has the same lookup."""
    answers = [*ANSWERS[:1], ANSWERS[1] | {"event_id": "a"}]

    verdict = await judged(FakeBooks(), [a_lookup(), JOINED], answers, [404])

    assert len(verdict.differences) == 1
    assert verdict.differences[0].startswith("event a, sent 2 times, was answered with")


def test_the_table_says_how_each_was_answered() -> None:
    """By the job whose number it is; `no answer` if none came; `reused` if no provider was asked."""
    unanswered = [{"provider": "nyne", "answered_by": None, "possibly_charged": 3}]

    assert show.answered_by(a_lookup()) == "callback"
    assert show.answered_by(JOINED) == "reused"
    assert show.answered_by(a_lookup(status="unresolved", provider=None, jobs=unanswered)) == "no answer"


@pytest.mark.parametrize(("share", "seconds"), [(50, 50.5), (99, 99.01)])
def test_percentiles(share: int, seconds: float) -> None:
    """Of a hundred lookups that took one second, two, three, to a hundred."""
    lookups = [a_lookup(finished_at=f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z") for n in range(1, 101)]

    assert show.percentile(lookups, share) == pytest.approx(seconds)
