"""Compare how everything ended with the sandbox's books: lookup by lookup, person by person, credit by credit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.demo.books import Books, Json

CHAIN = ("leadmagic", "nyne")
NEEDS_MORE_THAN_A_NAME = "leadmagic"


@dataclass(frozen=True, slots=True)
class Truth:
    """The end that lookups about one person must have, by what the vendors know and charge."""

    status: str
    mobile: str | None = None
    provider: str | None = None
    credits: float = 0
    possibly_charged: float = 0  # charged, but the answer never reached us


@dataclass(slots=True)
class Verdict:
    """The comparisons made, and all differences."""

    compared: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def hold(self, what: str, *, is_so: bool, else_say: str, times: int = 1) -> None:
        """Add *times* comparisons to the count, and note the difference if *is_so* is false."""
        self.compared[what] += times
        if not is_so:
            self.differences.append(else_say)


async def judge(books: Books, lookups: Sequence[Json], answers: Sequence[Json], forged: Sequence[int]) -> Verdict:
    """Compare everything that ended with the sandbox's own books."""
    verdict = Verdict()
    people = _by_person(lookups)
    truths = await asyncio.gather(*(_truth(books, group[0]["person"]) for group in people))
    for group, truth in zip(people, truths, strict=True):
        for lookup in group:
            _judge_lookup(verdict, lookup, truth)
        leaders = [lookup for lookup in group if lookup["reused_from"] is None]
        verdict.hold(
            "people were asked about once, however many events named them",
            is_so=len(leaders) == 1,
            else_say=f"{_who(group[0])}: {len(leaders)} of {len(group)} lookups had a search of their own",
        )
    _judge_answers(verdict, lookups, answers)
    for vendor in CHAIN:
        await _judge_vendor(verdict, books, vendor)
    for status in forged:
        else_say = f"a forged callback was answered with {status}"
        verdict.hold("forged callbacks were refused", is_so=status == 404, else_say=else_say)
    return verdict


def _by_person(lookups: Sequence[Json]) -> list[list[Json]]:
    people: dict[tuple[Any, ...], list[Json]] = {}
    for lookup in lookups:
        people.setdefault(tuple(lookup["person"].values()), []).append(lookup)
    return list(people.values())


async def _truth(books: Books, person: Json) -> Truth:
    """Walk the chain through the vendors' own books: the first vendor with the number ends it."""
    possibly = 0.0
    for provider in CHAIN:
        known_by = {name for name, value in person.items() if value is not None} - {"name", "company"}
        if provider == NEEDS_MORE_THAN_A_NAME and not known_by:
            continue
        truth = await books.truth(provider, person)
        if truth["found"]:
            return Truth("found", truth["mobile_e164"], provider, truth["credits"], possibly)
        possibly += truth["credits"]
    return Truth("unresolved" if possibly else "not_found", possibly_charged=possibly)


def _judge_lookup(verdict: Verdict, lookup: Json, truth: Truth) -> None:
    followed = lookup["reused_from"] is not None
    should = Truth(
        truth.status,
        truth.mobile,
        truth.provider,
        0 if followed else truth.credits,
        0 if followed else truth.possibly_charged,
    )
    is_ = Truth(
        lookup["status"],
        lookup["mobile"],
        lookup["provider"],
        lookup["credits"],
        sum(job["possibly_charged"] for job in lookup["jobs"]),
    )
    verdict.hold(
        "lookups ended as the vendors' books say: status, number, provider, credits",
        is_so=is_ == should,
        else_say=f"{_who(lookup)}: should be {_told(should)}; is {_told(is_)}. Reason: {lookup['reason']}",
    )


def _judge_answers(verdict: Verdict, lookups: Sequence[Json], answers: Sequence[Json]) -> None:
    """Check that an event sent twice made one lookup, and that every accepted lookup exists."""
    by_event: dict[str, list[Json]] = {}
    for answer in answers:
        by_event.setdefault(answer["event_id"], []).append(answer)
    for event_id, told in by_event.items():
        verdict.hold(
            "events made one lookup each, however often they were sent",
            is_so=len({one["id"] for one in told}) == 1 and sum(not one["duplicate"] for one in told) == 1,
            else_say=f"event {event_id}, sent {len(told)} times, was answered with {told}",
        )
    there = {lookup["id"] for lookup in lookups}
    for id in {answer["id"] for answer in answers}:
        verdict.hold(
            "accepted lookups exist",
            is_so=id in there,
            else_say=f"lookup {id} was accepted, but does not exist",
        )


async def _judge_vendor(verdict: Verdict, books: Books, vendor: str) -> None:
    ours, theirs, stats = await asyncio.gather(books.usage(vendor), books.charges(vendor), books.stats(vendor))
    charged = theirs["totals"]["credits"]
    verdict.hold(
        "vendors charged what /v1/usage says, to the credit",
        is_so=ours["charged"] + ours["possibly_charged"] == charged and ours["reserved"] == 0,
        else_say=f"{vendor} charged {charged:g} credits; our /v1/usage says {ours}",
    )
    for person, times in Counter(entry["person"] for entry in theirs["entries"]).items():
        verdict.hold(
            "charges, at most one for a person by each vendor",
            is_so=times == 1,
            else_say=f"{vendor} charged {times} times for {person}",
        )
    verdict.hold(
        "vendors never answered 429 by their own limit",
        is_so=stats["limited"] == 0,
        else_say=f"{vendor} answered 429 {stats['limited']} times",
    )
    if stats["forged_sent"]:
        verdict.hold(
            "forged callbacks were refused",
            is_so=stats["forged_accepted"] == 0,
            times=stats["forged_sent"],
            else_say=f"{stats['forged_accepted']} of {stats['forged_sent']} forged callbacks were accepted",
        )


def _who(lookup: Json) -> str:
    person = lookup["person"]
    known = next(person[name] for name in ("profile_url", "work_email", "personal_email", "name") if person[name])
    return f"lookup {lookup['id']} ({lookup['record_id']}, {known})"


def _told(truth: Truth) -> str:
    number = f" {truth.mobile} by {truth.provider}" if truth.mobile else ""
    return f"{truth.status}{number}, {truth.credits:g} credits, {truth.possibly_charged:g} possibly"


def still_open(lookups: Sequence[Json]) -> Iterator[Json]:
    """Yield the lookups that have not ended."""
    return (lookup for lookup in lookups if lookup["finished_at"] is None)
