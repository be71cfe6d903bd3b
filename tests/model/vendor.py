"""Both vendors as the model plays them: they answer when the model says so, and keep books of their own."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

PRICES = {"leadmagic": 5, "nyne": 3}
PATIENCE = 10.0  # seconds for what is on its way to arrive
LATER = {"Retry-After": "600"}
OTHER_REQUEST = "req-0"  # nobody's: the first of ours is req-1
NOTHING_DONE = ("busy", "throttled", "dry", "internal", "refused")  # replies that say so
GARBAGE = b"<html>Welcome!</html>"


@dataclass(eq=False, slots=True)
class NyneJob:
    """What Nyne makes of a question it took."""

    request_id: str
    human: int
    callback_url: str | None
    status: str = "processing"  # processing | completed | failed | forgotten
    mobile: str | None = None

    def body(self) -> dict[str, Any]:
        """The job as polls and callbacks carry it."""
        shown: dict[str, Any] = {"request_id": self.request_id, "status": self.status}
        if self.status == "completed":
            shown["result"] = {"mobile": self.mobile} if self.mobile else {}
        return shown


@dataclass(eq=False, slots=True)
class Question:
    """A paid POST, as it arrived; *reply* is what it is answered with, None when the connection is cut."""

    provider: str
    human: int
    body: dict[str, str]
    callback_url: str | None
    reply: asyncio.Future[web.Response | None]
    nyne_job: NyneJob | None = None
    nothing_done: bool = False  # and we were told so
    # What the model knows of its asker.
    worker: str = ""
    job_id: UUID | None = None
    lookup_id: UUID | None = None
    keys: frozenset[str] = frozenset()
    step: int = 0


@dataclass
class Vendors:
    """LeadMagic and Nyne behind one address; *truth* says for each person who knows a number."""

    truth: Sequence[frozenset[str]] = ()
    questions: list[Question] = field(default_factory=list)
    nyne_jobs: list[NyneJob] = field(default_factory=list)
    charged: Counter[tuple[str, int]] = field(default_factory=Counter)  # credits by provider and person
    given: set[tuple[str, int, str]] = field(default_factory=set)  # provider, person, number
    dry: set[str] = field(default_factory=set)  # whose account has no credits

    def __post_init__(self) -> None:
        """Nothing has arrived yet."""
        self._arrivals: asyncio.Queue[Question] = asyncio.Queue()
        self._numbers = itertools.count(1)

    def app(self) -> web.Application:
        """What listens."""
        app = web.Application()
        app.router.add_post("/leadmagic/v1/people/mobile-finder", self._ask_leadmagic)
        app.router.add_get("/leadmagic/v1/credits", self._leadmagic_account)
        app.router.add_post("/nyne/person/phone", self._ask_nyne)
        app.router.add_get("/nyne/person/phone", self._poll_nyne)
        app.router.add_get("/nyne/usage", self._nyne_account)
        return app

    def begin(self, truth: Sequence[frozenset[str]]) -> None:
        """As if nobody had ever asked; who still waits is cut off."""
        for question in self.open_questions:
            question.reply.set_result(None)
        self.truth = truth
        self._numbers = itertools.count(1)
        self._arrivals = asyncio.Queue()
        for kept in (self.questions, self.nyne_jobs, self.charged, self.given, self.dry):
            kept.clear()

    @property
    def open_questions(self) -> list[Question]:
        """The questions that have no reply yet."""
        return [question for question in self.questions if not question.reply.done()]

    async def arrived(self, count: int) -> list[Question]:
        """The next *count* questions."""
        async with asyncio.timeout(PATIENCE):
            new = [await self._arrivals.get() for _ in range(count)]
        new.sort(key=lambda question: (question.provider, sorted(question.body.items())))
        self.questions += new
        return new

    def reply(self, question: Question, kind: str) -> None:
        """The question is answered in this way, with what work and charges come before it."""
        question.nothing_done = kind in NOTHING_DONE
        if kind == "dry":
            self.dry.add(question.provider)
        make = self._leadmagic_reply if question.provider == "leadmagic" else self._nyne_reply
        question.reply.set_result(make(question, kind))

    def take(self, question: Question) -> NyneJob:
        """Nyne has the question; its 202 may come later, or never."""
        if question.nyne_job is None:
            question.nyne_job = NyneJob(f"req-{next(self._numbers)}", question.human, question.callback_url)
            self.nyne_jobs.append(question.nyne_job)
        return question.nyne_job

    def work(self, job: NyneJob, status: str = "completed") -> None:
        """Nyne's job is over; a number is charged."""
        if job.status == "processing":
            job.status = status
            if status == "completed":
                job.mobile = self._look_up("nyne", job.human)

    def _look_up(self, provider: str, human: int) -> str | None:
        if provider not in self.truth[human]:
            return None
        mobile = f"+1555{PRICES[provider]}{human:06d}"
        self.charged[provider, human] += PRICES[provider]
        self.given.add((provider, human, mobile))
        return mobile

    def _leadmagic_reply(self, question: Question, kind: str) -> web.Response | None:
        match kind:
            case "answer" | "garbage" | "cut after" | "gateway":
                mobile = self._look_up("leadmagic", question.human)
        match kind:
            case "answer":
                credits = PRICES["leadmagic"] if mobile else 0
                return web.json_response({"mobile_number": mobile, "credits_consumed": credits})
            case "garbage":
                return web.Response(body=GARBAGE)
            case "gateway":
                return web.Response(status=504)
            case "internal":
                return web.json_response({"errors": [{"code": "INTERNAL_ERROR"}]}, status=500)
        return _refusal(kind)

    def _nyne_reply(self, question: Question, kind: str) -> web.Response | None:
        match kind:
            case "answer":
                return web.json_response({"success": True, "data": self.take(question).body()}, status=202)
            case "quick":
                self.work(self.take(question))
                return web.json_response(self.take(question).body())
            case "garbage":
                self.take(question)
                return web.Response(status=202, body=GARBAGE)
            case "cut after":
                self.take(question)
            case "gateway":
                self.take(question)
                return web.Response(status=500)
        return _refusal(kind)

    async def _ask_leadmagic(self, request: web.Request) -> web.StreamResponse:
        return await self._ask(request, "leadmagic")

    async def _ask_nyne(self, request: web.Request) -> web.StreamResponse:
        return await self._ask(request, "nyne")

    async def _ask(self, request: web.Request, provider: str) -> web.StreamResponse:
        body = await request.json()
        callback_url = body.pop("callback_url", None)
        human = re.search(r"jane[- ]?(\d+)", " ".join(body.values()), re.IGNORECASE)
        assert human is not None, body
        reply: asyncio.Future[web.Response | None] = asyncio.get_running_loop().create_future()
        self._arrivals.put_nowait(Question(provider, int(human[1]), body, callback_url, reply))
        answer = await reply
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return answer

    async def _poll_nyne(self, request: web.Request) -> web.StreamResponse:
        for job in self.nyne_jobs:
            if job.request_id == request.query["request_id"] and job.status != "forgotten":
                return web.json_response(job.body())
        return web.json_response({"error": "request_not_found"}, status=404)

    async def _leadmagic_account(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"credits": 0 if "leadmagic" in self.dry else 1000})

    async def _nyne_account(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"limits": {"available_credits": 0 if "nyne" in self.dry else 1000}})


def _refusal(kind: str) -> web.Response | None:
    match kind:
        case "busy":
            return web.Response(status=503, headers=LATER)
        case "throttled":
            return web.json_response({"error": "rate_limit_exceeded"}, status=429, headers=LATER)
        case "dry":
            return web.json_response({"error": "insufficient_credits"}, status=402)
        case "refused":
            return web.json_response({"error": "validation_error"}, status=400)
    return None  # cut
