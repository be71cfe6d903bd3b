"""People's rights, for the API and the page alike: suppress, allow again and erase, all audited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from enrichment.suppression import Identifier, Kind
from store import audit, suppressions
from store.database import transaction
from store.erasure import erase_person
from store.installation import Installation
from store.notify import Notifier
from store.suppressions import Suppression

log = structlog.get_logger()

ERASABLE: tuple[Kind, ...] = ("email", "profile", "number")


class People:
    """What a person may want of us."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, notifier: Notifier) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier

    async def suppress(
        self, wanted: Sequence[tuple[Identifier, str | None]], *, who: str
    ) -> tuple[list[Suppression], int]:
        """Suppress each of *wanted*, with its note, and end the waiting lookups; return how many of those there were.

        All suppressions are in one commit.
        """
        policy = await self._installation.policy()
        made: list[Suppression] = []
        async with transaction(self._pool) as connection:
            for note in sorted({note for _, note in wanted}, key=lambda note: note or ""):
                these = [identifier for identifier, its in wanted if its == note]
                made += await suppressions.suppress(connection, these, policy, note)
            for one in {one.id: one for one in made if one.is_new}.values():
                await audit.record(connection, who=who, action="suppress", subject=one.id, detail={"kind": one.kind})
        ended = await suppressions.end_waiting(self._pool, [identifier for identifier, _ in wanted], policy)
        if ended:
            self._notifier.wake()
        log.info("suppressed", suppressions=[str(one.id) for one in made], ended=ended)
        return made, ended

    async def unsuppress(self, id: UUID, *, who: str) -> bool:
        """Remove a suppression: the next event of that person is asked about again. Return False if there is none."""
        async with transaction(self._pool) as connection:
            if not await suppressions.unsuppress(connection, id):
                return False
            await audit.record(connection, who=who, action="unsuppress", subject=id)
        log.info("unsuppressed", suppression=str(id))
        return True

    async def erase(self, identifiers: Sequence[Identifier], *, suppressing: bool, who: str) -> dict[str, int]:
        """Erase a person everywhere, and suppress each of *identifiers* if *suppressing*; count what was erased."""
        policy = await self._installation.policy()
        # First, so that an interrupted erasure is recorded as well.
        detail = {"by": sorted({identifier.kind for identifier in identifiers}), "suppress": suppressing}
        await audit.record(self._pool, who=who, action="erase", detail=detail)
        erased = await erase_person(self._pool, policy, identifiers, suppressing=suppressing)
        counts = erased.counts()
        self._notifier.wake()  # lookups that shared a search may ask questions of their own now
        log.info("erased", **counts)
        return counts
