"""The common part of both pretend vendors: an account, its limits, and how a request becomes an answer."""

from __future__ import annotations

import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from starlette.types import Receive, Scope, Send

from sandbox import admin
from sandbox.behaviours import Behaviour, VendorName, choose
from sandbox.faults import Chaos
from sandbox.ledger import Ledger
from sandbox.limiter import DAY, Limiter, Standing, WindowKind
from sandbox.people import Person, mobile_e164
from sandbox.wire import Answer, Asked, deliver, read

Endpoint = Callable[[Asked], Answer]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that the two vendors' accounts share; a limit of 0 is none."""

    api_key: str
    match_rate: float
    per_second: int = 0
    per_minute: int = 0
    per_hour: int = 0
    per_day: int = 0
    window: WindowKind = "fixed"
    balance: float = 1_000_000
    seed: int = 0
    ledger: Path | None = None


class Vendor(ABC):
    """An ASGI app that plays one vendor, with an admin of its own below /sandbox."""

    name: ClassVar[VendorName]
    price: float
    endpoints: Mapping[str, Mapping[str, Endpoint]]  # by path, then by method

    def __init__(self, settings: Settings) -> None:
        """Open a new account."""
        self.settings = settings
        self.ledger = Ledger(settings.balance, settings.ledger)
        self.admin = admin.create_app(self)
        self._start_over()

    @abstractmethod
    def refuse_credentials(self, asked: Asked) -> Answer | None:
        """Return the 401 that these headers deserve, None when they are right."""

    @abstractmethod
    def refuse(self, status: int, code: str = "") -> Answer:
        """Return the vendor's answer for this status."""

    @abstractmethod
    def throttle(self, standing: Standing) -> Answer:
        """Return the vendor's 429."""

    def reset(self) -> None:
        """Go back to the state at the start: full balance, empty ledger, no faults, fresh limits and dice."""
        self.ledger.reset()
        self._start_over()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the vendor at work inside the block."""
        yield
        self.ledger.close()

    def stats(self) -> dict[str, Any]:
        """Return the ledger's counts."""
        return {"vendor": self.name} | self.ledger.stats()

    def truth(self, subject: Person) -> dict[str, Any]:
        """Return what a patient client gets for one accepted question about *subject*, and what it costs."""
        row = self.row(subject)
        found = row.finds and row.tells
        return {
            "found": found,
            "mobile_e164": mobile_e164(subject.key) if found else None,
            "credits": self.price if row.finds else 0,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request the way the vendor would."""
        methods = self.endpoints.get(scope.get("path", ""))
        if methods is None:
            if scope["type"] != "http" or scope["path"].startswith("/sandbox"):
                await self.admin(scope, receive, send)
                return
            answer = self.refuse(404)
        elif endpoint := methods.get(scope["method"]):
            answer = endpoint(await read(scope, receive))
        else:
            answer = self.refuse(405)
        if answer.before is not None:
            await answer.before
        await deliver(answer, scope, receive, send)

    def row(self, subject: Person) -> Behaviour:
        """Return the behaviour that decides about *subject*."""
        return choose(self.name, subject, self.settings.match_rate)

    def gate(self, asked: Asked) -> Answer | None:
        """Return the answer that ends a limited request before any work is done for it, None to let it through."""
        faults = self.chaos.faults
        if self.chaos.strikes(faults.reset_connections):
            return Answer(0, ending="reset")
        if refusal := self.refuse_credentials(asked):
            return refusal
        standing = self.limiter.take()
        if not standing.allowed:
            self.ledger.counts["limited"] += 1
            return self.throttle(standing)
        if self.chaos.strikes(faults.rate_limit_storm):
            return self.throttle(standing._replace(remaining=0, reset=1.0))
        if self.chaos.strikes(faults.error_rate):
            return self.refuse(faults.error_status)
        return None

    def happens_now(self, row: Behaviour, subject: Person) -> bool:
        """Tell whether the row's refusal is due: always, or only for the first question about *subject*."""
        if row.status == 200 or not row.once:
            return row.status != 200
        if (row.word, subject.key) in self._had_their_turn:
            return False
        self._had_their_turn.add((row.word, subject.key))
        return True

    def available(self) -> float:
        """Return the credits that questions can be paid from."""
        return 0 if self.chaos.faults.payment_required else self.ledger.balance

    def _start_over(self) -> None:
        settings = self.settings
        limits = [
            (settings.per_second, 1),
            (settings.per_minute, 60),
            (settings.per_hour, 3600),
            (settings.per_day, DAY),
        ]
        self.limiter = Limiter(limits, settings.window)
        self.chaos = Chaos(settings.seed)
        self.dice = random.Random(settings.seed)  # noqa: S311
        self._had_their_turn: set[tuple[str, str]] = set()
