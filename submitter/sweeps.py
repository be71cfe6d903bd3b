"""Sweep the connected CRMs for contacts whose events were missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from enrichment.crms.base import Account, Failure, Page
from enrichment.logs import without_words
from enrichment.outcome import Pause, Refused, Retry
from enrichment.settings import Settings
from store.connections import note_account
from store.sweeps import LEASE, Window, claim_sweep, end_sweep, leave_sweep, name_page
from submitter.backoff import backoff
from submitter.crm_callers import CrmCallers
from submitter.crm_calls import CrmCaller, Withheld
from submitter.leased import first_of

log = structlog.get_logger()

AGAIN_AT_ONCE = 1000  # as a full batch of other duties: another pass follows at once
SHORTEST_LEASE = 10.0  # seconds
TRIES = 4  # of one page, before its window is left
NO_END = "a page names itself as the next"
LONGEST_PAUSE = 1 / 3  # of the claim's lease, between two of them


@dataclass(frozen=True, slots=True)
class CrmWork:
    """What the sweep and the walk of one CRM need. *every*: seconds between two sweeps; 0: neither runs.

    *lease*: how long a silent process keeps a sweep.
    """

    crm: str
    every: float
    pool: asyncpg.Pool[Any]
    callers: CrmCallers
    stop: asyncio.Event
    wake: Callable[[], None]  # those who read the contacts
    lease: timedelta = LEASE


def sweep_lease(settings: Settings) -> timedelta:
    """Return how long a silent process keeps a sweep: as long as two calls may take."""
    return timedelta(seconds=max(SHORTEST_LEASE, 2 * settings.provider_timeout_seconds))


class Sweep:
    """The sweep of one CRM in one process."""

    def __init__(self, work: CrmWork) -> None:
        self._work = work
        self._pool = work.pool
        self._has_asked = False

    async def sweep(self) -> int:
        """Sweep one window if it is due, page by page. Its watermark moves after the last page was committed."""
        if not self._work.every or (caller := await self._work.callers.of(self._work.crm)) is None:
            return 0
        window = await claim_sweep(self._pool, self._work.crm, self._work.lease)
        if window is None:
            return 0
        if (refused := await self._learn_account(caller)) is not None:
            await self._leave(window, refused)
            return 0
        after: str | None = None
        named = pages = 0
        while True:
            page = await self._read(caller, window, after)
            if not isinstance(page, Page):
                await self._leave(window, page)
                return 0
            claim, more = await name_page(self._pool, window, page.changes)
            named, pages, after = named + more, pages + 1, page.after
            if more:
                self._work.wake()
            if claim is None:
                log.warning("sweep_lost", crm=self._work.crm, pages=pages)  # another process sweeps by now
                return 0
            window = replace(window, claim=claim)
            if after is None:
                break
        if await end_sweep(self._pool, window, timedelta(seconds=self._work.every)):
            log.info("swept", crm=self._work.crm, to=window.until.isoformat(), pages=pages, named=named)
        return AGAIN_AT_ONCE if window.has_next else 0

    async def _read(self, caller: CrmCaller, window: Window, after: str | None) -> Page | Failure | Withheld | None:
        """Read one page, again after a trouble that is short. Return None when the process stops."""
        tries = 0
        while not self._work.stop.is_set():
            request = caller.crm.sweep(since=window.since, until=window.until, after=after)
            page: Page | Failure | Withheld = await caller.call(
                request, caller.crm.read_page, purpose="search", sweeps=True
            )
            tries += 1
            if isinstance(page, Page) and leads_nowhere(page, after):
                return Refused(NO_END)
            if not isinstance(page, Retry | Withheld) or tries == TRIES or _is_paused(page):
                return page
            pause = page.after or backoff(tries)
            if pause > LONGEST_PAUSE * self._work.lease.total_seconds():
                return page
            await first_of(self._work.stop.wait(), timeout=pause)
        return None

    async def _learn_account(self, caller: CrmCaller) -> Pause | None:
        """Ask once whose token it is, where only the token was set: events of other accounts are ignored."""
        if self._has_asked:
            return None
        account: Account | Failure | Withheld = await caller.call(caller.crm.account(), caller.crm.read_account)
        if isinstance(account, Pause):
            return account
        self._has_asked = isinstance(account, Account | Refused)
        if isinstance(account, Account) and account.id is not None:
            await note_account(self._pool, self._work.crm, account.id)
        return None

    async def _leave(self, window: Window, why: Failure | Withheld | None) -> None:
        if why is None:
            await leave_sweep(self._pool, window, None, timedelta(0))
            return
        after = max(getattr(why, "after", None) or 0.0, self._work.every)
        if isinstance(why, Withheld):  # why it is paused is said elsewhere, and that it is busy is no trouble
            await leave_sweep(self._pool, window, None, timedelta(seconds=after))
            return
        log.warning("sweep_failed", crm=self._work.crm, why=without_words(why.reason))
        await leave_sweep(self._pool, window, why.reason, timedelta(seconds=after))


def leads_nowhere(page: Page, after: str | None) -> bool:
    """Tell whether the page that was asked for *after* a place names that same place as the next one."""
    return page.after is not None and page.after == after


def _is_paused(page: Retry | Withheld) -> bool:
    """Tell whether the CRM was not called because it is paused: that takes longer than a page may wait."""
    return isinstance(page, Withheld) and not page.after
