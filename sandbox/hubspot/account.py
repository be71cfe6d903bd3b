"""The pretend HubSpot: an ASGI app with one account, the handling of a request, and an admin of its own."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote
from zoneinfo import ZoneInfo

from starlette.types import Receive, Scope, Send

from sandbox.hubspot import admin, schema
from sandbox.hubspot.answers import failure, missing_scopes, no_such_path
from sandbox.hubspot.calls import OAUTH, READ, SCHEMAS_READ, SCHEMAS_WRITE, SCOPES, WRITE, Call, Refusal, Token
from sandbox.hubspot.conduct import Conduct
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.faults import Chaos
from sandbox.hubspot.journal import Journal, Received
from sandbox.hubspot.limits import Day, Limits
from sandbox.hubspot.people_at_work import PeopleAtWork
from sandbox.hubspot.portal import Happening, Portal
from sandbox.hubspot.publisher import Publisher
from sandbox.hubspot.reading import Reading
from sandbox.hubspot.records import Contact
from sandbox.hubspot.search import Index
from sandbox.hubspot.times import now
from sandbox.hubspot.webhooks import Webhooks
from sandbox.hubspot.writing import Writing
from sandbox.wire import Answer, Asked, deliver, read

VERSION = "2026-09"
OBJECTS = f"/crm/objects/{VERSION}/contacts"
PROPERTIES = f"/crm/properties/{VERSION}/contacts"
NAMED = "{}"


@dataclass(frozen=True, kw_only=True)
class HubSpotSettings:
    """A HubSpot account with one app; a limit of 0 is none."""

    access_token: str = "hs_sandbox"  # noqa: S105
    portal_id: int = 62515
    app_id: int = 54321
    time_zone: str = "UTC"
    per_ten_seconds: int = 100
    searches_per_second: int = 5
    per_day: int = 250_000
    index_lag: tuple[float, float] = (1, 30)
    latency: float = 0
    slow_seconds: float = 60
    late_seconds: float = 90
    batch_seconds: float = 0.05
    retry_seconds: float = 1
    subscription: Subscription = field(default_factory=Subscription)
    seed: int = 0


class Endpoint(NamedTuple):
    """One address: the scopes of which a caller needs one, and whether it is a search."""

    method: str
    path: str
    work: Callable[[Call], Answer]
    scopes: tuple[str, ...]
    search: bool = False


class HubSpot:
    """The pretend HubSpot."""

    def __init__(self, settings: HubSpotSettings | None = None) -> None:
        """Open a new account."""
        self.settings = settings or HubSpotSettings()
        self._start_over()
        self.admin = admin.create_app(self)

    def reset(self) -> None:
        """Go back to the state at the start; events on their way are given up."""
        self.webhooks.cancel()
        session = self.webhooks.session
        self._start_over()
        self.webhooks.session = session

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the account able to send webhooks inside the block."""
        await self.webhooks.open()
        try:
            yield
        finally:
            await self.webhooks.close()

    def stats(self) -> dict[str, Any]:
        """Return the counts."""
        contacts = self.portal.contacts.values()
        return {
            "vendor": "hubspot",
            "contacts": sum(contact.archived_at is None for contact in contacts),
            "archived": sum(contact.archived_at is not None for contact in contacts),
            "writes": len(self.portal.writes),
            "day_left": self.day.left,
            "webhooks_pending": self.webhooks.pending(),
            **self.journal.stats(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request the way HubSpot would."""
        if scope["type"] != "http" or scope["path"].startswith("/sandbox"):
            await self.admin(scope, receive, send)
            return
        asked = await read(scope, receive)
        raw_path = scope["raw_path"].decode("latin-1")
        endpoint, name = self._route(scope["method"], raw_path)
        token = self._token(asked)
        query = asked.query.decode("latin-1")
        answer = self._answer(endpoint, token, asked, name)
        answer.wait += self.settings.latency
        entry = Received(
            at=now(),
            method=scope["method"],
            target=f"{raw_path}?{query}" if query else raw_path,
            token=token.name if token else None,
            asked=asked.body,
            status=answer.status if answer.leaves else None,
            ending=answer.ending,
            wait=answer.wait,
            answered=answer.body,
        )
        self.journal.note_received(entry, f"{endpoint.method} {endpoint.path}" if endpoint else "unknown", answer)
        await deliver(answer, scope, receive, send)

    def _answer(self, endpoint: Endpoint | None, token: Token | None, asked: Asked, name: str) -> Answer:
        if self.chaos.strikes(self.chaos.faults.reset_connections):
            return Answer(0, ending="reset")
        if endpoint is None:
            return no_such_path()
        if token is None or token.revoked:
            return failure(401)
        answer = self._refuse(endpoint, token)
        if answer is None:
            try:
                query = parse_qs(asked.query.decode("latin-1"), keep_blank_values=True)
                answer = endpoint.work(Call(asked, query, token, name))
            except Refusal as refusal:
                answer = refusal.answer
        self.conduct.mar(answer)
        if not endpoint.search:
            answer.headers += self.limits.headers(token.app)
        return answer

    def _refuse(self, endpoint: Endpoint, token: Token) -> Answer | None:
        """Return the answer that refuses a request before any work is done; None to let it through."""
        faults, strikes = self.chaos.faults, self.chaos.strikes
        scopes = endpoint.scopes or ((OAUTH,) if faults.details_need_oauth else ())
        if scopes and token.scopes.isdisjoint(scopes):
            return missing_scopes(scopes[:1])
        if policy := self.limits.spend(token.app, search=endpoint.search):
            self.journal.policies[policy] += 1
            return self.limits.throttle(policy, retry_after=faults.retry_after)
        for policy, is_due in (
            ("DAILY", faults.daily_limit_spent),
            ("TEN_SECONDLY_ROLLING", strikes(faults.rate_limit_storm)),
            ("SECONDLY", endpoint.search and strikes(faults.search_limit_storm)),
        ):
            if is_due:
                return self.limits.throttle(policy, retry_after=faults.retry_after)
        if faults.moving:
            return self.conduct.moving()
        if strikes(faults.disconnect_before_work):
            return Answer(0, ending="cut")
        return failure(faults.error_status) if strikes(faults.error_rate) else None

    def _token(self, asked: Asked) -> Token | None:
        kind, _, text = asked.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        return self.tokens.get(text.strip()) if kind.lower() == "bearer" else None

    def _route(self, method: str, path: str) -> tuple[Endpoint | None, str]:
        segments = path.split("/")
        for endpoint in self.endpoints:
            parts = endpoint.path.split("/")
            if endpoint.method == method and len(parts) == len(segments):
                pairs = list(zip(parts, segments, strict=True))
                if all(part in (NAMED, segment) for part, segment in pairs):
                    return endpoint, next((unquote(segment) for part, segment in pairs if part == NAMED), "")
        return None, ""

    def _happened(self, happening: Happening) -> None:
        self.publisher.publish(happening, self.subscription)

    def _index(self, contact: Contact) -> None:
        if not self.conduct.has(contact, "unsearchable"):
            self.index.take(contact)

    def _start_over(self) -> None:
        settings = self.settings
        dice = random.Random(settings.seed)  # noqa: S311
        self.chaos = Chaos(settings.seed)
        self.journal = Journal()
        self.subscription = settings.subscription
        app = str(settings.app_id)
        self.tokens = {settings.access_token: Token("first", app, frozenset(SCOPES))}
        self.day = Day(settings.per_day, ZoneInfo(settings.time_zone))
        self.limits = Limits(settings.per_ten_seconds, settings.searches_per_second, self.day)
        self.conduct = Conduct(self.chaos, self.limits, settings.slow_seconds)
        self.index = Index(lambda: dice.uniform(*settings.index_lag), time.monotonic)
        self.portal = Portal(self._happened, self._index, dice)
        self.webhooks = Webhooks(
            self.journal,
            dice,
            batch_seconds=settings.batch_seconds,
            retry_seconds=settings.retry_seconds,
            subscription=lambda: self.subscription,
        )
        self.publisher = Publisher(
            self.conduct,
            self.webhooks,
            self.journal,
            dice,
            portal=settings.portal_id,
            app=settings.app_id,
            late_seconds=settings.late_seconds,
        )
        self.endpoints = self._endpoints()

    def _endpoints(self) -> tuple[Endpoint, ...]:
        people = PeopleAtWork(self.portal, self.conduct)
        reading = Reading(self.portal, self.index, self.conduct, people)
        writing = Writing(self.portal, self.conduct, people)
        definitions = schema.Schema(self.portal.definitions)
        settings = self.settings

        def details(_: Call) -> Answer:
            return schema.details(settings.portal_id, settings.time_zone)

        reads, writes = (READ,), (WRITE,)
        sees, shapes = (READ, SCHEMAS_READ), (SCHEMAS_WRITE,)
        return (
            Endpoint("POST", f"{OBJECTS}/search", reading.search, reads, search=True),
            Endpoint("POST", f"{OBJECTS}/batch/read", reading.many, reads),
            Endpoint("POST", f"{OBJECTS}/batch/update", writing.update_many, writes),
            Endpoint("POST", f"{OBJECTS}/merge", writing.merge, writes),
            Endpoint("POST", f"{OBJECTS}/gdpr-delete", writing.erase, writes),
            Endpoint("GET", OBJECTS, reading.all, reads),
            Endpoint("POST", OBJECTS, writing.create, writes),
            Endpoint("GET", f"{OBJECTS}/{NAMED}", reading.one, reads),
            Endpoint("PATCH", f"{OBJECTS}/{NAMED}", writing.update, writes),
            Endpoint("DELETE", f"{OBJECTS}/{NAMED}", writing.delete, writes),
            Endpoint("GET", f"{PROPERTIES}/groups", definitions.groups, sees),
            Endpoint("POST", f"{PROPERTIES}/groups", definitions.create_group, shapes),
            Endpoint("GET", PROPERTIES, definitions.all, sees),
            Endpoint("POST", PROPERTIES, definitions.create, shapes),
            Endpoint("GET", f"{PROPERTIES}/{NAMED}", definitions.one, sees),
            Endpoint("PATCH", f"{PROPERTIES}/{NAMED}", definitions.change, shapes),
            Endpoint("DELETE", f"{PROPERTIES}/{NAMED}", definitions.archive, shapes),
            Endpoint("GET", "/account-info/v3/details", details, ()),
            Endpoint("GET", f"/account-info/{VERSION}/details", details, ()),
        )
