"""Walk over all contacts of the connected CRMs once a day, slowly, for what sweeps cannot show."""

from __future__ import annotations

from datetime import timedelta

import structlog

from enrichment.crms.base import Failure, Page
from enrichment.logs import without_words
from enrichment.outcome import Refused
from store.walks import Step, claim_step, end_step, end_walk, leave_step, name_missed, name_walked
from submitter.crm_calls import Withheld
from submitter.sweeps import NO_END, CrmWork, leads_nowhere

log = structlog.get_logger()

PAUSE = timedelta(seconds=0.4)  # between two pages: 100,000 contacts take half an hour, and the CRM hardly notices
AGAIN_AFTER = 60.0  # seconds, after a page that could not be read
ANEW_AFTER = timedelta(hours=1)  # when the CRM refuses to go on


class Walk:
    """The walk over one CRM in one process: it takes a page at a time, and any process may take the next."""

    def __init__(self, work: CrmWork) -> None:
        self._work = work
        self._pool = work.pool

    async def walk(self) -> int:
        """Walk one page if it is due, and after the last one name the open contacts that were not met."""
        if not self._work.every or (caller := await self._work.callers.of(self._work.crm)) is None:
            return 0
        step = await claim_step(self._pool, self._work.crm)
        if step is None:
            return 0
        page: Page | Failure | Withheld = await caller.call(
            caller.crm.walk(step.after), caller.crm.read_page, sweeps=True
        )
        if isinstance(page, Page) and leads_nowhere(page, step.after):
            page = Refused(NO_END)
        if not isinstance(page, Page):
            await self._leave(step, page)
            return 0
        named = await name_walked(self._pool, step, page.changes)
        if page.after is not None:
            await end_step(self._pool, step, page.after, PAUSE)
        else:
            missed = await name_missed(self._pool, step)
            named += missed
            if await end_walk(self._pool, step):
                log.info("walked", crm=self._work.crm, missed=missed)
        if named:
            self._work.wake()
        return 0  # the next page is due after a pause

    async def _leave(self, step: Step, why: Failure | Withheld) -> None:
        if isinstance(why, Refused):
            log.warning("walk_refused", crm=self._work.crm, why=without_words(why.reason))
            await leave_step(self._pool, step, why.reason, ANEW_AFTER, begin_anew=True)
            return
        after = timedelta(seconds=getattr(why, "after", None) or AGAIN_AFTER)
        if isinstance(why, Withheld):  # other calls come first: no trouble of the walk's
            await leave_step(self._pool, step, None, after)
            return
        log.warning("walk_failed", crm=self._work.crm, why=without_words(why.reason))
        await leave_step(self._pool, step, why.reason, after)
