"""Read the contacts that a CRM's events and sweeps named, and turn them into lookups.

The reading of one contact is free and may be repeated, so a result that cannot be written is dropped: its lease
expires, and the contact is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from enrichment.crms.base import CrmContact, Failure, Gone
from enrichment.outcome import Refused
from enrichment.reading import COULD_NOT_BE_READ, ERASED, GONE, HAS_A_MOBILE, MERGED_INTO, Skip, read_contact
from enrichment.wish import Policy, Wish
from store import reading_work
from store.connections import Connections
from store.crm_permits import read_shut
from store.erasure import erase_record
from store.group_commit import GroupCommit
from store.leases import READINGS, Postponed
from store.reading_work import Became, ClaimedReading, Skipped
from store.record_lookups import cancel_answered
from store.sweeps import name
from submitter.counting import count
from submitter.crm_calls import CrmCaller, Withheld
from submitter.crm_tries import LONGEST_REST, SOON, given_up, postponed, try_again
from submitter.leased import Batch, Lease, LeasedWork, Result
from submitter.process import Process

log = structlog.get_logger()

WRITTEN_TOGETHER = 100  # ends of one transaction
WRITING_TIMEOUT = 60.0  # seconds that an end waits for the database
LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class Merged:
    """A contact that was merged *into* another."""

    reading: ClaimedReading
    into: str


@dataclass(frozen=True, slots=True)
class Vanished:
    """A contact that the CRM does not have any more."""

    reading: ClaimedReading


Step = Became | Skipped | Merged | Vanished | Postponed


class Reader:
    """One CRM's readings in one process: the source of its leased work."""

    def __init__(self, caller: CrmCaller, process: Process, connections: Connections, wake: Callable[[], None]) -> None:
        self.name = f"{caller.name} readings"
        settings = process.settings
        self.loop = LeasedWork(self, slots=settings.provider_concurrency, lease_seconds=settings.lease_seconds)
        self._crm = caller.name
        self._caller = caller
        self._process = process
        self._pool = process.pool
        self._connections = connections
        self._wake = wake  # those who ask about the new lookups
        self._steps: GroupCommit[Step, None] = GroupCommit(self.write, most=WRITTEN_TOGETHER, flushers=2)

    async def claim(self, most: int, claim_id: UUID) -> Batch[ClaimedReading]:
        """Claim due readings, unless the CRM cannot be called now."""
        due = await reading_work.due_in(self._pool, self._crm)
        if due is None or due > 0:
            return Batch((), idle=due is None or due > SOON)
        claimed = await reading_work.claim(
            self._pool, self._crm, most=most, lease=self._process.settings.lease, claim_id=claim_id
        )
        if not claimed and (shut := await read_shut(self._pool, self._crm)):
            return Batch((), wait=min(shut.wait, LONGEST_REST))
        return Batch(claimed, more=len(claimed) == most)

    async def renew(self, items: Sequence[ClaimedReading]) -> set[tuple[UUID, int]]:
        """Renew the leases of these readings; return those that are still this process's."""
        leased = [(one.id, one.attempt) for one in items]
        return await READINGS.renew(self._pool, leased, self._process.settings.lease)

    async def undo(self, claim_id: UUID) -> Sequence[UUID]:
        """Queue again the readings that a failed claim took nevertheless."""
        return await READINGS.undo(self._pool, claim_id)

    async def work(self, item: ClaimedReading, lease: Lease) -> Result:
        """Read the contact, and hand what becomes of it to the writer."""
        step = await self._read(item, lease)
        return Result(self._steps.put(step, within=WRITING_TIMEOUT), _give_up)

    async def close(self) -> None:
        """Wait until every end is written."""
        await self._steps.close()

    async def _read(self, reading: ClaimedReading, lease: Lease) -> Step:
        if reading.erases:
            return await self._erase(reading)
        if lease.is_over:
            return postponed(reading, "its lease ran out")
        if not self._caller.crm.is_record_id(reading.record_id):
            return _skip(reading, f"{COULD_NOT_BE_READ} {self._caller.crm.label} has no such ids")
        return await self._judge(reading, await self._caller.read(reading.record_id))

    async def _erase(self, reading: ClaimedReading) -> Step:
        """Forget the person. It walks all that is kept; a crash on the way leads to the same again."""
        policy = await self._process.installation.policy()
        erased = await erase_record(self._pool, policy, self._crm, reading.record_id)
        log.info("contact_erased", crm=self._crm, reading=str(reading.id), **erased.counts())
        return _skip(reading, ERASED)

    async def _judge(self, reading: ClaimedReading, shown: CrmContact | Gone | Failure | Withheld) -> Step:
        match shown:
            case CrmContact() if shown.record_id == reading.record_id:
                return await self._decide(reading, shown)
            case CrmContact():
                return Merged(reading, shown.record_id)
            case Gone():
                return Vanished(reading)
            case Refused(reason):
                return _skip(reading, f"{COULD_NOT_BE_READ} {reason}")
        again = try_again(reading, shown, most=self._process.settings.max_attempts)
        return again or _skip(reading, f"{COULD_NOT_BE_READ} {given_up(reading, shown)}")

    async def _decide(self, reading: ClaimedReading, contact: CrmContact) -> Step:
        connected_at = await self._connections.connected_at(self._crm)
        if connected_at is None:
            return postponed(reading, "it was disconnected", SOON)  # so nobody knows what is news
        read = read_contact(
            contact,
            connected_at=connected_at,
            named_by=reading.named_by,
            providers=self._process.providers,
        )
        match read:
            case Skip(reason):
                return _skip(reading, reason)
            case Wish():
                return Became(
                    reading.id, reading.attempt, read, reading.named_by, contact.news_at, contact.body,
                    contact.absorbed,
                )  # fmt: skip

    async def write(self, steps: Sequence[Step]) -> list[None]:
        """Write what became of these readings: most of them in one transaction, merges and deletions alone."""
        became = [step for step in steps if isinstance(step, Became)]
        skipped = [step for step in steps if isinstance(step, Skipped)]
        if became or skipped:
            policy = await self._process.installation.policy()
            ended = await reading_work.end_read(self._pool, self._crm, became, skipped, policy)
            if any(ended.values()):
                self._wake()
            _log_ended(self._crm, ended)
            await self._cancel_answered([step.id for step in skipped if step.reason == HAS_A_MOBILE], policy)
        if again := [step for step in steps if isinstance(step, Postponed)]:
            await READINGS.requeue(self._pool, again)
            log.info("readings_postponed", crm=self._crm, readings=len(again))
        for step in steps:
            match step:
                case Merged(reading, into):
                    await self._write_merged(reading, into)
                case Vanished(reading):
                    gone = Skipped(reading.id, reading.attempt, GONE)
                    policy = await self._process.installation.policy()
                    await reading_work.end_gone(self._pool, self._crm, reading.record_id, gone, policy)
                    log.info("contact_gone", crm=self._crm, reading=str(reading.id))
        for step in steps:
            count("readings", self._crm, type(step).__name__.lower())
        return [None] * len(steps)

    async def _cancel_answered(self, have_a_mobile: Sequence[UUID], policy: Policy) -> None:
        """Cancel what is held after a restore for contacts that have a mobile."""
        if have_a_mobile and (answered := await cancel_answered(self._pool, have_a_mobile, policy)):
            log.info("answered_before_restore", crm=self._crm, lookups=[str(id) for id in answered])

    async def _write_merged(self, reading: ClaimedReading, into: str) -> None:
        """Name the other contact, then end this one's reading: a crash in between only reads both again.

        Who asked for this one asks for the other.
        """
        await name(self._pool, self._crm, reading.named_by, {into: None})
        merged = Skipped(reading.id, reading.attempt, f"{MERGED_INTO} {into}")
        await reading_work.end_merged(self._pool, self._crm, reading.record_id, into, merged)
        log.info("contact_merged", crm=self._crm, reading=str(reading.id))
        self.loop.awake.set()


async def _give_up(error: BaseException) -> None:
    """Let the lease expire: the contact is read again."""
    raise error


def _skip(reading: ClaimedReading, reason: str) -> Skipped:
    return Skipped(reading.id, reading.attempt, reason[:LONGEST_REASON])


def _log_ended(crm: str, ended: dict[UUID, UUID | None]) -> None:
    lookups = [str(lookup) for lookup in ended.values() if lookup is not None]
    log.info("readings_ended", crm=crm, lookups=lookups, skipped=len(ended) - len(lookups))
