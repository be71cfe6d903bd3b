"""python -m submitter.reconciler: find the jobs that wait for something that may never come.

Each duty runs in its own loop, so that none waits for another: a slow poll never delays a rescue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from uuid import UUID

import structlog

from enrichment.ending import Ending, lost, unknown
from enrichment.guards import read_budgets
from enrichment.providers.base import CallsBack, Health, HttpResponse, Provider
from store import figures, providers, sweep
from store.budgets import lock_room, release_affordable
from store.clock import bring_back
from store.connections import Connections
from store.database import ACQUIRE_TIMEOUT, transaction
from store.endings import follow_ends
from store.ends import unswept_searches
from store.floods import forget_floods
from store.lookups import decide_again
from store.notify import Notifier
from store.partitions import ensure_partitions
from store.pauses import release_braked
from store.payers import pass_on
from store.polls import end_old_checks
from store.reopened import to_decide
from store.retention import empty_bodies
from store.sweep import OverdueJob, pass_over_removed
from submitter.backoff import backoff
from submitter.campaigns import CampaignWorker
from submitter.checks import check
from submitter.counting import count
from submitter.crm_callers import CrmCallers
from submitter.crm_duties import CrmDuties
from submitter.failures import log_failure
from submitter.finishing import Finisher
from submitter.leased import RENEWALS_PER_LEASE
from submitter.outcomes import GRACES_WITHOUT_REQUEST_ID
from submitter.poll import Poller
from submitter.process import Process, main
from submitter.selections import SelectionWorker
from submitter.sweeps import CrmWork, Sweep, sweep_lease
from submitter.transport import Unanswered, Unsent, send
from submitter.walks import Walk

log = structlog.get_logger()

BATCH = 500  # rows of one pass; a full batch is followed by another at once
LOOK_EVERY = 1.0  # seconds
SETTLE_EVERY = 1.0
UNHOLD_EVERY = 2.0
REMOVED_EVERY = 60.0
STALE_EVERY = 600.0
ERASE_EVERY = 60.0
MONTHS_EVERY = 3600.0
BODIES_EVERY = 3600.0
SWEEP_LOOK_EVERY = 1.0
WALK_EVERY = 0.5  # pages of a walk
FLOODS_EVERY = 3600.0
FIGURES_EVERY, FIGURES_AGE = 600.0, timedelta(hours=1)
PASS_ON_EVERY = 10.0
CLOCK_EVERY = 60.0
FIRST = UUID(int=0)  # before every id
# Nothing waits for ever, not even for a budget that is never raised or an account that is never topped up. A monthly
# budget returns within 31 days; the rest is slack.
QUEUED_AT_MOST = timedelta(days=35)


class Reconciler:
    """The duties. Each one makes a pass over what is due now, and returns how many rows it found."""

    def __init__(self, process: Process, finisher: Finisher) -> None:
        self._process = process
        self._pool = process.pool
        self._settings = process.settings
        self._budgets = read_budgets(process.settings)
        self._finisher = finisher
        self._passed_on_to = FIRST  # lookups up to this one were looked at
        self._decided_to = FIRST
        self._wake = finisher.wake

    async def rescue(self) -> int:
        """Take over submitting jobs with an expired lease: the question may have been sent, the submitter is silent."""
        expired = await sweep.expired_leases(self._pool, BATCH)
        endings = []
        for job in expired:
            if job.callback_expected:
                patience = self._settings.callback_grace * GRACES_WITHOUT_REQUEST_ID
                if await sweep.wait_for_callback(self._pool, job.id, job.attempt, patience):
                    log.warning("lease_taken_over", job=str(job.id), now="awaiting")
                    count("lease_takeovers", job.provider)
            else:
                count("lease_takeovers", job.provider)
                endings.append(self._unknown(job, "its submitter fell silent while it was asked"))
        await self._end(endings)
        return len(expired)

    async def give_up(self) -> int:
        """End awaiting jobs that cannot be answered any more: no request_id to poll by, or past the deadline."""
        overdue = await sweep.past_deadline(self._pool, self._settings.job_deadline, BATCH, self._polled())
        await self._end([
            replace(
                lost(job.id, "no answer before the deadline", stop=self._stops),
                seen_state=job.state,
                seen_request_id=job.request_id,
            )
            if job.request_id
            else self._unknown(job, "the answer to the question was lost, and no callback came")
            for job in overdue
        ])  # fmt: skip
        return len(overdue)

    def _polled(self) -> list[str]:
        return [name for name, provider in self._process.providers.items() if isinstance(provider, CallsBack)]

    async def end_stale(self) -> int:
        """End jobs that were queued for longer than QUEUED_AT_MOST, and checks of providers that are not polled."""
        await end_old_checks(self._pool, self._settings.job_deadline, self._polled())
        stale = await sweep.queued_too_long(self._pool, QUEUED_AT_MOST, BATCH)
        reason = f"could not be asked for {QUEUED_AT_MOST.days} days"
        await self._end([
            Ending(job_id=job.id, state="failed", attempt=job.attempt, error=reason, seen_state=job.state)
            for job in stale
        ])  # fmt: skip
        return len(stale)

    async def sweep_searches(self) -> int:
        """End the lookups of searches that another process left unswept."""
        searches = await unswept_searches(self._pool, BATCH)
        if searches and await follow_ends(self._pool, searches, self._process.policy):
            self._wake()
        return 0  # do not retry at once what could not be swept now

    async def decide_lookups(self) -> int:
        """Decide lookups anew that a person reopened, or whose search is gone; go on behind them the next time."""
        found = await to_decide(self._pool, self._decided_to)
        self._decided_to = found.last or FIRST
        decided = await decide_again(self._pool, found.lookups, self._process.policy) if found.lookups else 0
        if decided:
            self._wake()
        return decided

    async def pass_over_removed(self) -> int:
        """Move jobs of providers that are no longer in PROVIDERS to the next provider, or end their searches."""
        passed = await pass_over_removed(self._pool, self._process.policy.providers, BATCH)
        if passed:
            log.warning("removed_provider_passed_over", jobs=passed)
            self._wake()
        return passed

    async def empty_bodies(self) -> int:
        """Empty raw bodies that are older than RETAIN_DAYS."""
        if self._settings.retain_days is None:
            return 0
        emptied = await empty_bodies(self._pool, timedelta(days=self._settings.retain_days), BATCH)
        if emptied:
            log.info("bodies_emptied", bodies=emptied)
        return emptied

    async def make_months(self) -> int:
        """Make the partitions of the coming months."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            made = await ensure_partitions(connection)
        if made:
            log.info("partitions_made", partitions=made)
        return 0  # do not retry at once what could not be made now

    async def keep_figures(self) -> int:
        """Keep once an hour what each provider says of its account: after a restore it is compared."""
        for provider in self._process.providers.values():
            if await figures.is_due(self._pool, provider.name, FIGURES_AGE):
                told = await self._ask(provider)
                await figures.keep(self._pool, provider.name, told, FIGURES_AGE)
        return 0

    async def look_after_providers(self) -> int:
        """Check the paused providers; release the jobs held for a provider, a budget or the brake that can go on."""
        released = await release_braked(self._pool, BATCH)
        for provider in self._process.providers.values():
            await check(self._pool, provider.name, partial(self._ask, provider))
            released += await providers.release_paused(self._pool, provider.name, BATCH)
            released += await self._release_budget(provider)
        if released:
            log.info("released", lookups=released)
            self._wake()
        return released

    async def pass_on(self) -> int:
        """Let other sources pay for searches held because of their source, if their lookups wait for them, too."""
        passed = await pass_on(self._pool, self._passed_on_to, BATCH, self._process.policy.guards)
        self._passed_on_to = passed.last or FIRST
        if passed.jobs:
            log.info("paid_by_another_source", jobs=passed.jobs)
            self._wake()
        return passed.looked

    async def mend_clock(self) -> int:
        """Make due what waits for a time too far ahead, because the database's clock went back."""
        settings = self._process.settings
        brought = await bring_back(self._pool, lease=settings.lease, grace=settings.callback_grace, limit=BATCH)
        if brought:
            log.warning("due_too_far_ahead", **brought)
            self._wake()
        return max(brought.values(), default=0)

    async def forget_floods(self) -> int:
        """Remove the flood guard's counts of hours that are over."""
        await forget_floods(self._pool)
        return 0

    async def _ask(self, provider: Provider) -> Health:
        """Ask the provider's free endpoint."""
        answer = await send(self._process.sessions[provider.name], provider.health())
        match answer:
            case HttpResponse():
                return provider.read_health(answer)
            case Unsent(reason):
                return Health(well=False, reason=reason)  # unreachable: a question would fail too
            case Unanswered(reason):
                return Health(well=None, reason=reason)

    async def _release_budget(self, provider: Provider) -> int:
        async with transaction(self._pool) as connection:
            room = await lock_room(connection, provider.name, provider.price, self._budgets)
            if room.questions == 0:
                return 0
            return await release_affordable(connection, provider.name, room, BATCH)

    async def _end(self, endings: Sequence[Ending]) -> None:
        await self._finisher.end_apart(endings)

    def _unknown(self, job: OverdueJob, reason: str) -> Ending:
        ending = unknown(job.id, reason, attempt=job.attempt, stop=self._stops)
        return replace(ending, seen_state=job.state, seen_request_id=job.request_id)

    @property
    def _stops(self) -> bool:
        return self._settings.unknown_policy == "hold"


async def repeat(duty: Callable[[], Awaitable[int]], every: float, stop: asyncio.Event) -> None:
    """Repeat *duty* until *stop*: at once after a full batch, else after *every* seconds."""
    failures = 0
    while not stop.is_set():
        try:
            pause = 0.0 if await duty() >= BATCH else every
            failures = 0
        except Exception as error:  # noqa: BLE001  one duty's trouble must not stop the others, nor itself for good
            failures += 1
            pause = backoff(failures, first=0.5, longest=10)
            log_failure(error, duty=getattr(duty, "__name__", "duty"))
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue


class Watch:
    """Checks once a second what is outstanding, so that duties with nothing to do cost no statement."""

    def __init__(self, process: Process) -> None:
        self._pool = process.pool
        self.seen = sweep.Outstanding()

    async def look(self) -> int:
        """Read what is outstanding from the database."""
        self.seen = await sweep.look(self._pool)
        return 0


def when(holds: Callable[[], bool], duty: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
    """Return a duty that runs *duty* only while *holds* returns True."""

    @wraps(duty)
    async def guarded() -> int:
        return await duty() if holds() else 0

    return guarded


async def work(process: Process, stop: asyncio.Event) -> None:
    """Run all duties until *stop*; then finish the polls in flight."""
    notifier = Notifier(process.url, name="reconciler notifier")
    notifying = asyncio.create_task(notifier.run())
    finisher = Finisher(process.pool, process.installation, notifier.wake)
    reconciler = Reconciler(process, finisher)
    worker = SelectionWorker(process, notifier.wake)
    campaigns = CampaignWorker(process, notifier.wake, stop)
    watch = Watch(process)
    rescue_every = process.settings.lease_seconds / RENEWALS_PER_LEASE
    pollers = [Poller(p, process, finisher) for p in process.providers.values() if isinstance(p, CallsBack)]

    def jobs() -> bool:
        return watch.seen.jobs

    def crms() -> bool:
        return watch.seen.crms

    callers = CrmCallers(process.pool, process.settings, Connections(process.pool, process.settings))
    duties = CrmDuties(process.pool, callers, process.installation, notifier.wake, batch=BATCH, at_most=QUEUED_AT_MOST)
    of_crms = [
        CrmWork(name, every, process.pool, callers, stop, notifier.wake, sweep_lease(process.settings))
        for name, every in process.settings.sweep_seconds.items()
    ]
    await asyncio.gather(
        repeat(watch.look, LOOK_EVERY, stop),
        repeat(when(jobs, reconciler.rescue), min(rescue_every, 3.0), stop),
        repeat(when(jobs, reconciler.give_up), SETTLE_EVERY, stop),
        repeat(when(lambda: watch.seen.unswept, reconciler.sweep_searches), SETTLE_EVERY, stop),
        repeat(when(lambda: watch.seen.joined, reconciler.decide_lookups), SETTLE_EVERY, stop),
        repeat(when(lambda: watch.seen.held, reconciler.look_after_providers), UNHOLD_EVERY, stop),
        repeat(when(lambda: watch.seen.held, duties.look_after), UNHOLD_EVERY, stop),
        repeat(when(lambda: watch.seen.leased, duties.rescue), min(rescue_every, 3.0), stop),
        repeat(duties.end_stale, STALE_EVERY, stop),
        repeat(duties.erase, ERASE_EVERY, stop),
        repeat(when(lambda: watch.seen.held and watch.seen.joined, reconciler.pass_on), PASS_ON_EVERY, stop),
        repeat(when(jobs, reconciler.pass_over_removed), REMOVED_EVERY, stop),
        repeat(when(jobs, reconciler.end_stale), STALE_EVERY, stop),
        repeat(when(lambda: watch.seen.selections, worker.work_on_selections), SETTLE_EVERY, stop),
        repeat(worker.forget_selections, BODIES_EVERY, stop),
        repeat(
            when(lambda: watch.seen.campaigns or campaigns.holds_a_file, campaigns.work_on_campaigns),
            SETTLE_EVERY,
            stop,
        ),
        repeat(campaigns.drop_stray_uploads, BODIES_EVERY, stop),
        repeat(reconciler.make_months, MONTHS_EVERY, stop),
        repeat(reconciler.empty_bodies, BODIES_EVERY, stop),
        repeat(reconciler.forget_floods, FLOODS_EVERY, stop),
        repeat(reconciler.mend_clock, CLOCK_EVERY, stop),
        repeat(reconciler.keep_figures, FIGURES_EVERY, stop),
        *(repeat(when(jobs, poller.poll_once), SETTLE_EVERY, stop) for poller in pollers),
        *(repeat(when(crms, Sweep(one).sweep), SWEEP_LOOK_EVERY, stop) for one in of_crms),
        *(repeat(when(crms, Walk(one).walk), WALK_EVERY, stop) for one in of_crms),
    )
    campaigns.close()
    await callers.close()
    await finisher.sweeper.close()
    notifying.cancel()


if __name__ == "__main__":
    main("reconciler", work)
