"""Send results to the result webhook: each at least once, under the same id on every try."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import structlog

from enrichment.contact import Contact
from enrichment.providers.base import HttpResponse
from enrichment.reading import SUPPRESSED
from enrichment.result_webhook import (
    SCHEDULE,
    Failed,
    Said,
    Taken,
    Unwanted,
    finished_message,
    kept,
    next_wait,
    read_said,
)
from enrichment.signatures import sign_webhook, webhook_key
from enrichment.suppression import result_hashes
from enrichment.wish import WEBHOOK
from store import deliveries, reports
from store.database import transaction
from store.deliveries import ClaimedDelivery, Ended
from store.group_commit import GroupCommit
from store.leases import DELIVERIES, Postponed
from store.suppressed import suppressed_hashes
from submitter.counting import count
from submitter.leased import Batch, Lease, LeasedWork, Result
from submitter.process import Process
from submitter.result_session import CONNECTIONS, PRIVATE, open_result_session, post

log = structlog.get_logger()

WRITTEN_TOGETHER = 100  # ends of one transaction
WRITING_TIMEOUT = 60.0  # seconds that an end waits for the database; then the lease expires, and it is sent again
GONE = "its lookup is gone"
OPEN_AGAIN = "its lookup was opened again, and will have another result"


@dataclass(frozen=True, slots=True)
class Sending:
    """A claimed delivery, and its lookup; None if that is gone.

    *is_suppressed*: what the lookup shows was found before a person forbade to give it.
    """

    delivery: ClaimedDelivery
    lookup: dict[str, Any] | None
    is_suppressed: bool = False

    @property
    def id(self) -> UUID:
        return self.delivery.id

    @property
    def attempt(self) -> int:
        return self.delivery.attempt

    @property
    def after(self) -> float:
        return self.delivery.after


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a delivery after a try, and the *answer* to that."""

    becomes: Ended | Postponed
    answer: str | None = None


class ResultSender:
    """The deliveries to the result webhook in one process: the source of its leased work."""

    def __init__(self, process: Process) -> None:
        settings = process.settings
        assert settings.result_webhook_url is not None  # noqa: S101  without it there is no sender
        self.name = "result webhook"
        self.loop = LeasedWork(self, slots=CONNECTIONS, lease_seconds=settings.lease_seconds)
        self._url = settings.result_webhook_url
        self._keys = [webhook_key(secret) for secret in settings.result_webhook_secret]
        self._lease = settings.lease
        self._process = process
        self._pool = process.pool
        self._allow_private = settings.result_webhook_allow_private
        self._session: aiohttp.ClientSession | None = None
        self._steps: GroupCommit[Step, None] = GroupCommit(self.write, most=WRITTEN_TOGETHER, flushers=2)
        self._said_private = False

    async def run(self, stop: asyncio.Event) -> None:
        """Send results until *stop*; then wait for those in flight, and until what came of them is written."""
        async with self.open():
            await self.loop.run(stop)
            await self._steps.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the connections to the webhook inside the block."""
        async with open_result_session(allow_private=self._allow_private) as self._session:
            yield

    async def claim(self, most: int, claim_id: UUID) -> Batch[Sending]:
        """Claim due deliveries, and read their lookups as they are now."""
        claimed = await deliveries.claim(self._pool, WEBHOOK, most=most, lease=self._lease, claim_id=claim_id)
        if not claimed.deliveries:
            return Batch((), idle=claimed.idle)
        rows = await reports.read_lookups(self._pool, [one.lookup_id for one in claimed.deliveries])
        lookups = {row["id"]: row for row in rows}
        suppressed = await self._suppressed(lookups)
        items = [Sending(one, lookups.get(one.lookup_id), one.lookup_id in suppressed) for one in claimed.deliveries]
        return Batch(items, more=claimed.more)

    async def _suppressed(self, lookups: Mapping[UUID, Mapping[str, Any]]) -> set[UUID]:
        """Return the lookups that show a number, or words that may hold one, and are suppressed by now."""
        policy = await self._process.installation.policy()
        hashes = {
            id: result_hashes(_contact_of(row), row["mobile"], policy.hash)
            for id, row in lookups.items()
            if row["mobile"] or row["mobile_raw"] or any(job["raw"] for job in row["jobs"])
        }
        found = await suppressed_hashes(self._pool, frozenset().union(*hashes.values())) if hashes else frozenset()
        return {id for id, of_result in hashes.items() if not found.isdisjoint(of_result)}

    async def renew(self, items: Sequence[Sending]) -> set[tuple[UUID, int]]:
        """Renew the leases of these deliveries; return those that are still this process's."""
        return await DELIVERIES.renew(self._pool, [(item.id, item.attempt) for item in items], self._lease)

    async def undo(self, claim_id: UUID) -> Sequence[UUID]:
        """Queue again the deliveries that a failed claim took nevertheless."""
        return await DELIVERIES.undo(self._pool, claim_id)

    async def work(self, item: Sending, lease: Lease) -> Result:
        """Send one result, and hand what came of it to the writer."""
        step = await self._send(item, lease)
        return Result(self._steps.put(step, within=WRITING_TIMEOUT), _give_up)

    async def write(self, steps: Sequence[Step]) -> list[None]:
        """Write what came of these deliveries."""
        ended = [step.becomes for step in steps if isinstance(step.becomes, Ended)]
        again = [step for step in steps if isinstance(step.becomes, Postponed)]
        async with transaction(self._pool) as connection:
            if ended:
                await deliveries.end(connection, ended)
            if again:
                await deliveries.keep_answers(
                    connection, [(step.becomes.id, step.becomes.attempt, step.answer) for step in again]
                )
                await DELIVERIES.requeue(connection, [s.becomes for s in again if isinstance(s.becomes, Postponed)])
        for step in steps:
            count("deliveries", WEBHOOK, step.becomes.state if isinstance(step.becomes, Ended) else "postponed")
        if delivered := [str(one.id) for one in ended if one.state == "delivered"]:
            log.info("results_delivered", deliveries=delivered)
        return [None] * len(steps)

    async def _send(self, item: Sending, lease: Lease) -> Step:
        if item.lookup is None:
            return Step(Ended(item.id, item.attempt, "skipped", GONE))
        if item.lookup["finished_at"] is None or (item.is_suppressed and item.lookup["status"] != "suppressed"):
            why = SUPPRESSED if item.is_suppressed else OPEN_AGAIN
            return Step(Ended(item.id, item.attempt, "skipped", why))
        if item.delivery.tries >= len(SCHEDULE):  # its senders fell silent every time
            return self._step(item, Failed("no sender lived to tell"), None)
        if lease.is_over:
            return Step(Postponed(item.id, item.attempt, timedelta(0), "its lease ran out", counts=False))
        body = finished_message(_without_words(item.lookup) if item.is_suppressed else item.lookup)
        signed = sign_webhook(str(item.id), body, keys=self._keys, now=time.time())
        assert self._session is not None  # noqa: S101  `run` opened it
        answer = await post(self._session, self._url, body, signed)
        if isinstance(answer, HttpResponse):
            self._said_private = False
            return self._step(item, read_said(answer), kept(answer.body))
        if answer == PRIVATE and not self._said_private:
            self._said_private = True
            log.error("result_webhook_is_private", remedy="correct RESULT_WEBHOOK_URL or its name's address")
        return self._step(item, Failed(answer), None)

    def _step(self, item: Sending, said: Said, answer: str | None) -> Step:
        match said:
            case Taken():
                return Step(Ended(item.id, item.attempt, "delivered", answer=answer), answer)
            case Unwanted(reason):
                log.warning("result_refused", delivery=str(item.id), why=reason)
                return Step(Ended(item.id, item.attempt, "refused", reason, answer, reason, counts=True), answer)
            case Failed(reason, asked):
                failures = item.delivery.tries + 1
                wait = next_wait(failures, asked, random.random())  # noqa: S311  not a secret
                log.warning("result_not_taken", delivery=str(item.id), why=reason, failures=failures, after=wait)
                if wait is None:
                    given_up = f"given up after {len(SCHEDULE)} tries: {reason}"
                    return Step(Ended(item.id, item.attempt, "given_up", given_up, answer, reason, counts=True), answer)
                return Step(Postponed(item.id, item.attempt, timedelta(seconds=wait), reason), answer)


def _contact_of(row: Mapping[str, Any]) -> Contact:
    return Contact(
        profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
        name=row["name"], company=row["company"],
    )  # fmt: skip


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a suppressed lookup without the words of its providers, which may hold a number."""
    return {**row, "mobile_raw": None, "jobs": [{**job, "raw": None} for job in row["jobs"]]}


async def _give_up(error: BaseException) -> None:
    """Let the lease expire: the result is sent again."""
    raise error
