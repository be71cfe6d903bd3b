"""Nyne: accepts a question with 202, works on it, calls back, and can be polled.

https://api.nyne.ai/documentation/person/phone
"""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from sandbox import nyne_answers as answers
from sandbox.behaviours import Behaviour, UnknownWordError
from sandbox.callbacks import Callbacks, refused_because
from sandbox.limiter import Standing
from sandbox.nyne_jobs import Job, Jobs
from sandbox.people import Person, person
from sandbox.vendor import Settings, Vendor
from sandbox.wire import GATEWAY_PAGE, HTML, Answer, Asked, encode

HTML_POLLS = 2  # polls about an `html` person that get the gateway's page
FIELDS = ("name", "company", "email", "social_media_url", "callback_url")
GATEWAY_STATUSES = frozenset({502, 504})


@dataclass(frozen=True, kw_only=True)
class NyneSettings(Settings):
    """A Nyne account; the limits count POST and GET together."""

    api_key: str = "nyne_sandbox"
    api_secret: str = "nyne_sandbox_secret"  # noqa: S105
    match_rate: float = 0.7
    per_minute: int = 100
    per_hour: int = 1000
    credits_per_found: float = 3
    work_seconds: float = 3
    late_seconds: float = 90
    error_shape: answers.ErrorShape = "nested"
    refuse_private_callbacks: bool = False


class InvalidQuestionError(ValueError):
    """A question that gets a 400 with this code."""

    def __init__(self, code: str, message: str) -> None:
        """Keep *code* for programs, *message* for people."""
        super().__init__(message)
        self.code = code


class Question(NamedTuple):
    """A question that can be accepted."""

    subject: Person
    row: Behaviour
    callback_url: str | None


class Nyne(Vendor):
    """The pretend Nyne."""

    name = "nyne"

    def __init__(self, settings: NyneSettings | None = None) -> None:
        """Open a new account."""
        self._own = settings or NyneSettings()
        self.price = self._own.credits_per_found
        super().__init__(self._own)
        self.endpoints = {
            "/person/phone": {"POST": self.ask, "GET": self.poll},
            "/usage": {"GET": self.usage},
        }

    def ask(self, asked: Asked) -> Answer:
        """Accept or refuse one paid question, and record it."""
        fields, subject, invalid = _read(asked.body)
        answer = self.gate(asked)
        if answer is None and invalid is not None:
            answer = self.refuse(400, invalid.code, str(invalid))
        if answer is None and subject is not None:
            answer = self._take(subject, fields, asked.body)
            self.chaos.mar(answer)
        answer = answer or self.refuse(400)
        self.ledger.note(subject and subject.key, answer)
        return answer

    def poll(self, asked: Asked) -> Answer:
        """Answer one free question about a job; it counts against the limit like a paid one."""
        self.ledger.counts["polls"] += 1
        if answer := self.gate(asked):
            self.ledger.counts["answers_429"] += answer.status == 429
            return answer
        request_id = parse_qs(asked.query.decode("latin-1")).get("request_id", [""])[0]
        if not request_id:
            return self.refuse(400, "missing_parameters", "request_id is missing.")
        job = self.jobs.find(request_id)
        answer = self._progress(job) if job else self.refuse(404, "request_not_found")
        if self.chaos.strikes(self.chaos.faults.slow_bytes):
            answer.ending = "trickle"
        return answer

    def usage(self, asked: Asked) -> Answer:
        """Show credits and counts of a month; free and not limited."""
        if self.chaos.strikes(self.chaos.faults.reset_connections):
            return Answer(0, ending="reset")
        if refusal := self.refuse_credentials(asked):
            return refusal
        now = datetime.now(UTC)
        query = parse_qs(asked.query.decode("latin-1"))
        month, year = query.get("month", [str(now.month)])[0], query.get("year", [str(now.year)])[0]
        if not (month.isdecimal() and 1 <= int(month) <= 12):
            return self.refuse(400, "invalid_month", "month is not 1 to 12.")
        if not (year.isdecimal() and len(year) == 4):
            return self.refuse(400, "invalid_year", "year is not a year.")
        data = self._usage(int(month), int(year))
        body = {"success": True, "data": data, "timestamp": answers.stamp("mixed")}
        return self._answer(200, encode(body).encode())

    def refuse_credentials(self, asked: Asked) -> Answer | None:
        """Return the 401 that these headers deserve, None when they are right."""
        key, secret = asked.headers.get(b"x-api-key"), asked.headers.get(b"x-api-secret")
        if key is None:
            return self.refuse(401, "missing_api_key")
        if secret is None:
            return self.refuse(401, "missing_api_secret")
        if self.chaos.faults.bad_credentials or not hmac.compare_digest(key, self._own.api_key.encode()):
            return self.refuse(401, "invalid_api_key")
        right = hmac.compare_digest(secret, self._own.api_secret.encode())
        return None if right else self.refuse(401, "invalid_api_secret")

    def refuse(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return the error for this status, in the shape that was chosen."""
        if status in GATEWAY_STATUSES:
            return Answer(status, GATEWAY_PAGE, media_type=HTML)
        if status == 429 and code != "insufficient_credits":
            return self.throttle(self.limiter.peek()._replace(remaining=0, reset=1.0))
        return self._answer(status, answers.error(status, code, message, self._own.error_shape))

    def throttle(self, standing: Standing) -> Answer:
        """Return a 429 with Retry-After."""
        answer = Answer(429, answers.error(429, "", "", self._own.error_shape), standing.headers())
        answer.headers.append((b"retry-after", b"%d" % standing.retry_after))
        return answer

    def stats(self) -> dict[str, Any]:
        """Return the ledger's counts, and the number of jobs and callbacks under way."""
        under_way = {
            "jobs_unfinished": self.jobs.unfinished(),
            "callbacks_pending": self.callbacks.pending(),
        }
        return super().stats() | under_way

    def reset(self) -> None:
        """Go back to the state at the start; jobs and callbacks under way are given up."""
        self.jobs.clear()
        self.callbacks.cancel()
        session = self.callbacks.session
        super().reset()
        self.callbacks.session = session

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the vendor able to send callbacks inside the block."""
        await self.callbacks.open()
        async with super().open():
            yield
        self.jobs.clear()
        await self.callbacks.close()

    def _take(self, subject: Person, fields: dict[str, str], body: bytes) -> Answer:
        """Return the 202, or the refusal in its place."""
        try:
            row = self.row(subject)
        except UnknownWordError as exc:
            return self.refuse(400, "invalid_parameters", str(exc))
        callback_url = fields.get("callback_url")
        if callback_url is not None:
            reason = refused_because(callback_url, private=self._own.refuse_private_callbacks)
            if reason:
                return self.refuse(400, "invalid_callback_url", reason)
        if self.available() <= 0:  # a positive balance is needed, though a miss would be free
            return self.refuse(402)
        if self.happens_now(row, subject):
            if row.body == "html":
                return Answer(row.status, GATEWAY_PAGE, self.limiter.peek().headers(), HTML)
            return self.refuse(row.status, row.code)
        return self._accept(Question(subject, row, callback_url), body)

    def _accept(self, question: Question, body: bytes) -> Answer:
        row = question.row
        mean = self._own.late_seconds if row.work == "slow" else self._own.work_seconds
        job = self.jobs.accept(question.subject, row, body, question.callback_url, mean)
        before = None
        # Forget only jobs that are still to be answered; `none` is answered at once.
        job.forgotten = row.work != "none" and self.chaos.strikes(self.chaos.faults.forget_requests)
        if row.work == "none":
            self.jobs.finish(job)
            self.callbacks.start(job)
        elif row.callback == "early" or self.chaos.strikes(self.chaos.faults.early_callbacks):
            self.jobs.finish(job)
            before = self.callbacks.send(job)
        else:
            self.jobs.work_on(job, self.callbacks.start)
        answer = self._answer(202, answers.accepted(job))
        answer.reference = job.request_id
        answer.before = before
        answer.ending = "cut" if row.cut else "whole"
        return answer

    def _progress(self, job: Job) -> Answer:
        job.polls += 1
        if job.row.poll == "html" and job.polls <= HTML_POLLS:
            return Answer(200, GATEWAY_PAGE, media_type=HTML)
        progress = job.progress()
        if progress != "finished":
            return self._answer(200, answers.running(job, progress))
        return self._answer(404 if job.row.poll == "missing" else 200, answers.finished(job))

    def _usage(self, month: int, year: int) -> dict[str, Any]:
        used, posts = self.ledger.charged, self.ledger.counts["posts"]
        return {
            "month": month,
            "year": year,
            "period": f"{year}-{month:02d}",
            "credits_used": {"total": used, "search": 0, "enrichment": used},
            "requests_count": {"total": posts, "search": 0, "enrichment": posts},
            "limits": {
                "monthly_allocation": self.settings.balance,
                "available_credits": max(0, self.available()),
                "is_unlimited": False,
            },
            "breakdown": {"person_phone": used},
        }

    def _answer(self, status: int, body: bytes) -> Answer:
        return Answer(status, body, self.limiter.peek().headers())

    def _start_over(self) -> None:
        super()._start_over()
        self.jobs = Jobs(self.ledger, self.dice, self.price)
        self.callbacks = Callbacks(self.ledger, self.jobs, self.chaos, self._own.late_seconds)


def _read(body: bytes) -> tuple[dict[str, str], Person | None, InvalidQuestionError | None]:
    """Return the fields, the person they are about, and what is wrong with them."""
    try:
        fields = _fields(body)
    except InvalidQuestionError as invalid:
        return {}, None, invalid
    subject = person(
        profile_url=fields.get("social_media_url"),
        work_email=fields.get("email"),
        name=fields.get("name"),
        company=fields.get("company"),
    )
    if subject is None:
        message = "Give email, social_media_url or name."
        return fields, None, InvalidQuestionError("missing_parameters", message)
    local, _, domain = fields.get("email", "a@b.c").strip().lower().rpartition("@")
    if not local or "." not in domain or domain == "example.com":  # placeholders are refused as fake
        message = "email is malformed or a placeholder."
        return fields, subject, InvalidQuestionError("invalid_email", message)
    return fields, subject, None


def _fields(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidQuestionError("invalid_json", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise InvalidQuestionError("invalid_json", "The body is not a JSON object.")
    fields = {name: document[name] for name in FIELDS if document.get(name)}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise InvalidQuestionError("invalid_parameters", f"{name} is not a string.")
    return fields
