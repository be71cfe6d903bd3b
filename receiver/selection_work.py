"""Work on selections for the API and the dashboard: preview, apply, and go on with what has more to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic import ValidationError

from enrichment.providers.base import Provider
from enrichment.selection import Wanted
from receiver.problems import Problem, not_found, wrong_fields
from store import selections
from store.installation import Installation
from store.notify import Notifier
from store.selections import Selection

log = structlog.get_logger()

WORKS_FOR = 5.0  # seconds within a request, unless it says less; the reconciler does the rest


class SelectionWork:
    """The steps of a selection. Who may erase is checked by the caller."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        installation: Installation,
        notifier: Notifier,
        providers: Mapping[str, Provider],
        *,
        seconds: float = WORKS_FOR,
    ) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier
        self._seconds = seconds
        self._prices = {name: provider.price for name, provider in providers.items()}

    async def preview(self, wanted: Wanted, who: str) -> Selection:
        """Begin a selection, and look for what its filter finds. Raise Problem (422)."""
        if wanted.action not in selections.APPLY:
            raise wrong_fields([("action", f"one of {', '.join(selections.APPLY)}")])
        return await self._work(await selections.create(self._pool, wanted, who))

    async def apply(self, selection: Selection, who: str) -> Selection:
        """Apply the selection, or continue to. Raise Problem (409) while its preview has not ended."""
        if selection.state == "previewing":
            raise Problem(409, "The preview of this selection has not ended: read it again, then apply it.")
        if await selections.begin(self._pool, selection.id, who):
            log.info("applying", selection=str(selection.id), action=selection.wanted.action, found=selection.found)
        return await self._work(selection.id)

    async def find(self, id: UUID) -> Selection:
        """Return the selection. Raise Problem (404)."""
        selection = await selections.find(self._pool, id)
        if selection is None:
            raise not_found("selection")
        return selection

    async def _work(self, id: UUID) -> Selection:
        """Work on the selection for some seconds, and return it as it is then."""
        policy = await self._installation.policy()
        await selections.work(
            self._pool, id, policy, self._prices, seconds=self._seconds, after_each=self._notifier.wake
        )
        return await self.find(id)


def wrong_in(error: ValidationError) -> list[tuple[str, str]]:
    """Return the path and the message of each field of a selection that cannot be used."""
    return [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
