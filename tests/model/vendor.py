"""The vendors: the person they mean by a question, their answers and times, and their charges."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from enrichment.contact import Contact
from enrichment.ending import Ending
from enrichment.states import AnsweredBy
from store.claim import ClaimedJob
from tests.model.journal import Journal, Outcome, Question, Telling
from tests.model.people import Human, Town, identifiers

PRICES = {"leadmagic": Decimal(5), "nyne": Decimal(3)}


@dataclass(slots=True)
class Waiting:
    """A question that a vendor may still answer."""

    question: Question
    attempt: int
    request_id: str | None = None


@dataclass
class Vendors:
    """Both vendors as one process meets them."""

    town: Town
    chance: random.Random
    journal: Journal
    waiting: list[Waiting] = field(default_factory=list)  # accepted: the answer comes
    late: list[Waiting] = field(default_factory=list)  # given up by us: an answer may come all the same
    silent: list[Waiting] = field(default_factory=list)  # asked by a submitter that died

    def ask(self, provider: str, job: ClaimedJob, began: float) -> Question:
        """Look the contact up, and write the question down."""
        human = self._meant(job.contact)
        number = human.number(provider) if human else None
        question = self.journal.questions.setdefault(job.id, Question(job.id, job.search_id, provider, number))
        question.number = number
        self.journal.tellings.setdefault(job.id, []).append(Telling("asked", began, time.time()))
        return question

    def charge(self, question: Question) -> Decimal:
        """Charge a number that was found, once."""
        question.charged = PRICES[question.provider] if question.number else Decimal(0)
        return question.charged

    @asynccontextmanager
    async def telling(self, job_id: UUID, outcome: Outcome) -> AsyncIterator[None]:
        """Note the time from which the store may know *outcome*, and, after the block, from which it does."""
        telling = Telling(outcome, time.time())
        self.journal.tellings.setdefault(job_id, []).append(telling)
        yield
        telling.done = time.time()

    def answer(self, question: Question, by: AnsweredBy, region: str | None, **more: object) -> Ending:
        """Return the answer to *question* as an ending; a national number without a region is kept as it is."""
        number, charged = question.number, self.charge(question)
        keeps = number is not None and by == "inline" and region is None and self.chance.random() < 0.1
        raw = None if number is None else "0" + number.removeprefix("+44") if keeps else number
        mobile = None if keeps else number
        return Ending(
            job_id=question.job_id, state="answered", answered_by=by, mobile=mobile, mobile_raw=raw, charged=charged,
            region=None if keeps else "GB", needs_region=keeps, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def _meant(self, contact: Contact) -> Human | None:
        """Return the person meant by the profile, else by the first known address; often None."""
        chance, holders = self.chance, self.town.holders
        if contact.profile_url and chance.random() < (0.8 if contact.slug else 0.5):
            return self.town.humans[holders[contact.profile_url][0]]
        for email in (contact.work_email, contact.personal_email):
            if email and chance.random() < 0.35:
                return self.town.humans[chance.choice(holders[email])]
        if not identifiers(contact) and chance.random() < 0.2:
            return chance.choice(self.town.humans)
        return None


def said(ending: Ending) -> Outcome:
    """Return the journal's outcome for an answer; a number that could not be read covers as "nothing" does."""
    return "number" if ending.mobile else "nothing"


def take_any(things: list[Waiting], chance: random.Random) -> Waiting | None:
    """Remove and return any of *things*; None when there are none."""
    return things.pop(chance.randrange(len(things))) if things else None
