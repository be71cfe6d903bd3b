"""A person's decisions about one lookup or delivery, for the API and the dashboard: each is recorded in the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from receiver.problems import Problem, not_found
from store import deliveries, lookups, reports
from store.installation import Installation
from store.notify import Notifier

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retried:
    """A lookup that is tried again, and the providers that may charge for it a second time."""

    status: str
    doubtful: Sequence[str]


class Decisions:
    """What a person may decide. Each raises Problem: 404 for an unknown id, 409 where the state does not allow it."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, notifier: Notifier) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier

    async def retry(self, id: UUID, *, wrong_number: bool, ended: datetime | None = None, who: str) -> Retried:
        """Try a failed, unresolved or held lookup again, or a found one whose number is wrong.

        *ended*: when the end came that the person saw. A later end is not what was decided about.
        """
        status = await self._status(id)
        # Read this before the retry: a fast retry leaves no doubt to read afterwards.
        doubtful = await lookups.possibly_charged(self._pool, id)
        if status == "held":
            done = await lookups.release(self._pool, id, who=who, action="retry")
        elif status in ("failed", "unresolved") or (status == "found" and wrong_number):
            policy = await self._installation.policy()
            done = await lookups.retry(self._pool, id, policy, wrong_number=status == "found", ended=ended, who=who)
        else:
            raise Problem(
                409,
                f"This lookup is {status}; only failed, unresolved and held ones can be tried again, "
                'and found ones whose number is wrong: send {"wrong_number": true}.',
            )
        if not done:
            raise Problem(409, "This lookup has just changed; look at it again before deciding.")
        self._notifier.wake()
        log.info("retried", lookup=str(id), was=status, may_charge_again=doubtful)
        return Retried(await self._status(id), doubtful)

    async def cancel(self, id: UUID, *, who: str) -> None:
        """Cancel a queued, held, failed or unresolved lookup; others that wait for its search go on without it."""
        was = await self._status(id)
        policy = await self._installation.policy()
        if not await lookups.cancel(self._pool, id, policy, who=who):
            raise Problem(
                409,
                f"This lookup is {await self._status(id)}; only queued, held, failed and unresolved ones can be "
                "cancelled. A question that is on its way will be paid for, so its answer is waited for.",
            )
        self._notifier.wake()
        log.info("cancelled", lookup=str(id), was=was)

    async def release(self, id: UUID, *, who: str) -> str:
        """Let a held lookup go on, whatever it is held for; return its status."""
        await self._status(id)
        if not await lookups.release(self._pool, id, who=who):
            raise Problem(409, f"This lookup is {await self._status(id)}; only held ones can be released.")
        self._notifier.wake()
        log.info("released", lookup=str(id))
        return await self._status(id)

    async def replay(self, id: UUID, *, who: str) -> None:
        """Send an ended delivery again, from the beginning of its schedule."""
        if not await deliveries.replay_one(self._pool, id, who=who):
            rows = await deliveries.read_deliveries(self._pool, [id])
            if not rows:
                raise not_found("delivery")
            raise Problem(409, f"This delivery is {rows[0]['status']}; only one that has ended can be sent again.")
        self._notifier.wake()
        log.info("replayed", delivery=str(id))

    async def _status(self, id: UUID) -> str:
        status = await reports.status_of(self._pool, id)
        if status is None:
            raise not_found("lookup")
        return status


def warning(doubtful: Sequence[str]) -> str | None:
    """Name the providers that may charge a second time; None if there are none."""
    if not doubtful:
        return None
    names = " and ".join(sorted(doubtful))
    return f"may charge again: {names} {'were' if len(doubtful) > 1 else 'was'} perhaps charged already"
