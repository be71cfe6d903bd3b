"""LeadMagic: answers at once, 5 credits for a number, nothing for a miss.

https://leadmagic.io/docs/v1/reference/mobile-finder and https://leadmagic.io/docs/v1/making-api-calls
"""

from __future__ import annotations

import hmac
import json
import math
import time
from dataclasses import dataclass
from typing import Any

from sandbox.behaviours import Behaviour, UnknownWordError
from sandbox.latency import latency
from sandbox.leadmagic_answers import Question, failure, success
from sandbox.limiter import DAY, Standing
from sandbox.people import Person, mobile_e164, person
from sandbox.vendor import Settings, Vendor
from sandbox.wire import FOR_EVER, JSON, Answer, Asked, Headers, encode

PRICE = 5
WINDOW_NAMES = {1: "1 second", 60: "1 minute", 3600: "1 hour", DAY: "1 day"}
IDENTIFIERS = ("profile_url", "work_email", "personal_email")
NOT_A_PERSON = ("/company/", "/school/", "/showcase/")


@dataclass(frozen=True, kw_only=True)
class LeadMagicSettings(Settings):
    """A LeadMagic account; the limits are those of the vendor's page."""

    api_key: str = "lm_sandbox"
    match_rate: float = 0.6
    per_minute: int = 3000
    per_day: int = 500_000
    latency: str = "page"
    slow_seconds: float = 60


class InvalidQuestionError(ValueError):
    """A question that gets a 400; *parameters* are the wrong ones."""

    def __init__(self, detail: str, *parameters: str) -> None:
        """Keep *detail* for people, and the names of the *parameters*."""
        super().__init__(detail)
        self.parameters = list(parameters)


class LeadMagic(Vendor):
    """The pretend LeadMagic."""

    name = "leadmagic"
    price = PRICE

    def __init__(self, settings: LeadMagicSettings | None = None) -> None:
        """Open a new account."""
        self._own = settings or LeadMagicSettings()
        super().__init__(self._own)
        # The unversioned paths are the older ones; much public code still uses them.
        self.endpoints = {
            "/v1/people/mobile-finder": {"POST": self.find},
            "/mobile-finder": {"POST": self.find},
            "/v1/credits": {"GET": self.credits},
            "/credits": {"POST": self.credits},
            "/v1/credits/health": {"GET": self.health},
        }

    def find(self, asked: Asked) -> Answer:
        """Answer one paid question, charge for a number, and record both."""
        question, subject, invalid = _read(asked.body)
        answer = self.gate(asked)
        if answer is None and invalid is not None:
            answer = self.refuse(400, detail=str(invalid), param=invalid.parameters)
        if answer is None and subject is not None:
            answer = self._look(question, subject, asked.body)
            self.chaos.mar(answer)
        answer = answer or self.refuse(400)
        self.ledger.note(subject and subject.key, answer)
        return answer

    def credits(self, asked: Asked) -> Answer:
        """Show the balance; free and not limited."""
        if refusal := self._refuse_free(asked):
            return refusal
        balance = self.available()
        body = {
            "credits": balance,
            "is_frozen": False,
            "credits_frozen": 0,
            "credits_liquid": balance,
            "credit_freeze_message": None,
            "credit_freeze_plan_hint": None,
        }
        return self._answer(200, (JSON, encode(body).encode()))

    def health(self, asked: Asked) -> Answer:
        """Say whether the key is right; free and not limited."""
        if refusal := self._refuse_free(asked):
            return refusal
        return self._answer(200, (JSON, b'{"success":true,"status":"ok"}'))

    def refuse_credentials(self, asked: Asked) -> Answer | None:
        """Return the 401 that these headers deserve, None when they are right."""
        key = asked.headers.get(b"x-api-key")
        if key is None:
            return self.refuse(401, "missing_authentication")
        right = hmac.compare_digest(key, self.settings.api_key.encode())
        return self.refuse(401) if self.chaos.faults.bad_credentials or not right else None

    def refuse(self, status: int, code: str = "", **more: Any) -> Answer:
        """Return the problem for this status."""
        if status == 429:
            standing = self.limiter.peek()
            return self.throttle(standing._replace(remaining=0, reset=1.0))
        if status == 402:
            more.setdefault("context", self._shortfall())
        return self._answer(status, failure(status, "", code, **more))

    def throttle(self, standing: Standing) -> Answer:
        """Return a 429 with Retry-After in a header, and in the context."""
        context = {
            "limit": standing.limit,
            "window": WINDOW_NAMES.get(standing.seconds, "1 minute"),
            "remaining": 0,
            "reset_at": math.ceil(time.time() + standing.reset),
            "retry_after_seconds": standing.retry_after,
        }
        answer = self._answer(429, failure(429, "", context=context), standing=standing)
        answer.headers.append((b"retry-after", b"%d" % standing.retry_after))
        return answer

    def _look(self, question: Question, subject: Person, body: bytes) -> Answer:
        """Look for the number of *subject*, and charge for it."""
        try:
            row = self.row(subject)
        except UnknownWordError as exc:
            return self.refuse(400, detail=str(exc))
        if self.available() < PRICE:  # refused before the look, though a miss would be free
            return self.refuse(402)
        reference = f"lm-{self.ledger.counts['posts'] + 1}"  # LeadMagic has no such id; the admin's log needs one
        refused = self.happens_now(row, subject)
        number = ""
        if row.finds and not (refused and row.once):
            number = mobile_e164(subject.key)
            self.ledger.keep(subject.key, body, reference, PRICE, number)
        answer = self._refusal(row) if refused else self._success(row, question, number)
        answer.credits, answer.reference = (PRICE if number else 0), reference
        return answer

    def _success(self, row: Behaviour, question: Question, number: str) -> Answer:
        cost = PRICE if number else 0
        answer = self._answer(200, success(question, row.body, row.form, number, PRICE), cost=cost)
        answer.wait = self._wait(row)
        answer.ending = "cut" if row.cut else "whole"
        return answer

    def _refusal(self, row: Behaviour) -> Answer:
        if row.body == "number":  # the usual problem for the status
            answer = self.refuse(row.status, row.code)
        else:
            answer = self._answer(row.status, failure(row.status, row.body))
        if answer.status >= 500:
            answer.wait = self._latency()
        return answer

    def _wait(self, row: Behaviour) -> float:
        match row.hold:
            case "slow":
                return self._own.slow_seconds
            case "for_ever":
                return FOR_EVER
            case _:
                return self._latency()

    def _answer(
        self, status: int, content: tuple[bytes, bytes], *, cost: float = 0, standing: Standing | None = None
    ) -> Answer:
        """Return an answer with the headers that every answer of LeadMagic has."""
        headers: Headers = (standing or self.limiter.peek()).headers()
        if day := self.limiter.day():
            left, allowed = day
            headers.append((b"x-ratelimit-remaining-daily", b"%d" % left))
            headers.append((b"x-ratelimit-daily-usage-percent", b"%.2f" % (100 * (allowed - left) / allowed)))
        headers.append((b"x-ratelimit-soft-mode", b"false"))
        headers.append((b"x-credits-remaining", b"%.2f" % self.available()))
        headers.append((b"x-credits-cost", b"%d" % cost))
        media_type, body = content
        return Answer(status, body, headers, media_type)

    def _refuse_free(self, asked: Asked) -> Answer | None:
        if self.chaos.strikes(self.chaos.faults.reset_connections):
            return Answer(0, ending="reset")
        return self.refuse_credentials(asked)

    def _shortfall(self) -> dict[str, float]:
        balance = min(self.available(), PRICE - 1)  # the word lm-402 claims a balance that does not suffice
        return {
            "credits_required": PRICE,
            "credits_available": balance,
            "credits_needed": PRICE - balance,
        }

    def _start_over(self) -> None:
        super()._start_over()
        self._latency = latency(self._own.latency, self.dice)


def _read(body: bytes) -> tuple[Question, Person | None, InvalidQuestionError | None]:
    """Return the question, the person it is about, and what is wrong with it."""
    try:
        question = _question(body)
    except InvalidQuestionError as invalid:
        return Question(), None, invalid
    subject = person(
        profile_url=question.profile_url,
        work_email=question.work_email,
        personal_email=question.personal_email,
    )
    try:
        _check(question)
    except InvalidQuestionError as invalid:
        return question, subject, invalid
    return question, subject, None


def _question(body: bytes) -> Question:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidQuestionError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidQuestionError("the body is not a JSON object")
    values = {name: document.get(name) or None for name in IDENTIFIERS}
    wrong = [name for name, value in values.items() if value is not None and not isinstance(value, str)]
    if wrong:
        raise InvalidQuestionError("an identifier is a string", *wrong)
    if not any(values.values()):
        raise InvalidQuestionError("give at least one of profile_url, work_email, personal_email", *IDENTIFIERS)
    return Question(**values)


def _check(question: Question) -> None:
    """Raise InvalidQuestionError if an address or the profile cannot be used."""
    for name, email in (("work_email", question.work_email), ("personal_email", question.personal_email)):
        if email is None:
            continue
        local, at, domain = email.strip().lower().rpartition("@")
        if not (local and at and "." in domain):
            raise InvalidQuestionError(f"{name} is no e-mail address", name)
        if domain == "example.com":  # the vendor refuses placeholders
            raise InvalidQuestionError(f"{name} is a placeholder", name)
    if question.profile_url and any(part in question.profile_url.lower() for part in NOT_A_PERSON):
        raise InvalidQuestionError("profile_url is not a person's profile", "profile_url")
