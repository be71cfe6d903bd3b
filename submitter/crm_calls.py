"""The only way to a CRM: each call takes a permit that all processes share, and its answer is heeded by all.

Reads of single contacts are put together: those that are asked for while a read is under way share the next one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar

import aiohttp
import asyncpg
import structlog

from enrichment.crms.base import Account, Crm, CrmContact, Failure, Gone, Purpose, Writing, Written
from enrichment.outcome import Pause, Refused, Retry, Unclear
from enrichment.providers.base import Health, HttpRequest, HttpResponse
from store import breaker
from store.crm_permits import Permit, Permits, Shut
from store.database import UNREACHABLE
from store.group_commit import GroupCommit
from store.recovery import hasten
from submitter.counting import count
from submitter.failures import log_failure
from submitter.limit_headers import LimitHeaders
from submitter.outcomes import note_pause, note_throttled
from submitter.permit_queue import PermitQueue
from submitter.transport import Unanswered, Unsent, send

log = structlog.get_logger()

PATIENCE = 5.0  # seconds that a call waits for a permit
PROBE_FOR = timedelta(seconds=30)  # that a call which tests an open breaker may take
MOST_OF_AN_ANSWER = 16 << 20  # bytes: a hundred contacts, with the histories of their fields
# Times in a row that the breaker opened, for 15 seconds together. What failed in a shorter outage waits for seconds, or
# fails by itself: ten contacts that the CRM cannot show open the breaker, and must not do so again and again.
LONG_OUTAGE = 4
ANOTHER_CONTACT = "the answer is about another contact"
MOST_PERMITS = 3  # for one call
READS_AT_ONCE = 2  # so that contacts are put together while a read is under way

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Withheld:
    """The CRM cannot be called now; it may be *after* so many seconds. The call was not made, or probed the breaker."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A contact that was missing in an answer: only a read of it alone tells whether it is gone, or was merged."""


Shown: TypeAlias = CrmContact | Gone | Failure | Withheld | Unresolved


class CrmCaller:
    """The calls of one process to one CRM. *crm* may be replaced when the process learns more about it."""

    def __init__(self, crm: Crm, pool: asyncpg.Pool[Any], session: aiohttp.ClientSession) -> None:
        self.crm = crm
        self.name = crm.name
        self._pool = pool
        self._session = session
        self._limit_headers = LimitHeaders(pool, crm)
        self._permits = Permits(pool, crm.name, probe_for=PROBE_FOR)
        self._queues: dict[tuple[Purpose, bool], PermitQueue] = {}
        self._is_failing = False  # the last calls failed: a success closes the breaker
        self._reads: GroupCommit[str, Shown] = GroupCommit(
            self._read_together, most=crm.most_per_read, flushers=READS_AT_ONCE
        )

    async def read(self, record_id: str) -> CrmContact | Gone | Failure | Withheld:
        """Read one contact, or the one that it was merged into."""
        read = await self._reads.submit(record_id)
        return await self._read_alone(record_id) if isinstance(read, Unresolved) else read

    async def write(self, contact: CrmContact, writing: Writing) -> Written | Gone | Failure | Withheld:
        """Write onto one contact, as it was just read."""
        return await self.call(self.crm.write(contact, writing), self.crm.read_write, of_contact=True)

    async def call(
        self,
        request: HttpRequest,
        read: Callable[[HttpResponse], Answer | Failure],
        *,
        purpose: Purpose = "any",
        sweeps: bool = False,
        of_contact: bool = False,
    ) -> Answer | Failure | Withheld:
        """Make one call when the limits allow it, and let *read* read its answer.

        Unclear: the call may have been made. *sweeps*: it takes at most half of the limits while deliveries wait.
        *of_contact*: a failure that says more of the CRM than of the contact, because the breaker is open, is Withheld.
        """
        permit = await self._take_permit(purpose, sweeps=sweeps)
        if isinstance(permit, Withheld):
            return permit
        self._is_failing |= permit.failing
        began = time.monotonic()
        answer = await send(self._session, request, most=MOST_OF_AN_ANSWER)
        outcome: Answer | Failure
        match answer:
            case Unsent(reason):
                outcome = Retry(reason)
            case Unanswered(reason):
                outcome = Unclear(reason)
            case _:
                outcome = read(answer)
                await self._limit_headers.heed(answer)
        count("crm_calls", self.name, _label(outcome))
        try:
            await self._note(outcome, permit, began)
        except UNREACHABLE as error:  # the outcome counts all the same
            log_failure(error, crm=self.name)
        if of_contact and permit.is_probe and isinstance(outcome, Retry | Unclear):
            return Withheld(outcome.reason)
        return outcome

    async def ask_health(self) -> Health:
        """Make the free call for the account, without a permit: so a paused CRM shows that it is well again."""
        answer = await send(self._session, self.crm.account())
        match answer:
            case Unsent(reason):
                return Health(well=False, reason=reason)  # unreachable: another call would fail too
            case Unanswered(reason):
                return Health(well=None, reason=reason)
        account = self.crm.read_account(answer)
        match account:
            case Account(lacks=()):
                return Health(well=True)
            case Account(lacks=lacks):
                return Health(well=False, reason=f"the token lacks {', '.join(lacks)}")
            case Refused(reason):
                return Health(well=None, reason=reason)
            case Pause(reason) | Retry(reason) | Unclear(reason):
                return Health(well=False, reason=reason)

    async def close(self) -> None:
        """Wait for the reads under way."""
        await self._reads.close()

    async def read_many(self, record_ids: Sequence[str], *, sweeps: bool = False) -> dict[str, Shown]:
        """Read up to `most_per_read` contacts, in one call if the CRM can show them all.

        After a failure one is read before the others: with a contact that the CRM cannot show, every batch would fail.
        """
        if not self._is_failing or len(record_ids) == 1:
            return await self._read_or_halve(record_ids, sweeps=sweeps)
        first = random.choice(record_ids)  # noqa: S311  not a secret
        shown = await self._read_alone(first, sweeps=sweeps)
        if isinstance(shown, Withheld):
            return dict.fromkeys(record_ids, shown)
        others = [record_id for record_id in record_ids if record_id != first]
        return {first: shown, **await self._read_or_halve(others, sweeps=sweeps)}

    async def _read_or_halve(self, record_ids: Sequence[str], *, sweeps: bool) -> dict[str, Shown]:
        """Read contacts in one call; a batch that the CRM refuses or fails to answer, by halves, one after the other.

        So one contact that it cannot show fails alone, for a dozen calls. When it answers none, the breaker opens
        meanwhile, and the rest is withheld.
        """
        if len(record_ids) == 1:
            return {record_ids[0]: await self._read_alone(record_ids[0], sweeps=sweeps)}
        has_answered = False

        def read_answer(response: HttpResponse) -> Mapping[str, CrmContact] | Failure:
            nonlocal has_answered
            has_answered = True
            return self.crm.read_contacts(response)

        read = await self.call(self.crm.read_many(record_ids), read_answer, sweeps=sweeps, of_contact=True)
        match read:
            case Refused() | Retry(after=None, throttled=False) if has_answered:  # perhaps for one of them
                middle = len(record_ids) // 2
                shown = await self._read_or_halve(record_ids[:middle], sweeps=sweeps)
                if withheld := next((one for one in shown.values() if isinstance(one, Withheld)), None):
                    return {**shown, **dict.fromkeys(record_ids[middle:], withheld)}
                return {**shown, **await self._read_or_halve(record_ids[middle:], sweeps=sweeps)}
            case Refused() | Retry() | Pause() | Withheld():
                return dict.fromkeys(record_ids, read)
            case Unclear(reason):
                return dict.fromkeys(record_ids, Retry(reason))
        return {record_id: read.get(record_id) or Unresolved() for record_id in record_ids}

    async def _read_together(self, record_ids: Sequence[str]) -> Sequence[Shown]:
        """Read these contacts, of which one may be named twice."""
        shown = await self.read_many(list(dict.fromkeys(record_ids)))
        return [shown[record_id] for record_id in record_ids]

    async def _read_alone(self, record_id: str, *, sweeps: bool = False) -> CrmContact | Gone | Failure | Withheld:
        read: CrmContact | Gone | Failure | Withheld = await self.call(
            self.crm.read_one(record_id), self.crm.read_contact, sweeps=sweeps, of_contact=True
        )
        if isinstance(read, CrmContact) and record_id not in (read.record_id, *read.absorbed):
            return Retry(ANOTHER_CONTACT)  # no merge: the survivor says whom it absorbed
        return Retry(read.reason) if isinstance(read, Unclear) else read  # reading twice does no harm

    async def _take_permit(self, purpose: Purpose, *, sweeps: bool) -> Permit | Withheld:
        """Wait for a permit that is not too old, because this process was frozen, or the database did not answer.

        A database that is always so slow delays all calls alike, so the last of MOST_PERMITS is used in any case.
        """
        for _ in range(MOST_PERMITS):
            taken = await self._wait_for_permit(purpose, sweeps=sweeps)
            if isinstance(taken, Withheld) or taken.is_probe or time.monotonic() <= taken.best_before:
                break
        return taken

    async def _wait_for_permit(self, purpose: Purpose, *, sweeps: bool) -> Permit | Withheld:
        """Wait for a permit, but not for longer than PATIENCE."""
        if (purpose, sweeps) not in self._queues:
            self._queues[purpose, sweeps] = PermitQueue(partial(self._permits.take, purpose, sweeps=sweeps))
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + PATIENCE
        while isinstance(taken := await self._queues[purpose, sweeps].take(), Shut):
            if taken.paused or loop.time() + taken.wait > patient_until:
                return _withheld(taken)
            await asyncio.sleep(taken.wait)
        await asyncio.sleep(taken.after)
        return taken

    async def _note(self, outcome: object, permit: Permit, began: float) -> None:
        """Tell all processes what the answer says about the CRM: paused, resting, failing, or well."""
        match outcome:
            case Pause(reason):
                await note_pause(self._pool, self.name, reason, said=time.monotonic() - began)
            case Retry(throttled=True, after=after):
                await note_throttled(self._pool, self.name, after)
            case Retry() | Unclear():
                self._is_failing = True
                if await breaker.note_failures(self._pool, self.name, 1, probed=permit.is_probe):
                    log.error("breaker_open", crm=self.name)
            case _ if self._is_failing:
                trips = await breaker.note_success(self._pool, self.name)
                self._is_failing = False
                if trips >= LONG_OUTAGE:
                    hastened = await hasten(self._pool, self.name)
                    log.info("crm_answers_again", crm=self.name, hastened=hastened)


def _withheld(shut: Shut) -> Withheld:
    return Withheld("it is paused") if shut.paused else Withheld("its limits do not allow a call yet", shut.wait)


def _label(outcome: object) -> str:
    """Name what became of a call, for the counters."""
    if isinstance(outcome, Retry) and outcome.throttled:
        return "throttled"
    return type(outcome).__name__.lower() if isinstance(outcome, Retry | Pause | Refused | Unclear) else "answered"
