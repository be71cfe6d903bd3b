"""Write results back onto the contacts of one CRM: read, decide, write, read again.

A write whose outcome is not known is not repeated before the contact was read: then the number stands there, or not.
So a process may die at any point, and the next try begins with the reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from enrichment.crms.base import CrmContact, Failure, Gone, Writing, Written
from enrichment.event import read_fields
from enrichment.outcome import Refused, Retry
from enrichment.reading import COULD_NOT_BE_READ, ERASED, GONE, SUPPRESSED
from enrichment.states import DeliveryEnd
from enrichment.suppression import number_hash, result_hashes
from enrichment.write_back import (
    OVERTAKEN,
    SOMEBODY_ELSE,
    THERE_ALREADY,
    Landed,
    Leave,
    Overtaken,
    decide_write,
    is_same_person,
    judge_reread,
    was_overtaken,
    was_typed,
)
from store import deliveries, write_backs
from store.crm_permits import read_shut
from store.database import transaction
from store.deliveries import ClaimedDelivery, Ended
from store.deliveries_apart import claim_apart
from store.group_commit import GroupCommit
from store.leases import DELIVERIES, Postponed
from store.suppressed import suppressed_hashes
from store.write_backs import Told
from submitter.counting import count
from submitter.crm_calls import CrmCaller, Withheld
from submitter.crm_tries import LONGEST_REST, Passing, given_up, postponed, try_again
from submitter.leased import Batch, Lease, LeasedWork, Result
from submitter.process import Process

log = structlog.get_logger()

WRITTEN_TOGETHER = 100  # ends of one transaction
WRITING_TIMEOUT = 60.0  # seconds that an end waits for the database
SLOTS = 50  # deliveries at a time, each with three calls

TURNED_OFF = "WRITE_BACK=off"
OPEN_AGAIN = "its lookup was opened again"
FOREIGN = "its lookup is older than the connection; its contact may be of another account"
NOT_THERE = "the contact does not show what was written"


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed delivery, and what to tell; None if the lookup is gone.

    *is_suppressed*: the number was given before a person forbade to give it.
    """

    delivery: ClaimedDelivery
    told: Told | None
    is_suppressed: bool = False

    @property
    def id(self) -> UUID:
        return self.delivery.id

    @property
    def attempt(self) -> int:
        return self.delivery.attempt

    @property
    def tries(self) -> int:
        return self.delivery.tries

    @property
    def after(self) -> float:
        return self.delivery.after


Step = Ended | Postponed


class WriteBack:
    """The deliveries to one CRM in one process: the source of its leased work."""

    def __init__(self, caller: CrmCaller, process: Process) -> None:
        self.name = f"{caller.name} deliveries"
        settings = process.settings
        self.loop = LeasedWork(
            self, slots=min(SLOTS, settings.provider_concurrency), lease_seconds=settings.lease_seconds
        )
        self._crm = caller.name
        self._caller = caller
        self._process = process
        self._pool = process.pool
        self._steps: GroupCommit[Step, None] = GroupCommit(self.write, most=WRITTEN_TOGETHER, flushers=2)

    async def claim(self, most: int, claim_id: UUID) -> Batch[Task]:
        """Claim due deliveries, unless the CRM cannot be called now."""
        claimed = await claim_apart(
            self._pool, self._crm, most=most, lease=self._process.settings.lease, claim_id=claim_id
        )
        if claimed.left and (shut := await read_shut(self._pool, self._crm)):
            return Batch((), wait=min(shut.wait, LONGEST_REST))
        if not claimed.deliveries:
            return Batch((), idle=claimed.idle)
        told = await write_backs.read_results(self._pool, [one.lookup_id for one in claimed.deliveries])
        suppressed = await self._suppressed(told)
        tasks = [Task(one, told.get(one.lookup_id), one.lookup_id in suppressed) for one in claimed.deliveries]
        return Batch(tasks, more=claimed.more)

    async def _suppressed(self, told: Mapping[UUID, Told]) -> set[UUID]:
        """Return the lookups whose number, or person, is suppressed by now."""
        policy = await self._process.installation.policy()
        hashes = {
            id: result_hashes(one.contact, one.result.number, policy.hash)
            for id, one in told.items()
            if one.result.number and one.needs_check
        }
        found = await suppressed_hashes(self._pool, frozenset().union(*hashes.values())) if hashes else frozenset()
        return {id for id, of_result in hashes.items() if not found.isdisjoint(of_result)}

    async def renew(self, items: Sequence[Task]) -> set[tuple[UUID, int]]:
        """Renew the leases of these deliveries; return those that are still this process's."""
        leased = [(one.id, one.attempt) for one in items]
        return await DELIVERIES.renew(self._pool, leased, self._process.settings.lease)

    async def undo(self, claim_id: UUID) -> Sequence[UUID]:
        """Queue again the deliveries that a failed claim took nevertheless."""
        return await DELIVERIES.undo(self._pool, claim_id)

    async def work(self, item: Task, lease: Lease) -> Result:
        """Write the result onto its contact, and hand what came of it to the writer."""
        step = await self._deliver(item, lease)
        return Result(self._steps.put(step, within=WRITING_TIMEOUT), _give_up)

    async def close(self) -> None:
        """Wait until every end is written."""
        await self._steps.close()

    async def write(self, steps: Sequence[Step]) -> list[None]:
        """Write what came of these deliveries."""
        ended = [step for step in steps if isinstance(step, Ended)]
        again = [step for step in steps if isinstance(step, Postponed)]
        async with transaction(self._pool) as connection:
            if ended:
                await deliveries.end(connection, ended)
            if again:
                await DELIVERIES.requeue(connection, again)
        for step in steps:
            count("deliveries", self._crm, step.state if isinstance(step, Ended) else "postponed")
        log.info(
            "written_back", crm=self._crm, postponed=len(again),
            deliveries=[str(step.id) for step in ended],
        )  # fmt: skip
        return [None] * len(steps)

    async def _deliver(self, task: Task, lease: Lease) -> Step:
        told = task.told
        if told is None:
            return _end(task, "skipped", ERASED)
        record_id = task.delivery.record_id or told.record_id
        if why := self._reason_to_skip(task, told, record_id):
            return _end(task, "skipped", why)
        if lease.is_over:
            return postponed(task, "its lease ran out")
        shown = await self._caller.read(record_id)
        if not isinstance(shown, CrmContact):
            return self._not_read(task, shown)
        if self._is_of(told, shown):
            step = await self._write_onto(task, told, shown, lease)
        else:
            step = _end(task, "skipped", SOMEBODY_ELSE)
        if isinstance(step, Ended) and shown.record_id != told.record_id:
            return replace(step, record_id=shown.record_id)
        return step

    def _reason_to_skip(self, task: Task, told: Told, record_id: str) -> str | None:
        """Return why nothing is to be written, as far as that is known without the contact."""
        if task.is_suppressed:
            return SUPPRESSED
        if self._process.settings.write_back == "off":
            return TURNED_OFF
        if told.is_open:
            return OPEN_AGAIN
        if told.is_foreign:
            return FOREIGN
        if not self._caller.crm.is_record_id(record_id):
            return f"{COULD_NOT_BE_READ} {self._caller.crm.label} has no such ids"
        return None

    async def _write_onto(self, task: Task, told: Told, contact: CrmContact, lease: Lease) -> Step:
        policy = await self._process.installation.policy()
        ours = await self._numbers_of_ours(contact, told)

        def is_ours(number: str) -> bool:
            return number_hash(number, policy.hash) in ours

        decided = decide_write(
            contact,
            told.result,
            "own" if self._process.settings.write_back == "own" else "if_empty",
            is_ours=is_ours,
            has_own_properties=self._caller.crm.has_own_properties,
        )
        number = told.result.number
        wrote = number_hash(number, policy.hash) if number else None
        if isinstance(decided, Leave):
            stands = decided.reason == THERE_ALREADY
            if number is None or task.attempt == 1 or (stands and was_typed(contact)):
                return _end(task, decided.state, decided.reason)
            # An earlier try may have written it, and died before it could say so. What a person typed is theirs.
            overtaken = was_overtaken(contact, number, told.result.region, is_ours)
            ended = _end(task, decided.state, OVERTAKEN if overtaken else decided.reason)
            return replace(ended, wrote=wrote) if stands else ended
        if lease.is_over:
            return postponed(task, "its lease ran out")  # what was read may be old by now
        written = await self._caller.write(contact, decided.writing)
        if not isinstance(written, Written):
            return self._not_written(task, written)
        if decided.writing.number is None:
            return _end(task, "delivered")
        return await self._read_again(task, contact, decided.writing, written, wrote)

    def _is_of(self, told: Told, contact: CrmContact) -> bool:
        """Tell whether the contact is still the person who was asked about: by its merge, or by what it shows."""
        shown = read_fields(contact.fields, providers=self._process.providers).contact
        return told.record_id in contact.absorbed or is_same_person(told.contact, shown, contact.emails)

    async def _read_again(
        self, task: Task, before: CrmContact, writing: Writing, written: Written, wrote: bytes | None
    ) -> Step:
        after = await self._caller.read(written.record_id)
        match after:
            case CrmContact():
                region = task.told.result.region if task.told else None
                judged = judge_reread(before, writing, after, region)
                match judged:
                    case Landed():
                        return replace(_end(task, "delivered"), wrote=wrote)
                    case Overtaken(reason, is_ours):
                        log.warning("write_overtaken", crm=self._crm, delivery=str(task.id))
                        ended = _end(task, "delivered" if is_ours else "skipped", reason)
                        return replace(ended, wrote=wrote if is_ours else None)
                return self._again(task, Retry(NOT_THERE))
            case Gone():
                return _end(task, "skipped", GONE)
            case Refused(reason):
                return replace(_end(task, "delivered", f"written; {COULD_NOT_BE_READ} {reason}"), wrote=wrote)
        # Written it is. The next try finds the number there; without one, that has to be enough.
        again = try_again(task, after, most=self._process.settings.max_attempts)
        reason = f"written; {COULD_NOT_BE_READ} {after.reason}"
        return again or replace(_end(task, "delivered", reason), wrote=wrote)

    async def _numbers_of_ours(self, contact: CrmContact, told: Told) -> frozenset[bytes]:
        """Return the numbers that we wrote onto the contact, or onto those merged into it, if any may stand there."""
        if not contact.mobile:
            return frozenset()
        records = {contact.record_id, told.record_id, *contact.absorbed}
        return await write_backs.numbers_of_ours(self._pool, self._crm, sorted(records))

    def _not_read(self, task: Task, shown: Gone | Failure | Withheld) -> Step:
        match shown:
            case Gone():
                return _end(task, "skipped", GONE)
            case Refused(reason):
                return _end(task, "refused", f"{COULD_NOT_BE_READ} {reason}")
        return self._again(task, shown)

    def _not_written(self, task: Task, written: Gone | Failure | Withheld) -> Step:
        match written:
            case Gone():
                return _end(task, "skipped", GONE)
            case Refused(reason):
                return _end(task, "refused", reason)
        return self._again(task, written)

    def _again(self, task: Task, failure: Passing) -> Step:
        again = try_again(task, failure, most=self._process.settings.max_attempts)
        return again or replace(_end(task, "given_up", given_up(task, failure)), error=failure.reason, counts=True)


async def _give_up(error: BaseException) -> None:
    """Let the lease expire: the next try reads first."""
    raise error


def _end(task: Task, state: DeliveryEnd, reason: str | None = None) -> Ended:
    return Ended(task.id, task.attempt, state, reason)
