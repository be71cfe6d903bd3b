"""The reconciler's duties to CRMs: resume those that are well again, and take over what a silent process left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from enrichment.crms import CRMS
from enrichment.reading import COULD_NOT_BE_READ, ERASED
from store import deliveries, reading_work
from store.erasure import erase_record
from store.installation import Installation
from store.leases import DELIVERIES, READINGS
from store.reading_work import Skipped
from submitter.checks import check
from submitter.counting import count
from submitter.crm_callers import CrmCallers

log = structlog.get_logger()

OVERDUE = timedelta(minutes=1)  # then a submitter would have erased it
ERASING = timedelta(minutes=30)  # an erasure reads everything, and this lease is not renewed


class CrmDuties:
    """The duties. Each one makes a pass over what is due now, and returns how many rows it found."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        callers: CrmCallers,
        installation: Installation,
        wake: Callable[[], None],
        *,
        batch: int,
        at_most: timedelta,
    ) -> None:
        self._pool = pool
        self._callers = callers
        self._installation = installation
        self._wake = wake
        self._batch = batch
        self._at_most = at_most

    async def look_after(self) -> int:
        """Ask the paused CRMs' free call for the account; resume those that are well."""
        for name in CRMS:
            caller = await self._callers.of(name)
            if caller is not None and await check(self._pool, name, caller.ask_health):
                self._wake()
        return 0

    async def rescue(self) -> int:
        """Queue again the readings and deliveries whose process fell silent.

        A delivery to a CRM begins with a reading, so what may have been written is not written again.
        """
        found = 0
        for what, leases in (("readings", READINGS), ("deliveries", DELIVERIES)):
            rescued = await leases.rescue(self._pool, self._batch)
            if rescued:
                log.warning("lease_taken_over", what=what, ids=[str(id) for id in rescued])
                count("lease_takeovers", what, amount=len(rescued))
                self._wake()
            found = max(found, len(rescued))
        return found

    async def erase(self) -> int:
        """Forget people whose CRM no submitter reads for now: it is paused or disconnected, and need not be called."""
        erased = 0
        while claimed := await reading_work.claim_erasure(self._pool, OVERDUE, ERASING):
            crm, reading = claimed
            policy = await self._installation.policy()
            counts = (await erase_record(self._pool, policy, crm, reading.record_id)).counts()
            ended = Skipped(reading.id, reading.attempt, ERASED)
            await reading_work.end_read(self._pool, crm, (), (ended,), policy)
            log.info("contact_erased", crm=crm, reading=str(reading.id), **counts)
            erased += 1
        return erased

    async def end_stale(self) -> int:
        """End readings and deliveries that have waited for too long."""
        reason = f"not for {self._at_most.days} days"
        ended = 0
        for name in CRMS:
            why = f"{COULD_NOT_BE_READ} {reason}"
            ended += await reading_work.end_stale(self._pool, name, self._at_most, why, self._batch)
        ended += await deliveries.end_stale(self._pool, self._at_most, f"could not be sent: {reason}", self._batch)
        return ended
