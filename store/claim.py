"""Claim jobs: commit the intent to ask, within the shared limits and the budgets, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.guards import Budget
from enrichment.money import cents
from enrichment.pacing import permits, spend, wait
from store.budgets import lock_room
from store.database import transaction
from store.due import HELD_AT_ONCE, Shares, Terms, hold, take_due
from store.gate import read_gate, save_meters, shut_behind
from store.lookups import drop_unneeded
from store.pauses import Brake
from store.suppressed import drop_questions


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job for this submitter to ask, *after* so many seconds, as attempt number *attempt*.

    *is_probe*: the breaker is open, and this one question tests whether it can close.
    """

    id: UUID
    search_id: UUID
    lookup_id: UUID
    attempt: int
    tries: int
    contact: Contact
    after: float
    is_probe: bool = False
    source: str = ""  # who pays


@dataclass(frozen=True, slots=True)
class Claim:
    """The claimed jobs, and what to do next: *wait* so many seconds for a permit, claim *more* at once, or rest."""

    jobs: Sequence[ClaimedJob]
    wait: float = 0.0
    more: bool = False  # every permit was used: more jobs may be due
    idle: bool = False  # nothing is queued at this provider, due or not
    paused: bool = False
    held: int = 0  # jobs that now wait for a budget
    braked: int = 0  # jobs that now wait for the brake
    restored: int = 0  # jobs that now wait for a person, after a restore
    failing: bool = False  # the provider's last answers were failures
    unswept: Sequence[UUID] = ()  # searches whose questions were dropped: their people are suppressed
    brake: Brake | None = None  # the pauses when the claim began


async def claim(
    pool: asyncpg.Pool[Any],
    provider: str,
    *,
    most: int,
    price: Decimal,
    lease: timedelta,
    callback_expected: bool,
    claim_id: UUID,
    budgets: Sequence[Budget] = (),
) -> Claim:
    """Claim up to *most* due jobs of *provider* (queued -> submitting), with permits and credits for each.

    Hold the jobs that the budgets do not allow. When this raises, the claim may have been committed nevertheless:
    `undo_claim` finds its jobs by *claim_id*.
    """
    price = cents(price)
    async with transaction(pool) as connection:
        gate = await read_gate(connection, provider, "any")
        if gate.brake.stops(provider):
            braked = await hold(connection, provider, "brake") if gate.queued else 0
            return Claim((), braked=braked, more=braked >= HELD_AT_ONCE, idle=not gate.queued, brake=gate.brake)
        if gate.paused or gate.shut_for > 0:
            return Claim((), wait=gate.shut_for, paused=gate.paused)
        if not gate.queued:
            return Claim((), idle=True)
        times = permits(gate.meters, gate.now, 1 if gate.tripped else most)
        if not times:
            return Claim((), wait=max(0.001, wait(gate.meters, gate.now)))
        room = await lock_room(connection, provider, price, budgets)
        times = times[: room.questions]
        if not times:
            return Claim((), held=await hold(connection, provider, "budget"))
        shares = Shares(room.sources, gate.brake.sources)
        terms = Terms(provider, price, lease, callback_expected, claim_id)
        due = await take_due(connection, terms, len(times), shares)
        rows = [row for row in due if row["attempt"] is not None]
        unswept: list[UUID] = []
        if suppressed := [row["search_id"] for row in due if row["is_suppressed"]]:
            unswept = await drop_questions(connection, suppressed)
        if unneeded := [row["search_id"] for row in due if row["attempt"] is None and row["held"] is None]:
            await drop_unneeded(connection, unneeded)
        await save_meters(connection, provider, spend(gate.meters, gate.now, times[: len(rows)]))
        if gate.tripped and rows:
            await shut_behind(connection, provider, lease)
    jobs = [
        ClaimedJob(
            row["id"], row["search_id"], row["lookup_id"], row["attempt"], row["tries"],
            Contact(
                profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
                name=row["name"], company=row["company"], region=row["region_hint"],
            ),
            gate.until(at), gate.tripped, row["source"],
        )
        for row, at in zip(rows, times, strict=False)
    ]  # fmt: skip
    held = [row["held"] for row in due if row["held"]]
    return Claim(
        jobs, more=bool(held) or len(due) >= len(times), failing=gate.failing, brake=gate.brake, unswept=unswept,
        held=held.count("budget"), braked=held.count("brake"), restored=held.count("restored"),
    )  # fmt: skip
