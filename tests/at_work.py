"""A submitter and a reconciler in one process, wired as in production, that do one thing at a time on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.outcome import Outcome
from enrichment.providers.base import CallsBack, Provider
from enrichment.settings import Settings
from store.callbacks import Callback, CallbackReceipt, record_callbacks
from store.claim import ClaimedJob, claim
from store.endings import follow_ends
from store.group_commit import GroupCommit
from submitter.brake import BrakeView
from submitter.finishing import Finisher
from submitter.leased import Batch
from submitter.outcomes import JobOutcome, OutcomeWriter
from submitter.poll import Poller
from submitter.process import Process, open_process
from submitter.reconciler import Reconciler
from submitter.submit import Submitter
from tests.factories import job, lookup
from tests.wishes import take_one

PATIENCE = 10.0  # seconds, until a test is stuck
BOTH = ("leadmagic", "nyne")
# High enough that no test waits for a limit.
NO_LIMITS: dict[str, Any] = {
    "leadmagic_per_minute": 10_000_000,
    "leadmagic_per_day": 1_000_000_000,
    "nyne_per_minute": 10_000_000,
    "nyne_per_hour": 1_000_000_000,
}


class AtWork:
    """The parts of a submitter and of a reconciler."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pool = process.pool
        self.wakes = 0
        self.finisher = Finisher(process.pool, process.installation, self.wake)
        self.writer = OutcomeWriter(process.pool, process.settings, self.finisher)
        self.outcomes: GroupCommit[JobOutcome, None] = GroupCommit(self.writer.write, most=200, flushers=2)
        self.brake = BrakeView(process.pool)
        self.submitters = {
            name: Submitter(
                provider, process.pool, process.sessions[name], process.settings, self.outcomes, self.writer, self.brake
            )
            for name, provider in process.providers.items()
        }
        self.reconciler = Reconciler(process, self.finisher)
        nyne = process.providers["nyne"]
        assert isinstance(nyne, CallsBack)
        self.poller = Poller(nyne, process, self.finisher)

    def wake(self) -> None:
        """Count the hints."""
        self.wakes += 1

    async def claim(self, provider: str) -> Batch[ClaimedJob]:
        """Make one claim, and start to ask its questions."""
        return await self.submitters[provider].loop.claim_once()

    async def settle(self) -> None:
        """Wait until every question on its way has its outcome, and that is written."""
        for submitter in self.submitters.values():
            await submitter.loop.settled()
        await self.finisher.sweeper.close()

    async def ask(self, provider: str) -> Batch[ClaimedJob]:
        """Make one claim, and wait until its outcomes are written."""
        claimed = await self.claim(provider)
        await self.settle()
        return claimed

    async def call_back(self, job_id: UUID, outcome: Outcome, body: bytes = b"{}") -> CallbackReceipt:
        """Let Nyne call back with *outcome*."""
        return await call_back(self.process, job_id, outcome, body)


@asynccontextmanager
async def at_work(settings: Settings, url: str) -> AsyncIterator[AtWork]:
    """Hold a process open inside the block, on the database at *url*; nothing runs by itself."""
    async with open_process("tests", settings, url) as process:
        yield AtWork(process)


async def call_back(process: Process, job_id: UUID, outcome: Outcome, body: bytes = b"{}") -> CallbackReceipt:
    """Record and apply one callback of Nyne's, as the receiver does."""
    (recorded,) = await record_callbacks(
        process.pool,
        [callback(process.providers["nyne"], job_id, outcome, body)],
        process.policy,
        process.settings.default_region,
    )
    await follow_ends(process.pool, recorded.unswept, process.policy)
    return recorded


def callback(provider: Provider, job_id: UUID, outcome: Outcome, body: bytes = b"{}") -> Callback:
    """Return a callback as the receiver hands it to the store."""
    return Callback(provider.name, job_id, body, outcome, provider.price)


# Work to do.


async def wish_for(world: AtWork, *providers: str, **fields: Any) -> UUID:
    """Make a lookup for these providers; return its id."""
    given = fields or {"work_email": "jane@acme.co", "name": "Jane Doe", "company": "Acme"}
    return (await take_one(world.pool, providers=providers or ("leadmagic",), **given)).id


async def claimed_of(world: AtWork, provider: str = "nyne", *, callback_expected: bool = True) -> ClaimedJob:
    """Return a job that was just claimed."""
    row = await lookup(world.pool, providers=[provider])
    await job(world.pool, provider=provider, lookup_id=row["id"])
    result = await claim(
        world.pool, provider, most=1, price=Decimal(3), lease=timedelta(seconds=20),
        callback_expected=callback_expected, claim_id=uuid7(),
    )  # fmt: skip
    (claimed,) = result.jobs
    return claimed


async def tell(world: AtWork, claimed: ClaimedJob, outcome: Any, *, callback_expected: bool = True) -> None:
    """Write *outcome* as the submitter of *claimed* would."""
    await tell_together(world, (claimed, outcome), callback_expected=callback_expected)


async def tell_together(world: AtWork, *told: tuple[ClaimedJob, Any], callback_expected: bool = True) -> None:
    """Write these outcomes in one batch."""
    nyne = world.process.providers["nyne"]
    await world.writer.write(
        [JobOutcome(nyne, claimed, outcome, b"", callback_expected=callback_expected) for claimed, outcome in told]
    )


async def due_now(world: AtWork) -> None:
    """Make everything queued due, and end every provider's rest."""
    await world.pool.execute("UPDATE jobs SET due_at = now() WHERE state = 'queued'")
    await world.pool.execute("UPDATE providers SET rest_until = NULL, open_until = NULL")


async def lease_expires(world: AtWork, claimed: ClaimedJob) -> None:
    """Let the job's lease run out, as when its submitter is silent for too long."""
    await world.pool.execute("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE id = $1", claimed.id)


async def all_is_down_past_the_deadline(world: AtWork) -> None:
    """Let a day pass in which no process polled the awaiting job: it was due before its deadline."""
    await world.pool.execute(
        "UPDATE jobs SET submitted_at = now() - interval '25 h', due_at = now() - interval '24 h 59 min'"
    )


async def ledger_refuses(world: AtWork) -> None:
    """Let nothing be written to the ledger: endings fail, until `ledger_takes`."""
    await world.pool.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )


async def ledger_takes(world: AtWork) -> None:
    """Undo `ledger_refuses`."""
    await world.pool.execute("DROP TRIGGER refuse ON ledger")


# Results.


async def waits(world: AtWork, lookup_id: UUID | None = None) -> float:
    """Return the seconds until the lookup's job is due; without *lookup_id*, until the one open job is."""
    seconds: float = await world.pool.fetchval(
        "SELECT EXTRACT(epoch FROM due_at - now())::float8 FROM jobs WHERE lookup_id = COALESCE($1, lookup_id)",
        lookup_id,
    )
    return seconds


async def ended(world: AtWork, lookup_id: UUID) -> list[tuple[Any, ...]]:
    """Return the lookup's finished jobs, in order: provider, state, charged, possibly charged."""
    rows = await world.pool.fetch(
        "SELECT provider, state::text, credits, possible FROM finished_jobs WHERE lookup_id = $1 ORDER BY id", lookup_id
    )
    return [tuple(row) for row in rows]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *holds* is true."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.005)
